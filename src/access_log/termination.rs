//! Termination: how a session ended, in the two letters of HAProxy. Pure.
//!
//! The first says who or what ended it, the second how far it had come.

use crate::end::End;
use crate::entries::{Entry, Reached};

/// Both letters.
pub(super) fn termination(entry: &Entry) -> [u8; 2] {
    let who = who(entry);
    let when = match (who, entry.reached) {
        (b'-', _) => b'-',
        (_, Reached::Greeting) => b'R',
        (_, Reached::Queue) => b'Q',
        (_, Reached::Connect) => b'C',
        (_, Reached::Data) => b'D',
    };
    [who, when]
}

fn who(entry: &Entry) -> u8 {
    match entry.end {
        End::Complete => b'-',
        End::ClientReset => b'C',
        End::BackendReset | End::NoBackend => b'S',
        End::QueueFull | End::LifetimeMax | End::Unrouted | End::Evicted => b'P',
        End::ProxyUntrusted | End::ProxyMalformed | End::Refused => b'P',
        End::ProxyTimeout => b'c',
        End::QueueTimeout | End::NoReply => b's',
        End::ConnectFailed if entry.unanswered => b's',
        End::ConnectFailed => b'S',
        End::NoResources => b'R',
        End::IdleTimeout | End::HalfClosedTimeout if entry.unanswered => b's',
        End::IdleTimeout | End::HalfClosedTimeout => b'c',
        End::BackendDown => b'D',
        End::BackendRemoved | End::Killed => b'K',
        End::Drained => b'K',
        End::Panicked => b'I',
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::testing::entry;
    use super::*;

    #[test]
    fn each_end_has_its_letters() {
        use Reached::{Connect, Data, Greeting, Queue};
        for (end, reached, unanswered, letters) in [
            (End::Complete, Data, false, "--"),
            (End::ClientReset, Greeting, false, "CR"),
            (End::ClientReset, Queue, false, "CQ"),
            (End::Unrouted, Greeting, false, "PR"),
            (End::ClientReset, Connect, false, "CC"),
            (End::ClientReset, Data, false, "CD"),
            (End::BackendReset, Data, false, "SD"),
            (End::NoBackend, Connect, false, "SC"),
            (End::QueueFull, Queue, false, "PQ"),
            (End::QueueTimeout, Queue, false, "sQ"),
            (End::ConnectFailed, Connect, false, "SC"),
            (End::ConnectFailed, Connect, true, "sC"),
            (End::NoResources, Connect, false, "RC"),
            (End::IdleTimeout, Data, false, "cD"),
            (End::IdleTimeout, Data, true, "sD"),
            (End::HalfClosedTimeout, Data, false, "cD"),
            (End::HalfClosedTimeout, Data, true, "sD"),
            (End::LifetimeMax, Queue, false, "PQ"),
            (End::LifetimeMax, Data, false, "PD"),
            (End::BackendDown, Data, false, "DD"),
            (End::BackendRemoved, Data, false, "KD"),
            (End::Killed, Data, false, "KD"),
            (End::Drained, Data, false, "KD"),
            (End::NoReply, Data, true, "sD"),
            (End::Evicted, Data, false, "PD"),
            (End::Panicked, Connect, false, "IC"),
            (End::ProxyUntrusted, Greeting, false, "PR"),
            (End::ProxyTimeout, Greeting, false, "cR"),
            (End::ProxyMalformed, Greeting, false, "PR"),
            (End::Drained, Greeting, false, "KR"),
        ] {
            let found = termination(&Entry { end, reached, unanswered, ..entry() });
            assert_eq!(str::from_utf8(&found), Ok(letters), "{end:?} {reached:?}");
        }
    }
}
