//! The command as it is used: the real binary over real sockets on free ports.

mod backends;
mod closed;
mod command;
mod compare;
mod open;
mod peer;
mod udp;
mod usage;
mod versus;
