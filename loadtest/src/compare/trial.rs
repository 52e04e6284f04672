//! One algorithm, measured once: ringway with it in front of the backends, and the sessions.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use toml::{Table, Value};

use super::{
    fleet::Fleet,
    plan::{Backends, Plan},
    scenario::{Profile, Scenario},
};
use crate::{
    client::{self, Exchange, Load, Outcome, Protocol, Run},
    interrupt::Stop,
    pinning::{self, Pinned},
    process::{Output, Process},
    schedule::Timetable,
};

/// What is to be measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial<'a> {
    pub(super) algorithm: &'a str,
    /// Sessions a second.
    pub(super) rate: f64,
    /// Decides arrivals and service times: the same in a round for every algorithm.
    pub(super) seed: u64,
}

/// What it gave.
#[derive(Debug)]
pub(super) struct Gave {
    pub(super) outcome: Outcome,
    /// Sessions that were due in the measured time.
    pub(super) planned: u64,
    /// How many of them each backend served.
    pub(super) served: Vec<u64>,
}

/// A backend as ringway is told of it.
#[derive(Debug)]
pub(super) struct Known {
    /// A name, or for real ones the address: ringway names them itself.
    pub(super) name: String,
    pub(super) weight: u32,
}

/// The backends of a plan, without where they are.
pub(super) fn known(plan: &Plan) -> Vec<Known> {
    match &plan.backends {
        Backends::Modelled(scenario) => {
            let known = |one: Profile| Known { name: one.name, weight: one.weight };
            scenario.backends().into_iter().map(known).collect()
        }
        Backends::Real { addresses, .. } => {
            addresses.iter().map(|address| Known { name: address.to_string(), weight: 1 }).collect()
        }
    }
}

/// Whether ringway takes the configurations of all algorithms: better told now than after an hour.
pub(super) fn check(plan: &Plan) -> io::Result<()> {
    let known = known(plan);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ringway.toml");
    let somewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let addresses: Vec<_> = match &plan.backends {
        Backends::Real { addresses, .. } => addresses.clone(),
        // Ports are given when they start; no two are the same.
        Backends::Modelled(_) => {
            (1..).take(known.len()).map(|port| (Ipv4Addr::LOCALHOST, port).into()).collect()
        }
    };
    for algorithm in &plan.algorithms {
        let trial = Trial { algorithm, rate: 1.0, seed: 0 };
        fs::write(&path, trial.config(plan, somewhere, &known, &addresses))?;
        let output = Command::new(&plan.ringway).arg("check").arg("--config").arg(&path).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!(
                "ringway refuses the configuration for {algorithm}: {}; see --pool-config and the scenario's [pool]",
                said.trim_end()
            )));
        }
    }
    Ok(())
}

impl Trial<'_> {
    /// Starts all that it needs below `folder`, and ends it again.
    pub(super) fn measure(&self, plan: &Plan, folder: &Path, stop: &Stop) -> io::Result<Gave> {
        let known = known(plan);
        let (fleet, addresses) = match &plan.backends {
            Backends::Modelled(scenario) => {
                let fleet = Fleet::start(&scenario.backends(), self.seed)?;
                let addresses = fleet.addresses.clone();
                (Some(fleet), addresses)
            }
            Backends::Real { addresses, .. } => (None, addresses.clone()),
        };
        let listen = free_address()?;
        let config = self.config(plan, listen, &known, &addresses);
        let ringway = start(plan, &config, listen, folder, stop)?;
        let run = self.run(plan, listen);
        let begin = Instant::now();
        if let Some(fleet) = &fleet {
            fleet.begin(begin + plan.warm_up);
        }
        let outcome = client::run_from(&run, stop, begin)?;
        if ringway.process.has_ended() {
            return Err(io::Error::other(format!(
                "ringway has ended during {}; its log: {}",
                self.algorithm,
                ringway.process.complaint()
            )));
        }
        let served = match fleet {
            Some(fleet) => fleet.end()?,
            None => ringway.served(&known, stop)?,
        };
        let Load::Open { timetable, .. } = &run.load else { unreachable!("it was just made") };
        let planned = timetable.schedule().filter(|at| *at >= plan.warm_up).count() as u64;
        Ok(Gave { outcome, planned, served })
    }

    /// The sessions.
    fn run(&self, plan: &Plan, target: SocketAddr) -> Run {
        let (exchange, others) = match &plan.backends {
            Backends::Modelled(scenario) => exchanges(scenario),
            Backends::Real { text, .. } => {
                let exchange = Exchange {
                    protocol: Protocol::Text,
                    request_len: text.len() as u64,
                    reply_len: 0,
                    delay: Duration::ZERO,
                    text: Arc::clone(text),
                };
                (exchange, Vec::new())
            }
        };
        let timetable = Timetable {
            arrivals: plan.arrivals,
            rate: self.rate,
            duration: plan.warm_up + plan.duration,
            arrivals_max: u64::MAX,
            seed: self.seed,
        };
        Run {
            target,
            load: Load::Open { timetable, new_connections: true },
            exchange,
            others,
            clients: plan.clients,
            keeps_samples: true,
            connections: plan.sessions_max,
            threads: 1,
            warm_up: plan.warm_up,
            duration: plan.duration,
            deadline: plan.deadline,
            connect_timeout: plan.deadline,
            seed: self.seed,
            progress: false,
        }
    }

    /// Ringway's configuration.
    fn config(&self, plan: &Plan, listen: SocketAddr, known: &[Known], addresses: &[SocketAddr]) -> String {
        let text = |text: &str| Value::String(text.to_owned());
        let table = |keys: Vec<(&str, Value)>| {
            keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Table>()
        };
        let server = table(vec![
            ("workers", plan.workers.clone()),
            ("drain_timeout", text("0s")),
            ("log", text("warn")),
        ]);
        let listener = table(vec![
            ("name", text("compare")),
            ("bind", text(&listen.to_string())),
            ("pool", text("compare")),
        ]);
        let backends = known.iter().zip(addresses).map(|(known, address)| {
            let address = address.to_string();
            let mut backend =
                vec![("address", text(&address)), ("weight", Value::Integer(known.weight.into()))];
            if known.name != address {
                backend.push(("name", text(&known.name)));
            }
            Value::Table(table(backend))
        });
        let mut pool = match &plan.backends {
            Backends::Modelled(scenario) => scenario.pool.clone(),
            Backends::Real { .. } => Table::new(),
        };
        pool.extend(plan.pool.clone());
        pool.insert("name".to_owned(), text("compare"));
        pool.insert("algorithm".to_owned(), text(self.algorithm));
        pool.insert("backend".to_owned(), Value::Array(backends.collect()));
        let all = table(vec![
            ("server", Value::Table(server)),
            ("listener", Value::Array(vec![Value::Table(listener)])),
            ("pool", Value::Array(vec![Value::Table(pool)])),
        ]);
        toml::to_string(&all).expect("tables of texts and numbers are always written")
    }
}

/// What most sessions ask for, and what the others do.
fn exchanges(scenario: &Scenario) -> (Exchange, Vec<(f64, Exchange)>) {
    let exchange = |reply: &super::scenario::Reply| Exchange {
        protocol: Protocol::Reply,
        request_len: scenario.request.as_u64(),
        reply_len: reply.size.as_u64(),
        delay: reply.work,
        text: Arc::default(),
    };
    let total: f64 = scenario.reply.iter().map(|reply| reply.share).sum();
    let (first, others) = scenario.reply.split_first().expect("a scenario has a reply");
    (exchange(first), others.iter().map(|reply| (reply.share / total, exchange(reply))).collect())
}

/// A ringway that runs, until this is dropped.
#[derive(Debug)]
struct Ringway {
    process: Process,
    output: std::path::PathBuf,
}

/// Starts it, and waits until it accepts.
fn start(plan: &Plan, config: &str, listen: SocketAddr, folder: &Path, stop: &Stop) -> io::Result<Ringway> {
    let path = folder.join("ringway.toml");
    fs::write(&path, config)?;
    let output = folder.join("ringway.log");
    let mut command = Pinned::command(&pinning::allowed()?, &plan.ringway)?;
    command.arg("run").arg("--config").arg(&path);
    let process = Process::start("ringway", command, output.clone(), Output::ToLog)?;
    process.wait_until(stop, || TcpStream::connect(listen).is_ok())?;
    Ok(Ringway { process, output })
}

impl Ringway {
    /// What its own table says that each backend has served, the warm-up included.
    fn served(&self, known: &[Known], stop: &Stop) -> io::Result<Vec<u64>> {
        self.process.signal(Signal::USR1);
        let mut served = None;
        self.process.wait_until(stop, || {
            let text = fs::read_to_string(&self.output).unwrap_or_default();
            served = totals(&text, known);
            served.is_some()
        })?;
        Ok(served.expect("it was waited for"))
    }
}

/// Reads ringway's table of backends: the column TOTAL by the address of the backend. `None` until all are there.
fn totals(text: &str, known: &[Known]) -> Option<Vec<u64>> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("POOL"));
    let column = |heading: &str, line: &str| line.split_whitespace().position(|word| word == heading);
    let heading = lines.next()?;
    // Nothing before TOTAL has a space in it.
    let (address_at, total_at) = (column("ADDRESS", heading)?, column("TOTAL", heading)?);
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    let total = |known: &Known| {
        let row = rows.iter().find(|row| row.get(address_at) == Some(&known.name.as_str()))?;
        row.get(total_at)?.parse().ok()
    };
    known.iter().map(total).collect()
}

/// One that was free a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_are_found_by_address_in_any_order_of_columns() {
        let known = ["a", "b"].map(|name| Known { name: name.to_owned(), weight: 1 });
        let text = "noise\nPOOL ADDRESS STATE TOTAL REASON\np b up 17 check passed\np a up 4 check passed\n";
        assert_eq!(totals(text, &known), Some(vec![4, 17]));
        assert_eq!(totals("POOL ADDRESS STATE TOTAL\np b up 17\n", &known), None);
        assert_eq!(totals("", &known), None);
    }
}
