//! What the flags ask for, as the same tree that a file becomes: one pool behind one listener.

use std::borrow::Cow;

use super::errors::{Error, Place, Reason, Report};
use super::near::near;
use super::typed::{Entry, Node, Table, Value};

/// The name of the listener and of the pool that flags make.
const NAME: &str = "main";

/// The values of the flags, as typed; each is judged by the rules of the key that it stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--listen`, each time it was given.
    pub listen: Vec<String>,
    /// `--backend`, each time it was given: `ip:port[,weight=N][,name=NAME][,max-connections=N][,backup]`.
    pub backends: Vec<String>,
    /// `--algorithm`
    pub algorithm: Option<String>,
    /// `--workers`
    pub workers: Option<String>,
    /// `--drain-timeout`
    pub drain_timeout: Option<String>,
    /// `--sessions-max`
    pub sessions_max: Option<String>,
    /// `--accept`
    pub accept: Option<String>,
    /// `--idle-timeout`
    pub idle_timeout: Option<String>,
    /// `--connect-timeout`
    pub connect_timeout: Option<String>,
    /// `--no-backend`
    pub no_backend: Option<String>,
    /// `--no-backend-message`
    pub no_backend_message: Option<String>,
    /// `--health-interval`
    pub health_interval: Option<String>,
    /// `--status-interval`
    pub status_interval: Option<String>,
    /// `--log`
    pub log: Option<String>,
    /// `--admin`
    pub admin: Option<String>,
}

/// The tree of these flags.
pub(super) fn tree<'f>(flags: &'f Flags, report: &Report) -> Table<'f> {
    let server = [
        ("workers", "--workers", &flags.workers),
        ("drain_timeout", "--drain-timeout", &flags.drain_timeout),
        ("sessions_max", "--sessions-max", &flags.sessions_max),
        ("status_interval", "--status-interval", &flags.status_interval),
        ("log", "--log", &flags.log),
    ];
    let listener = [
        ("accept", "--accept", &flags.accept),
        ("idle_timeout", "--idle-timeout", &flags.idle_timeout),
        ("no_backend", "--no-backend", &flags.no_backend),
        ("no_backend_message", "--no-backend-message", &flags.no_backend_message),
    ];
    let pool = [
        ("algorithm", "--algorithm", &flags.algorithm),
        ("connect_timeout", "--connect-timeout", &flags.connect_timeout),
    ];
    let health = [("interval", "--health-interval", &flags.health_interval)];

    let mut listener = given(&listener);
    let binds = flags.listen.iter().map(|typed| Node::word(flag("--listen", typed), typed)).collect();
    insert(&mut listener, "name", Node::word(Place::File, NAME));
    insert(&mut listener, "bind", node("--listen", Value::List(binds)));
    insert(&mut listener, "pool", Node::word(Place::File, NAME));

    let mut pool = given(&pool);
    let backends = flags.backends.iter().map(|typed| backend(typed, report)).collect();
    insert(&mut pool, "name", Node::word(Place::File, NAME));
    insert(&mut pool, "health", node("--health-interval", Value::Table(given(&health))));
    insert(&mut pool, "backend", node("--backend", Value::List(backends)));

    let mut root = Table::new();
    insert(&mut root, "server", node("flags", Value::Table(given(&server))));
    // Without the table there is none.
    if flags.admin.as_ref().is_some_and(|typed| typed != "off") {
        let admin = [("bind", "--admin", &flags.admin)];
        insert(&mut root, "admin", node("--admin", Value::Table(given(&admin))));
    }
    insert(&mut root, "listener", list_of_one("--listen", listener));
    insert(&mut root, "pool", list_of_one("--backend", pool));
    root
}

type Flag<'f> = (&'static str, &'static str, &'f Option<String>);

/// The flags of one table that were given, under their keys.
fn given<'f>(flags: &[Flag<'f>]) -> Table<'f> {
    let mut table = Table::new();
    for &(key, name, typed) in flags {
        if let Some(typed) = typed {
            insert(&mut table, key, Node::word(flag(name, typed), typed));
        }
    }
    table
}

/// What may follow the address of a backend: as it is typed, its key, and how to write it.
const EXTRAS: [(&str, &str, &str); 4] = [
    ("weight", "weight", "weight=N"),
    ("name", "name", "name=NAME"),
    ("max-connections", "max_connections", "max-connections=N"),
    ("backup", "backup", "backup"),
];

/// `10.0.0.1:8080,weight=3,name=a,backup` as a table.
fn backend<'f>(typed: &'f str, report: &Report) -> Node<'f> {
    let place = flag("--backend", typed);
    let wrong = |reason| {
        report.push(Error { place: place.clone(), key: String::new(), owner: String::new(), reason });
    };
    let mut parts = typed.split(',');
    let mut table = Table::new();
    insert(&mut table, "address", Node::word(place.clone(), parts.next().unwrap_or_default()));
    for part in parts {
        // A switch is on when it is named.
        let if_alone = if part == "backup" { "true" } else { "" };
        let (name, value) = part.split_once('=').unwrap_or((part, if_alone));
        match EXTRAS.into_iter().find(|(extra, ..)| *extra == name) {
            None => wrong(Reason::NotAChoice {
                typed: format!("\"{}\"", super::typed::shown(name)),
                near: near(name, EXTRAS.map(|(extra, ..)| extra)),
                choices: EXTRAS.map(|(.., how)| how.to_owned()).to_vec(),
            }),
            Some((_, key, _)) if table.contains_key(key) => wrong(Reason::KeyTwice(name.to_owned())),
            Some((_, key, _)) => insert(&mut table, key, Node::word(place.clone(), value)),
        }
    }
    Node { place, typed, value: Value::Table(table) }
}

fn list_of_one<'f>(name: &'static str, table: Table<'f>) -> Node<'f> {
    node(name, Value::List(vec![node(name, Value::Table(table))]))
}

fn node<'f>(name: &'static str, value: Value<'f>) -> Node<'f> {
    Node { place: Place::Flag(name.to_owned()), typed: name, value }
}

fn flag(name: &str, typed: &str) -> Place {
    Place::Flag(format!("{name} {}", super::typed::shown(typed)))
}

fn insert<'f>(table: &mut Table<'f>, key: &'static str, node: Node<'f>) {
    table.insert(Cow::Borrowed(key), Entry { key_place: node.place.clone(), node });
}

#[cfg(test)]
mod tests {
    use super::super::{Algorithm, Config, Errors, Workers, from_flags};
    use super::*;
    use std::time::Duration;

    fn flags(backends: &[&str]) -> Flags {
        let backends = backends.iter().map(|typed| (*typed).to_owned()).collect();
        Flags { listen: vec!["127.0.0.1:8000".to_owned()], backends, ..Flags::default() }
    }

    fn error(flags: &Flags) -> String {
        from_flags(flags).unwrap_err().to_string()
    }

    #[test]
    fn two_flags_are_a_whole_configuration() -> Result<(), Errors> {
        let Config { listeners, pools, .. } =
            from_flags(&flags(&["127.0.0.1:8080,weight=3,name=a", "[::1]:8081"]))?;
        assert_eq!(listeners[0].bind, ["127.0.0.1:8000".parse().unwrap()]);
        let backends: Vec<_> = pools[0].backends.iter().map(|b| (b.name.as_str(), b.weight.get())).collect();
        assert_eq!(backends, [("a", 3), ("[::1]:8081", 1)]);
        Ok(())
    }

    #[test]
    fn a_backend_can_have_a_limit_or_stand_by() -> Result<(), Errors> {
        let config = from_flags(&flags(&[
            "127.0.0.1:1,max-connections=100",
            "127.0.0.1:2,backup,max-connections=off",
            "127.0.0.1:3,backup=false",
        ]))?;
        let backends = config.pools[0].backends.iter();
        let found: Vec<_> = backends.map(|b| (b.backup, b.max_connections.map(|max| max.get()))).collect();
        assert_eq!(found, [(false, Some(100)), (true, None), (false, None)]);
        Ok(())
    }

    #[test]
    fn every_flag_reaches_its_key() -> Result<(), Errors> {
        let some = |text: &str| Some(text.to_owned());
        let config = from_flags(&Flags {
            algorithm: some("least-connections"),
            workers: some("0,2-3"),
            drain_timeout: some("5s"),
            sessions_max: some("100"),
            idle_timeout: some("off"),
            connect_timeout: some("15s"),
            no_backend: some("message"),
            no_backend_message: some("123"),
            health_interval: some("500ms"),
            status_interval: some("10s"),
            log: some("debug"),
            ..flags(&["127.0.0.1:8080"])
        })?;
        assert_eq!(config.pools[0].algorithm, Algorithm::LeastConnections);
        assert_eq!(config.server.workers, Workers::Cores(vec![0, 2, 3]));
        assert_eq!(config.server.drain_timeout, Duration::from_secs(5));
        assert_eq!(config.server.sessions_max.map(|max| max.get()), Some(100));
        assert_eq!(config.listeners[0].idle_timeout, None);
        assert_eq!(config.pools[0].connect_timeout, Duration::from_secs(15));
        assert_eq!(config.pools[0].connect_total_timeout, Duration::from_secs(15));
        assert_eq!(config.listeners[0].no_backend, super::super::NoBackend::Message("123".to_owned()));
        assert_eq!(config.pools[0].health.timeout, Duration::from_millis(500));
        assert_eq!(config.server.status_interval, Some(Duration::from_secs(10)));
        assert_eq!(config.server.log, super::super::LogLevel::Debug);
        Ok(())
    }

    #[test]
    fn errors_name_the_flag() {
        assert_eq!(
            error(&flags(&["127.0.0.1:8080,weight=0"])),
            "--backend 127.0.0.1:8080,weight=0: 0 is too small; weight goes from 1 to 256; to take a backend out, remove it\n"
        );
        assert_eq!(
            error(&flags(&["127.0.0.1:8080,wieght=1"])),
            "--backend 127.0.0.1:8080,wieght=1: \"wieght\" is not a choice; did you mean \"weight\"?\n"
        );
        assert_eq!(
            error(&flags(&["127.0.0.1:8080,port=1"])),
            "--backend 127.0.0.1:8080,port=1: \"port\" is not a choice; write \"weight=N\", \"name=NAME\", \
             \"max-connections=N\" or \"backup\"\n"
        );
        assert_eq!(
            error(&flags(&["127.0.0.1:8080,max-connections=0"])),
            "--backend 127.0.0.1:8080,max-connections=0: 0 is too small; max_connections goes from 1 to 10000000, or is \
             \"off\"; to take a backend out, remove it\n"
        );
        assert_eq!(
            error(&flags(&["127.0.0.1:8080,backup"])),
            "--backend: every backend of the pool is a backup, and none is left to stand in for; remove backup from those \
             that are to serve first\n"
        );
        let drain_timeout = Some("30".to_owned());
        assert_eq!(
            error(&Flags { drain_timeout, ..flags(&["127.0.0.1:8080"]) }),
            "--drain-timeout 30: 30 has no unit; write \"30ms\", \"30s\" or \"30m\"\n"
        );
    }
}
