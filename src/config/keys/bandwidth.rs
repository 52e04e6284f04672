//! The keys of `[listener.bandwidth]`.

use super::Preset::{Follows, Is};
use super::{Kind, Section, key};

const PACE: Kind = Kind::SizeOrOff { min: 1 << 10, max: 1 << 40 };
const BURST: Kind = Kind::Size { min: 1 << 10, max: 1 << 30, step: 1 };

/// `[listener.bandwidth]`
pub const BANDWIDTH: Section = Section {
    path: "listener.bandwidth",
    header: "[listener.bandwidth]",
    tables: &[],
    keys: &[
        key("to_backend", PACE, Is("off"), "bytes that a session may carry in a second from its client"),
        key("to_client", PACE, Is("off"), "bytes that a session may carry in a second to its client"),
        key(
            "to_backend_burst",
            BURST,
            Follows("a tenth of a second of to_backend, at least 16KiB"),
            "bytes that may go at once, before the pace holds",
        ),
        key(
            "to_client_burst",
            BURST,
            Follows("a tenth of a second of to_client, at least 16KiB"),
            "bytes that may go at once, before the pace holds",
        ),
    ],
};
