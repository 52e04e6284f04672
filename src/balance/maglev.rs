//! Maglev: each client's address has one backend, by a table of 65,537 places that the backends have shared out.
//!
//! One look instead of one at everybody, however many there are. The backends take places in turn, each in an order of its
//! own that its address gives, as often as their weights say; a backend that is added or removed moves few others. Known
//! from Google's paper (Eisenbud et al., NSDI 2016); the shares by weight as in Katran's second version.
//!
//! The table holds whoever has a weight, up or not: when a backend goes down its clients look at another place that
//! their hash gives them, and nobody else moves. So health costs no new table, only a change of the members or of their
//! weights does: some milliseconds.

use std::rc::Rc;

use super::{Choice, Member, hash};
use crate::config::Address;

/// Places. A prime, so that every step walks through all of them. The size that Katran and Envoy use.
const PLACES: usize = 65_537;
/// The seeds of where a backend begins and how far it steps.
const START: u64 = 3;
const STEP: u64 = 4;
/// Places that one pick looks at before it goes through the members.
const LOOKS_MAX: u64 = 32;
/// Nobody's place, while the table is made.
const FREE: u16 = u16::MAX;

/// The table, and from whom it was made.
#[derive(Debug, Clone, Default)]
pub struct Maglev {
    /// By place: an index into the members. Empty when nobody has a weight.
    table: Rc<[u16]>,
    made_from: Vec<(Address, u32)>,
}

impl Maglev {
    /// Begins with the table of another one; it is used for as long as its members are.
    pub fn inherit(&mut self, before: &Maglev) {
        self.clone_from(before);
    }

    /// Gets ready for other members; does nothing if they have the same weights as before.
    pub fn adopt(&mut self, members: &[Member]) {
        let made_from: Vec<_> = members.iter().map(|member| (member.address, member.weight)).collect();
        if made_from != self.made_from {
            self.table = share_out(members).into();
            self.made_from = made_from;
        }
    }

    /// The client's backend, or who comes next for it if that one is not eligible.
    pub fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        if self.table.is_empty() {
            return None;
        }
        let client = hash::client(*choice.client);
        for look in 0..LOOKS_MAX {
            let index = usize::from(self.table[place(client, look)]);
            if choice.is_eligible(&choice.members[index]) {
                return Some(index);
            }
        }
        self.search(choice, client)
    }

    /// Hardly anybody is eligible: those who are share the client out among themselves.
    #[cold]
    fn search(&self, choice: &Choice<'_>, client: u64) -> Option<usize> {
        let eligible = (0..choice.members.len()).filter(|&index| choice.is_eligible(&choice.members[index]));
        eligible.max_by_key(|&index| hash::mix(client ^ hash::backend(choice.members[index].address, START)))
    }
}

/// Where a client looks; the first time and whenever nobody who is eligible was there.
fn place(client: u64, look: u64) -> usize {
    (hash::mix(client.wrapping_add(look.wrapping_mul(0x9E37_79B9_7F4A_7C15))) % PLACES as u64) as usize
}

/// One backend while places are shared out.
struct Taker {
    index: u16,
    next: usize,
    step: usize,
    weight: u32,
    credit: u32,
}

fn share_out(members: &[Member]) -> Box<[u16]> {
    let taker = |(index, member): (usize, &Member)| Taker {
        index: u16::try_from(index).expect("the configuration allows fewer backends than that"),
        next: (hash::backend(member.address, START) % PLACES as u64) as usize,
        step: (hash::backend(member.address, STEP) % (PLACES as u64 - 1)) as usize + 1,
        weight: member.weight,
        credit: 0,
    };
    let mut takers: Vec<Taker> =
        members.iter().enumerate().map(taker).filter(|taker| taker.weight > 0).collect();
    let Some(most) = takers.iter().map(|taker| taker.weight).max() else { return Box::default() };
    let mut table = vec![FREE; PLACES].into_boxed_slice();
    let mut free = PLACES;
    loop {
        for taker in &mut takers {
            // The heaviest takes a place in each round, the others as often as their weight says.
            taker.credit += taker.weight;
            if taker.credit < most {
                continue;
            }
            taker.credit -= most;
            while table[taker.next] != FREE {
                taker.next = (taker.next + taker.step) % PLACES;
            }
            table[taker.next] = taker.index;
            free -= 1;
            if free == 0 {
                return table;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Balancer;
    use crate::balance::testing::{Field, Vectors, clients};
    use crate::config::Algorithm;

    fn places_of(weights: &[u32]) -> Vec<usize> {
        let table = share_out(&Field::new(weights).members);
        (0..weights.len()).map(|index| table.iter().filter(|&&at| usize::from(at) == index).count()).collect()
    }

    #[test]
    fn places_are_shared_by_weight_almost_exactly() {
        assert_eq!(places_of(&[1, 1]), [32_769, 32_768]);
        let weights = [1, 2, 5, 8, 256];
        let total: u32 = weights.iter().sum();
        for (got, weight) in places_of(&weights).into_iter().zip(weights) {
            let exact = PLACES as f64 * f64::from(weight) / f64::from(total);
            // Each of the light ones may be owed up to one place at the end, and the heaviest have them.
            assert!(
                (got as f64 - exact).abs() < weights.len() as f64,
                "{got} places for weight {weight}, exact {exact}"
            );
        }
    }

    #[test]
    fn every_place_is_somebodys_also_with_very_many_backends() {
        let weights = vec![1; 3000];
        let places = places_of(&weights);
        assert_eq!(places.iter().sum::<usize>(), PLACES);
        assert!(places.iter().all(|&count| (21..=22).contains(&count)));
        assert!(share_out(&[]).is_empty());
    }

    #[test]
    fn clients_follow_the_weights_within_what_chance_allows() {
        let weights = [1, 2, 5, 8];
        let mut field = Field::new(&weights);
        let mut balancer = field.balancer(Algorithm::Maglev);
        field.assert_shares(&mut balancer, &weights, clients(40_000));
    }

    #[test]
    fn when_one_goes_down_only_its_clients_move_and_they_spread_by_weight() {
        let mut field = Field::new(&[1, 3, 1, 1, 2]);
        let mut balancer = field.balancer(Algorithm::Maglev);
        let before = field.picks_of(&mut balancer, clients(40_000));
        field.members[1].is_open = false;
        balancer.adopt(&field.members);
        let after = field.picks_of(&mut balancer, clients(40_000));
        let mut moved = [0_i32; 5];
        for (before, after) in before.into_iter().zip(after) {
            if before == 1 {
                moved[after] += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        // 15,000 clients over weights 1, 1, 1, 2: a deviation is at most 60.
        for (place, expected) in [(0, 3000), (1, 0), (2, 3000), (3, 3000), (4, 6000)] {
            assert!((moved[place] - expected).abs() < 350, "{moved:?}");
        }
    }

    #[test]
    fn a_backend_that_leaves_the_configuration_moves_few_of_the_others_clients() {
        // The address of a member comes from its place: leave out the last one.
        let ten = share_out(&Field::new(&[1; 10]).members);
        let nine = share_out(&Field::new(&[1; 9]).members);
        let moved = ten.iter().zip(&nine).filter(|(before, after)| **before != 9 && before != after).count();
        // By the paper a few percent beside the tenth that has to move.
        assert!(moved < PLACES / 20, "{moved} of {PLACES}");
    }

    #[test]
    fn hardly_anybody_eligible_still_serves_every_client() {
        let mut field = Field::new(&[1; 200]);
        field.members.iter_mut().for_each(|member| member.is_open = member.place == 77 || member.place == 3);
        let mut balancer = field.balancer(Algorithm::Maglev);
        let picks = field.picks_of(&mut balancer, clients(2000));
        let last = picks.iter().filter(|&&pick| pick == 77).count();
        assert!(picks.iter().all(|pick| [3, 77].contains(pick)) && (850..=1150).contains(&last), "{last}");
    }

    #[test]
    fn the_table_is_the_one_of_the_vectors_and_so_are_the_clients() {
        let mut vectors = Vectors::parse(include_str!("../../tests/vectors/maglev.txt"));
        let mut balancer = vectors.field.balancer(Algorithm::Maglev);
        let Balancer::Maglev(rule) = &balancer else { unreachable!() };
        let bytes: Vec<u8> = rule.table.iter().flat_map(|place| place.to_le_bytes()).collect();
        let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes));
        let places: Vec<String> = rule.table[..64].iter().map(u16::to_string).collect();
        assert_eq!(vectors.others, [("table", hash.as_str()), ("places", places.join(" ").as_str())]);
        vectors.assert_clients(&mut balancer);
    }
}
