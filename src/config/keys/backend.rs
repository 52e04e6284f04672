//! The keys of `[[pool.backend]]`.

use super::Preset::{Follows, Is, Required};
use super::{Kind, Section, key, number, number_or};

/// `[[pool.backend]]`
pub const BACKEND: Section = Section {
    path: "pool.backend",
    header: "[[pool.backend]]",
    tables: &[],
    keys: &[
        key("address", Kind::Address, Required, "where it serves; unique in its pool"),
        key("weight", number(1, 256), Is("1"), "its share, against the other weights of its pool")
            .cure("to take a backend out, remove it"),
        key(
            "name",
            Kind::Name,
            Follows("the address"),
            "what it is called in logs and tables; unique in its pool",
        ),
        key("backup", Kind::Switch, Is("false"), "whether it serves only when no other can"),
        key(
            "max_connections",
            number_or("off", 1, 10_000_000),
            Is("off"),
            "sessions that it takes at once, from all workers together",
        )
        .cure("to take a backend out, remove it"),
        key("check_address", Kind::Address, Follows("the address"), "where it is checked"),
    ],
};
