//! The model: scenarios run through the real choosing, with a virtual clock and modelled backends.
//!
//! It tells how the algorithms differ under the same load, in seconds instead of minutes and the same each time. It tells
//! nothing about the network, the kernel or how fast ringway is.

mod backend;
mod report;
mod scenario;
mod world;

pub use report::table;
pub use scenario::{Plan, Scenario, TROUBLE_AT};
pub use world::{Run, run};
