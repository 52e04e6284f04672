//! What ringway does, shown on real sockets: exact bytes, deadlines instead of sleeps.

#![allow(unreachable_pub, reason = "common is shared by several test binaries")]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod access_log;
mod admin;
mod bandwidth;
mod checks;
mod checks_udp;
mod choosing;
mod commands;
mod ejection;
mod failing;
mod health;
mod limits;
mod measured;
mod network;
mod orders;
mod paths;
mod peers;
mod process;
mod proxy_protocol;
mod recording;
mod relaying;
mod reloading;
mod routing;
mod service;
mod shadow;
mod sockets;
mod sources;
mod spans;
mod spreading;
mod stages;
mod tiers;
mod transparent;
mod udp;
mod unix;
mod upgrading;
