//! ringway: a layer-4 load balancer for Linux on io_uring.
#![deny(unsafe_code)]

pub mod config;
