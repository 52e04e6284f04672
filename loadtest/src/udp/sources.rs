//! The addresses that clients have: a part of the loopback network, all of which is this machine's.

use std::{net::Ipv4Addr, str::FromStr};

/// A network within 127.0.0.0/8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sources {
    first: u32,
    count: u32,
}

impl Sources {
    /// How many addresses there are. The first and the last of the network are nobody's.
    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    /// The address of a client.
    pub(super) fn address(&self, client: u32) -> Ipv4Addr {
        debug_assert!(client < self.count);
        Ipv4Addr::from_bits(self.first + client)
    }

    /// The client that has an address.
    pub(super) fn client(&self, address: Ipv4Addr) -> Option<u32> {
        address.to_bits().checked_sub(self.first).filter(|client| *client < self.count)
    }
}

impl FromStr for Sources {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "not a network; write for example 127.0.0.0/8".to_owned();
        let (address, bits) = text.split_once('/').ok_or_else(form)?;
        let address: Ipv4Addr = address.parse().map_err(|_| form())?;
        let bits: u32 = bits.parse().map_err(|_| form())?;
        if !address.is_loopback() || !(8..=30).contains(&bits) {
            return Err("only networks of the loopback are taken, from 127.0.0.0/8 to a /30 of it".to_owned());
        }
        let size = 1 << (32 - bits);
        let network = address.to_bits() & !(size - 1);
        Ok(Self { first: network + 1, count: size - 2 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_an_address_and_every_address_a_client() {
        let all: Sources = "127.0.0.0/8".parse().unwrap();
        assert_eq!(all.count(), 16_777_214);
        assert_eq!(all.address(0), Ipv4Addr::new(127, 0, 0, 1));
        assert_eq!(all.address(16_777_213), Ipv4Addr::new(127, 255, 255, 254));
        let some: Sources = "127.9.9.9/29".parse().unwrap();
        let addresses: Vec<_> = (0..6).map(|client| some.address(client)).collect();
        assert_eq!((addresses[0], addresses[5]), (Ipv4Addr::new(127, 9, 9, 9), Ipv4Addr::new(127, 9, 9, 14)));
        let back: Vec<_> = addresses.iter().map(|address| some.client(*address)).collect();
        assert_eq!(back, (0..6).map(Some).collect::<Vec<_>>());
        assert_eq!(some.client(Ipv4Addr::new(127, 9, 9, 15)), None);
    }

    #[test]
    fn addresses_of_others_are_not_taken() {
        for text in
            ["10.0.0.0/8", "126.0.0.0/7", "127.0.0.0/7", "127.0.0.0/31", "127.0.0.1", "::1/128", "x/8"]
        {
            assert!(text.parse::<Sources>().is_err(), "{text}");
        }
    }
}
