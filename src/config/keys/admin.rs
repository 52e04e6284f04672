//! The keys of `[admin]`.

use super::Preset::{Follows, Is};
use super::{Kind, Section, key, number};

/// `[admin]`
pub const ADMIN: Section = Section {
    path: "admin",
    header: "[admin]",
    tables: &[],
    keys: &[
        key(
            "bind",
            Kind::AdminAddress,
            Is("127.0.0.1:8404"),
            "where the admin API, the metrics and the page are",
        ),
        key(
            "token_file",
            Kind::File,
            Follows("none"),
            "the file whose first line whoever asks has to know; required unless `bind` is a loopback address or a socket",
        ),
        key(
            "quorum",
            number(0, 65_535),
            Is("1"),
            "backends of each pool that have to be up for `/readyz` to say yes; of a smaller pool all of them",
        ),
    ],
};
