//! The keys of `[pool.health]`.

use super::Preset::{Follows, Is};
use super::{
    CHECK_INTERVAL, COMMAND_TEXTS_MAX, DAY, EXPECT_BYTES_MAX, Kind, MILLISECOND, SEND_BYTES_MAX,
    STATUSES_MAX, Section, key, number, time, times,
};

/// `[pool.health]`
pub const HEALTH: Section = Section {
    path: "pool.health",
    header: "[pool.health]",
    tables: &[],
    keys: &[
        key(
            "check",
            Kind::Choice(&["tcp", "udp", "http", "https", "command", "none"]),
            Is("tcp"),
            "what a check does: connect, ask with a datagram or over HTTP, run a program, or nothing",
        ),
        key(
            "port",
            number(1, 65_535),
            Follows("the port of the backend"),
            "the port that is checked; check_address of a backend goes before it",
        ),
        key("interval", CHECK_INTERVAL, Is("2s"), "from the start of one check to the start of the next"),
        key(
            "fast_interval",
            CHECK_INTERVAL,
            Follows("interval"),
            "the same while the state is about to change or not known yet",
        ),
        key(
            "down_interval",
            CHECK_INTERVAL,
            Follows("interval"),
            "the same while the backend is down for good",
        ),
        key(
            "jitter",
            number(0, 50),
            Is("0"),
            "how many percent an interval may be shorter or longer, at random",
        ),
        key(
            "timeout",
            time(times(10, MILLISECOND), DAY),
            Follows("1s, or the shortest interval if that is shorter"),
            "how long a check may take; at most the shortest interval, less its jitter",
        ),
        key("rise", number(1, 100), Is("2"), "passes in a row that bring a backend back"),
        key("fall", number(1, 100), Is("3"), "failures in a row that take a backend out"),
        key(
            "initial_state",
            Kind::Choice(&["fully-up", "up", "down", "fully-down"]),
            Is("up"),
            "what is held of a backend before its first check",
        ),
        key(
            "passive",
            Kind::Switch,
            Is("true"),
            "whether a session's failed connect counts as a failed check",
        ),
        key(
            "proxy_protocol",
            Kind::Switch,
            Follows("true where the pool sends one"),
            "tcp, udp, http, https: whether a check begins with a PROXY protocol header that says that it is one, over UDP of version 2 only",
        ),
        key(
            "send",
            Kind::Bytes(SEND_BYTES_MAX),
            Follows("none"),
            "tcp, udp: what is sent once connected, or the datagram",
        ),
        key("send_hex", Kind::Hex(SEND_BYTES_MAX), Follows("none"), "tcp, udp: the same, as bytes in hex"),
        key(
            "expect",
            Kind::Bytes(EXPECT_BYTES_MAX),
            Follows("none"),
            "tcp, udp, http, https: what the answer, or the body of it, must have in it",
        ),
        key(
            "expect_hex",
            Kind::Hex(EXPECT_BYTES_MAX),
            Follows("none"),
            "tcp, udp, http, https: the same, as bytes in hex",
        ),
        key(
            "expect_regex",
            Kind::Regex(EXPECT_BYTES_MAX),
            Follows("none"),
            "tcp, udp, http, https: the same, as a regular expression",
        ),
        key("method", Kind::Method, Is("GET"), "http, https: the method of the request"),
        key("path", Kind::RequestPath, Is("/"), "http, https: the path of the request, with its query"),
        key("host", Kind::Host, Follows("the address that is checked"), "http, https: the Host header"),
        key("status", Kind::Statuses(STATUSES_MAX), Is("200-399"), "http, https: the statuses that pass"),
        key(
            "tls_name",
            Kind::HostName,
            Follows("the IP address that is checked"),
            "https: the name that is asked for (SNI) and that the certificate must have",
        ),
        key("tls_verify", Kind::Switch, Is("true"), "https: whether the certificate has to be a good one"),
        key(
            "tls_authorities",
            Kind::File,
            Follows("those of the system"),
            "https: a PEM file of the authorities that are trusted in place of the system's",
        ),
        key(
            "command",
            Kind::Texts(COMMAND_TEXTS_MAX),
            Follows("none"),
            "command: the program that is run, and its arguments; exit status 0 passes",
        ),
    ],
};
