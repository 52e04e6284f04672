//! `loadtest udp`: as typed, then what it means.

use std::{net::SocketAddr, time::Duration};

use clap::Args;

use super::{
    errors::Errors,
    values::{DURATION_MAX, THREADS_MAX, duration, rate, size, target},
};
use crate::{
    schedule::Arrivals,
    udp::{DATAGRAM_MAX, HEAD_LEN, Load, RECORDS_MAX, Run, Sources},
};

/// Datagrams to a service of UDP: a closed loop, or with --rate an open one, in which times count from the intended start
#[derive(Debug, Args)]
pub(super) struct TypedUdp {
    /// Where to send to, as host:port
    #[arg(long, value_name = "ADDRESS", value_parser = target)]
    target: SocketAddr,
    /// How many there are who send, each from a socket, or with --from an address, of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    clients: usize,
    /// The clients' addresses: the first of this network, within 127.0.0.0/8; one socket sends for all of them
    #[arg(long, value_name = "NETWORK")]
    from: Option<Sources>,
    /// Closed loop: datagrams of a client that are not answered yet; with one answered it sends the next
    #[arg(long, value_name = "N", default_value_t = 1)]
    outstanding: usize,
    /// Open loop: datagrams a second, for example 2000 or 2000/s; the clients take turns
    #[arg(long, value_name = "RATE", value_parser = rate, conflicts_with = "outstanding")]
    rate: Option<f64>,
    /// How arrivals are spread over time, in an open loop
    #[arg(long, value_name = "HOW", default_value = "poisson")]
    arrivals: Arrivals,
    /// Bytes of a datagram
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = size)]
    size: u64,
    /// Bytes of an answer [default: as the question]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    reply_size: Option<u64>,
    /// Datagrams that answer one
    #[arg(long, value_name = "N", default_value_t = 1)]
    replies: u16,
    /// A datagram that is not answered in this time is lost
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    timeout: Duration,
    /// Datagrams are sent, or in an open loop are due, within this time
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Send for this long before --duration begins, without measuring
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    warm_up: Duration,
    /// No more datagrams than this, those of the warm-up included
    #[arg(long, value_name = "N")]
    datagrams: Option<u64>,
    /// Decides the bytes, and in an open loop the arrivals
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Threads, each with a share of the clients
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl TypedUdp {
    pub(super) fn meaning(self) -> Result<Run, Vec<String>> {
        let mut errors = Errors::default();
        let reply_size = self.reply_size.unwrap_or(self.size);
        for (option, value, max) in [
            ("--clients", self.clients as u64, self.from.map_or(CLIENTS_MAX, |from| from.count()) as u64),
            ("--outstanding", self.outstanding as u64, OUTSTANDING_MAX),
            ("--size", self.size, DATAGRAM_MAX as u64),
            ("--reply-size", reply_size, DATAGRAM_MAX as u64),
            ("--replies", self.replies.into(), REPLIES_MAX),
            ("--threads", self.threads as u64, THREADS_MAX.min(self.clients.max(1) as u64)),
            ("--datagrams", self.datagrams.unwrap_or(u64::MAX), u64::MAX),
        ] {
            errors.at_least_one(option, value);
            errors.at_most(option, value, max);
        }
        for (option, bytes) in [("--size", self.size), ("--reply-size", reply_size)] {
            if (1..HEAD_LEN as u64).contains(&bytes) {
                errors.add(format!(
                    "{option}: value is too small ({bytes}), at least {HEAD_LEN} is needed for the head, which says \
                     which datagram it is"
                ));
            }
        }
        for (option, time, max) in
            [("--timeout", self.timeout, TIMEOUT_MAX), ("--duration", self.duration, DURATION_MAX)]
        {
            errors.not_zero(option, time);
            errors.no_longer(option, time, max);
        }
        errors.no_longer("--warm-up", self.warm_up, DURATION_MAX);
        self.can_be_remembered(&mut errors);
        if self.from.is_some() && (!self.target.ip().is_loopback() || self.target.is_ipv6()) {
            errors.add("--from: from addresses of the loopback only a target in 127.0.0.0/8 can be reached");
        }
        if self.from.is_none() {
            errors.descriptors("--clients", self.clients, self.threads);
        }
        let load = match self.rate {
            Some(rate) => Load::Open { rate, arrivals: self.arrivals },
            None => Load::Closed { outstanding: self.outstanding },
        };
        errors.none_or(Run {
            target: self.target,
            clients: self.clients,
            sources: self.from,
            load,
            size: self.size as usize,
            reply_size: reply_size as usize,
            replies: self.replies,
            timeout: self.timeout,
            warm_up: self.warm_up,
            duration: self.duration,
            datagrams_max: self.datagrams.unwrap_or(u64::MAX),
            seed: self.seed,
            threads: self.threads,
        })
    }

    /// What waits is remembered, and there is room for so many.
    fn can_be_remembered(&self, errors: &mut Errors) {
        let (option, waiting) = match self.rate {
            Some(rate) => ("--rate", (rate * self.timeout.as_secs_f64()) as u64),
            None => ("--outstanding", (self.clients as u64).saturating_mul(self.outstanding as u64)),
        };
        if waiting > RECORDS_MAX as u64 {
            errors.add(format!(
                "{option}: {waiting} datagrams could be waiting, and at most {RECORDS_MAX} are remembered; lower it, \
                 --clients or --timeout"
            ));
        }
    }
}

const CLIENTS_MAX: usize = 1_000_000;
const OUTSTANDING_MAX: u64 = 4096;
/// An amplifier is not what anybody wants to test with.
pub(super) const REPLIES_MAX: u64 = 1000;
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
