//! The keys of `[listener.access]`.

use super::Preset::{Follows, Is};
use super::{FILES_MAX, Kind, NETWORKS_MAX, Section, key};

/// `[listener.access]`
pub const ACCESS: Section = Section {
    path: "listener.access",
    header: "[listener.access]",
    tables: &[],
    keys: &[
        key(
            "default",
            Kind::Choice(&["allow", "deny"]),
            Is("allow"),
            "whether a client may connect that none of the networks holds",
        ),
        key(
            "allow",
            Kind::Networks(NETWORKS_MAX),
            Follows("none"),
            "networks whose clients may connect; the longest network that holds a client decides",
        ),
        key(
            "deny",
            Kind::Networks(NETWORKS_MAX),
            Follows("none"),
            "networks whose clients may not connect; wins where the same network is allowed too",
        ),
        key(
            "allow_files",
            Kind::Files(FILES_MAX),
            Follows("none"),
            "files with more networks of the first kind, one in each line; read again at a reload",
        ),
        key(
            "deny_files",
            Kind::Files(FILES_MAX),
            Follows("none"),
            "the same with networks of the second kind",
        ),
        key(
            "refuse",
            Kind::Choice(&["reset", "close"]),
            Is("reset"),
            "what a connection gets that is refused, by these rules or by `[listener.limits]`",
        ),
    ],
};
