//! The model: loads run through the real choosing, with a virtual clock and modelled backends.
//!
//! Scenarios are made up, replays were recorded. Either tells how the algorithms differ under the same load, in seconds
//! instead of minutes and the same each time. Neither tells anything about the network, the kernel or how fast ringway is.

mod backend;
mod choosing;
pub mod replay;
mod report;
mod scenario;
mod world;

pub use report::table;
pub use scenario::{Plan, Scenario, TROUBLE_AT};
pub use world::{Run, run};
