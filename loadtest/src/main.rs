//! Measures a service of TCP or UDP from outside: closed- and open-loop clients, and backends to measure against.
//!
//! It shares no code with what it measures. See `loadtest --help` and the README.

mod alarm;
mod backend;
mod cli;
mod client;
mod compare;
mod descriptors;
mod dice;
mod failure;
mod frame;
mod interrupt;
mod machine;
mod pattern;
mod pinning;
mod process;
mod report;
mod schedule;
mod tally;
mod udp;
mod versus;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use self::{cli::Command, client::Run, interrupt::Stop, report::Report};

/// As a shell tells it of a program that SIGINT ended: 128 and the signal.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let done = match cli::parse() {
        Command::Backend(backend) => backend::run(&backend).map(|()| ExitCode::SUCCESS),
        Command::DatagramBackend(backend) => backend::run_datagrams(&backend).map(|()| ExitCode::SUCCESS),
        Command::Udp { run, json } => udp::run(&run, json),
        Command::Client { run, json } => measure(&run, json),
        Command::Compare(plan) => compare::run(&plan),
        Command::Page(result) => draw_page(&result),
        Command::Scenarios => list_scenarios().map(|()| ExitCode::SUCCESS),
        Command::Versus(plan) => versus::run(&plan),
        Command::Pinned(pinned) => Err(pinned.become_it()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn measure(run: &Run, json: bool) -> io::Result<ExitCode> {
    let outcome = client::run(run, &Stop::on_signals()?)?;
    let report = Report::new(run, &outcome);
    let text = if json { report.to_json() + "\n" } else { report.to_string() };
    io::stdout().write_all(text.as_bytes())?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn draw_page(result: &Path) -> io::Result<ExitCode> {
    io::stdout().write_all(compare::draw_anew(result)?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn list_scenarios() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for scenario in compare::Scenario::all() {
        writeln!(out, "{:<26}{}", scenario.name, scenario.description)?;
    }
    Ok(())
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
