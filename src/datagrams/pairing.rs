//! Pairing: which reply answers which request, as far as that can be told, and when a session is complete. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// Requests that wait for their first reply, at most; what comes beyond that is not measured.
const WAITING_MAX: usize = 64;

/// The requests and replies of one session.
#[derive(Debug)]
pub(super) struct Pairing {
    /// Replies to each request, if that is known.
    responses: Option<u32>,
    requests: u64,
    replies: u64,
    /// When those were made that have had no reply; without a known number of replies, the first since the last reply.
    asked: VecDeque<Duration>,
}

impl Pairing {
    pub(super) fn new(responses: Option<u32>) -> Pairing {
        Pairing { responses, requests: 0, replies: 0, asked: VecDeque::new() }
    }

    /// So many requests go out. Says whether the backend owes a reply only since now.
    pub(super) fn ask(&mut self, count: usize, now: Duration) -> bool {
        self.requests += count as u64;
        let owed_before = !self.asked.is_empty();
        let room = match self.responses {
            Some(0) => 0,
            Some(_) => WAITING_MAX.saturating_sub(self.asked.len()),
            None => usize::from(!owed_before),
        };
        self.asked.extend(std::iter::repeat_n(now, count.min(room)));
        !owed_before && !self.asked.is_empty()
    }

    /// So many replies have come. Gives the moment of each request that was answered by that, one after the other.
    pub(super) fn reply(&mut self, count: usize, mut answered: impl FnMut(Duration)) {
        for _ in 0..count {
            let is_first = match self.responses {
                None => true,
                // With fewer requests noted than there were, the rest cannot be told apart.
                Some(each) => self.replies.is_multiple_of(u64::from(each.max(1))),
            };
            self.replies += 1;
            if is_first && let Some(asked) = self.asked.pop_front() {
                answered(asked);
            }
        }
    }

    /// Since when a reply is owed.
    pub(super) fn owed(&self) -> Option<Duration> {
        self.asked.front().copied()
    }

    /// Whether all replies have come that are to come.
    pub(super) fn is_complete(&self) -> bool {
        self.responses.is_some_and(|each| self.replies >= u64::from(each) * self.requests)
    }

    /// Whether no reply came although one was to come.
    pub(super) fn is_unanswered(&self) -> bool {
        self.replies == 0 && self.requests > 0 && self.responses.is_some_and(|each| each > 0)
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    pub(super) fn replies(&self) -> u64 {
        self.replies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn answered(pairing: &mut Pairing, count: usize) -> Vec<Duration> {
        let mut found = Vec::new();
        pairing.reply(count, |asked| found.push(asked));
        found
    }

    #[test]
    fn without_a_known_number_the_first_reply_answers_the_first_request() {
        let mut pairing = Pairing::new(None);
        assert!(pairing.ask(1, at(1)));
        assert!(!pairing.ask(1, at(2)));
        assert_eq!(answered(&mut pairing, 2), [at(1)]);
        assert!(pairing.ask(1, at(5)));
        assert_eq!(answered(&mut pairing, 1), [at(5)]);
        assert!(!pairing.is_complete() && !pairing.is_unanswered());
    }

    #[test]
    fn with_a_known_number_each_request_has_its_reply() {
        let mut pairing = Pairing::new(Some(2));
        pairing.ask(1, at(1));
        pairing.ask(1, at(2));
        assert!(pairing.is_unanswered());
        assert_eq!(answered(&mut pairing, 1), [at(1)]);
        assert!(answered(&mut pairing, 1).is_empty());
        assert!(!pairing.is_complete());
        assert_eq!(answered(&mut pairing, 2), [at(2)]);
        assert!(pairing.is_complete() && pairing.owed().is_none());
    }

    #[test]
    fn where_no_reply_is_to_come_none_is_owed() {
        let mut pairing = Pairing::new(Some(0));
        assert!(!pairing.ask(1, at(1)));
        assert!(pairing.is_complete() && !pairing.is_unanswered() && pairing.owed().is_none());
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut pairing = Pairing::new(Some(1));
        for millis in 0..1_000 {
            pairing.ask(1, at(millis));
        }
        assert_eq!(pairing.asked.len(), WAITING_MAX);
        assert_eq!(answered(&mut pairing, 1_000).len(), WAITING_MAX);
        assert!(pairing.is_complete());
    }
}
