//! Appetite: how many datagrams to ask one backend's socket for. Pure.
//!
//! Asking for more than there are costs a second look at the socket, which is most of what a receive costs. So whoever sends one
//! answer for one question is asked for one; whoever has as many as were asked for is asked for twice as many.

/// Receives with a single datagram before it is tried again whether there are more.
const PATIENCE: u8 = 7;

/// What is asked of one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Appetite {
    /// How many datagrams.
    most: u8,
    /// Receives before there may be more, where it is one.
    patience: u8,
}

impl Appetite {
    /// For who has sent nothing yet.
    pub(super) fn new() -> Appetite {
        Appetite { most: 1, patience: 0 }
    }

    /// How many to ask for.
    pub(super) fn most(self) -> usize {
        usize::from(self.most)
    }

    /// So many have come; never more than `limit` are asked for.
    pub(super) fn took(&mut self, count: usize, limit: usize) {
        let is_full = count >= self.most();
        match (is_full, self.patience) {
            (true, 0) => self.most = self.most.saturating_mul(2).min(u8::try_from(limit).unwrap_or(u8::MAX)),
            (true, _) => self.patience -= 1,
            // A burst that has not come as a whole yet.
            (false, _) if count > 1 => {}
            (false, _) => {
                self.most = (self.most / 2).max(1);
                self.patience = if self.most == 1 { PATIENCE } else { 0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for, one receive after the other, of a socket that has so many each time.
    fn asked(appetite: &mut Appetite, counts: &[usize]) -> Vec<usize> {
        let mut all = Vec::new();
        for &count in counts {
            all.push(appetite.most());
            appetite.took(count.min(appetite.most()), 16);
        }
        all
    }

    #[test]
    fn who_has_more_is_asked_for_more_up_to_the_limit() {
        let mut appetite = Appetite::new();
        assert_eq!(asked(&mut appetite, &[100; 6]), [1, 2, 4, 8, 16, 16]);
        assert_eq!(asked(&mut appetite, &[9, 2, 1, 3, 1, 1, 1, 1]), [16, 16, 16, 8, 8, 4, 2, 1]);
    }

    #[test]
    fn who_has_one_at_a_time_is_seldom_asked_for_two() {
        let mut appetite = Appetite::new();
        let all = asked(&mut appetite, &[1; 90]);
        assert_eq!(all.iter().filter(|&&most| most == 2).count(), 10);
        assert!(all.iter().all(|&most| most <= 2));
    }

    #[test]
    fn it_never_asks_for_nothing() {
        let mut dice = fastrand::Rng::with_seed(5);
        let mut appetite = Appetite::new();
        for _ in 0..10_000 {
            let most = appetite.most();
            assert!((1..=16).contains(&most));
            appetite.took(dice.usize(0..=most), 16);
        }
    }
}
