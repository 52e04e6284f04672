//! A configuration as text for people: every setting that holds, given or not.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::types::{Choice, Config, Listener, NoBackend, Pool, Server, TcpOptions, Workers};
use super::units::{format_duration, format_size};

impl Display for Config {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        server(f, &self.server)?;
        for each in &self.listeners {
            listener(f, each, self.pools.get(each.pool).map_or("", |pool| &pool.name))?;
        }
        self.pools.iter().try_for_each(|each| pool(f, each))
    }
}

fn server(f: &mut Formatter<'_>, server: &Server) -> fmt::Result {
    writeln!(f, "server")?;
    line(f, "workers", &workers(&server.workers))?;
    line(f, "drain_timeout", &format_duration(server.drain_timeout))?;
    line(f, "sessions_max", &number_or(server.sessions_max, "auto (from the limit on open files)"))?;
    let arena = server.buffer_size * server.buffers_per_worker;
    line(f, "buffer_size", &format_size(bytes(server.buffer_size)))?;
    line(f, "buffers_per_worker", &format!("{} ({})", server.buffers_per_worker, format_size(bytes(arena))))?;
    line(f, "status_interval", &or_off(server.status_interval))?;
    line(f, "log", &server.log.word())
}

fn listener(f: &mut Formatter<'_>, listener: &Listener, pool: &str) -> fmt::Result {
    writeln!(f, "\nlistener {}", listener.name)?;
    for (index, bind) in listener.bind.iter().enumerate() {
        line(f, if index == 0 { "bind" } else { "" }, bind)?;
    }
    line(f, "protocol", &listener.protocol.word())?;
    line(f, "pool", &pool)?;
    line(f, "backlog", &listener.backlog)?;
    tcp(f, listener.tcp)?;
    line(f, "idle_timeout", &or_off(listener.idle_timeout))?;
    line(f, "half_closed_timeout", &or_off(listener.half_closed_timeout))?;
    line(f, "lifetime_max", &or_off(listener.lifetime_max))?;
    match &listener.no_backend {
        NoBackend::Reset => line(f, "no_backend", &"reset"),
        NoBackend::Close => line(f, "no_backend", &"close"),
        NoBackend::Message(text) => {
            line(f, "no_backend", &"message")?;
            line(f, "no_backend_message", &format!("{text:?}"))
        }
    }
}

fn pool(f: &mut Formatter<'_>, pool: &Pool) -> fmt::Result {
    writeln!(f, "\npool {}", pool.name)?;
    line(f, "algorithm", &pool.algorithm.word())?;
    line(f, "connect_timeout", &format_duration(pool.connect_timeout))?;
    line(f, "connect_total_timeout", &format_duration(pool.connect_total_timeout))?;
    line(f, "connect_attempts", &number_or(pool.connect_attempts, "all"))?;
    tcp(f, pool.tcp)?;
    line(f, "health.check", &pool.health.check.word())?;
    line(f, "health.interval", &format_duration(pool.health.interval))?;
    line(f, "health.timeout", &format_duration(pool.health.timeout))?;
    line(f, "health.rise", &pool.health.rise)?;
    line(f, "health.fall", &pool.health.fall)?;
    line(f, "health.passive", &pool.health.passive)?;
    backends(f, pool)
}

fn backends(f: &mut Formatter<'_>, pool: &Pool) -> fmt::Result {
    let rows: Vec<_> =
        pool.backends.iter().map(|each| (&each.name, each.address.to_string(), each.weight)).collect();
    let name_width = rows.iter().map(|(name, ..)| name.len()).chain(["backend".len()]).max().unwrap_or(0);
    let address_width =
        rows.iter().map(|(_, address, _)| address.len()).chain(["address".len()]).max().unwrap_or(0);
    writeln!(f)?;
    writeln!(f, "  {:name_width$}  {:address_width$}  weight", "backend", "address")?;
    for (name, address, weight) in rows {
        writeln!(f, "  {name:name_width$}  {address:address_width$}  {weight:>6}")?;
    }
    Ok(())
}

fn tcp(f: &mut Formatter<'_>, tcp: TcpOptions) -> fmt::Result {
    line(f, "nodelay", &tcp.nodelay)?;
    line(f, "keepalive", &or_off(tcp.keepalive))?;
    line(f, "user_timeout", &or_off(tcp.user_timeout))
}

fn line(f: &mut Formatter<'_>, name: &str, value: &dyn Display) -> fmt::Result {
    writeln!(f, "  {name:22} {value}")
}

fn workers(workers: &Workers) -> String {
    match workers {
        Workers::Auto => "auto (one on each core)".to_owned(),
        Workers::Count(count) => count.to_string(),
        Workers::Cores(cores) => {
            let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
            format!("one on each of the cores {}", cores.join(", "))
        }
    }
}

fn or_off(time: Option<Duration>) -> String {
    time.map_or_else(|| "off".to_owned(), format_duration)
}

fn number_or(number: Option<impl Display>, word: &str) -> String {
    number.map_or_else(|| word.to_owned(), |number| number.to_string())
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
