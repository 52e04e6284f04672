//! The command line: what may be typed, a file for each command.
//!
//! Values of settings stay texts here: [`config::from_flags`](crate::config::from_flags) judges them by the rules of the file.

mod check;
mod connection;
mod demo;
mod operating;
mod pages;
mod printing;
mod replay;
mod run;
mod simulate;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::Choice;

pub use check::{CheckArgs, check};
pub use demo::DemoArgs;
pub use operating::{Operation, operate};
pub use pages::{CompletionsArgs, ManArgs, completions, man};
pub use replay::{ReplayArgs, replay};
pub use run::RunArgs;
pub use simulate::{SimulateArgs, simulate};

/// A layer-4 load balancer for Linux on io_uring.
///
/// Accepts TCP connections and the clients of UDP, and passes each to one of several backends, chosen by an algorithm and by
/// what health checks have found out.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, once")]
pub enum Command {
    /// Run with a file, or with flags alone
    Run(RunArgs),
    /// What can be done with one that runs
    #[command(flatten)]
    Operate(Operation),
    /// Check a file: print what is understood, or every mistake in it
    Check(CheckArgs),
    /// Run in front of four small backends of its own, to see it work
    Demo(DemoArgs),
    /// Compare the algorithms in modelled situations, in seconds and without a network
    Simulate(SimulateArgs),
    /// Compare the algorithms with the arrivals that `server.record` has recorded
    Replay(ReplayArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Print the manual, or write its pages into a folder
    Man(ManArgs),
}

const EXAMPLES: &str = "\
Examples:
  ringway demo
  ringway run --listen 0.0.0.0:8000 --backend 10.0.0.1:8080 --backend 10.0.0.2:8080
  ringway check --config ringway.toml
  ringway run --config ringway.toml

And while it runs, with [admin] in its file:
  ringway status
  ringway top
  ringway drain web/a
  ringway reload --dry-run";

/// The exit status of a configuration that is wrong, and of clap for flags that are.
const WRONG: u8 = 2;

/// Reads the command line; on wrong flags, `--help` and `--version` it prints and ends the process.
pub fn parse() -> Cli {
    parsed(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

fn parsed(line: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line).map_err(with_tip)
}

/// clap knows no command that is like one of three letters with two of them swapped.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    if error.get(ContextKind::SuggestedSubcommand).is_some() {
        return error;
    }
    let command = Cli::command();
    let like = command
        .get_subcommands()
        .map(|command| (strsim::osa_distance(typed, command.get_name()), command.get_name()))
        .min()
        .filter(|(distance, name)| *distance <= if name.len() > 4 { 2 } else { 1 });
    if let Some((_, name)) = like {
        let tip = ContextValue::Strings(vec![name.to_owned()]);
        error.insert(ContextKind::SuggestedSubcommand, tip);
    }
    error
}

/// One of the words of a closed set.
fn word<T: Choice + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let find = |word: String| T::ALL.iter().copied().find(|value| value.word() == word);
    PossibleValuesParser::new(T::ALL.iter().map(|value| value.word()))
        .map(move |word| find(word).expect("only its words are let through"))
}

#[cfg(test)]
mod tests {
    use super::run::SETTINGS;
    use super::*;
    use crate::config::{self, Algorithm};
    use crate::manual;
    use clap_complete::Shell;

    fn parsed(line: &str) -> Result<Command, String> {
        let args = line.split(' ').filter(|arg| !arg.is_empty());
        super::parsed(["ringway"].into_iter().chain(args))
            .map(|cli| cli.command)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_flags_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_shell_and_the_manual_know_every_command() {
        let command = Cli::command();
        let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert!(names.contains(&"run"));
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ringway", &mut text);
            let text = String::from_utf8(text).unwrap();
            assert!(names.iter().all(|name| text.contains(name)), "{shell}");
            assert!(text.contains("drain-timeout"), "{shell}");
        }
        let pages = manual::pages(&command);
        for name in names {
            let page = pages.iter().find(|page| page.name == format!("ringway-{name}.1")).unwrap();
            assert!(page.text.len() > 500, "{name}");
            let listed = format!("ringway-{name}(1)").replace('-', r"\-");
            assert!(pages[0].text.contains(&listed), "{name}: {}", pages[0].text);
        }
    }

    #[test]
    fn every_setting_is_refused_beside_a_file() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        let flags: Vec<_> = run.get_arguments().filter_map(|arg| arg.get_long()).collect();
        assert!(flags.len() > SETTINGS.len());
        for flag in flags.into_iter().filter(|flag| !["config", "help", "version"].contains(flag)) {
            let error = parsed(&format!("run --config f --{flag} x")).unwrap_err();
            assert!(error.contains("cannot be used with"), "{flag}: {error}");
        }
    }

    #[test]
    fn run_needs_a_file_or_both_ends() {
        assert!(parsed("run").is_err());
        assert!(parsed("run --listen 127.0.0.1:1").unwrap_err().contains("--backend"));
        assert!(parsed("run --backend 127.0.0.1:1").unwrap_err().contains("--listen"));
        assert!(parsed("run --config f").is_ok());
        assert!(parsed("run --listen 127.0.0.1:1 --backend 127.0.0.1:2").is_ok());
    }

    #[test]
    fn a_slip_in_a_flag_is_answered_with_the_right_one() {
        let error = parsed("run --listen 127.0.0.1:1 --bakend 127.0.0.1:2").unwrap_err();
        assert!(error.contains("a similar argument exists: '--backend'"), "{error}");
    }

    #[test]
    fn a_slip_in_a_command_is_answered_with_the_right_one() {
        for (typed, meant) in
            [("rnu", "run"), ("tpo", "top"), ("kil", "kill"), ("drian", "drain"), ("stauts", "status")]
        {
            let error = parsed(typed).unwrap_err();
            assert!(error.contains(&format!("similar subcommand exists: '{meant}'")), "{typed}: {error}");
        }
        let error = parsed("abcdefg").unwrap_err();
        assert!(!error.contains("tip:"), "{error}");
    }

    #[test]
    fn a_number_that_cannot_be_is_answered_with_its_bounds() {
        for (line, bounds) in [
            ("weight a x", "write a whole number from 0 to 256"),
            ("weight a -1", "write a whole number from 0 to 256"),
            ("weight a 257", "write a whole number from 0 to 256"),
            ("add-backend web 10.0.0.1:1 --weight 300", "write a whole number from 1 to 256"),
            ("add-backend web 10.0.0.1:1 --weight -1", "write a whole number from 1 to 256"),
            ("sessions --limit 0", "write a whole number from 1 to 1000"),
            ("status --timeout 1ms", "write a time from 100ms to 10m"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(bounds), "{line}: {error}");
        }
    }

    #[test]
    fn no_sentence_of_the_help_is_broken_before_the_terminal_breaks_it() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = help.lines().collect();
            for pair in lines.windows(2).filter(|pair| !pair[0].is_empty() && !pair[1].is_empty()) {
                let indented = |line: &str| line.starts_with(' ');
                let is_broken = !indented(pair[0]) && !indented(pair[1]);
                assert!(!is_broken || pair[0].ends_with(['.', ':']), "{}: {pair:?}", command.get_name());
            }
        }
    }

    #[test]
    fn the_demo_has_four_backends_on_consecutive_ports() {
        let Ok(Command::Demo(args)) = parsed("demo --backend-port 9000 --workers 1") else {
            panic!("not a demo")
        };
        let config = args.config().unwrap();
        let ports: Vec<u16> =
            config.pools[0].backends.iter().map(|backend| backend.address.as_ip().unwrap().port()).collect();
        assert_eq!(ports, [9000, 9001, 9002, 9003]);
        assert!(parsed("demo --backend-port 65533").is_err());
    }

    #[test]
    fn the_help_names_every_algorithm() {
        let command = Cli::command();
        for of in ["run", "demo"] {
            let arguments = command.find_subcommand(of).unwrap().get_arguments();
            let help = arguments.filter(|arg| arg.get_id() == "algorithm").find_map(|arg| arg.get_help());
            let help = help.unwrap().to_string();
            let (listed, _) = help.trim_start_matches("How a backend is chosen: ").split_once(" [").unwrap();
            let listed: Vec<&str> = listed.split(", ").flat_map(|words| words.split(" or ")).collect();
            let words: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.word()).collect();
            assert_eq!(listed, words, "{of}");
        }
    }

    #[test]
    fn defaults_in_the_help_are_those_of_the_keys() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        let mut compared = 0;
        for (flag, section, key) in [
            ("algorithm", config::keys::POOL, "algorithm"),
            ("workers", config::keys::SERVER, "workers"),
            ("drain_timeout", config::keys::SERVER, "drain_timeout"),
            ("sessions_max", config::keys::SERVER, "sessions_max"),
            ("accept", config::keys::LISTENER, "accept"),
            ("idle_timeout", config::keys::LISTENER, "idle_timeout"),
            ("connect_timeout", config::keys::POOL, "connect_timeout"),
            ("no_backend", config::keys::LISTENER, "no_backend"),
            ("health_interval", config::keys::HEALTH, "interval"),
            ("status_interval", config::keys::SERVER, "status_interval"),
            ("log", config::keys::SERVER, "log"),
        ] {
            let help =
                run.get_arguments().find(|arg| arg.get_id() == flag).unwrap().get_help().unwrap().to_string();
            let default = section.key(key).unwrap().default.text();
            let word = default.split(',').next().unwrap();
            assert!(help.contains(&format!("[default: {word}")), "{flag}: {help} / {default}");
            compared += 1;
        }
        assert_eq!(compared, 11);
    }
}
