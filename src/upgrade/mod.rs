//! Upgrade: another process, from the file of the program as it is now, takes over the listening sockets while this one
//! serves.
//!
//! The old one starts the new one and gives it a copy of every listening socket; closing one that has a queue would reset who
//! waits in it. The new one gets everything ready and accepts nobody. Then it says so; the old one says go; the new one
//! accepts and says so; now the old one accepts nobody any more, and drains. Up to its word the old one can end the new one
//! at any moment, and nobody has been accepted who would be lost. If it dies itself meanwhile, the new one goes on.

mod inherited;
mod message;
mod predecessor;
mod program;
mod successor;

pub use inherited::{Group, Inherited};
pub use predecessor::{Predecessor, Unusable};
pub use program::Program;
pub use successor::{Failure, Successor};

/// The variable that tells a process whose successor it is: the number of the one that started it.
const VARIABLE: &str = "RINGWAY_UPGRADE";
