//! The keys of `[listener.proxy_protocol]`, `[pool.proxy_protocol]`, `[[pool.proxy_protocol.custom]]`.

use super::Preset::{Follows, Is, Required};
use super::{Kind, MILLISECOND, MINUTE, Section, key, time, times};

/// At most this many networks in one `accept_from`.
pub(super) const NETWORKS_MAX: usize = 256;
/// At most this many `[[pool.proxy_protocol.custom]]` in one pool.
pub const CUSTOM_TLVS_MAX: usize = 16;
/// The longest value of one.
pub(super) const CUSTOM_BYTES_MAX: usize = 256;

/// `[listener.proxy_protocol]`
pub const ACCEPT_PROXY: Section = Section {
    path: "listener.proxy_protocol",
    header: "[listener.proxy_protocol]",
    tables: &[],
    keys: &[
        key(
            "accept_from",
            Kind::Networks(NETWORKS_MAX),
            Required,
            "whose connections or datagrams begin with a header that says who the client is; everybody else is turned away",
        ),
        key("versions", Kind::Words(&["v1", "v2"]), Follows("both"), "the versions that are taken"),
        key(
            "timeout",
            time(times(10, MILLISECOND), times(5, MINUTE)),
            Is("5s"),
            "over TCP: how long the whole header may take",
        ),
        key(
            "datagrams",
            Kind::Choice(&["first", "each"]),
            Follows("required over UDP"),
            "over UDP: which datagrams a header has to be before, the first of a client or each",
        ),
    ],
};

/// `[pool.proxy_protocol]`
pub const SEND_PROXY: Section = Section {
    path: "pool.proxy_protocol",
    header: "[pool.proxy_protocol]",
    tables: &["custom"],
    keys: &[
        key(
            "send",
            Kind::Choice(&["off", "v1", "v2"]),
            Is("off"),
            "the header before the first byte to a backend, which says who the client is",
        ),
        key(
            "tlvs",
            Kind::Words(&["authority", "alpn", "unique-id", "crc32c", "received"]),
            Follows("none"),
            "v2: what it says beside the addresses, where that is known",
        ),
        key(
            "datagrams",
            Kind::Choice(&["first", "each"]),
            Is("first"),
            "v2, over UDP: which datagrams of a session it goes before",
        ),
    ],
};

/// `[[pool.proxy_protocol.custom]]`
pub const CUSTOM_TLV: Section = Section {
    path: "pool.proxy_protocol.custom",
    header: "[[pool.proxy_protocol.custom]]",
    tables: &[],
    keys: &[
        key(
            "type",
            Kind::Choice(&[
                "0xE0", "0xE1", "0xE2", "0xE3", "0xE4", "0xE5", "0xE6", "0xE7", "0xE8", "0xE9", "0xEA",
                "0xEB", "0xEC", "0xED", "0xEE", "0xEF",
            ]),
            Required,
            "v2: one more TLV of this type, of those that are left to users",
        ),
        key("value", Kind::Bytes(CUSTOM_BYTES_MAX), Required, "its value, the same for every connection"),
    ],
};
