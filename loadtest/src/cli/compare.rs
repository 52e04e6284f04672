//! The command line of `loadtest compare`.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::{
    errors::Errors,
    values::{DEADLINE_MAX, duration, rate, target},
};
use crate::{
    compare::{ALGORITHMS, Backends, Pace, Plan, Scenario},
    schedule::Arrivals,
};

/// Compare balancing algorithms by measured latency: the same sessions through ringway, once with each
///
/// Starts ringway with each algorithm in front of backends: those of a scenario, which this program plays, or real ones.
/// Sessions begin on a schedule, each on a connection of its own, and are timed from when they were due. Prints a table, and
/// keeps that, a page with charts, the distributions and every trial below --out.
#[derive(Debug, Args)]
pub(super) struct TypedCompare {
    /// Scenario by name, or the path of a file like those in loadtest/scenarios; --list names them
    #[arg(long, value_name = "NAME", conflicts_with = "backend")]
    scenario: Option<String>,
    /// Real backends, as host:port with commas between them
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', value_parser = target, requires = "send")]
    backend: Vec<SocketAddr>,
    /// What each session sends to real backends, which answer and close; \r, \n and \\ stand for themselves, @PATH is a file
    #[arg(long, value_name = "TEXT", requires = "backend")]
    send: Option<String>,
    /// List the scenarios and end
    #[arg(long)]
    list: bool,
    /// Which algorithms, with commas between them [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    algorithms: Vec<String>,
    /// Sessions a second [default: that of the scenario; 500 for real backends]
    #[arg(long, value_name = "RATE", value_parser = rate, conflicts_with = "ramp")]
    rate: Option<f64>,
    /// Find where each algorithm breaks: from one rate to another, for example 500-4000
    #[arg(long, value_name = "FROM-TO", value_parser = ramp)]
    ramp: Option<(f64, f64)>,
    /// How many rates the ramp has
    #[arg(long, value_name = "N", default_value_t = 8, requires = "ramp")]
    steps: usize,
    /// How sessions are spread over time [default: that of the scenario; poisson]
    #[arg(long, value_name = "HOW")]
    arrivals: Option<Arrivals>,
    /// How often each algorithm is measured [default: 4; with --ramp 2]
    #[arg(long, value_name = "N")]
    repeats: Option<usize>,
    /// How long each time [default: that of the scenario; 5s for real backends]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// What goes before, unmeasured, while algorithms learn [default: that of the scenario; 2s for real backends]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    warm_up: Option<Duration>,
    /// A session that is not over in this time has failed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    deadline: Duration,
    /// Most sessions at the same time; what comes beyond is not sent, and counted
    #[arg(long, value_name = "MAX", default_value_t = 2000)]
    sessions_max: usize,
    /// From how many addresses of this machine sessions come, for algorithms that heed the client [default: that of the
    /// scenario; 64]
    #[arg(long, value_name = "N")]
    clients: Option<u32>,
    /// Decides arrivals, service times and the order
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Ringway's workers: auto, or how many
    #[arg(long, value_name = "WORKERS", default_value = "auto")]
    workers: String,
    /// A line for the pool in ringway's configuration, for example 'slow_start = "5s"'; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pool_config: Vec<String>,
    /// The program to be measured [default: ringway beside this program]
    #[arg(long, value_name = "PATH")]
    ringway: Option<PathBuf>,
    /// Folder for the results [default: loadtest/runs/DATE]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// What is asked for.
#[derive(Debug)]
pub(super) enum Asked {
    List,
    Compare(Box<Plan>),
}

impl TypedCompare {
    pub(super) fn meaning(self) -> Result<Asked, Vec<String>> {
        if self.list {
            return Ok(Asked::List);
        }
        let mut errors = Errors::default();
        let backends = self.backends(&mut errors);
        let algorithms = self.algorithms(&mut errors);
        let pool = self.pool(&mut errors);
        let repeats = self.repeats.unwrap_or(if self.ramp.is_some() { 2 } else { 4 });
        errors.at_least_one("--repeats", repeats as u64);
        errors.at_most("--repeats", repeats as u64, REPEATS_MAX);
        errors.at_least_one("--sessions-max", self.sessions_max as u64);
        errors.at_most("--sessions-max", self.sessions_max as u64, SESSIONS_MAX);
        errors.not_zero("--deadline", self.deadline);
        errors.no_longer("--deadline", self.deadline, DEADLINE_MAX);
        if !(2..=STEPS_MAX).contains(&self.steps) {
            errors.add(format!("--steps: {}: 2 to {STEPS_MAX} are allowed", self.steps));
        }
        let clients = self.clients;
        if clients.is_some_and(|clients| !(1..=CLIENTS_MAX).contains(&clients)) {
            errors.add(format!("--clients: 1 to {CLIENTS_MAX} are allowed"));
        }
        let workers = match self.workers.parse::<i64>() {
            Ok(count @ 1..=1024) => toml::Value::Integer(count),
            _ if self.workers == "auto" => toml::Value::String("auto".to_owned()),
            _ => {
                errors.add(format!("--workers: {}: auto, or a number from 1 to 1024", self.workers));
                toml::Value::Integer(1)
            }
        };
        let ringway = self.ringway.clone().unwrap_or_else(|| {
            env::current_exe().map(|path| path.with_file_name("ringway")).unwrap_or_default()
        });
        // What is not typed is the scenario's, and for real backends something that is seldom wrong.
        let (of_rate, of_arrivals, of_duration, of_warm_up, of_clients) = match &backends {
            Backends::Modelled(one) => (one.rate, one.arrivals, one.duration, one.warm_up, one.clients),
            Backends::Real { .. } => {
                (500.0, Arrivals::Poisson, Duration::from_secs(5), Duration::from_secs(2), 64)
            }
        };
        let duration = self.duration.unwrap_or(of_duration);
        let warm_up = self.warm_up.unwrap_or(of_warm_up);
        errors.not_zero("--duration", duration);
        errors.no_longer("--duration", duration, DURATION_MAX);
        errors.no_longer("--warm-up", warm_up, DURATION_MAX);
        if let (Backends::Modelled(scenario), Some(_)) = (&backends, self.duration) {
            for what in scenario.troubles_after(duration) {
                errors.add(format!("--duration: {what}"));
            }
        }
        let plan = Plan {
            ringway,
            algorithms,
            backends,
            pace: match self.ramp {
                Some((from, to)) => Pace::Ramp { from, to, steps: self.steps },
                None => Pace::Rate(self.rate.unwrap_or(of_rate)),
            },
            arrivals: self.arrivals.unwrap_or(of_arrivals),
            repeats,
            duration,
            warm_up,
            clients: clients.unwrap_or(of_clients),
            deadline: self.deadline,
            sessions_max: self.sessions_max,
            seed: self.seed,
            workers,
            pool,
            out: self.out,
            json: self.json,
        };
        errors.none_or(Asked::Compare(Box::new(plan)))
    }

    fn backends(&self, errors: &mut Errors) -> Backends {
        if let Some(name) = &self.scenario {
            return match Scenario::find(name) {
                Ok(scenario) => Backends::Modelled(Box::new(scenario)),
                Err(mistakes) => {
                    mistakes.into_iter().for_each(|mistake| errors.add(mistake));
                    Backends::Real { addresses: Vec::new(), text: [].into() }
                }
            };
        }
        if self.backend.is_empty() {
            errors.add(
                "what is to be compared? --scenario NAME (--list names them), or --backend ADDRESSES with --send TEXT",
            );
            return Backends::Real { addresses: Vec::new(), text: [].into() };
        }
        let text = text(self.send.as_deref().unwrap_or_default()).unwrap_or_else(|error| {
            errors.add(format!("--send: {error}"));
            Vec::new()
        });
        if text.is_empty() {
            errors.add("--send: nothing to send; a session that sends nothing would not be answered");
        }
        for (index, address) in self.backend.iter().enumerate() {
            if self.backend[..index].contains(address) {
                errors.add(format!("--backend: {address} is given twice"));
            }
        }
        Backends::Real { addresses: self.backend.clone(), text: text.into() }
    }

    fn algorithms(&self, errors: &mut Errors) -> Vec<String> {
        if self.algorithms.is_empty() {
            return ALGORITHMS.map(str::to_owned).to_vec();
        }
        let mut algorithms: Vec<String> = Vec::new();
        for name in &self.algorithms {
            if !ALGORITHMS.contains(&name.as_str()) {
                errors.add(format!("--algorithms: there is no {name}; there are {}", ALGORITHMS.join(", ")));
            } else if !algorithms.contains(name) {
                algorithms.push(name.clone());
            }
        }
        algorithms
    }

    fn pool(&self, errors: &mut Errors) -> toml::Table {
        let text = self.pool_config.join("\n");
        let pool: toml::Table = toml::from_str(&text).unwrap_or_else(|error| {
            errors
                .add(format!("--pool-config: {}; write for example 'slow_start = \"5s\"'", error.message()));
            toml::Table::new()
        });
        for key in ["name", "algorithm", "backend", "shadow"] {
            if pool.contains_key(key) {
                errors.add(format!("--pool-config: {key} is set by the comparison"));
            }
        }
        pool
    }
}

/// A text with \r, \n and \\, or after an @ the path of a file.
fn text(typed: &str) -> Result<Vec<u8>, String> {
    if let Some(path) = typed.strip_prefix('@') {
        return fs::read(Path::new(path)).map_err(|error| format!("cannot read {path}: {error}"));
    }
    let mut bytes = Vec::new();
    let mut chars = typed.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('\\') => bytes.push(b'\\'),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("\\{other} has no meaning; there are \\r, \\n and \\\\"));
                }
            },
            char => bytes.extend(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(bytes)
}

fn ramp(text: &str) -> Result<(f64, f64), String> {
    let (from, to) =
        text.split_once('-').ok_or("write two rates with a dash between them, such as 500-4000")?;
    let (from, to) = (rate(from)?, rate(to)?);
    if from < 1.0 {
        return Err("the first rate must be 1 or more".to_owned());
    }
    if from < to { Ok((from, to)) } else { Err("the first rate must be lower than the last".to_owned()) }
}

/// What a run can count to.
const DURATION_MAX: Duration = Duration::from_secs(3600);
const REPEATS_MAX: u64 = 1000;
const SESSIONS_MAX: u64 = 9_000;
const STEPS_MAX: usize = 50;
const CLIENTS_MAX: u32 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_ends_of_lines_and_nothing_else_is_guessed() {
        assert_eq!(text(r"GET / HTTP/1.0\r\n\r\n").unwrap(), b"GET / HTTP/1.0\r\n\r\n");
        assert_eq!(text(r"a\\b").unwrap(), br"a\b");
        assert!(text(r"a\tb").unwrap_err().contains(r"\t has no meaning"));
        assert!(text("a\\").is_err());
        assert!(text("@/does/not/exist").unwrap_err().contains("/does/not/exist"));
    }

    #[test]
    fn a_ramp_goes_up() {
        assert_eq!(ramp("500-4000/s"), Ok((500.0, 4000.0)));
        assert!(ramp("500").is_err());
        assert!(ramp("4000-500").is_err());
        assert!(ramp("0.1-4").is_err());
    }
}
