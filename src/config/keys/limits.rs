//! The keys of `[listener.limits]`.

use super::Preset::{Follows, Is};
use super::{Kind, Section, key, number, number_or, rate_or_off};

/// `[listener.limits]`
pub const LIMITS: Section = Section {
    path: "listener.limits",
    header: "[listener.limits]",
    tables: &[],
    keys: &[
        key(
            "sessions_max",
            number_or("off", 1, 10_000_000),
            Is("off"),
            "sessions of this listener at once, all workers together",
        ),
        key(
            "rate",
            rate_or_off(),
            Is("off"),
            "connections that this listener takes in a second, minute or hour",
        ),
        key(
            "rate_burst",
            number(1, 1_000_000),
            Follows("the number of rate"),
            "how many of them may come at the same moment",
        ),
        key(
            "over",
            Kind::Choice(&["wait", "refuse"]),
            Is("wait"),
            "what becomes of those over `sessions_max` or `rate`: they wait in the kernel's queue, or are refused",
        ),
        key(
            "sessions_per_source",
            number_or("off", 1, 10_000_000),
            Is("off"),
            "sessions at once from one source; more are refused",
        ),
        key(
            "rate_per_source",
            rate_or_off(),
            Is("off"),
            "connections from one source in a second, minute or hour; more are refused",
        ),
        key(
            "rate_per_source_burst",
            number(1, 1_000_000),
            Follows("the number of rate_per_source"),
            "how many of them may come at the same moment",
        ),
        key(
            "source_prefix_v4",
            number(8, 32),
            Is("32"),
            "bits of an IPv4 address that tell one source from another",
        ),
        key(
            "source_prefix_v6",
            number(16, 128),
            Is("64"),
            "bits of an IPv6 address that tell one source from another",
        ),
        key(
            "sources_max",
            number(256, 4_194_304),
            Is("65536"),
            "sources that are known at a time; one that finds no place is let in and counted",
        ),
    ],
};
