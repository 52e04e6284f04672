//! The keys of `[[pool]]`, `[pool.response_time]`, `[pool.ejection]`.

use super::Preset::{Follows, Is, Required};
use super::{
    DAY, HOUR, KEEPALIVE, Kind, MILLISECOND, MINUTE, NODELAY, SECOND, SHADOWS_MAX, Section, USER_TIMEOUT,
    key, number, number_or, time, time_or_off, times,
};

/// `[[pool]]`
pub const POOL: Section = Section {
    path: "pool",
    header: "[[pool]]",
    tables: &["source", "response_time", "health", "ejection", "proxy_protocol", "socket", "backend"],
    keys: &[
        key("name", Kind::Name, Required, "what it is called in logs and tables; unique among pools"),
        key(
            "algorithm",
            Kind::Choice(&[
                "round-robin",
                "weighted-round-robin",
                "least-connections",
                "least-response-time",
                "peak-ewma",
                "random",
                "power-of-two",
                "source-hash",
                "maglev",
                "first",
            ]),
            Is("round-robin"),
            "how a backend is chosen",
        ),
        key(
            "power_of_two_by",
            Kind::Choice(&["connections", "response-time"]),
            Is("connections"),
            "what `algorithm = \"power-of-two\"` compares its two candidates by",
        ),
        key(
            "shadow",
            Kind::Algorithms(SHADOWS_MAX),
            Follows("none"),
            "algorithms that choose too, without traffic, to be compared with the one that serves",
        ),
        key(
            "connect_timeout",
            time(MILLISECOND, times(10, MINUTE)),
            Follows("3s, or connect_total_timeout if that is shorter"),
            "how long one attempt to connect may take",
        ),
        key(
            "connect_total_timeout",
            time(MILLISECOND, HOUR),
            Follows("10s, or connect_timeout if that is longer"),
            "how long all attempts for one session may take together",
        ),
        key(
            "connect_attempts",
            number_or("all", 1, 1_024),
            Is("all"),
            "backends tried for one session; all tries each that is up once",
        ),
        key(
            "queue_max",
            number(0, 1_000_000),
            Is("1024"),
            "sessions that may wait while every backend is at its max_connections; 0 is none",
        ),
        key(
            "queue_timeout",
            time(MILLISECOND, HOUR),
            Is("5s"),
            "how long a session may wait for a backend that is not at its limit",
        ),
        key(
            "slow_start",
            time_or_off(times(100, MILLISECOND), HOUR),
            Is("off"),
            "a backend that has come back gets its full share only after this long",
        ),
        key(
            "panic_threshold",
            number(0, 100),
            Is("0"),
            "when fewer than this many percent of the backends are up, all get sessions; 0 is never",
        ),
        key(
            "on_down",
            Kind::Choice(&["keep", "close"]),
            Is("keep"),
            "what becomes of the sessions of a backend that goes down",
        ),
        NODELAY,
        KEEPALIVE,
        USER_TIMEOUT,
    ],
};

/// `[pool.response_time]`
pub const RESPONSE_TIME: Section = Section {
    path: "pool.response_time",
    header: "[pool.response_time]",
    tables: &[],
    keys: &[
        key(
            "signal",
            Kind::Choice(&["connect", "first_byte", "session"]),
            Is("first_byte"),
            "which time of a session counts: its connect, up to the backend's first byte, or all of it",
        ),
        key(
            "statistic",
            Kind::Choice(&["p50", "p90", "p99", "ewma", "peak-ewma"]),
            Follows("p50, or peak-ewma if that is the algorithm"),
            "which figure of the measured times counts",
        ),
        key("window", time(SECOND, times(10, MINUTE)), Is("10s"), "how far back measured times count"),
    ],
};

/// `[pool.ejection]`
pub const EJECTION: Section = Section {
    path: "pool.ejection",
    header: "[pool.ejection]",
    tables: &[],
    keys: &[
        key(
            "failures",
            number_or("off", 1, 1_000),
            Is("5"),
            "sessions that fail in a row before a backend is taken out for a while",
        ),
        key(
            "time",
            time(times(100, MILLISECOND), DAY),
            Is("10s"),
            "how long it is out the first time; each time that follows at once is longer by as much",
        ),
        key(
            "time_max",
            time(times(100, MILLISECOND), DAY),
            Follows("5m, or time if that is longer"),
            "the longest that it is out",
        ),
        key(
            "share_max",
            number(0, 100),
            Is("50"),
            "at most this many percent of the backends are out at once, or one of several if that is less than one",
        ),
        key(
            "first_byte_timeout",
            time_or_off(times(10, MILLISECOND), DAY),
            Is("off"),
            "a session without a byte from its backend for this long counts as failed, and goes on",
        ),
    ],
};
