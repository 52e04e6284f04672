//! Where connections to backends come from.

use std::net::IpAddr;

use super::Address;

/// `[pool.source]`: from which addresses and ports backends are connected to.
///
/// Towards one backend an address has as many connections as it has ports: more addresses are more connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Taken in turn; none leaves it to the kernel.
    pub addresses: Vec<IpAddr>,
    /// From this port to that one; `None` is as `net.ipv4.ip_local_port_range` says.
    pub ports: Option<(u16, u16)>,
    /// Sessions come from the address of their client.
    pub transparent: bool,
}

impl Source {
    /// The addresses for a connection to there, in the order in which they are tried: `turn` says which comes first. One that
    /// is `None` leaves it to the kernel.
    pub fn addresses_for(
        &self,
        backend: Address,
        client: Option<IpAddr>,
        turn: u64,
    ) -> impl Iterator<Item = Option<IpAddr>> {
        let fits = move |ip: &IpAddr| backend.as_ip().is_some_and(|to| to.is_ipv4() == ip.is_ipv4());
        let client = client.filter(|ip| self.transparent && fits(ip) && may_come_from(*ip, backend));
        let count = self.addresses.iter().filter(|ip| fits(ip)).count();
        let first = if count == 0 { 0 } else { (turn % count as u64) as usize };
        let usable = self.addresses.iter().copied().filter(move |ip| fits(ip));
        let in_turn = usable.clone().skip(first).chain(usable.take(first)).map(Some);
        in_turn.chain((count == 0).then_some(client))
    }
}

/// Whether a packet from a client's address can reach a backend and be answered. One of this machine's own addresses means
/// nothing elsewhere, and who is told to come from its own address hears nobody.
fn may_come_from(client: IpAddr, backend: Address) -> bool {
    backend.as_ip().is_some_and(|to| {
        client != to.ip() && (!client.is_loopback() || to.ip().is_loopback()) && !client.is_unspecified()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_take_turns_and_only_those_of_the_backend_s_family() {
        let addresses = ["10.0.0.1", "::1", "10.0.0.2"].map(ip).to_vec();
        let source = Source { addresses, ..Source::default() };
        let of = |backend: &str, turn| {
            source.addresses_for(backend.parse().unwrap(), None, turn).collect::<Vec<_>>()
        };
        let [a, b, six] = ["10.0.0.1", "10.0.0.2", "::1"].map(|text| Some(ip(text)));
        assert_eq!(
            (of("10.9.9.9:1", 0), of("10.9.9.9:1", 1), of("10.9.9.9:1", 2)),
            (vec![a, b], vec![b, a], vec![a, b])
        );
        assert_eq!(of("[::2]:1", 7), [six]);
        assert_eq!(of("unix:@a", 7), [None]);
        let any = Source::default();
        let of_any = any.addresses_for("10.9.9.9:1".parse().unwrap(), Some(ip("10.0.0.1")), 3);
        assert_eq!(of_any.collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn a_transparent_session_comes_from_its_client_where_that_can_be() {
        let source = Source { transparent: true, ..Source::default() };
        let of = |client: &str, backend: &str| {
            let mut all = source.addresses_for(backend.parse().unwrap(), client.parse().ok(), 3);
            (all.next().unwrap(), all.next()).0
        };
        assert_eq!(of("192.0.2.1", "10.0.0.1:1"), Some(ip("192.0.2.1")));
        assert_eq!(of("127.0.0.2", "127.0.0.1:1"), Some(ip("127.0.0.2")));
        for (client, backend) in [
            ("2001:db8::1", "10.0.0.1:1"),
            ("127.0.0.1", "10.0.0.1:1"),
            ("10.0.0.1", "10.0.0.1:1"),
            ("0.0.0.0", "10.0.0.1:1"),
            ("192.0.2.1", "unix:@a"),
            ("nobody", "10.0.0.1:1"),
        ] {
            assert_eq!(of(client, backend), None, "{client} to {backend}");
        }
    }
}
