//! The ringway command.

use std::process::ExitCode;

use ringway::cli::{self, Command};

fn main() -> ExitCode {
    match cli::parse().command {
        Command::Check(args) => cli::check(&args),
        Command::Run(args) => print(args.config()),
        Command::Demo(args) => print(args.config()),
    }
}

/// Until there is a server: what it would run with.
fn print(config: Result<ringway::config::Config, ringway::config::Errors>) -> ExitCode {
    match config {
        Ok(config) => {
            print!("{config}");
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprint!("{errors}");
            ExitCode::from(2)
        }
    }
}
