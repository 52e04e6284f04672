//! The keys of `[listener.socket]`.

use super::Preset::{Follows, Is};
use super::{HOUR, Kind, SECOND, Section, key, number_or};

/// `[listener.socket]`
pub const LISTENING_SOCKET: Section = Section {
    path: "listener.socket",
    header: "[listener.socket]",
    tables: &[],
    keys: &[
        key(
            "mode",
            Kind::FileMode,
            Is("0660"),
            "of a Unix socket: who may connect is who may write to its file",
        ),
        key(
            "user",
            Kind::Name,
            Follows("who starts ringway"),
            "of a Unix socket: whose its file is, by name or number",
        ),
        key(
            "group",
            Kind::Name,
            Follows("who starts ringway"),
            "of a Unix socket: its file's group, by name or number",
        ),
        key(
            "device",
            Kind::Name,
            Follows("any"),
            "SO_BINDTODEVICE: the interface by which clients have to come in",
        ),
        key(
            "free_bind",
            Kind::Switch,
            Is("false"),
            "IP_FREEBIND: whether it listens at addresses that the machine does not have yet",
        ),
        key(
            "transparent",
            Kind::Switch,
            Is("false"),
            "IP_TRANSPARENT: whether it accepts for addresses that are not the machine's, as TPROXY leads them to it",
        ),
        key(
            "fast_open",
            number_or("off", 1, 65_535),
            Is("off"),
            "TCP_FASTOPEN: clients that may send before they are connected, at once",
        ),
        key(
            "defer_accept",
            Kind::Duration { min: SECOND, max: HOUR, step: SECOND, off: true },
            Is("off"),
            "TCP_DEFER_ACCEPT: a client is accepted once it has sent something, or after about this long",
        ),
        key(
            "congestion",
            Kind::Name,
            Follows("that of the system"),
            "TCP_CONGESTION: the algorithm that says how fast is sent to clients",
        ),
        key(
            "dscp",
            Kind::Dscp,
            Follows("none"),
            "IP_TOS, IPV6_TCLASS: the class that packets to clients are marked with",
        ),
        key("mss", MSS, Is("off"), "TCP_MAXSEG: bytes of one segment, both ways, at most"),
        key(
            "mptcp",
            Kind::Switch,
            Is("false"),
            "IPPROTO_MPTCP: clients may come by several paths at once; those without MPTCP come by TCP",
        ),
        key(
            "receive_buffer",
            BUFFER,
            Follows("as the kernel finds"),
            "SO_RCVBUF: room for what clients have sent and nobody has read",
        ),
        key(
            "send_buffer",
            BUFFER,
            Follows("as the kernel finds"),
            "SO_SNDBUF: room for what clients have not yet acknowledged",
        ),
    ],
};

pub(super) const BUFFER: Kind = Kind::Size { min: 4 << 10, max: 1 << 30, step: 1 << 10 };
/// As the kernel takes it: TCP_MIN_MSS to MAX_TCP_WINDOW.
pub(super) const MSS: Kind = number_or("off", 88, 32_767);
