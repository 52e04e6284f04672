//! The keys of `[pool.source]`.

use super::Preset::{Follows, Is};
use super::{Kind, SOURCES_MAX, Section, key};

/// `[pool.source]`
pub const SOURCE: Section = Section {
    path: "pool.source",
    header: "[pool.source]",
    tables: &[],
    keys: &[
        key(
            "addresses",
            Kind::Sources(SOURCES_MAX),
            Follows("as the kernel chooses"),
            "addresses of this machine that connections to backends come from, in turn",
        ),
        key(
            "ports",
            Kind::PortRange,
            Follows("net.ipv4.ip_local_port_range"),
            "IP_LOCAL_PORT_RANGE: the ports that they come from",
        ),
        key(
            "transparent",
            Kind::Switch,
            Is("false"),
            "IP_TRANSPARENT: sessions come from the address of their client",
        ),
    ],
};
