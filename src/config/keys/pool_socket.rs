//! The keys of `[pool.socket]`.

use super::Preset::{Follows, Is};
use super::listening_socket::{BUFFER, MSS};
use super::{Kind, Section, key, number_or};

/// `[pool.socket]`
pub const POOL_SOCKET: Section = Section {
    path: "pool.socket",
    header: "[pool.socket]",
    tables: &[],
    keys: &[
        key(
            "device",
            Kind::Name,
            Follows("any"),
            "SO_BINDTODEVICE: the interface by which backends are reached",
        ),
        key(
            "mark",
            number_or("off", 1, u32::MAX as u64),
            Is("off"),
            "SO_MARK: what packets to backends are marked with, for the rules of this machine",
        ),
        key(
            "fast_open",
            Kind::Switch,
            Is("false"),
            "TCP_FASTOPEN_CONNECT: the first bytes go out with the connection, to a backend that has allowed it before",
        ),
        key(
            "mptcp",
            Kind::Switch,
            Is("false"),
            "IPPROTO_MPTCP: backends may be reached by several paths at once; one without MPTCP is reached by TCP",
        ),
        key(
            "congestion",
            Kind::Name,
            Follows("that of the system"),
            "TCP_CONGESTION: the algorithm that says how fast is sent to backends",
        ),
        key(
            "dscp",
            Kind::Dscp,
            Follows("none"),
            "IP_TOS, IPV6_TCLASS: the class that packets to backends are marked with",
        ),
        key("mss", MSS, Is("off"), "TCP_MAXSEG: bytes of one segment, both ways, at most"),
        key(
            "receive_buffer",
            BUFFER,
            Follows("as the kernel finds"),
            "SO_RCVBUF: room for what backends have sent and nobody has read",
        ),
        key(
            "send_buffer",
            BUFFER,
            Follows("as the kernel finds"),
            "SO_SNDBUF: room for what backends have not yet acknowledged",
        ),
    ],
};
