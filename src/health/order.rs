//! Order: what an operator wants of a backend while ringway runs.

use std::fmt;

use crate::table::{BackendId, Mode};

/// The largest weight.
pub const WEIGHT_MAX: u32 = 256;
/// Orders that may wait for the health thread.
pub const ORDERS_MAX: usize = 1024;

/// What an operator wants of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// That it serves, drains or rests.
    SetMode {
        /// Which one.
        backend: BackendId,
        /// What it is to do.
        mode: Mode,
    },
    /// That its share is another one; 0 is none.
    SetWeight {
        /// Which one.
        backend: BackendId,
        /// At most [`WEIGHT_MAX`].
        weight: u32,
    },
}

/// Why an order is not obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There are fewer backends.
    NoSuchBackend {
        /// The one that was named.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The weight is too large.
    TooHeavy {
        /// The one that was asked for.
        weight: u32,
    },
    /// Too many orders wait.
    Busy,
    /// The health thread has ended.
    Over,
}

impl Order {
    /// Refuses what cannot be obeyed.
    pub fn check(self, backends: usize) -> Result<Order, Refusal> {
        let (Order::SetMode { backend, .. } | Order::SetWeight { backend, .. }) = self;
        let index = backend.index();
        match self {
            _ if index >= backends => Err(Refusal::NoSuchBackend { index, count: backends }),
            Order::SetWeight { weight, .. } if weight > WEIGHT_MAX => Err(Refusal::TooHeavy { weight }),
            order => Ok(order),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoSuchBackend { index, count } => {
                write!(f, "there is no backend number {index}; there are {count}, from 0")
            }
            Refusal::TooHeavy { weight } => {
                write!(f, "weight: value is too large ({weight}), at most {WEIGHT_MAX} is allowed")
            }
            Refusal::Busy => write!(f, "{ORDERS_MAX} orders wait already; try again in a moment"),
            Refusal::Over => write!(f, "ringway is about to end and takes no orders"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_obeyed_is_refused_with_the_bound() {
        let order = |index, weight| Order::SetWeight { backend: BackendId::new(index), weight };
        assert!(order(1, 256).check(2).is_ok() && order(0, 0).check(2).is_ok());
        let refused = |order: Order| order.check(2).unwrap_err().to_string();
        assert_eq!(refused(order(1, 257)), "weight: value is too large (257), at most 256 is allowed");
        assert_eq!(refused(order(2, 1)), "there is no backend number 2; there are 2, from 0");
    }
}
