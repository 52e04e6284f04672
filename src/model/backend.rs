//! Backend: a server as the model has it. So many requests at once, the others wait in line; how long each takes is
//! drawn; for a while it may be slow, stand still or be dead. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;

/// How long a request takes when nothing is wrong.
#[derive(Debug, Clone, Copy)]
pub enum Service {
    /// Drawn from an exponential distribution with this mean.
    Exponential(Duration),
    /// So many percent take the second time, the others the first.
    Bimodal(Duration, Duration, u32),
}

impl Service {
    fn draw(self, dice: &mut Rng) -> Duration {
        match self {
            Service::Exponential(mean) => mean.mul_f64(-(1.0 - dice.f64()).ln()),
            Service::Bimodal(usual, rare, percent) if dice.u32(0..100) < percent => rare.max(usual),
            Service::Bimodal(usual, ..) => usual,
        }
    }

    /// On average.
    pub fn mean(self) -> Duration {
        match self {
            Service::Exponential(mean) => mean,
            Service::Bimodal(usual, rare, percent) => {
                (usual * (100 - percent) + rare.max(usual) * percent) / 100
            }
        }
    }
}

/// What is wrong for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    /// Everything takes so many times as long.
    Slow(f64),
    /// It takes connections and does nothing.
    Stalled,
    /// It refuses connections, and what it had begun is lost.
    Dead,
}

/// A time of trouble.
#[derive(Debug, Clone, Copy)]
pub struct Phase {
    /// From this moment.
    pub from: Duration,
    /// To this one.
    pub to: Duration,
    /// What is wrong.
    pub trouble: Trouble,
}

/// What a backend is like.
#[derive(Debug, Clone)]
pub struct Nature {
    /// How long a request takes.
    pub service: Service,
    /// Requests that it works on at once.
    pub slots: usize,
    /// When something is wrong; in order, none over another.
    pub phases: Vec<Phase>,
}

/// How a request that was begun comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// It is answered at this moment.
    Answered(Duration),
    /// The backend dies at this moment.
    Lost(Duration),
}

/// A backend with what it has to do.
#[derive(Debug)]
pub(super) struct Backend<T> {
    nature: Nature,
    busy: usize,
    line: VecDeque<T>,
}

impl<T> Backend<T> {
    /// Idle.
    pub(super) fn new(nature: Nature) -> Backend<T> {
        Backend { nature, busy: 0, line: VecDeque::new() }
    }

    /// Whether it refuses connections.
    pub(super) fn is_dead(&self, now: Duration) -> bool {
        self.phase(now).is_some_and(|phase| phase.trouble == Trouble::Dead)
    }

    /// A request comes: how it will end, if it is begun at once. Otherwise it waits in line.
    pub(super) fn begin(&mut self, request: T, now: Duration, dice: &mut Rng) -> Option<(T, Finish)> {
        if self.busy == self.nature.slots {
            self.line.push_back(request);
            return None;
        }
        self.busy += 1;
        Some((request, self.done(now, dice)))
    }

    /// One has ended: who is begun in its place, and how that one will end.
    pub(super) fn next(&mut self, now: Duration, dice: &mut Rng) -> Option<(T, Finish)> {
        let Some(next) = self.line.pop_front() else {
            self.busy -= 1;
            return None;
        };
        Some((next, self.done(now, dice)))
    }

    /// How work that is begun now ends, through all troubles.
    fn done(&self, now: Duration, dice: &mut Rng) -> Finish {
        let mut left = self.nature.service.draw(dice).as_secs_f64();
        let mut at = now;
        loop {
            let phase = self.phase(at);
            let speed = match phase.map(|phase| phase.trouble) {
                None => 1.0,
                Some(Trouble::Slow(times)) => 1.0 / times,
                Some(Trouble::Stalled) => 0.0,
                Some(Trouble::Dead) => return Finish::Lost(at),
            };
            let change = match phase {
                Some(phase) => Some(phase.to),
                None => self.nature.phases.iter().map(|phase| phase.from).find(|from| *from > at),
            };
            let possible = change.map_or(f64::INFINITY, |change| (change - at).as_secs_f64() * speed);
            if left <= possible {
                return Finish::Answered(at + Duration::from_secs_f64(left / speed));
            }
            left -= possible;
            at = change.unwrap_or(at);
        }
    }

    fn phase(&self, now: Duration) -> Option<&Phase> {
        self.nature.phases.iter().find(|phase| (phase.from..phase.to).contains(&now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn backend(slots: usize, phases: &[(u64, u64, Trouble)]) -> Backend<u32> {
        let phases = phases.iter().map(|&(from, to, trouble)| Phase { from: ms(from), to: ms(to), trouble });
        let service = Service::Bimodal(ms(100), ms(100), 0);
        Backend::new(Nature { service, slots, phases: phases.collect() })
    }

    #[test]
    fn more_than_it_can_work_on_waits_in_line() {
        let (mut backend, mut dice) = (backend(1, &[]), Rng::with_seed(1));
        let answered = |request, at| Some((request, Finish::Answered(ms(at))));
        assert_eq!(backend.begin(1, ms(0), &mut dice), answered(1, 100));
        assert_eq!(backend.begin(2, ms(10), &mut dice), None);
        assert_eq!(backend.next(ms(100), &mut dice), answered(2, 200));
        assert_eq!(backend.next(ms(200), &mut dice), None);
        assert_eq!(backend.begin(3, ms(500), &mut dice), answered(3, 600));
    }

    #[test]
    fn work_goes_through_troubles_at_their_speed() {
        let troubles = [(50, 150, Trouble::Stalled), (180, 1000, Trouble::Slow(10.0))];
        let (mut backend, mut dice) = (backend(9, &troubles), Rng::with_seed(1));
        let mut done = |at| backend.begin(0, at, &mut dice).unwrap().1;
        assert_eq!(done(ms(60)), Finish::Answered(ms(180) + ms(700)));
        assert_eq!(done(ms(0)), Finish::Answered(ms(180) + ms(200)));
        assert_eq!(done(ms(2000)), Finish::Answered(ms(2100)));
    }

    #[test]
    fn what_a_backend_has_begun_when_it_dies_is_lost() {
        let (mut backend, mut dice) = (backend(1, &[(50, 1000, Trouble::Dead)]), Rng::with_seed(1));
        assert!(!backend.is_dead(ms(49)) && backend.is_dead(ms(50)) && !backend.is_dead(ms(1000)));
        assert_eq!(backend.begin(1, ms(10), &mut dice), Some((1, Finish::Lost(ms(50)))));
        assert_eq!(backend.begin(2, ms(20), &mut dice), None);
        assert_eq!(backend.next(ms(50), &mut dice), Some((2, Finish::Lost(ms(50)))));
    }

    #[test]
    fn the_mean_is_what_is_drawn_on_average() {
        for service in [Service::Exponential(ms(5)), Service::Bimodal(ms(2), ms(50), 10)] {
            let mut dice = Rng::with_seed(7);
            let sum: Duration = (0..100_000).map(|_| service.draw(&mut dice)).sum();
            let ratio = sum.as_secs_f64() / 100_000.0 / service.mean().as_secs_f64();
            assert!((ratio - 1.0).abs() < 0.03, "{service:?}: {ratio}");
        }
    }
}
