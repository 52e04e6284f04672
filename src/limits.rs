//! Limits: what the process may use, added up in the open before anything starts. Pure.

use std::fmt;

use crate::access::Sources;
use crate::config::{Check, Config, Protocol};
use crate::pipes::PIPE_BYTES;
use crate::proxy_protocol::HEADER_BYTES_MAX;
use crate::{admin, datagrams, figures, health, worker};

/// Descriptors that one session holds: the client's and the backend's.
const PER_SESSION: u64 = 2;
/// Of one over datagrams: the backend's. The client's are all spoken to by one.
const PER_SESSION_UDP: u64 = 1;
/// What tells which sockets have datagrams, and twice what wakes the worker for it.
const PER_WORKER_UDP: u64 = 2;
/// A pipe has two ends.
const PER_PIPE: u64 = 2;
/// A worker's ring, its epoll twice, its waker; a second ring, and twice what wakes it.
const PER_WORKER: u64 = 7;
/// Each worker but one may overshoot the limit on sessions by a batch: two that look at the same moment both see the
/// last places free. Connections that are handed over need nothing beside: they count as sessions from the hand-over on.
const OVERSHOOT_PER_WORKER: u64 = worker::ACCEPT_BATCH as u64 * PER_SESSION;
/// A program that checks: its standard error, its process. What starting one takes for a moment is in [`PROCESS`].
const PER_COMMAND: u64 = 2;
/// Standard streams, signal pipe, the health thread's epoll, and room for a debugger, a core file, a log.
const PROCESS: u64 = 64;

/// The connections of the admin API; its socket, its epoll, its waker, and what a reload opens.
const ADMIN: u64 = admin::CONNECTIONS_MAX as u64 + 8;

/// How the descriptors are shared out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once.
    pub sessions_max: usize,
    /// Descriptors that one of them may hold.
    pub per_session: u64,
    /// The limit on open files.
    pub open_files: u64,
    /// What is kept back, by what for.
    pub reserved: Vec<(&'static str, u64)>,
    /// Bytes of relay buffers, all workers together.
    pub buffer_bytes: u64,
    /// Bytes of buffers for datagrams, all workers together: when each slot has had a datagram of the largest size.
    pub datagram_bytes: u64,
    /// Bytes of the kernel's that pipes may hold, all workers together: when every pipe is full.
    pub pipe_bytes: u64,
    /// Bytes that may come from the heap beside them: when every session moves bytes both ways and no cell is left.
    pub spill_bytes: u64,
    /// Bytes that the histograms of response times may take: when every backend has answered from the fastest to the
    /// slowest within one window.
    pub figure_bytes: u64,
    /// Bytes of the tables of sources, of all listeners that limit them.
    pub source_bytes: u64,
    /// Bytes of what proxies told of clients over UDP: when as many as are known all told as much as a header can.
    pub told_bytes: u64,
}

/// The limit on open files is too low for what is asked.
#[derive(Debug, PartialEq, Eq)]
pub struct TooFewFiles {
    open_files: u64,
    reserved: u64,
    sessions: u64,
    per_session: u64,
}

impl fmt::Display for TooFewFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooFewFiles { open_files, reserved, sessions, per_session } = *self;
        let needed = reserved + sessions * per_session;
        write!(
            f,
            "the limit on open files is too low: {open_files}, but {sessions} sessions x {per_session} + {reserved} for \
             listeners, workers and checks are {needed}; raise it (ulimit -n {needed}, LimitNOFILE={needed} in a \
             systemd unit)"
        )?;
        let possible = open_files.saturating_sub(reserved) / per_session;
        if possible > 0 {
            write!(f, " or set server.sessions_max (--sessions-max) to at most {possible}")?;
        }
        Ok(())
    }
}

impl std::error::Error for TooFewFiles {}

/// Adds up what is needed. `elsewhere` is what other parts of the process hold open.
pub fn plan(config: &Config, workers: usize, open_files: u64, elsewhere: u64) -> Result<Limits, TooFewFiles> {
    let workers = workers as u64;
    let addresses: usize = config.listeners.iter().map(|listener| listener.bind.len()).sum();
    let backends = |wanted: fn(&Check) -> bool| -> usize {
        let pools = config.pools.iter().filter(|pool| wanted(&pool.health.check));
        pools.map(|pool| pool.backends.len()).sum()
    };
    let checks = backends(|check| !matches!(check, Check::None | Check::Command(_)));
    let commands = backends(|check| matches!(check, Check::Command(_)));
    let mut reserved = vec![
        ("process", PROCESS),
        ("workers", workers * PER_WORKER),
        ("pipes", workers * config.server.pipes_per_worker as u64 * PER_PIPE),
        ("accepts at the same moment", (workers - 1) * OVERSHOOT_PER_WORKER),
        ("listening sockets", workers * addresses as u64),
        ("health checks", checks.min(health::CHECKS_AT_ONCE) as u64),
        ("check commands", commands.min(health::COMMANDS_AT_ONCE) as u64 * PER_COMMAND),
    ];
    let has = |protocol| config.listeners.iter().any(|listener| listener.protocol == protocol);
    let per_session = if has(Protocol::Tcp) { PER_SESSION } else { PER_SESSION_UDP };
    let has_datagrams = has(Protocol::Udp);
    if has_datagrams {
        reserved.push(("workers' datagrams", workers * PER_WORKER_UDP));
    }
    if config.admin.is_some() {
        reserved.push(("admin connections", ADMIN));
    }
    if elsewhere > 0 {
        reserved.push(("embedded backends", elsewhere));
    }
    let kept_back: u64 = reserved.iter().map(|(_, count)| count).sum();
    let possible = open_files.saturating_sub(kept_back) / per_session;
    let wanted = config.server.sessions_max.map_or(possible.max(1), |sessions| sessions.get() as u64);
    if wanted > possible {
        return Err(TooFewFiles { open_files, reserved: kept_back, sessions: wanted, per_session });
    }
    let buffer_bytes = workers * worker::layout(&config.server).bytes() as u64;
    let datagram_bytes = if has_datagrams { workers * datagrams::BUFFER_BYTES as u64 } else { 0 };
    let pipe_bytes = workers * config.server.pipes_per_worker as u64 * PIPE_BYTES as u64;
    let spill_bytes = wanted * 2 * config.server.buffer_size as u64;
    let backends = config.backends().count();
    let figure_bytes = backends as u64 * figures::BYTES_PER_BACKEND_MAX as u64;
    let limited = config.listeners.iter().filter(|listener| listener.limits.has_sources());
    let source_bytes = limited.map(|listener| Sources::bytes(listener.limits.sources_max) as u64).sum();
    let told = config.listeners.iter().filter(|listener| listener.proxy_protocol.is_some());
    let told = told.filter(|listener| listener.protocol == Protocol::Udp).map(|listener| {
        let known = 2 * (listener.udp.sessions_max.get() as u64).next_multiple_of(workers);
        listener.bind.len() as u64 * known * HEADER_BYTES_MAX as u64
    });
    let told_bytes = told.sum();
    Ok(Limits {
        sessions_max: wanted as usize,
        per_session,
        open_files,
        reserved,
        buffer_bytes,
        datagram_bytes,
        pipe_bytes,
        spill_bytes,
        figure_bytes,
        source_bytes,
        told_bytes,
    })
}

impl Limits {
    /// Descriptors that are open at once, at most.
    pub fn descriptors(&self) -> u64 {
        let reserved: u64 = self.reserved.iter().map(|(_, count)| count).sum();
        (reserved + self.sessions_max as u64 * self.per_session).min(self.open_files)
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reserved: u64 = self.reserved.iter().map(|(_, count)| count).sum();
        let room = self.open_files.saturating_sub(reserved) / self.per_session;
        write!(f, "{} sessions at most", self.sessions_max)?;
        if (self.sessions_max as u64) < room {
            write!(f, " of {room} for which there is room")?;
        }
        write!(f, " ({} open files", self.open_files)?;
        for (what, count) in self.reserved.iter().filter(|(_, count)| *count > 0) {
            write!(f, " - {count} {what}")?;
        }
        write!(f, ", {} a session)", self.per_session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    fn config(sessions_max: Option<usize>) -> Config {
        let text = "[[listener]]\nname = 'a'\nbind = ['127.0.0.1:1', '[::1]:1']\npool = 'p'\n\
                    [[pool]]\nname = 'p'\n[[pool.backend]]\naddress = '127.0.0.1:2'\n";
        let mut config = crate::config::parse("test", text).unwrap();
        config.server.sessions_max = sessions_max.and_then(NonZeroUsize::new);
        config.server.pipes_per_worker = 32;
        config
    }

    #[test]
    fn what_is_left_of_the_open_files_is_for_sessions() {
        let limits = plan(&config(None), 2, 1000, 0).unwrap();
        // 64 for the process, 7 for each of 2 workers and 64 for its pipes, 128 for the second one's batch, 2 addresses on
        // 2 workers, 1 check.
        assert_eq!(limits.sessions_max, (1000 - 339) / 2);
        let sum: u64 = limits.reserved.iter().map(|(_, count)| count).sum();
        assert!(sum + 2 * limits.sessions_max as u64 <= 1000);
    }

    #[test]
    fn programs_that_check_are_counted_apart_and_so_many_at_once() {
        let mut config = config(None);
        config.pools[0].health.check = Check::Command(vec!["true".into()]);
        config.pools[0].backends = vec![config.pools[0].backends[0].clone(); 100];
        let limits = plan(&config, 2, 1000, 0).unwrap();
        assert!(limits.reserved.contains(&("health checks", 0)), "{limits}");
        assert!(limits.reserved.contains(&("check commands", 64)), "{limits}");
    }

    #[test]
    fn more_sessions_than_the_files_allow_are_refused_with_the_bound() {
        let error = plan(&config(Some(500)), 2, 1000, 0).unwrap_err();
        assert!(error.to_string().contains("at most 330"), "{error}");
        assert!(error.to_string().contains("ulimit -n 1339"), "{error}");
        assert!(plan(&config(Some(330)), 2, 1000, 0).is_ok());
    }

    #[test]
    fn a_session_over_datagrams_holds_one_descriptor() {
        let mut config = config(None);
        config.listeners[0].protocol = Protocol::Udp;
        let limits = plan(&config, 2, 1000, 0).unwrap();
        // As above, and 2 for the datagrams of each worker.
        assert_eq!((limits.sessions_max, limits.per_session), (1000 - 343, 1));
        assert!(limits.datagram_bytes > 2 * 4 * 1024 * 1024);
        // Any session may be of the listener over TCP.
        let mut both = config.clone();
        both.listeners[0].bind.truncate(1);
        both.listeners.push(config.listeners[0].clone());
        both.listeners[1].bind.truncate(1);
        both.listeners[1].protocol = Protocol::Tcp;
        assert_eq!(plan(&both, 2, 1000, 0).unwrap().sessions_max, (1000 - 343) / 2);
    }

    #[test]
    fn the_tables_of_sources_are_counted_where_there_are_some() {
        let mut config = config(None);
        assert_eq!(plan(&config, 2, 1000, 0).unwrap().source_bytes, 0);
        config.listeners[0].limits.sessions_per_source = std::num::NonZeroU32::new(3);
        let one = plan(&config, 2, 1000, 0).unwrap().source_bytes;
        // Two places for each of 65,536 sources, in which their addresses are.
        assert!(one > 2 * 65_536 * 16, "{one}");
        config.listeners.push(config.listeners[0].clone());
        assert_eq!(plan(&config, 2, 1000, 0).unwrap().source_bytes, 2 * one);
    }

    #[test]
    fn no_room_for_a_single_session_is_refused() {
        let error = plan(&config(None), 2, 340, 0).unwrap_err();
        assert!(error.to_string().contains("1 sessions x 2 + 339"), "{error}");
    }
}
