//! The ringway command: arguments in, exit status out.

use std::io::IsTerminal;
use std::process::ExitCode;

use ringway::admin;
use ringway::cli::{self, Command};
use ringway::config::{Config, Errors, LogLevel};
use ringway::output::{self, Output};
use ringway::{demo, journal, server};
use tracing_appender::non_blocking::NonBlocking;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrong flags or a wrong configuration; clap uses the same.
const WRONG: u8 = 2;
/// The kernel does not offer io_uring to this process.
const NO_RING: u8 = 3;

fn main() -> ExitCode {
    let result = match cli::parse().command {
        Command::Check(args) => return cli::check(&args),
        Command::Operate(operation) => return cli::operate(&operation),
        Command::Simulate(args) => return cli::simulate(&args),
        Command::Replay(args) => return cli::replay(&args),
        Command::Run(args) => {
            let source = args.source();
            let (config, doubts) = match args.config() {
                Ok((config, doubts)) => (Ok(config), doubts),
                Err(errors) => (Err(errors), Vec::new()),
            };
            with(config, |config, output| {
                doubts.iter().for_each(|doubt| tracing::warn!("{doubt}"));
                server::run(config, source, output)
            })
        }
        Command::Completions(args) => return cli::completions(&args),
        Command::Man(args) => return cli::man(&args),
        Command::Demo(args) => with(args.config(), demo::run),
    };
    let code = result.map_or_else(|code| code, |()| 0);
    // Not by returning: threads of ours may still hold operations in flight, and leaving must not wait for them.
    std::process::exit(i32::from(code))
}

fn with(
    config: Result<Config, Errors>,
    run: impl FnOnce(Config, Output) -> Result<(), server::Error>,
) -> Result<(), u8> {
    let config = config.map_err(|errors| {
        eprint!("{errors}");
        WRONG
    })?;
    let (output, _flush_output) = Output::standard();
    let (log, _flush_log) = output::log();
    start_logging(config.server.log, log);
    run(config, output).map_err(|error| {
        tracing::error!("{error}");
        match error {
            server::Error::Ring(_) => NO_RING,
            server::Error::Lists(_)
            | server::Error::Check(_)
            | server::Error::Admin(admin::Unusable::Token(..))
            | server::Error::Record(_)
            | server::Error::AccessLog(_)
            | server::Error::Privileges(_) => WRONG,
            server::Error::Interrupted { signal, .. } => 128 + signal as u8,
            _ => 1,
        }
    })
}

fn start_logging(level: LogLevel, log: NonBlocking) {
    let level = match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(log);
    if journal::is_read() {
        log.event_format(journal::Lines::default()).init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).with_target(false).init();
    }
}
