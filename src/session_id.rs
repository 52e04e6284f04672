//! Session id: which session of this process, in one word.

use std::fmt;
use std::str::FromStr;

/// The worker that serves a session, and a number that it has there. None is given twice while the process lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

impl SessionId {
    /// Bits of the number that a session has at its worker: at a million sessions a second they last for nine years.
    pub const NUMBER_BITS: u32 = 48;

    /// The session of this number at this worker.
    pub fn new(worker: usize, number: u64) -> SessionId {
        debug_assert!(number >> SessionId::NUMBER_BITS == 0);
        SessionId((worker as u64) << SessionId::NUMBER_BITS | number)
    }

    /// Who serves it.
    pub fn worker(self) -> usize {
        (self.0 >> SessionId::NUMBER_BITS) as usize
    }

    /// Which one of that worker's it is, from 1.
    pub fn number(self) -> u64 {
        self.0 & ((1 << SessionId::NUMBER_BITS) - 1)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.worker(), self.number())
    }
}

impl FromStr for SessionId {
    type Err = ();

    fn from_str(text: &str) -> Result<SessionId, ()> {
        let (worker, number) = text.split_once('-').ok_or(())?;
        let (worker, number) = (worker.parse::<u16>().map_err(drop)?, number.parse::<u64>().map_err(drop)?);
        if number >> SessionId::NUMBER_BITS != 0 {
            return Err(());
        }
        Ok(SessionId::new(usize::from(worker), number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_come_back() {
        let id = SessionId::new(1_023, (1 << SessionId::NUMBER_BITS) - 1);
        assert_eq!((id.worker(), id.number()), (1_023, 281_474_976_710_655));
        assert_eq!(SessionId::new(3, 17).to_string(), "3-17");
        assert_eq!("3-17".parse(), Ok(SessionId::new(3, 17)));
        for text in ["", "xx", "3", "3-", "-17", "70000-1", "0-281474976710656", "0--1"] {
            assert_eq!(text.parse::<SessionId>(), Err(()), "{text}");
        }
    }
}
