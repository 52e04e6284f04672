//! One server.

use std::num::NonZeroU32;

use super::Address;

/// `[[pool.backend]]`: one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// What it is called in logs and tables; its address unless named.
    pub name: String,
    /// Where it serves; unique in its pool.
    pub address: Address,
    /// Its share, against the other weights of its pool; 1 to 256.
    pub weight: NonZeroU32,
    /// Serves only when no other can.
    pub backup: bool,
    /// Sessions that it takes at once; `None` is no limit.
    pub max_connections: Option<NonZeroU32>,
    /// Where it is checked, if not where it serves.
    pub check_address: Option<Address>,
}
