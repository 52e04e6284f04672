//! Rules: which addresses may connect. Pure, and never changed once made.
//!
//! Networks are nested or apart, never across each other. So the longest one that holds an address can be worked out for
//! every address beforehand: along the line of all addresses the answer changes at some of them and holds in between. Only
//! these places are kept, sorted; the answer is whether an even or an odd number of them lies at or before an address. A
//! hundred thousand networks are at most two hundred thousand numbers, and a look at eighteen of them.

use std::fmt::Debug;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::Standing;

/// The rules of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    v4: Line<u32>,
    v6: Line<u128>,
}

impl Rules {
    /// These networks, and what holds for who is in none of them.
    pub fn new(default: Standing, allow: &[IpNet], deny: &[IpNet]) -> Rules {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let standings = [(allow, Standing::Allow), (deny, Standing::Deny)];
        for (network, standing) in standings
            .into_iter()
            .flat_map(|(list, standing)| list.iter().map(move |network| (network, standing)))
        {
            let bits = network.prefix_len();
            match network {
                IpNet::V4(network) => {
                    v4.push(Span {
                        first: network.network().into(),
                        bits,
                        last: network.broadcast().into(),
                        standing,
                    });
                }
                IpNet::V6(network) => {
                    v6.push(Span {
                        first: network.network().into(),
                        bits,
                        last: network.broadcast().into(),
                        standing,
                    });
                }
            }
        }
        Rules {
            v4: Line::new(default, v4, |address: u32| address.checked_add(1)),
            v6: Line::new(default, v6, |address: u128| address.checked_add(1)),
        }
    }

    /// How this address stands. An IPv4 address in an IPv6 one is the IPv4 one.
    pub fn verdict(&self, address: IpAddr) -> Standing {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.standing(address.into()),
            IpAddr::V6(address) => self.v6.standing(address.into()),
        }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.v4.changes) + size_of_val(&*self.v6.changes)
    }
}

/// A network on the line of all addresses.
#[derive(Debug, Clone, Copy)]
struct Span<A> {
    first: A,
    last: A,
    bits: u8,
    standing: Standing,
}

/// All addresses of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line<A> {
    /// How the first address stands.
    start: Standing,
    /// Where that changes, in order; never at the first address.
    changes: Box<[A]>,
}

impl<A: Ord + Copy + Default + Debug> Line<A> {
    fn new(default: Standing, mut spans: Vec<Span<A>>, after: impl Fn(A) -> Option<A>) -> Line<A> {
        // The outer one before those inside it. Of two that are the same the one that denies comes last, and so decides.
        spans.sort_by_key(|span| (span.first, span.bits, span.standing == Standing::Deny));
        let mut answers = vec![(A::default(), default)];
        let mut answer = |from: A, standing| match answers.last_mut() {
            Some((at, last)) if *at == from => *last = standing,
            _ => answers.push((from, standing)),
        };
        // Those that hold the present place, the innermost last.
        let mut around: Vec<Span<A>> = Vec::new();
        let leave = |around: &mut Vec<Span<A>>, answer: &mut dyn FnMut(A, Standing)| {
            let Some(left) = around.pop() else { return };
            let standing = around.last().map_or(default, |span| span.standing);
            after(left.last).into_iter().for_each(|next| answer(next, standing));
        };
        for span in spans {
            while around.last().is_some_and(|outer| outer.last < span.first) {
                leave(&mut around, &mut answer);
            }
            answer(span.first, span.standing);
            around.push(span);
        }
        while !around.is_empty() {
            leave(&mut around, &mut answer);
        }
        let start = answers[0].1;
        answers.dedup_by_key(|(_, standing)| *standing);
        Line { start, changes: answers[1..].iter().map(|(at, _)| *at).collect() }
    }

    fn standing(&self, address: A) -> Standing {
        let passed = self.changes.partition_point(|change| *change <= address);
        match (self.start, passed % 2 == 0) {
            (Standing::Allow, true) | (Standing::Deny, false) => Standing::Allow,
            (Standing::Deny, true) | (Standing::Allow, false) => Standing::Deny,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn verdict(rules: &Rules, address: &str) -> Standing {
        rules.verdict(address.parse().unwrap())
    }

    use Standing::{Allow, Deny};

    #[test]
    fn the_longest_network_decides_and_of_two_that_are_the_same_the_one_that_denies() {
        let allow =
            networks(&["10.0.0.0/8", "10.1.2.0/24", "192.0.2.0/24", "255.255.255.255/32", "2001:db8::/32"]);
        let deny = networks(&["10.1.0.0/16", "192.0.2.0/24", "0.0.0.0/32", "2001:db8:1::/48"]);
        for (default, other) in [(Allow, "11.0.0.0"), (Deny, "9.255.255.255")] {
            let rules = Rules::new(default, &allow, &deny);
            for (address, standing) in [
                (other, default),
                ("10.0.0.0", Allow),
                ("10.0.255.255", Allow),
                ("10.1.0.0", Deny),
                ("10.1.1.255", Deny),
                ("10.1.2.0", Allow),
                ("10.1.2.255", Allow),
                ("10.1.3.0", Deny),
                ("10.1.255.255", Deny),
                ("10.2.0.0", Allow),
                ("10.255.255.255", Allow),
                ("192.0.2.77", Deny),
                ("0.0.0.0", Deny),
                ("0.0.0.1", default),
                ("255.255.255.255", Allow),
                ("255.255.255.254", default),
                ("2001:db8::1", Allow),
                ("2001:db8:1:ffff::", Deny),
                ("2001:db8:2::", Allow),
                ("2001:db7:ffff::", default),
                // IPv4 in IPv6.
                ("::ffff:10.1.1.1", Deny),
            ] {
                assert_eq!(verdict(&rules, address), standing, "{address}, otherwise {default:?}");
            }
        }
    }

    #[test]
    fn without_networks_the_default_holds_everywhere() {
        for default in [Allow, Deny] {
            let rules = Rules::new(default, &[], &[]);
            assert_eq!(rules.bytes(), 0);
            for address in ["0.0.0.0", "255.255.255.255", "::", "ffff::"] {
                assert_eq!(verdict(&rules, address), default);
            }
        }
        let all = Rules::new(Deny, &networks(&["0.0.0.0/0"]), &[]);
        assert_eq!((verdict(&all, "1.2.3.4"), verdict(&all, "::1")), (Allow, Deny));
    }

    /// Against the plain way to find it, with networks that touch and nest, because all lie in the same few bits.
    #[test]
    fn it_answers_as_a_look_at_every_network_does() {
        for seed in 0..200 {
            let mut dice = Rng::with_seed(seed);
            let mut some = || -> Vec<IpNet> {
                let network = |dice: &mut Rng| -> IpNet {
                    let bits = dice.u8(24..=32);
                    if dice.bool() {
                        let address = Ipv4Addr::from(0x0a00_0000 | dice.u32(..256));
                        IpNet::new(address.into(), bits).unwrap().trunc()
                    } else {
                        let address = Ipv6Addr::from(u128::from(dice.u32(..256)));
                        IpNet::new(address.into(), bits + 96).unwrap().trunc()
                    }
                };
                let count = dice.usize(..12);
                (0..count).map(|_| network(&mut dice)).collect()
            };
            let (allow, deny) = (some(), some());
            let default = if seed % 2 == 0 { Allow } else { Deny };
            let rules = Rules::new(default, &allow, &deny);
            let plain = |address: IpAddr| {
                let all = allow.iter().map(|one| (one, Allow)).chain(deny.iter().map(|one| (one, Deny)));
                let holding = all.filter(|(network, _)| network.contains(&address));
                let longest =
                    holding.max_by_key(|(network, standing)| (network.prefix_len(), *standing == Deny));
                longest.map_or(default, |(_, standing)| standing)
            };
            let v4 = (0x09ff_fff0..0x0a00_0110_u32).map(|address| IpAddr::from(Ipv4Addr::from(address)));
            let v6 = (0..0x110_u128).map(|address| IpAddr::from(Ipv6Addr::from(address)));
            for address in v4.chain(v6.filter(|address| address.to_canonical().is_ipv6())) {
                assert_eq!(rules.verdict(address), plain(address), "seed {seed}: {address}");
            }
        }
    }
}
