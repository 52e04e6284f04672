//! The command line of `loadtest versus`.

use std::{collections::BTreeSet, env, path::PathBuf};

use clap::Args;

use super::errors::Errors;
use crate::{
    pinning::{Cores, allowed as allowed_cores},
    versus::{Peer, Plan, Ringway, Work, all_works},
};

/// Compare ringway with HAProxy and nginx: the same backends and requests, one core each, in one run
///
/// Starts everything itself, and ends it. Needs nginx (also as the backend), wrk and haproxy, two cores, and a ringway
/// that is built. Tables go to stdout and, with every measurement, to --out.
#[derive(Debug, Args)]
pub(super) struct TypedVersus {
    /// What to compare with
    #[arg(long, value_name = "PEERS", value_delimiter = ',', default_value = "haproxy,haproxy-splice,nginx")]
    peers: Vec<Peer>,
    /// What they have to do, by names or the beginnings of names [default: all]
    #[arg(long, value_name = "WORKS", value_delimiter = ',')]
    work: Vec<String>,
    /// Works of datagrams, over UDP, in place of those over TCP; only with peers that carry them
    #[arg(long)]
    udp: bool,
    /// Measure the peers alone, without a ringway
    #[arg(long, conflicts_with_all = ["ringway", "ringway_config", "variant"])]
    peers_only: bool,
    /// How often each is measured, in turns
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// How long each is measured, in whole seconds
    #[arg(long, value_name = "N", default_value_t = 3)]
    seconds: u64,
    /// One round of one second, and 500 idle connections: to see that everything works
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Connections of the work idle [default: 5000]
    #[arg(long, value_name = "N")]
    idle_connections: Option<usize>,
    /// The program to be compared [default: ringway beside this program]
    #[arg(long, value_name = "PATH")]
    ringway: Option<PathBuf>,
    /// A line for the section server of every ringway's configuration; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    ringway_config: Vec<String>,
    /// Another ringway to compare: NAME=LINES, NAME@PATH or NAME@PATH=LINES; the lines are for its section server,
    /// separated by semicolons; may be given several times
    #[arg(long, value_name = "VARIANT")]
    variant: Vec<String>,
    /// Core of the proxies [default: the first allowed]
    #[arg(long, value_name = "CORE")]
    proxy_core: Option<usize>,
    /// Core of generator and backends [default: the second allowed]
    #[arg(long, value_name = "CORE")]
    other_core: Option<usize>,
    /// Leave out peers that are not installed
    #[arg(long)]
    skip_missing: bool,
    /// Folder for the results [default: loadtest/runs/DATE]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

impl TypedVersus {
    pub(super) fn meaning(self) -> Result<Plan, Vec<String>> {
        let mut errors = Errors::default();
        errors.at_least_one("--rounds", self.rounds as u64);
        errors.at_most("--rounds", self.rounds as u64, ROUNDS_MAX);
        errors.at_least_one("--seconds", self.seconds);
        errors.at_most("--seconds", self.seconds, SECONDS_MAX);
        let idle_connections = self.idle_connections.unwrap_or(if self.quick { 500 } else { 5000 });
        errors.at_least_one("--idle-connections", idle_connections as u64);
        errors.at_most("--idle-connections", idle_connections as u64, IDLE_MAX);
        let works = works(&self.work, self.udp, &mut errors);
        let has_datagrams = works.iter().any(Work::is_of_datagrams);
        let ringways = if self.peers_only { Vec::new() } else { self.ringways(&mut errors) };
        let cores = self.cores(&mut errors);
        let mut peers = Vec::new();
        for peer in self.peers {
            if !peers.contains(&peer) && (!has_datagrams || peer.carries_datagrams()) {
                peers.push(peer);
            }
        }
        let plan = Plan {
            ringways,
            peers,
            works,
            rounds: if self.quick { 1 } else { self.rounds },
            seconds: if self.quick { 1 } else { self.seconds },
            cores,
            idle_connections,
            skip_missing: self.skip_missing,
            out: self.out,
        };
        errors.none_or(plan)
    }

    fn ringways(&self, errors: &mut Errors) -> Vec<Ringway> {
        let beside = || env::current_exe().map(|own| own.with_file_name("ringway")).unwrap_or_default();
        let program = self.ringway.clone().unwrap_or_else(beside);
        let plain = Ringway {
            name: "ringway".to_owned(),
            program: program.clone(),
            settings: self.ringway_config.clone(),
        };
        let mut ringways = vec![plain];
        for typed in &self.variant {
            match variant(typed) {
                Ok(Variant { name, path, lines }) => {
                    let mut settings = self.ringway_config.clone();
                    settings.retain(|line| !lines.iter().any(|own| key(own) == key(line)));
                    settings.extend(lines);
                    let program = path.unwrap_or_else(|| program.clone());
                    ringways.push(Ringway { name, program, settings });
                }
                Err(error) => errors.add(format!("--variant {typed}: {error}")),
            }
        }
        let mut names = BTreeSet::from(["haproxy", "haproxy-splice", "nginx"]);
        for ringway in &ringways {
            if !names.insert(&ringway.name) {
                errors.add(format!("--variant {}: the name is taken, use another", ringway.name));
            }
        }
        ringways
    }

    fn cores(&self, errors: &mut Errors) -> Cores {
        let allowed = allowed_cores().unwrap_or_default();
        let listed = || allowed.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        if allowed.len() < 2 {
            errors.add(format!(
                "two cores are needed, one for the proxies and one for generator and backends; allowed is {}: run it on a \
                 machine with more, or let it use more ('taskset', or the limits of the container)",
                if allowed.is_empty() { "none".to_owned() } else { format!("only core {}", listed()) }
            ));
            return Cores { proxy: 0, other: 0 };
        }
        for (option, core) in [("--proxy-core", self.proxy_core), ("--other-core", self.other_core)] {
            if let Some(core) = core.filter(|core| !allowed.contains(core)) {
                errors.add(format!("{option}: core {core} is not allowed here, use one of {}", listed()));
            }
        }
        let first_but = |taken: Option<usize>| {
            allowed.iter().copied().find(|core| Some(*core) != taken).expect("there are two")
        };
        let proxy = self.proxy_core.unwrap_or_else(|| first_but(self.other_core));
        let other = self.other_core.unwrap_or_else(|| first_but(Some(proxy)));
        if proxy == other {
            errors.add(format!("--other-core: core {other} is the one of the proxies, use another"));
        }
        Cores { proxy, other }
    }
}

/// Either over TCP or over UDP: what carries the one need not carry the other.
fn works(typed: &[String], is_udp: bool, errors: &mut Errors) -> Vec<Work> {
    if typed.is_empty() {
        return all_works().into_iter().filter(|work| work.is_of_datagrams() == is_udp).collect();
    }
    let mut chosen = Vec::new();
    for text in typed {
        let named = Work::named(text);
        if named.is_empty() {
            let names = all_works().map(|work| work.name).join(", ");
            errors.add(format!(
                "--work: there is no {text}; use names of {names}, or their beginnings, as in small"
            ));
        }
        chosen.extend(named);
    }
    let of_datagrams = chosen.iter().filter(|work| work.is_of_datagrams()).count();
    if of_datagrams != 0 && of_datagrams != chosen.len() || is_udp && of_datagrams == 0 && !chosen.is_empty()
    {
        errors.add("--work: works of datagrams (udp) and others are measured in runs of their own");
    }
    // In the usual order, and each once.
    all_works().into_iter().filter(|work| chosen.contains(work)).collect()
}

/// A variant as it was typed.
#[derive(Debug, PartialEq, Eq)]
struct Variant {
    name: String,
    path: Option<PathBuf>,
    lines: Vec<String>,
}

fn variant(text: &str) -> Result<Variant, String> {
    let name_len = text.find(['@', '=']).ok_or("write NAME=LINES, NAME@PATH or NAME@PATH=LINES")?;
    let name = &text[..name_len];
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(is_word) {
        return Err("a name has letters, digits, dashes, dots and underscores".to_owned());
    }
    let rest = &text[name_len..];
    let (path, lines) = match rest.strip_prefix('@') {
        Some(rest) => {
            let (path, lines) = rest.split_once('=').unwrap_or((rest, ""));
            (Some(PathBuf::from(path)), lines)
        }
        None => (None, &rest[1..]),
    };
    let lines = lines.split([';', '\n']).map(str::trim).filter(|line| !line.is_empty());
    Ok(Variant { name: name.to_owned(), path, lines: lines.map(str::to_owned).collect() })
}

fn key(line: &str) -> &str {
    line.split('=').next().unwrap_or_default().trim()
}

const ROUNDS_MAX: u64 = 1000;
const SECONDS_MAX: u64 = 3600;
const IDLE_MAX: u64 = 25_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_has_lines_or_a_program_or_both() {
        let made = |name: &str, path: Option<&str>, lines: &[&str]| Variant {
            name: name.to_owned(),
            path: path.map(PathBuf::from),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        };
        assert_eq!(variant("old@/a/b"), Ok(made("old", Some("/a/b"), &[])));
        assert_eq!(
            variant("multi=engine = \"multishot\"; buffer_size = \"64KiB\""),
            Ok(made("multi", None, &["engine = \"multishot\"", "buffer_size = \"64KiB\""]))
        );
        assert_eq!(variant("x@/a/b=k = 1"), Ok(made("x", Some("/a/b"), &["k = 1"])));
        assert!(variant("name").is_err());
        assert!(variant("a b=c").is_err());
        assert!(variant("=c").is_err());
    }
}
