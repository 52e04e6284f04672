//! Plan: what a reload changes, as a list that can be read before it is done. Pure.

use std::fmt;

use crate::config::units::format_duration;
use crate::config::{Config, Section, Server};
use crate::lineage::Lineage;
use crate::table::BackendId;

/// Settings of the server that a reload changes. The others are of threads and memory that are there already.
const RELOADED: [&str; 6] = [
    "drain_timeout",
    "removed_drain_timeout",
    "upgrade_timeout",
    "sessions_max",
    "rate_max",
    "status_interval",
];

/// What a reload changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the file: the server, listeners, pools, backends.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of what kind.
    pub kind: Kind,
    /// What is changed: the server, a listener, a pool, a backend.
    pub what: String,
    /// How.
    pub how: String,
    /// Sessions that are running there, of a removal.
    pub sessions: Option<u64>,
}

/// What kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something new.
    Added,
    /// Something is gone.
    Removed,
    /// A setting is another.
    Changed,
    /// A setting is another, but only a new process can have it.
    AtRestart,
}

impl Kind {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Added => "added",
            Kind::Removed => "removed",
            Kind::Changed => "changed",
            Kind::AtRestart => "at restart",
        }
    }
}

/// How many sessions there are, by the places of the present configuration.
pub trait Sessions {
    /// Those of a listener.
    fn of_listener(&self, listener: usize) -> u64;
    /// Those on a backend.
    fn of_backend(&self, backend: BackendId) -> u64;
}

impl Plan {
    /// What comes of going from one configuration to the next.
    pub fn between(before: &Config, next: &Config, lineage: &Lineage, sessions: &impl Sessions) -> Plan {
        let mut plan = Plan { changes: Vec::new() };
        plan.server(before, next);
        plan.admin(before, next);
        plan.listeners(before, next, lineage, sessions);
        plan.pools(before, next, lineage);
        plan.backends(before, next, lineage, sessions);
        plan
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Changes of this kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.changes.iter().filter(|change| change.kind == kind).count()
    }

    /// Notes that a listener lets in others than before: the files with its networks may have changed, of which its settings
    /// say nothing.
    pub fn rules_changed(&mut self, listener: &str) {
        let how = "access lets in other addresses, for connections from now on".to_owned();
        self.add(Kind::Changed, listener, how, None);
    }

    fn add(&mut self, kind: Kind, what: &str, how: String, sessions: Option<u64>) {
        self.changes.push(Change { kind, what: what.to_owned(), how, sessions });
    }

    fn server(&mut self, before: &Config, next: &Config) {
        for (_, how) in differences(&before.access_log_section(), &next.access_log_section()) {
            self.add(Kind::AtRestart, "access_log", how, None);
        }
        let (before, next) = (before.server_section(), next.server_section());
        for (name, how) in differences(&before, &next) {
            let kind = if RELOADED.contains(&name) { Kind::Changed } else { Kind::AtRestart };
            self.add(kind, "server", how, None);
        }
    }

    fn admin(&mut self, before: &Config, next: &Config) {
        for (_, how) in differences(&before.admin_section(), &next.admin_section()) {
            self.add(Kind::AtRestart, "admin", how, None);
        }
    }

    fn listeners(&mut self, before: &Config, next: &Config, lineage: &Lineage, sessions: &impl Sessions) {
        for (index, was) in lineage.listeners.iter().enumerate() {
            let section = next.listener_section(index);
            match was {
                None => {
                    let how = format!("on {}", section.value("bind").unwrap_or_default());
                    self.add(Kind::Added, &section.title, how, None);
                }
                Some(was) => self.settings(&before.listener_section(*was), &section),
            }
        }
        for index in missing(before.listeners.len(), &lineage.listeners) {
            let section = before.listener_section(index);
            let how = format!("from {}; its sessions go on", section.value("bind").unwrap_or_default());
            self.add(Kind::Removed, &section.title, how, Some(sessions.of_listener(index)));
        }
    }

    fn pools(&mut self, before: &Config, next: &Config, lineage: &Lineage) {
        for (index, was) in lineage.pools.iter().enumerate() {
            let section = next.pool_section(index);
            match was {
                None => {
                    let how = format!("with {} backends", next.pools[index].backends.len());
                    self.add(Kind::Added, &section.title, how, None);
                }
                Some(was) => self.settings(&before.pool_section(*was), &section),
            }
        }
        for index in missing(before.pools.len(), &lineage.pools) {
            let how = format!("with {} backends", before.pools[index].backends.len());
            self.add(Kind::Removed, &before.pool_section(index).title, how, None);
        }
    }

    fn backends(&mut self, before: &Config, next: &Config, lineage: &Lineage, sessions: &impl Sessions) {
        let old: Vec<_> = before.backends().collect();
        for ((pool, backend), was) in next.backends().zip(&lineage.backends) {
            let what = format!("pool {}, backend {}", pool.name, backend.name);
            let Some(was) = was else {
                self.add(Kind::Added, &what, format!("at {}", backend.address), None);
                continue;
            };
            let (_, before) = old[*was];
            let limit = |max: Option<std::num::NonZeroU32>| max.map_or("off".into(), |max| max.to_string());
            let check = |address: Option<crate::config::Address>| {
                address.map_or("that of the pool".into(), |address| address.to_string())
            };
            for (name, before, next) in [
                ("name", before.name.clone(), backend.name.clone()),
                ("weight", before.weight.to_string(), backend.weight.to_string()),
                ("backup", before.backup.to_string(), backend.backup.to_string()),
                ("max_connections", limit(before.max_connections), limit(backend.max_connections)),
                ("check_address", check(before.check_address), check(backend.check_address)),
            ] {
                if before != next {
                    self.add(Kind::Changed, &what, format!("{name} {before} -> {next}"), None);
                }
            }
        }
        let limit = format_duration(next.server.removed_drain_timeout);
        for place in missing(old.len(), &lineage.backends) {
            let (pool, backend) = old[place];
            let how = format!("at {}; its sessions may go on for {limit}", backend.address);
            let count = sessions.of_backend(BackendId::new(place));
            self.add(
                Kind::Removed,
                &format!("pool {}, backend {}", pool.name, backend.name),
                how,
                Some(count),
            );
        }
    }

    fn settings(&mut self, before: &Section, next: &Section) {
        for (_, how) in differences(before, next) {
            self.add(Kind::Changed, &next.title, how, None);
        }
    }
}

/// The places of so many before that nothing has now.
fn missing(before: usize, now: &[Option<usize>]) -> impl Iterator<Item = usize> {
    let mut is_there = vec![false; before];
    now.iter().flatten().for_each(|&place| is_there[place] = true);
    (0..before).filter(move |&place| !is_there[place])
}

/// The settings that are another, by name, and how.
fn differences(before: &Section, next: &Section) -> Vec<(&'static str, String)> {
    let mut names: Vec<&'static str> = Vec::new();
    for (name, _) in next.settings.iter().chain(&before.settings) {
        if !name.is_empty() && !names.contains(name) {
            names.push(name);
        }
    }
    let value = |section: &Section, name| section.value(name).unwrap_or_else(|| "-".into());
    let differs = |name: &&'static str| value(before, name) != value(next, name);
    let told = |name| {
        let routes = (name == "route").then(|| routes(before.values(name), next.values(name))).flatten();
        (name, routes.unwrap_or_else(|| format!("{name} {} -> {}", value(before, name), value(next, name))))
    };
    names.into_iter().filter(differs).map(told).collect()
}

/// Which routes go and which come; nothing when they have changed places only.
fn routes(before: &[(&str, String)], next: &[(&str, String)]) -> Option<String> {
    let lacks = |all: &[(&str, String)], one: &str| all.iter().all(|(_, other)| other != one);
    let gone = before.iter().filter(|(_, one)| lacks(next, one)).map(|(_, one)| format!("without [{one}]"));
    let new = next.iter().filter(|(_, one)| lacks(before, one)).map(|(_, one)| format!("with [{one}]"));
    let parts: Vec<String> = gone.chain(new).collect();
    (!parts.is_empty()).then(|| format!("routes {}", parts.join(", ")))
}

/// A configuration as it is in force after a reload: what only a new process can have stays as it was.
pub fn in_force(before: &Config, mut next: Config) -> Config {
    let asked = next.server;
    next.server = Server {
        drain_timeout: asked.drain_timeout,
        removed_drain_timeout: asked.removed_drain_timeout,
        upgrade_timeout: asked.upgrade_timeout,
        sessions_max: asked.sessions_max,
        rate_max: asked.rate_max,
        status_interval: asked.status_interval,
        ..before.server.clone()
    };
    next.access_log.clone_from(&before.access_log);
    next.admin.clone_from(&before.admin);
    next
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.changes.iter().map(|change| change.what.len()).max().unwrap_or(0);
        for Change { kind, what, how, sessions } in &self.changes {
            write!(f, "{:10}  {what:width$}  {how}", kind.word())?;
            if let Some(sessions) = sessions {
                write!(f, " ({sessions} now)")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    struct Running;

    impl Sessions for Running {
        fn of_listener(&self, listener: usize) -> u64 {
            10 + listener as u64
        }

        fn of_backend(&self, backend: BackendId) -> u64 {
            20 + backend.index() as u64
        }
    }

    fn parse(text: &str) -> Config {
        config::parse("test", text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    const BEFORE: &str = "[server]\nworkers = 2\ndrain_timeout = '10s'\n
        [[listener]]\nname='web'\nbind=['127.0.0.1:1', '127.0.0.1:2']\npool='api'\nidle_timeout='5m'\n
        [[listener]]\nname='old'\nbind='127.0.0.1:3'\npool='api'\n
        [[pool]]\nname='api'\nalgorithm='round-robin'\n
        [[pool.backend]]\nname='a'\naddress='127.0.0.1:10'\n
        [[pool.backend]]\nname='b'\naddress='127.0.0.1:11'\n";
    const NEXT: &str = "[server]\nworkers = 3\ndrain_timeout = '20s'\n
        [[listener]]\nname='web'\nbind='127.0.0.1:1'\npool='api'\nidle_timeout='6m'\n
        [[listener]]\nname='new'\nbind='127.0.0.1:4'\npool='more'\n
        [[pool]]\nname='api'\nalgorithm='maglev'\n
        [[pool.backend]]\nname='a'\naddress='127.0.0.1:10'\nweight=3\n
        [[pool.backend]]\nname='c'\naddress='127.0.0.1:12'\n
        [[pool]]\nname='more'\n[[pool.backend]]\nname='m'\naddress='127.0.0.1:13'\n";

    fn plan(before: &Config, next: &Config) -> Plan {
        Plan::between(before, next, &Lineage::between(before, next), &Running)
    }

    #[test]
    fn each_change_is_told_with_what_it_does_to_sessions() {
        let expected = "\
at restart  server               workers 2 -> 3
changed     server               drain_timeout 10s -> 20s
changed     listener web         bind 127.0.0.1:1, 127.0.0.1:2 -> 127.0.0.1:1
changed     listener web         idle_timeout 5m -> 6m
added       listener new         on 127.0.0.1:4
removed     listener old         from 127.0.0.1:3; its sessions go on (11 now)
changed     pool api             algorithm round-robin -> maglev
added       pool more            with 1 backends
changed     pool api, backend a  weight 1 -> 3
added       pool api, backend c  at 127.0.0.1:12
added       pool more, backend m  at 127.0.0.1:13
removed     pool api, backend b  at 127.0.0.1:11; its sessions may go on for 10m (21 now)
";
        let text = plan(&parse(BEFORE), &parse(NEXT)).to_string();
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeeze(&text), squeeze(expected));
    }

    #[test]
    fn of_routes_those_are_told_that_go_and_that_come() {
        let routed = |routes: &[&str]| {
            let route = |asked: &&str| format!("[[listener.route]]\n{asked}\npool='api'\n");
            let routes: String = routes.iter().map(route).collect();
            parse(&format!(
                "[[listener]]\nname='web'\nbind='127.0.0.1:1'\npool='api'\n{routes}[[pool]]\nname='api'\n\
                 [[pool.backend]]\nname='a'\naddress='127.0.0.1:10'\n"
            ))
        };
        let [a, b, c] = ["server_name='a.example'", "server_name='b.example'", "alpn='h2'"];
        let told = |before: &[&str], next: &[&str]| plan(&routed(before), &routed(next)).to_string();
        let changed = "changed     listener web  ";
        assert_eq!(
            told(&[a, b], &[a, c]),
            format!("{changed}routes without [b.example -> api], with [alpn h2 -> api]\n")
        );
        assert!(told(&[a, b], &[b, a]).contains("route a.example -> api, b.example -> api -> b.example"));
        assert_eq!(told(&[a], &[a]), "");
    }

    #[test]
    fn the_same_changes_nothing_and_what_needs_a_restart_stays_in_force() {
        let (before, next) = (parse(BEFORE), parse(NEXT));
        assert!(plan(&before, &before).is_empty());
        let in_force = in_force(&before, next.clone());
        assert_eq!(in_force.server.workers, before.server.workers);
        assert_eq!(in_force.server.drain_timeout, next.server.drain_timeout);
        assert_eq!(plan(&before, &in_force).count(Kind::AtRestart), 0);
    }
}
