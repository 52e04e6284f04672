//! ringway: a layer-4 load balancer for Linux on io_uring.
//!
//! The modules in reading order, from the command to the kernel; `ARCHITECTURE.md` says who may know whom.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod demo;

pub mod health;
pub mod limits;
pub mod output;
pub mod server;
pub mod status;

pub mod end;
pub mod epoch;
pub mod phase;
pub mod stats;
pub mod table;

pub mod balance;
pub mod load;
pub mod pool;

pub mod buffers;
pub mod relay;
pub mod session;
pub mod watch;
pub mod worker;

pub mod net;
pub mod ring;
