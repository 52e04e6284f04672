//! `ringway replay`: the algorithms with recorded arrivals.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::printing::print;
use super::{WRONG, word};
use crate::config::{Algorithm, Choice as _};
use crate::model::replay;

const REPLAY_EXAMPLES: &str = "\
Examples:
  ringway replay record
  ringway replay record record.1 record.2 --algorithms round-robin,least-response-time
  ringway replay record --pool api --speed 2

A file is written while `ringway run` has server.record in its configuration. Files of the same \
run may be given together, in any order.

Tables:
  as recorded  what the record tells of the same sessions
  FIRST BYTE   from a client's arrival to its backend, and from its request to the first byte
  SESSION      from a client's arrival to the end of its session
  SHARES       QUEUED: waited for a backend with room; FAILED: served by nobody; AT ONCE: the
               most sessions that one backend had; FAIRNESS: Jain's index of sessions by weight,
               1 is even; then the part of the sessions that each backend served

The same seed gives the same text. What this can tell and what not stands below the tables.";

/// `ringway replay`
#[derive(Debug, Clone, Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub struct ReplayArgs {
    /// Files of a record
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Which algorithms, with commas between them; all unless some are named
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = word::<Algorithm>())]
    pub algorithms: Vec<Algorithm>,
    /// The pool whose sessions are replayed; needed if several had some
    #[arg(long, value_name = "NAME")]
    pub pool: Option<String>,
    /// What the dice of backends and algorithms come from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// How many times as fast clients come as they did, 0.01 to 100
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
}

fn speed(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|speed| (0.01..=100.0).contains(speed));
    number.ok_or_else(|| String::from("write a number from 0.01 to 100"))
}

/// Runs recorded arrivals with each algorithm and prints what came of it.
pub fn replay(args: &ReplayArgs) -> ExitCode {
    let shows_progress = io::stderr().is_terminal();
    let told = |algorithm: Algorithm| {
        if shows_progress {
            eprint!("\r\x1b[Kreplay: {} ...", algorithm.word());
        }
    };
    let request = replay::Request {
        files: &args.files,
        pool: args.pool.as_deref(),
        algorithms: if args.algorithms.is_empty() { Algorithm::ALL } else { &args.algorithms },
        seed: args.seed,
        speed: args.speed,
    };
    let table = replay::table(&request, told);
    if shows_progress {
        eprint!("\r\x1b[K");
    }
    match table {
        Ok(table) => print(&table).map_or_else(|code| code, |_| ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(WRONG)
        }
    }
}
