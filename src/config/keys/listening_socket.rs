//! The keys of `[listener.socket]`.

use super::Preset::{Follows, Is};
use super::{Kind, Section, key};

/// `[listener.socket]`
pub const LISTENING_SOCKET: Section = Section {
    path: "listener.socket",
    header: "[listener.socket]",
    tables: &[],
    keys: &[
        key(
            "mode",
            Kind::FileMode,
            Is("0660"),
            "of a Unix socket: who may connect is who may write to its file",
        ),
        key(
            "user",
            Kind::Name,
            Follows("who starts ringway"),
            "of a Unix socket: whose its file is, by name or number",
        ),
        key(
            "group",
            Kind::Name,
            Follows("who starts ringway"),
            "of a Unix socket: its file's group, by name or number",
        ),
    ],
};
