//! The command line of the clients of TCP: `loadtest closed` and `loadtest open`.

use std::{io::IsTerminal, net::SocketAddr, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    errors::Errors,
    values::{CONNECTIONS_MAX, DEADLINE_MAX, DURATION_MAX, THREADS_MAX, duration, rate, size, target},
};
use crate::{
    client::{Exchange, Load, Protocol, Run},
    frame::{DELAY_MAX, HEAD_LEN, LENGTH_MAX},
    schedule::{Arrivals, Timetable},
};

/// What both kinds of client take.
#[derive(Debug, Args)]
struct TypedClient {
    /// Where to connect to, as host:port
    #[arg(long, value_name = "ADDRESS", value_parser = target)]
    target: SocketAddr,
    /// Requests start, or in an open loop are due, within this time
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Send for this long before --duration begins, without measuring: opening connections is work of its own
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    warm_up: Duration,
    /// No more requests than this, over all connections, those of the warm-up included
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// What the target speaks
    #[arg(long, default_value = "reply")]
    protocol: Protocol,
    /// Bytes of a request, for example 100, 64KiB or 10MiB
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = size)]
    request_size: u64,
    /// Bytes of a reply [default: 64; with --protocol echo always the request]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    reply_size: Option<u64>,
    /// Service time that each request asks a reply backend for, on top of the backend's own
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    request_delay: Duration,
    /// A request that is not answered in this time has failed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    deadline: Duration,
    /// A connect that takes longer has failed
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    connect_timeout: Duration,
    /// Decides the bytes of the requests, and in an open loop the arrivals
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Threads, each with a runtime and a share of the connections
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Tell each second on stderr how it goes; auto: on a terminal
    #[arg(
        long, value_name = "WHEN", default_value = "auto", default_missing_value = "always", num_args = 0..=1,
        require_equals = true
    )]
    progress: When,
}

/// Closed loop: each connection sends its next request when the last is answered
#[derive(Debug, Args)]
pub(super) struct TypedClosed {
    /// Connections at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    connections: usize,
    /// Close a connection after this many requests and open another; 1 is one request per connection
    #[arg(long, value_name = "N")]
    per_connection: Option<u64>,
    #[command(flatten)]
    client: TypedClient,
}

/// Open loop: requests start on a schedule, whatever the server does; times count from the intended start
#[derive(Debug, Args)]
pub(super) struct TypedOpen {
    /// Requests a second, for example 2000 or 2000/s
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: f64,
    /// Most requests outstanding, each on a connection; what comes beyond is not sent, and counted
    #[arg(long, value_name = "MAX", default_value_t = 512)]
    connections: usize,
    /// How arrivals are spread over time
    #[arg(long, value_name = "HOW", default_value = "poisson")]
    arrivals: Arrivals,
    /// Open a connection for each request instead of using one again
    #[arg(long)]
    new_connections: bool,
    #[command(flatten)]
    client: TypedClient,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

impl TypedClosed {
    pub(super) fn json(&self) -> bool {
        self.client.json
    }

    pub(super) fn meaning(self) -> Result<Run, Vec<String>> {
        let mut errors = Errors::default();
        errors.at_least_one("--per-connection", self.per_connection.unwrap_or(1));
        let load = Load::Closed {
            requests_max: self.client.requests.unwrap_or(u64::MAX),
            requests_per_connection: self.per_connection.unwrap_or(u64::MAX),
        };
        self.client.meaning(load, self.connections, errors)
    }
}

impl TypedOpen {
    pub(super) fn json(&self) -> bool {
        self.client.json
    }

    pub(super) fn meaning(self) -> Result<Run, Vec<String>> {
        let timetable = Timetable {
            arrivals: self.arrivals,
            rate: self.rate,
            duration: self.client.warm_up + self.client.duration,
            arrivals_max: self.client.requests.unwrap_or(u64::MAX),
            seed: self.client.seed,
        };
        let load = Load::Open { timetable, new_connections: self.new_connections };
        self.client.meaning(load, self.connections, Errors::default())
    }
}

impl TypedClient {
    fn meaning(self, load: Load, connections: usize, mut errors: Errors) -> Result<Run, Vec<String>> {
        errors.at_least_one("--connections", connections as u64);
        errors.at_most("--connections", connections as u64, CONNECTIONS_MAX);
        errors.at_least_one("--threads", self.threads as u64);
        errors.at_most("--threads", self.threads as u64, THREADS_MAX.min(connections.max(1) as u64));
        errors.at_least_one("--requests", self.requests.unwrap_or(1));
        for (option, time, max) in [
            ("--duration", self.duration, DURATION_MAX),
            ("--deadline", self.deadline, DEADLINE_MAX),
            ("--connect-timeout", self.connect_timeout, DEADLINE_MAX),
        ] {
            errors.not_zero(option, time);
            errors.no_longer(option, time, max);
        }
        errors.no_longer("--warm-up", self.warm_up, DURATION_MAX);
        let exchange = self.exchange(&mut errors);
        errors.descriptors("--connections", connections, self.threads);
        let run = Run {
            target: self.target,
            load,
            exchange,
            others: Vec::new(),
            clients: 0,
            keeps_samples: false,
            connections,
            threads: self.threads,
            warm_up: self.warm_up,
            duration: self.duration,
            deadline: self.deadline,
            connect_timeout: self.connect_timeout,
            seed: self.seed,
            progress: match self.progress {
                When::Auto => std::io::stderr().is_terminal(),
                When::Always => true,
                When::Never => false,
            },
        };
        errors.none_or(run)
    }

    fn exchange(&self, errors: &mut Errors) -> Exchange {
        let reply_len = match self.protocol {
            Protocol::Reply => self.reply_size.unwrap_or(64),
            Protocol::Echo | Protocol::Text => self.request_size,
        };
        match self.protocol {
            Protocol::Reply => {
                if self.request_size < HEAD_LEN as u64 {
                    errors.add(format!(
                        "--request-size: value is too small ({}), at least {HEAD_LEN} is needed for the head of the \
                         reply protocol; or use --protocol echo",
                        self.request_size
                    ));
                }
                errors.no_longer("--request-delay", self.request_delay, DELAY_MAX);
            }
            Protocol::Echo | Protocol::Text => {
                errors.at_least_one("--request-size", self.request_size);
                if self.reply_size.is_some_and(|size| size != self.request_size) {
                    errors.add("--reply-size: an echo is as long as its request; leave it out, or use --protocol reply");
                }
                if !self.request_delay.is_zero() {
                    errors.add("--request-delay: an echo cannot be asked to wait; use --protocol reply");
                }
            }
        }
        errors.at_most("--request-size", self.request_size, LENGTH_MAX);
        errors.at_least_one("--reply-size", reply_len);
        errors.at_most("--reply-size", reply_len, LENGTH_MAX);
        Exchange {
            protocol: self.protocol,
            request_len: self.request_size,
            reply_len,
            delay: self.request_delay,
            text: Arc::default(),
        }
    }
}
