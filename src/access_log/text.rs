//! Text: an entry as one line for people and for what reads the logs of HAProxy. Pure.
//!
//! The fields up to the second space before `end=` are those of HAProxy's `option tcplog`; what HAProxy does not tell stands
//! behind them with its names, as in the JSON format. `docs/access-log.md` explains each.

use std::io::Write as _;

use super::names::Named;
use super::termination::termination;
use crate::config::Address;
use crate::entries::Entry;
use crate::moment::Moment;

/// Sessions that run, as of the moment in which the line was made; the one that is told of is none of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Busy {
    /// In the process.
    pub(super) process: u64,
    /// On its listener.
    pub(super) listener: u64,
    /// On the backends of its pool.
    pub(super) pool: u64,
    /// On its backend.
    pub(super) backend: u64,
}

/// Appends the line, without its end.
pub(super) fn text(line: &mut Vec<u8>, entry: &Entry, named: &Named<'_>, accepted: Moment, busy: Busy) {
    // Writing to a vector cannot fail.
    let _ = write_haproxy(line, entry, named, accepted, busy);
    let _ = write_more(line, entry, named);
}

fn write_haproxy(
    line: &mut Vec<u8>,
    entry: &Entry,
    named: &Named<'_>,
    accepted: Moment,
    busy: Busy,
) -> std::io::Result<()> {
    let Named { listener, pool, .. } = named;
    match entry.client {
        Address::Ip(client) => write!(line, "{}:{} [", client.ip().to_canonical(), client.port())?,
        // As HAProxy writes it, but for its number of the listener in place of the port.
        Address::Unix(_) => write!(line, "unix:0 [")?,
    }
    accepted.append_haproxy(line);
    let backend = named.backend.map_or("<NOSRV>", |(name, _)| name);
    write!(line, "] {listener} {pool}/{backend} ")?;
    for time_us in [entry.waited_us, entry.connect_us] {
        write_or(line, time_us.map(|us| us / 1_000))?;
        line.push(b'/');
    }
    write!(line, "{} {} ", entry.duration_us / 1_000, entry.bytes_to_client)?;
    line.extend_from_slice(&termination(entry));
    let Busy { process, listener, pool, backend } = busy;
    write!(line, " {process}/{listener}/{pool}/{backend}/")?;
    match entry.picks.saturating_sub(1) {
        0 => line.push(b'0'),
        // Each is a redispatch: nobody is tried twice.
        retries => write!(line, "+{retries}")?,
    }
    write!(line, " 0/{}", entry.behind)
}

fn write_more(line: &mut Vec<u8>, entry: &Entry, named: &Named<'_>) -> std::io::Result<()> {
    write!(line, " end={}", entry.end.name())?;
    for (name, time_us) in [
        (" wait_us=", entry.waited_us),
        (" connect_us=", entry.connect_us),
        (" first_byte_us=", entry.first_byte_us),
    ] {
        line.extend_from_slice(name.as_bytes());
        write_or(line, time_us)?;
    }
    write!(
        line,
        " total_us={} to_backend_bytes={} to_client_bytes={} algorithm={} worker={} session={} listener_port={} \
         server_name={}",
        entry.duration_us,
        entry.bytes_to_backend,
        entry.bytes_to_client,
        named.algorithm,
        entry.id.worker(),
        entry.id,
        entry.port,
        // No name has what would end a field or a line.
        entry.server_name.as_deref().unwrap_or("-")
    )
}

/// -1 is what HAProxy writes for what was not reached.
fn write_or(line: &mut Vec<u8>, number: Option<u64>) -> std::io::Result<()> {
    match number {
        Some(number) => write!(line, "{number}"),
        None => write!(line, "-1"),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{ACCEPTED, entry, named, unserved};
    use super::*;

    fn line(entry: &Entry, busy: Busy) -> String {
        let mut line = Vec::new();
        text(&mut line, entry, &named(entry), ACCEPTED, busy);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_session_that_went_well() {
        let busy = Busy { process: 9, listener: 8, pool: 7, backend: 6 };
        assert_eq!(
            line(&entry(), busy),
            "192.0.2.7:50123 [21/Sep/2026:14:13:20.123] web app/blue 1/0/5007 212 -- 9/8/7/6/0 0/0 end=complete \
             wait_us=1250 connect_us=340 first_byte_us=12345 total_us=5007999 to_backend_bytes=97 to_client_bytes=212 \
             algorithm=peak-ewma worker=1 session=1-17 listener_port=443 server_name=-"
        );
    }

    #[test]
    fn one_that_asked_for_a_server() {
        let entry = Entry { server_name: Some("app.example".into()), ..entry() };
        let line = line(&entry, Busy::default());
        assert!(line.ends_with(" session=1-17 listener_port=443 server_name=app.example"), "{line}");
    }

    #[test]
    fn one_that_nobody_served() {
        assert_eq!(
            line(&unserved(), Busy::default()),
            "2001:db8::7:1 [21/Sep/2026:14:13:20.123] web app/<NOSRV> -1/-1/0 0 SC 0/0/0/0/0 0/0 end=no-backend \
             wait_us=-1 connect_us=-1 first_byte_us=-1 total_us=999 to_backend_bytes=0 to_client_bytes=0 \
             algorithm=peak-ewma worker=1 session=1-17 listener_port=443 server_name=-"
        );
    }

    #[test]
    fn one_that_had_to_wait_and_to_go_elsewhere() {
        let entry = Entry { client: "[::ffff:192.0.2.7]:1".parse().unwrap(), behind: 4, picks: 3, ..entry() };
        let line = line(&entry, Busy::default());
        assert!(line.starts_with("192.0.2.7:1 ["), "{line}");
        assert!(line.contains(" 0/0/0/0/+2 0/4 end="), "{line}");
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::end::End;
    use crate::entries::Reached;
    use crate::session_id::SessionId;
    use crate::table::BackendId;

    pub(crate) const ACCEPTED: Moment = Moment(1_790_000_000_123_456);

    /// One that went well.
    pub(crate) fn entry() -> Entry {
        Entry {
            id: SessionId::new(1, 17),
            client: "192.0.2.7:50123".parse().unwrap(),
            listener: 0,
            port: 443,
            pool: 0,
            backend: Some(BackendId::new(0)),
            accepted_us: 0,
            waited_us: Some(1_250),
            connect_us: Some(340),
            first_byte_us: Some(12_345),
            duration_us: 5_007_999,
            bytes_to_backend: 97,
            bytes_to_client: 212,
            behind: 0,
            picks: 1,
            reached: Reached::Data,
            unanswered: false,
            end: End::Complete,
            server_name: None,
        }
    }

    /// One that nobody served.
    pub(crate) fn unserved() -> Entry {
        Entry {
            client: "[2001:db8::7]:1".parse().unwrap(),
            backend: None,
            waited_us: None,
            connect_us: None,
            first_byte_us: None,
            duration_us: 999,
            bytes_to_backend: 0,
            bytes_to_client: 0,
            picks: 0,
            reached: Reached::Connect,
            end: End::NoBackend,
            ..entry()
        }
    }

    pub(crate) fn named(entry: &Entry) -> Named<'static> {
        let backend = entry.backend.map(|_| ("blue", "10.0.0.1:80".parse().unwrap()));
        Named { listener: "web", pool: "app", algorithm: "peak-ewma", backend }
    }
}
