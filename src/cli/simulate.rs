//! `ringway simulate`: the algorithms in modelled situations.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::printing::{Reader, print};
use super::word;
use crate::config::{Algorithm, Choice as _};
use crate::model::{self, Scenario};

const SIMULATE_EXAMPLES: &str = "\
Examples:
  ringway simulate
  ringway simulate one-slow one-stalls
  ringway simulate one-slow --algorithms least-connections,least-response-time --seed 7

Scenarios:
  equal        four backends that are all the same
  one-slow     one of four takes ten times as long
  one-stalls   one of four stands still from second 10 to 15
  one-returns  one of four is dead from second 10 to 20, and returns
  bimodal      one request in ten takes 25 times as long, wherever it goes
  thousand     a thousand backends, of which one in ten takes five times as long

Columns:
  P50 to MAX   percentiles of the time from a client's arrival to the end of its session
  MOST         the most sessions that one backend had at once
  FAILED       sessions that nobody served, or that died with their backend
  TROUBLED     the part of the picks that went to the backends with the trouble

What chooses is the real thing; the clock, the clients and the backends are a model. So it \
tells how the algorithms differ under the same load, and nothing about the network or how \
fast ringway is. The same seed gives the same table.";

/// `ringway simulate`
#[derive(Debug, Clone, Args)]
#[command(after_help = SIMULATE_EXAMPLES)]
pub struct SimulateArgs {
    /// Which situations; all unless some are named
    #[arg(value_name = "SCENARIO", value_parser = word::<Scenario>())]
    pub scenarios: Vec<Scenario>,
    /// Which algorithms, with commas between them; all unless some are named
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = word::<Algorithm>())]
    pub algorithms: Vec<Algorithm>,
    /// What the dice of clients and backends come from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// For how many seconds of the model clients come; troubles begin after ten
    #[arg(long, value_name = "NUMBER", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
}

/// Runs each algorithm through each situation and prints a table for each of these.
pub fn simulate(args: &SimulateArgs) -> ExitCode {
    let or_all = |some: &[Scenario]| if some.is_empty() { Scenario::ALL } else { some }.to_vec();
    let algorithms = if args.algorithms.is_empty() { Algorithm::ALL } else { &args.algorithms };
    let shows_progress = io::stderr().is_terminal();
    for (index, scenario) in or_all(&args.scenarios).into_iter().enumerate() {
        let told = |algorithm: Algorithm| {
            if shows_progress {
                eprint!("\r\x1b[K{}: {} ...", scenario.word(), algorithm.word());
            }
        };
        let seconds = Duration::from_secs(args.seconds);
        let table = model::table(scenario, algorithms, seconds, args.seed, told);
        if shows_progress {
            eprint!("\r\x1b[K");
        }
        let gap = if index == 0 { "" } else { "\n" };
        match print(&format!("{gap}{table}")) {
            Ok(Reader::Listens) => {}
            Ok(Reader::Left) => break,
            Err(code) => return code,
        }
    }
    ExitCode::SUCCESS
}
