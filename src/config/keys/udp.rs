//! The keys of `[listener.udp]`.

use super::Preset::Is;
use super::{DAY, Kind, MILLISECOND, Section, key, number, number_or, time, times};

/// `[listener.udp]`
pub const UDP: Section = Section {
    path: "listener.udp",
    header: "[listener.udp]",
    tables: &[],
    keys: &[
        key(
            "responses",
            number_or("off", 0, 1_000_000),
            Is("off"),
            "replies to each request after which a session is complete",
        ),
        key(
            "requests",
            number_or("off", 1, 1_000_000),
            Is("off"),
            "datagrams of a client after which its next one opens another session",
        ),
        key(
            "idle_timeout",
            time(times(100, MILLISECOND), times(7, DAY)),
            Is("1m"),
            "ends a session in which no datagram moved for this long",
        ),
        key(
            "sessions_max",
            number(1, 10_000_000),
            Is("16384"),
            "sessions at once, shared out evenly over the workers; when there is no room, the one that has been idle longest \
             makes some",
        ),
        key(
            "source_ports",
            Kind::Choice(&["any", "unprivileged"]),
            Is("any"),
            "from which ports clients may send: from all, or not from those below 1024",
        ),
    ],
};
