//! Hash: numbers made of addresses that are the same in every build, on every machine and in every run.
//!
//! XXH3 with fixed seeds over the bytes of the address, so that all balancers with the same backends send a client to
//! the same one. An IPv4 address that came in IPv6 clothes is the IPv4 address.

use std::net::IpAddr;

use crate::config::Address;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The seed of clients' hashes.
pub(super) const CLIENT: u64 = 1;

/// Of a client: its address without its port.
pub(super) fn client(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => xxh3_64_with_seed(&v4.octets(), CLIENT),
        IpAddr::V6(v6) => xxh3_64_with_seed(&v6.octets(), CLIENT),
    }
}

/// Of a backend: its address and its port, in network order; of a Unix socket its name, as it is written.
pub(super) fn backend(address: Address, seed: u64) -> u64 {
    let address = match address {
        Address::Ip(address) => address,
        Address::Unix(name) => return xxh3_64_with_seed(name.to_string().as_bytes(), seed),
    };
    let mut bytes = [0; 18];
    let count = match address.ip().to_canonical() {
        IpAddr::V4(v4) => {
            bytes[..4].copy_from_slice(&v4.octets());
            4
        }
        IpAddr::V6(v6) => {
            bytes[..16].copy_from_slice(&v6.octets());
            16
        }
    };
    bytes[count..count + 2].copy_from_slice(&address.port().to_be_bytes());
    xxh3_64_with_seed(&bytes[..count + 2], seed)
}

/// Spreads the bits of a number over all of it: SplitMix64's last step.
pub(super) fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
