//! The keys of `[[listener]]`.

use super::Preset::{Is, Required};
use super::{
    BINDS_MAX, DAY, KEEPALIVE, Kind, MILLISECOND, NODELAY, SECOND, Section, USER_TIMEOUT, key, number,
    time_or_off, times,
};

/// `[[listener]]`
pub const LISTENER: Section = Section {
    path: "listener",
    header: "[[listener]]",
    tables: &["socket", "tls", "route", "udp", "access", "limits", "bandwidth", "proxy_protocol"],
    keys: &[
        key("name", Kind::Name, Required, "what it is called in logs and tables; unique among listeners"),
        key("bind", Kind::Addresses(BINDS_MAX), Required, "where it accepts; unique over all listeners"),
        key("protocol", Kind::Choice(&["tcp", "udp"]), Is("tcp"), "what it accepts"),
        key("pool", Kind::PoolName, Required, "the name of the pool that serves it"),
        key(
            "backlog",
            number(1, 65_535),
            Is("4096"),
            "connections that the kernel holds, per worker and address, before they are accepted",
        ),
        key(
            "accept",
            Kind::Choice(&["reuseport", "balanced"]),
            Is("reuseport"),
            "which worker serves a connection: the one whose socket the kernel gave it to, or the one with the fewest \
             sessions",
        ),
        NODELAY,
        KEEPALIVE,
        USER_TIMEOUT,
        key(
            "idle_timeout",
            time_or_off(times(100, MILLISECOND), times(7, DAY)),
            Is("10m"),
            "ends a session in which no byte moved for this long",
        ),
        key(
            "half_closed_timeout",
            time_or_off(times(100, MILLISECOND), times(7, DAY)),
            Is("1m"),
            "the same, once one side has ended its stream",
        ),
        key(
            "lifetime_max",
            time_or_off(SECOND, times(365, DAY)),
            Is("off"),
            "ends a session that has lasted this long, whatever it does",
        ),
        key(
            "lifetime_jitter",
            number(0, 50),
            Is("10"),
            "percent that `lifetime_max` may be shorter or longer, for each session another",
        ),
        key(
            "no_backend",
            Kind::Choice(&["reset", "close", "message"]),
            Is("reset"),
            "what a client gets when no backend could be reached",
        ),
        key(
            "no_backend_message",
            Kind::Text(1_024),
            Is("no backend available\n"),
            "the text that `no_backend = \"message\"` sends",
        ),
        key(
            "access_log",
            Kind::Switch,
            Is("true"),
            "whether its sessions are in the access log, if there is one",
        ),
    ],
};
