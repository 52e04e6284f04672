//! `ringway check`: a file, what is understood of it, or every mistake in it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::WRONG;
use super::printing::print;
use crate::config::{self, Config};
use crate::kernel::Settings;
use crate::premises;

const CHECK_EXAMPLES: &str = "\
Examples:
  ringway check --config ringway.toml
  ringway check --config new.toml && mv new.toml ringway.toml

Run it on the machine that is to run ringway: users, groups, interfaces and files that the file names have to be there.
A folder that is not there is a warning, because a service manager may make it at the start.

Exit status: 0 if the file is right, 2 if it is not. Warnings do not change it.";

/// `ringway check`
#[derive(Debug, Clone, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct CheckArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Prints what is understood and what looks odd, or every mistake.
pub fn check(args: &CheckArgs) -> ExitCode {
    match premises::check(&args.config) {
        Ok((config, doubts)) => print_understood(&config, doubts),
        Err(errors) => {
            eprint!("{errors}");
            ExitCode::from(WRONG)
        }
    }
}

fn print_understood(config: &Config, doubts: Vec<String>) -> ExitCode {
    let mut text = config.to_string();
    let warnings = [config::warnings(config), Settings::read().warnings(config), doubts].concat();
    for (index, warning) in warnings.iter().enumerate() {
        text += if index == 0 { "\n" } else { "" };
        text += &format!("warning: {warning}\n");
    }
    print(&text).map_or_else(|code| code, |_| ExitCode::SUCCESS)
}
