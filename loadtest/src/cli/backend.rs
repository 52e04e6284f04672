//! The command line of `loadtest backend`.

use std::{net::SocketAddr, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    Command,
    errors::Errors,
    udp::REPLIES_MAX,
    values::{CONNECTIONS_MAX, THREADS_MAX, duration, size, value_name},
};
use crate::{
    backend::{Backend, DatagramBackend, Kind, ServiceTime, Spread},
    frame::DELAY_MAX,
    udp::DATAGRAM_MAX,
};

/// Be a server to measure against, until SIGTERM or SIGINT; then print totals
#[derive(Debug, Args)]
pub(super) struct TypedBackend {
    /// What to do with the bytes
    kind: TypedKind,
    /// Address to listen on; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Name in front of the totals [default: the kind]
    #[arg(long)]
    name: Option<String>,
    /// Service time before a reply (echo: before each piece goes back), for example 250us or 2ms
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    delay: Duration,
    /// udp: of a million datagrams, how many are not answered
    #[arg(long, value_name = "N", default_value_t = 0)]
    drop_ppm: u32,
    /// udp: datagrams that answer one
    #[arg(long, value_name = "N", default_value_t = 1)]
    replies: u16,
    /// udp: bytes of an answer [default: as the question]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    size: Option<u64>,
    /// How service times are spread around --delay
    #[arg(long, value_name = "HOW", default_value = "constant")]
    delay_spread: Spread,
    /// Decides exponential service times, each connection on its own
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Connections served at the same time; more wait in the backlog
    #[arg(long, value_name = "N", default_value_t = 4000)]
    max_connections: usize,
    /// Threads, each with a runtime of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
}

/// The kinds of backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TypedKind {
    /// Sends every byte back, and the end of the stream after the last
    Echo,
    /// Answers each request of the reply protocol with as many bytes as it asks for
    Reply,
    /// Reads and drops
    Sink,
    /// Sends datagrams back
    Udp,
}

impl TypedKind {
    /// `None` is a backend of datagrams.
    fn of_streams(self) -> Option<Kind> {
        match self {
            Self::Echo => Some(Kind::Echo),
            Self::Reply => Some(Kind::Reply),
            Self::Sink => Some(Kind::Sink),
            Self::Udp => None,
        }
    }
}

impl TypedBackend {
    pub(super) fn meaning(self) -> Result<Command, Vec<String>> {
        match self.kind.of_streams() {
            Some(kind) => self.of_streams(kind).map(Command::Backend),
            None => self.of_datagrams().map(Command::DatagramBackend),
        }
    }

    fn of_datagrams(self) -> Result<DatagramBackend, Vec<String>> {
        let mut errors = Errors::default();
        errors.at_least_one("--threads", self.threads as u64);
        errors.at_most("--threads", self.threads as u64, THREADS_MAX);
        errors.no_longer("--delay", self.delay, DELAY_MAX);
        errors.at_most("--drop-ppm", self.drop_ppm.into(), 1_000_000);
        errors.at_least_one("--replies", self.replies.into());
        errors.at_most("--replies", self.replies.into(), REPLIES_MAX);
        errors.at_most("--size", self.size.unwrap_or(0), DATAGRAM_MAX as u64);
        if self.delay_spread != Spread::Constant {
            errors.add("--delay-spread: datagrams are answered in their order, each as late as the last; leave it out");
        }
        errors.none_or(DatagramBackend {
            listen: self.listen,
            name: self.name.unwrap_or_else(|| "udp".to_owned()),
            delay: self.delay,
            drop_ppm: self.drop_ppm,
            replies: self.replies,
            size: self.size.map(|size| size as usize),
            seed: self.seed,
            threads: self.threads,
        })
    }

    fn of_streams(self, kind: Kind) -> Result<Backend, Vec<String>> {
        let mut errors = Errors::default();
        errors.at_least_one("--max-connections", self.max_connections as u64);
        errors.at_most("--max-connections", self.max_connections as u64, CONNECTIONS_MAX);
        errors.at_least_one("--threads", self.threads as u64);
        errors.at_most("--threads", self.threads as u64, THREADS_MAX);
        errors.no_longer("--delay", self.delay, DELAY_MAX);
        for (option, is_given) in [
            ("--drop-ppm", self.drop_ppm != 0),
            ("--replies", self.replies != 1),
            ("--size", self.size.is_some()),
        ] {
            if is_given {
                errors.add(format!(
                    "{option}: only a backend of datagrams can do that; use udp or leave it out"
                ));
            }
        }
        if kind == Kind::Sink && !self.delay.is_zero() {
            errors.add("--delay: a sink never answers, so it has no service time; use echo or reply");
        }
        errors.descriptors("--max-connections", self.max_connections, self.threads);
        let backend = Backend {
            kind,
            listen: self.listen,
            name: self.name.unwrap_or_else(|| value_name(kind)),
            service_time: ServiceTime { mean: self.delay, spread: self.delay_spread, seed: self.seed },
            connections_max: self.max_connections,
            threads: self.threads,
        };
        errors.none_or(backend)
    }
}
