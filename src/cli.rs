//! The command line: what may be typed; the commands that only print: `ringway check`, `simulate`, `replay`, `completions`,
//! `man`.
//!
//! Values of settings stay texts here: [`config::from_flags`] judges them by the rules of the file.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{self, Algorithm, Choice, Config, Errors, Flags, Source};
use crate::manual;
use crate::model::{self, Scenario, replay};

/// A layer-4 load balancer for Linux on io_uring.
///
/// Accepts TCP connections and passes each to one of several backends, chosen by an algorithm and by what health checks
/// have found out.
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
  ringway run --config ringway.toml";

const RUN_USAGE: &str = "ringway run --config FILE
       ringway run --listen IP:PORT --backend IP:PORT[,weight=N][,name=NAME][,max-connections=N][,backup] [OPTIONS]";

const RUN_EXAMPLES: &str = "\
Examples:
  ringway run --config ringway.toml
  ringway run --listen 0.0.0.0:8000 --backend 10.0.0.1:8080 --backend 10.0.0.2:8080
  ringway run --listen 0.0.0.0:8000 --listen '[::]:8000' \\
      --algorithm weighted-round-robin \\
      --backend 10.0.0.1:8080,weight=3,name=big --backend 10.0.0.2:8080,name=small

Flags make one pool behind one listener. For more of them, and for every other setting, write a file.";

const CHECK_EXAMPLES: &str = "\
Examples:
  ringway check --config ringway.toml
  ringway check --config new.toml && mv new.toml ringway.toml

Exit status: 0 if the file is right, 2 if it is not. Warnings do not change it.";

const DEMO_EXAMPLES: &str = "\
Examples:
  ringway demo
  ringway demo --algorithm least-connections --workers 1
  ringway demo --listen 127.0.0.1:9000 --backend-port 9100

Then, in another terminal:
  curl http://127.0.0.1:8000/";

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

What chooses is the real thing; the clock, the clients and the backends are a model. So it
tells how the algorithms differ under the same load, and nothing about the network or how
fast ringway is. The same seed gives the same table.";

const REPLAY_EXAMPLES: &str = "\
Examples:
  ringway replay record
  ringway replay record record.1 record.2 --algorithms round-robin,least-response-time
  ringway replay record --pool api --speed 2

A file is written while `ringway run` has server.record in its configuration. Files of the same
run may be given together, in any order.

Tables:
  as recorded  what the record tells of the same sessions
  FIRST BYTE   from a client's arrival to its backend, and from its request to the first byte
  SESSION      from a client's arrival to the end of its session
  SHARES       QUEUED: waited for a backend with room; FAILED: served by nobody; AT ONCE: the
               most sessions that one backend had; FAIRNESS: Jain's index of sessions by weight,
               1 is even; then the part of the sessions that each backend served

The same seed gives the same text. What this can tell and what not stands below the tables.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  ringway completions bash >/usr/share/bash-completion/completions/ringway
  ringway completions zsh >/usr/share/zsh/vendor-completions/_ringway
  ringway completions fish >/usr/share/fish/vendor_completions.d/ringway.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  ringway man | man -l -
  ringway man --folder /usr/share/man";

/// `ringway run`
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = RUN_EXAMPLES, override_usage = RUN_USAGE)]
pub struct RunArgs {
    /// The configuration file; holds every setting, so no other flag goes with it
    #[arg(long, value_name = "FILE", conflicts_with_all = SETTINGS)]
    pub config: Option<PathBuf>,
    /// Where to accept clients; may be given several times
    #[arg(long, value_name = "IP:PORT", required_unless_present = "config")]
    pub listen: Vec<String>,
    /// A backend, with its weight and its name if it needs them, the sessions that it takes at once, and whether it only
    /// stands by; may be given several times
    #[arg(
        long,
        value_name = "IP:PORT[,weight=N][,name=NAME][,max-connections=N][,backup]",
        required_unless_present = "config"
    )]
    pub backend: Vec<String>,
    /// How a backend is chosen: round-robin, weighted-round-robin, least-connections, least-response-time, peak-ewma,
    /// random, power-of-two, source-hash, maglev or first [default: round-robin]
    #[arg(long, value_name = "NAME")]
    pub algorithm: Option<String>,
    /// How many workers, or on which cores: auto, 4, 0,2-3 [default: auto]
    #[arg(long, value_name = "WORKERS")]
    pub workers: Option<String>,
    /// How long running sessions may go on after SIGTERM or SIGINT [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub drain_timeout: Option<String>,
    /// Sessions at once in the whole process [default: auto, from the limit on open files]
    #[arg(long, value_name = "COUNT")]
    pub sessions_max: Option<String>,
    /// Which worker serves a connection: reuseport, the one that the kernel chose, or balanced, the one with the fewest
    /// sessions [default: reuseport]
    #[arg(long, value_name = "WHICH")]
    pub accept: Option<String>,
    /// Ends a session in which no byte moved for this long, or off [default: 10m]
    #[arg(long, value_name = "TIME")]
    pub idle_timeout: Option<String>,
    /// How long one attempt to connect to a backend may take [default: 3s]
    #[arg(long, value_name = "TIME")]
    pub connect_timeout: Option<String>,
    /// What a client gets when no backend could be reached: reset, close or message [default: reset]
    #[arg(long, value_name = "WHAT")]
    pub no_backend: Option<String>,
    /// The text that --no-backend message sends
    #[arg(long, value_name = "TEXT")]
    pub no_backend_message: Option<String>,
    /// How often each backend is checked [default: 2s]
    #[arg(long, value_name = "TIME")]
    pub health_interval: Option<String>,
    /// How often the table of backends is printed, or off [default: off]
    #[arg(long, value_name = "TIME")]
    pub status_interval: Option<String>,
    /// The lowest level that is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Where the admin API, the metrics and the page are: IP:PORT of the loopback, the path of a socket, or off
    /// [default: off]
    #[arg(long, value_name = "WHERE")]
    pub admin: Option<String>,
}

/// Every flag that stands for a setting, by field.
const SETTINGS: [&str; 15] = [
    "listen",
    "backend",
    "algorithm",
    "workers",
    "drain_timeout",
    "sessions_max",
    "accept",
    "idle_timeout",
    "connect_timeout",
    "no_backend",
    "no_backend_message",
    "health_interval",
    "status_interval",
    "log",
    "admin",
];

/// `ringway check`
#[derive(Debug, Clone, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct CheckArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `ringway demo`
#[derive(Debug, Clone, Args)]
#[command(after_help = DEMO_EXAMPLES)]
pub struct DemoArgs {
    /// Where to accept clients
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8000")]
    pub listen: String,
    /// The first of the four ports, one after the other, on which the backends of the demo serve
    #[arg(long, value_name = "PORT", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..=65_532))]
    pub backend_port: u16,
    /// How a backend is chosen: round-robin, weighted-round-robin, least-connections, least-response-time, peak-ewma,
    /// random, power-of-two, source-hash, maglev or first [default: round-robin]
    #[arg(long, value_name = "NAME")]
    pub algorithm: Option<String>,
    /// How many workers, or on which cores: auto, 4, 0,2-3; each takes turns of its own, one makes them plain to see
    #[arg(long, value_name = "WORKERS", default_value = "1")]
    pub workers: String,
    /// How often each backend is checked
    #[arg(long, value_name = "TIME", default_value = "500ms")]
    pub health_interval: String,
    /// Where the admin API, the metrics and the page are: IP:PORT of the loopback, the path of a socket, or off
    #[arg(long, value_name = "WHERE", default_value = "127.0.0.1:8404")]
    pub admin: String,
}

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

/// `ringway completions`
#[derive(Debug, Clone, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct CompletionsArgs {
    /// Whose completions
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// `ringway man`
#[derive(Debug, Clone, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub struct ManArgs {
    /// Where every page is written to, below man1 and man5, instead of the first one on standard output
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
}

fn speed(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|speed| (0.01..=100.0).contains(speed));
    number.ok_or_else(|| String::from("write a number from 0.01 to 100"))
}

/// One of the words of a closed set.
fn word<T: Choice + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let find = |word: String| T::ALL.iter().copied().find(|value| value.word() == word);
    PossibleValuesParser::new(T::ALL.iter().map(|value| value.word()))
        .map(move |word| find(word).expect("only its words are let through"))
}

/// Reads the command line; on wrong flags, `--help` and `--version` it prints and ends the process.
pub fn parse() -> Cli {
    Cli::parse()
}

impl RunArgs {
    /// What to run with.
    ///
    /// # Errors
    ///
    /// Every mistake in the file, or in the flags.
    pub fn config(&self) -> Result<Config, Errors> {
        match &self.config {
            Some(path) => config::load(path),
            None => config::from_flags(&self.flags()),
        }
    }

    /// Where it can be read again.
    pub fn source(&self) -> Source {
        self.config.clone().map_or(Source::Flags, Source::File)
    }

    fn flags(&self) -> Flags {
        let args = self.clone();
        Flags {
            listen: args.listen,
            backends: args.backend,
            algorithm: args.algorithm,
            workers: args.workers,
            drain_timeout: args.drain_timeout,
            sessions_max: args.sessions_max,
            accept: args.accept,
            idle_timeout: args.idle_timeout,
            connect_timeout: args.connect_timeout,
            no_backend: args.no_backend,
            no_backend_message: args.no_backend_message,
            health_interval: args.health_interval,
            status_interval: args.status_interval,
            log: args.log,
            admin: args.admin,
        }
    }
}

impl DemoArgs {
    /// How many backends the demo starts.
    pub const BACKENDS: u16 = 4;

    /// What to run with: a pool of the demo's own backends, on consecutive ports of this machine.
    ///
    /// # Errors
    ///
    /// Every mistake in the flags.
    pub fn config(&self) -> Result<Config, Errors> {
        let ports = (0..Self::BACKENDS).map(|nth| self.backend_port.saturating_add(nth));
        config::from_flags(&Flags {
            listen: vec![self.listen.clone()],
            backends: ports.map(|port| format!("127.0.0.1:{port}")).collect(),
            algorithm: self.algorithm.clone(),
            workers: Some(self.workers.clone()),
            health_interval: Some(self.health_interval.clone()),
            admin: Some(self.admin.clone()),
            ..Flags::default()
        })
    }
}

/// The exit status of a configuration that is wrong, and of clap for flags that are.
const WRONG: u8 = 2;

/// Prints what is understood and what looks odd, or every mistake.
pub fn check(args: &CheckArgs) -> ExitCode {
    match config::load(&args.config) {
        Ok(config) => print_understood(&config),
        Err(errors) => {
            eprint!("{errors}");
            ExitCode::from(WRONG)
        }
    }
}

fn print_understood(config: &Config) -> ExitCode {
    let mut text = config.to_string();
    for (index, warning) in config::warnings(config).iter().enumerate() {
        text += if index == 0 { "\n" } else { "" };
        text += &format!("warning: {warning}\n");
    }
    print(&text).map_or_else(|code| code, |_| ExitCode::SUCCESS)
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

/// Prints what a shell needs to complete our words.
pub fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ringway", &mut text);
    print(&String::from_utf8_lossy(&text)).map_or_else(|code| code, |_| ExitCode::SUCCESS)
}

/// Prints the first page of the manual, or writes them all.
pub fn man(args: &ManArgs) -> ExitCode {
    let pages = manual::pages(&Cli::command());
    let Some(folder) = &args.folder else {
        return print(&pages[0].text).map_or_else(|code| code, |_| ExitCode::SUCCESS);
    };
    for page in pages {
        let section = page.name.rsplit('.').next().expect("a page has a section");
        let path = folder.join(format!("man{section}")).join(&page.name);
        let parent = path.parent().expect("it is below the folder");
        if let Err(error) = fs::create_dir_all(parent).and_then(|()| fs::write(&path, page.text)) {
            eprintln!("{}: cannot be written: {error}; give another --folder", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Whether anybody still reads what is printed.
enum Reader {
    Listens,
    Left,
}

/// Whoever reads only the first lines (`| head`) closes the pipe: no failure, and nothing more to say.
fn print(text: &str) -> Result<Reader, ExitCode> {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Left),
        Err(error) => {
            eprintln!("standard output: cannot be written: {error}");
            Err(ExitCode::FAILURE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Algorithm;

    fn parsed(line: &str) -> Result<Command, String> {
        let args = line.split(' ').filter(|arg| !arg.is_empty());
        Cli::try_parse_from(["ringway"].into_iter().chain(args))
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
            assert!(pages[0].text.contains(&format!(r"ringway\-{name}(1)")), "{name}: {}", pages[0].text);
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
    fn the_demo_has_four_backends_on_consecutive_ports() {
        let Ok(Command::Demo(args)) = parsed("demo --backend-port 9000 --workers 1") else {
            panic!("not a demo")
        };
        let config = args.config().unwrap();
        let ports: Vec<u16> = config.pools[0].backends.iter().map(|backend| backend.address.port()).collect();
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
