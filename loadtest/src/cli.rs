//! The command line: as typed, then what it means. Wrong values are all told at once, with exit code 2.

mod compare;
mod udp;
mod versus;

use std::{
    ffi::OsString,
    io::IsTerminal,
    net::{SocketAddr, ToSocketAddrs},
    num::ParseIntError,
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};

use self::{
    compare::{Asked, TypedCompare},
    udp::TypedUdp,
    versus::TypedVersus,
};
use crate::{
    backend::{Backend, DatagramBackend, Kind, ServiceTime, Spread},
    client::{Exchange, Load, Protocol, Run},
    descriptors,
    frame::{DELAY_MAX, HEAD_LEN, LENGTH_MAX},
    pinning::Pinned,
    schedule::{Arrivals, Timetable},
    versus::Plan,
};

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Be a backend.
    Backend(Backend),
    /// Be a backend of datagrams.
    DatagramBackend(DatagramBackend),
    /// Send datagrams and report.
    Udp {
        /// What to send.
        run: Box<crate::udp::Run>,
        /// The report as JSON.
        json: bool,
    },
    /// Send requests and report.
    Client {
        /// What to send.
        run: Run,
        /// The report as JSON.
        json: bool,
    },
    /// Compare algorithms.
    Compare(Box<crate::compare::Plan>),
    /// Draw the page of a comparison anew, from this file.
    Page(PathBuf),
    /// List the scenarios.
    Scenarios,
    /// Compare ringway with others.
    Versus(Plan),
    /// Become another program, on some cores.
    Pinned(Pinned),
}

/// Reads the command line; tells what is wrong with it and exits if it cannot be done.
pub(crate) fn parse() -> Command {
    let (name, meant) = match Typed::parse().command {
        TypedCommand::Backend(typed) => ("backend", typed.meaning()),
        TypedCommand::Closed(typed) => {
            let json = typed.client.json;
            ("closed", typed.meaning().map(|run| Command::Client { run, json }))
        }
        TypedCommand::Open(typed) => {
            let json = typed.client.json;
            ("open", typed.meaning().map(|run| Command::Client { run, json }))
        }
        TypedCommand::Udp(typed) => {
            let json = typed.json;
            ("udp", typed.meaning().map(|run| Command::Udp { run: Box::new(run), json }))
        }
        TypedCommand::Compare(typed) => (
            "compare",
            typed.meaning().map(|asked| match asked {
                Asked::List => Command::Scenarios,
                Asked::Compare(plan) => Command::Compare(plan),
            }),
        ),
        TypedCommand::Page(TypedPage { result }) => ("page", Ok(Command::Page(result))),
        TypedCommand::Versus(typed) => ("versus", typed.meaning().map(Command::Versus)),
        TypedCommand::Pinned(TypedPinned { cores: TypedCores(cores), parent, command }) => {
            ("pinned", Ok(Command::Pinned(Pinned { cores, parent, command })))
        }
    };
    meant.unwrap_or_else(|errors| {
        let mut command = Typed::command();
        command.build();
        let command = command.find_subcommand_mut(name).expect("it was just parsed");
        command.error(ErrorKind::ValueValidation, errors.join("\nerror: ")).exit()
    })
}

/// Measures a service of TCP or UDP from outside
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, after_help = EXAMPLES, after_long_help = EXAMPLES)]
struct Typed {
    #[command(subcommand)]
    command: TypedCommand,
}

#[derive(Debug, Subcommand)]
enum TypedCommand {
    #[command(after_help = BACKEND_EXAMPLES)]
    Backend(TypedBackend),
    #[command(after_help = CLOSED_EXAMPLES)]
    Closed(TypedClosed),
    #[command(after_help = OPEN_EXAMPLES)]
    Open(TypedOpen),
    #[command(after_help = UDP_EXAMPLES)]
    Udp(TypedUdp),
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(TypedCompare),
    #[command(after_help = PAGE_EXAMPLES)]
    Page(TypedPage),
    #[command(after_help = VERSUS_EXAMPLES)]
    Versus(TypedVersus),
    #[command(hide = true)]
    Pinned(TypedPinned),
}

/// Become a program on some cores, and end with who asked for it; what others here start their programs with
#[derive(Debug, Args)]
struct TypedPinned {
    /// Where to run
    cores: TypedCores,
    /// Process that asks
    parent: u32,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Numbers with commas between them, as one argument.
#[derive(Debug, Clone)]
struct TypedCores(Vec<usize>);

impl FromStr for TypedCores {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// Be a server to measure against, until SIGTERM or SIGINT; then print totals
#[derive(Debug, Args)]
struct TypedBackend {
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

/// Draw the page of a comparison anew from the JSON that was kept, and print it as HTML
#[derive(Debug, Args)]
struct TypedPage {
    /// The JSON that loadtest compare has kept
    #[arg(value_name = "RESULT.json")]
    result: PathBuf,
}

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
struct TypedClosed {
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
struct TypedOpen {
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

impl TypedBackend {
    fn meaning(self) -> Result<Command, Vec<String>> {
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
        errors.at_most("--replies", self.replies.into(), udp::REPLIES_MAX);
        errors.at_most("--size", self.size.unwrap_or(0), crate::udp::DATAGRAM_MAX as u64);
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

impl TypedClosed {
    fn meaning(self) -> Result<Run, Vec<String>> {
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
    fn meaning(self) -> Result<Run, Vec<String>> {
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

/// What is wrong with the values, all of it.
#[derive(Debug, Default)]
struct Errors(Vec<String>);

impl Errors {
    fn add(&mut self, error: impl Into<String>) {
        self.0.push(error.into());
    }

    fn at_least_one(&mut self, option: &str, value: u64) {
        if value == 0 {
            self.add(format!("{option}: value is too small (0), at least 1 is needed"));
        }
    }

    fn at_most(&mut self, option: &str, value: u64, max: u64) {
        if value > max {
            self.add(format!("{option}: value is too large ({value}), at most {max} is allowed"));
        }
    }

    fn not_zero(&mut self, option: &str, time: Duration) {
        if time.is_zero() {
            self.add(format!("{option}: must be longer than 0s"));
        }
    }

    fn no_longer(&mut self, option: &str, time: Duration, max: Duration) {
        if time > max {
            let (time, max) = (humantime::format_duration(time), humantime::format_duration(max));
            self.add(format!("{option}: too long ({time}), at most {max} is allowed"));
        }
    }

    /// Last of all, as it changes the limit of the process.
    fn descriptors(&mut self, option: &str, connections: usize, threads: usize) {
        if self.0.is_empty()
            && let Err(error) = descriptors::reserve(option, connections as u64, threads as u64)
        {
            self.add(error);
        }
    }

    fn none_or<T>(self, meaning: T) -> Result<T, Vec<String>> {
        if self.0.is_empty() { Ok(meaning) } else { Err(self.0) }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for example 10s, 500ms or 250us"))
}

fn size(text: &str) -> Result<u64, String> {
    let size = text
        .parse::<ByteSize>()
        .map_err(|error| format!("{error}; write for example 100, 64KiB or 10MiB"))?;
    Ok(size.as_u64())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text
        .strip_suffix("/s")
        .unwrap_or(text)
        .parse()
        .map_err(|_| "not a rate; write for example 2000 or 2000/s".to_owned())?;
    if rate.is_finite() && (RATE_MIN..=RATE_MAX).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("from {RATE_MIN} to {RATE_MAX} requests a second are allowed"))
    }
}

fn target(text: &str) -> Result<SocketAddr, String> {
    let mut addresses =
        text.to_socket_addrs().map_err(|error| format!("{error}; write for example 127.0.0.1:9000"))?;
    addresses.next().ok_or_else(|| "the name has no address".to_owned())
}

fn value_name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

const CONNECTIONS_MAX: u64 = 1_000_000;
const THREADS_MAX: u64 = 64;
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
const DEADLINE_MAX: Duration = Duration::from_secs(1800);
const RATE_MIN: f64 = 0.001;
const RATE_MAX: f64 = 10_000_000.0;

const EXAMPLES: &str = "\
Examples:
  loadtest backend reply --listen 127.0.0.1:9000
  loadtest closed --target 127.0.0.1:9000 --connections 64 --duration 10s
  loadtest open --target 127.0.0.1:9000 --rate 2000/s --duration 10s
  loadtest backend udp --listen 127.0.0.1:9001
  loadtest udp --target 127.0.0.1:9001 --clients 64
  loadtest compare --scenario one-slow
  loadtest versus --quick

Exit code: 0 if every request was sent and answered, 1 if not, 2 for wrong usage";

const BACKEND_EXAMPLES: &str = "\
Examples:
  loadtest backend reply --listen 127.0.0.1:9000
  loadtest backend reply --listen 127.0.0.1:9001 --name slow --delay 5ms --delay-spread exponential
  loadtest backend echo --listen 127.0.0.1:0";

const CLOSED_EXAMPLES: &str = "\
Examples:
  loadtest closed --target 127.0.0.1:9000 --connections 64                      small requests
  loadtest closed --target 127.0.0.1:9000 --connections 4 --reply-size 10MiB    bulk
  loadtest closed --target 127.0.0.1:9000 --connections 32 --per-connection 1   churn

Exit code: 0 if every request was answered, 1 if not, 2 for wrong usage";

const OPEN_EXAMPLES: &str = "\
Examples:
  loadtest open --target 127.0.0.1:9000 --rate 2000/s
  loadtest open --target 127.0.0.1:9000 --rate 500 --new-connections --arrivals uniform --json

Exit code: 0 if every request was sent and answered, 1 if not, 2 for wrong usage";

const UDP_EXAMPLES: &str = "\
Examples:
  loadtest udp --target 127.0.0.1:9001 --clients 64                                 closed loop
  loadtest udp --target 127.0.0.1:9001 --clients 1000 --rate 20000/s --size 1200    open loop
  loadtest udp --target 127.0.0.1:9001 --clients 1000000 --from 127.0.0.0/8 --rate 100000/s --timeout 1s

Exit code: 0 if every datagram was sent and answered as it should be, 1 if not, 2 for wrong usage";

const COMPARE_EXAMPLES: &str = "\
Examples:
  loadtest compare --list                                             the scenarios
  loadtest compare --scenario one-slow                                all algorithms, under three minutes
  loadtest compare --scenario equal --algorithms least-connections,power-of-two --repeats 10
  loadtest compare --scenario one-slow --ramp 500-6000 --algorithms round-robin,least-response-time
  loadtest compare --scenario ./mine.toml                             one of your own: copy one from loadtest/scenarios
  loadtest compare --backend 10.0.0.1:80,10.0.0.2:80 --send 'GET / HTTP/1.0\\r\\n\\r\\n'

Exit code: 0 if sessions were answered, whatever came of it; 1 if none was; 2 for wrong usage; 130 if interrupted";

const PAGE_EXAMPLES: &str = "\
Examples:
  loadtest page result.json > page.html

Exit code: 0 if the page was drawn, 1 if not, 2 for wrong usage";

const VERSUS_EXAMPLES: &str = "\
Examples:
  loadtest versus --quick                                     does everything work?
  loadtest versus                                             all of it, about fifteen minutes
  loadtest versus --work small,churn-32 --peers nginx
  loadtest versus --udp                                       datagrams, beside nginx
  loadtest versus --variant 'large=buffer_size = \"64KiB\"'   two settings
  loadtest versus --variant old@/tmp/ringway-before           two builds

Exit code: 0 if every cell is valid, whatever the targets; 1 if not; 2 for wrong usage; 130 if interrupted";
