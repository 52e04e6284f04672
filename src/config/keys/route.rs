//! The keys of `[listener.tls]` and `[[listener.route]]`.

use super::Preset::{Follows, Is, Required};
use super::{ALPN_MAX, Kind, MILLISECOND, MINUTE, SERVER_NAMES_MAX, Section, key, time, times};

const OTHERWISE: Kind = Kind::Choice(&["pool", "reset"]);

/// `[listener.tls]`
pub const TLS: Section = Section {
    path: "listener.tls",
    header: "[listener.tls]",
    tables: &[],
    keys: &[
        key(
            "hello_timeout",
            time(times(10, MILLISECOND), times(5, MINUTE)),
            Is("5s"),
            "how long a client of a listener with routes may take to say its TLS hello",
        ),
        key(
            "hello_bytes_max",
            Kind::Size { min: 1 << 10, max: 64 << 10, step: 1 },
            Is("16KiB"),
            "bytes of a client that are looked at for its hello, at most",
        ),
        key(
            "unmatched",
            OTHERWISE,
            Is("pool"),
            "what becomes of a client whose hello no route is for: the listener's pool serves it, or it sees a reset",
        ),
        key(
            "no_hello",
            OTHERWISE,
            Is("pool"),
            "the same for one that does not speak TLS, whose hello breaks its rules or is too long, or that says none in time",
        ),
    ],
};

/// `[[listener.route]]`
pub const ROUTE: Section = Section {
    path: "listener.route",
    header: "[[listener.route]]",
    tables: &[],
    keys: &[
        key(
            "server_name",
            Kind::ServerNames(SERVER_NAMES_MAX),
            Follows("any name, and none"),
            "names of servers (SNI) that lead here; `*.example.com` is every name below that one",
        ),
        key(
            "alpn",
            Kind::Protocols(ALPN_MAX),
            Follows("any protocol, and none"),
            "protocols (ALPN) of which a client has to offer one",
        ),
        key("pool", Kind::PoolName, Required, "the name of the pool that serves these clients"),
    ],
};
