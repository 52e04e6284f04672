//! Least response time: the backend with the smallest response time x (sessions + 1) / weight.

use super::explore::Explore;
use super::score::{is_clearly_less, score};
use super::{Choice, Member};

/// Where the search begins, and who has been tried lately.
#[derive(Debug)]
pub struct LeastResponseTime {
    /// Behind the last that was chosen, so that those who are nearly equal take turns.
    first: usize,
    /// The fastest that was seen at the last pick: what is assumed of those that were never measured. In nanoseconds.
    fastest: f64,
    explore: Explore,
    /// Behind the last that was tried again.
    stale_first: usize,
}

impl LeastResponseTime {
    /// The first search begins with the member at this place, counted round.
    pub fn starting_at(first: usize) -> LeastResponseTime {
        LeastResponseTime { first, fastest: 1.0, explore: Explore::starting_at(first), stale_first: first }
    }

    /// The eligible member with the smallest score; among those that are nearly equal, the one behind the last that was
    /// chosen. Now and then one that nobody has measured lately.
    pub fn pick(&mut self, choice: &Choice<'_>) -> Option<usize> {
        let count = choice.members.len();
        let first = self.first.checked_rem(count)?;
        let (mut best, mut least) = (None, f64::INFINITY);
        // One question for each member: nearly always all of them have been measured lately.
        let mut are_all_fresh = true;
        choice.each_eligible(first, |index, member| {
            let figure = choice.times.get(member.id);
            are_all_fresh &= figure.is_fresh();
            let score = score(choice, member, figure, self.fastest);
            if is_clearly_less(score, least) {
                (best, least) = (Some(index), score);
            }
        });
        let mut chosen = best?;
        if !are_all_fresh {
            chosen = self.explore(choice).unwrap_or(chosen);
        }
        self.first = chosen + 1;
        Some(chosen)
    }

    /// Some have never been measured, or not lately. Of the latter, now and then, the one behind the last that was tried.
    #[cold]
    fn explore(&mut self, choice: &Choice<'_>) -> Option<usize> {
        let (mut next, mut fastest) = (None, f64::INFINITY);
        choice.each_eligible(self.stale_first % choice.members.len(), |index, member| {
            let figure = choice.times.get(member.id);
            if figure.is_stale() {
                next = next.or(Some(index));
            } else if figure.is_fresh() {
                fastest = fastest.min(figure.nanos());
            }
        });
        self.fastest = if fastest.is_finite() { fastest } else { 1.0 };
        let stale = next?;
        if !self.explore.is_due() {
            return None;
        }
        self.explore.done();
        self.stale_first = stale + 1;
        Some(stale)
    }

    /// What it compares by.
    pub fn score(&self, choice: &Choice<'_>, member: &Member) -> f64 {
        score(choice, member, choice.times.get(member.id), self.fastest)
    }
}

#[cfg(test)]
mod tests {
    use crate::balance::EXPLORE_ONE_IN;
    use crate::balance::testing::Field;
    use crate::config::Algorithm;
    use crate::times::Figure;

    const US: u64 = 1_000;

    fn with_times(weights: &[u32], times: &[Figure]) -> Field {
        let field = Field::new(weights);
        field.members.iter().zip(times).for_each(|(member, &time)| field.times.set(member.id, time));
        field
    }

    #[test]
    fn the_fastest_is_chosen_also_when_the_difference_is_microseconds() {
        let times = [Figure::fresh(60 * US), Figure::fresh(50 * US), Figure::fresh(90 * US)];
        let mut field = with_times(&[1, 1, 1], &times);
        let mut balancer = field.balancer(Algorithm::LeastResponseTime);
        assert_eq!(field.picks(&mut balancer, 4), [1, 1, 1, 1]);
    }

    #[test]
    fn sessions_count_so_that_the_fastest_does_not_get_them_all() {
        // Three times as fast: three times as many sessions.
        let mut field = with_times(&[1, 1], &[Figure::fresh(300 * US), Figure::fresh(100 * US)]);
        let mut balancer = field.balancer(Algorithm::LeastResponseTime);
        let kept: Vec<_> = (0..80).map(|_| field.pick_and_keep(&mut balancer)).collect();
        assert_eq!(kept.len(), 80);
        let fast = field.loads.active(1);
        assert!((57..=63).contains(&fast), "{fast} of 80");
    }

    #[test]
    fn a_larger_weight_makes_up_for_a_longer_time() {
        let mut field = with_times(&[4, 1], &[Figure::fresh(300 * US), Figure::fresh(100 * US)]);
        let mut balancer = field.balancer(Algorithm::LeastResponseTime);
        assert_eq!(field.picks(&mut balancer, 3), [0, 0, 0]);
    }

    #[test]
    fn those_that_are_nearly_equal_take_turns_and_the_slow_one_is_left_out() {
        let times = [100, 103, 300, 96].map(|us| Figure::fresh(us * US));
        let mut field = with_times(&[1; 4], &times);
        let mut balancer = field.balancer(Algorithm::LeastResponseTime);
        let picks = field.picks(&mut balancer, 300);
        for place in [0, 1, 3] {
            let got = picks.iter().filter(|&&pick| pick == place).count();
            assert!((90..=110).contains(&got), "{place} was picked {got} times");
        }
        assert!(!picks.contains(&2));
    }

    #[test]
    fn one_that_was_never_measured_is_taken_to_be_as_fast_as_the_fastest() {
        let times = [Figure::fresh(100 * US), Figure::fresh(900 * US), Figure::UNKNOWN];
        let mut field = with_times(&[1; 3], &times);
        let mut balancer = field.balancer(Algorithm::LeastResponseTime);
        let picks = field.picks(&mut balancer, 100);
        assert!(picks[..3].contains(&2), "it has to wait: {picks:?}");
        assert!(!picks.contains(&1));
        // Sessions that it does not answer keep it from getting more than the others have.
        let kept: Vec<_> = (0..20).map(|_| field.loads.lease(2)).collect();
        assert!(!field.picks(&mut balancer, 100).contains(&2));
        drop(kept);
    }

    #[test]
    fn nothing_measured_at_all_is_least_connections() {
        let mut field = Field::new(&[1, 1, 1]);
        let mut balancer = field.balancer(Algorithm::LeastResponseTime);
        let _busy = field.loads.lease(1);
        let picks = field.picks(&mut balancer, 20);
        assert!(picks.contains(&0) && picks.contains(&2) && !picks.contains(&1), "{picks:?}");
    }

    #[test]
    fn those_that_nobody_has_measured_lately_share_a_bounded_part_of_the_picks() {
        let slow = Figure::stale(90_000 * US);
        let mut field = with_times(&[1; 4], &[slow, Figure::fresh(100 * US), slow, slow]);
        let mut balancer = field.balancer(Algorithm::LeastResponseTime);
        let rounds = 30;
        let picks = field.picks(&mut balancer, (3 * rounds * EXPLORE_ONE_IN) as usize);
        for place in [0, 2, 3] {
            let tried = picks.iter().filter(|&&pick| pick == place).count();
            assert_eq!(tried, rounds as usize, "{place}");
        }
    }

    #[test]
    fn a_slow_one_that_was_measured_just_now_is_not_tried_again() {
        let mut field = with_times(&[1, 1], &[Figure::fresh(90_000 * US), Figure::fresh(100 * US)]);
        let mut balancer = field.balancer(Algorithm::LeastResponseTime);
        assert!(!field.picks(&mut balancer, 1000).contains(&0));
    }
}
