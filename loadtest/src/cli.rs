//! The command line: as typed, then what it means. Wrong values are all told at once, with exit code 2.

mod backend;
mod client;
mod compare;
mod errors;
mod udp;
mod values;
mod versus;

use std::{ffi::OsString, num::ParseIntError, path::PathBuf, str::FromStr};

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};

use self::{
    backend::TypedBackend,
    client::{TypedClosed, TypedOpen},
    compare::{Asked, TypedCompare},
    udp::TypedUdp,
    versus::TypedVersus,
};
use crate::{
    backend::{Backend, DatagramBackend},
    client::Run,
    pinning::Pinned,
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
            let json = typed.json();
            ("closed", typed.meaning().map(|run| Command::Client { run, json }))
        }
        TypedCommand::Open(typed) => {
            let json = typed.json();
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

/// Draw the page of a comparison anew from the JSON that was kept, and print it as HTML
#[derive(Debug, Args)]
struct TypedPage {
    /// The JSON that loadtest compare has kept
    #[arg(value_name = "RESULT.json")]
    result: PathBuf,
}

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
