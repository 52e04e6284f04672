//! JSON: an entry as one object. Pure.

use std::net::IpAddr;

use serde::Serialize;

use super::names::Named;
use super::termination::termination;
use super::text::Busy;
use crate::config::Address;
use crate::entries::Entry;
use crate::moment::Moment;

/// The keys, in the order in which they are written; each is always there. `docs/access-log.md` explains each.
#[derive(Serialize)]
struct Object<'a> {
    accepted: &'a str,
    session: &'a str,
    worker: usize,
    client_ip: Option<IpAddr>,
    client_port: Option<u16>,
    listener: &'a str,
    pool: &'a str,
    algorithm: &'a str,
    backend: Option<&'a str>,
    backend_address: Option<Address>,
    end: &'a str,
    termination: &'a str,
    wait_us: Option<u64>,
    connect_us: Option<u64>,
    first_byte_us: Option<u64>,
    total_us: u64,
    to_backend_bytes: u64,
    to_client_bytes: u64,
    retries: u16,
    queued_behind: u32,
    process_sessions: u64,
    listener_sessions: u64,
    pool_sessions: u64,
    backend_sessions: u64,
    listener_port: Option<u16>,
    server_name: Option<&'a str>,
}

/// Appends the line, without its end.
pub(super) fn json(line: &mut Vec<u8>, entry: &Entry, named: &Named<'_>, accepted: Moment, busy: Busy) {
    let (mut date, session, letters) = (Vec::new(), entry.id.to_string(), termination(entry));
    accepted.append_rfc3339(&mut date);
    let object = Object {
        accepted: str::from_utf8(&date).unwrap_or_default(),
        session: &session,
        worker: entry.id.worker(),
        client_ip: entry.client.as_ip().map(|client| client.ip().to_canonical()),
        client_port: entry.client.as_ip().map(|client| client.port()),
        listener: named.listener,
        pool: named.pool,
        algorithm: named.algorithm,
        backend: named.backend.map(|(name, _)| name),
        backend_address: named.backend.map(|(_, address)| address),
        end: entry.end.name(),
        termination: str::from_utf8(&letters).unwrap_or_default(),
        wait_us: entry.waited_us,
        connect_us: entry.connect_us,
        first_byte_us: entry.first_byte_us,
        total_us: entry.duration_us,
        to_backend_bytes: entry.bytes_to_backend,
        to_client_bytes: entry.bytes_to_client,
        retries: entry.picks.saturating_sub(1),
        queued_behind: entry.behind,
        process_sessions: busy.process,
        listener_sessions: busy.listener,
        pool_sessions: busy.pool,
        backend_sessions: busy.backend,
        listener_port: Some(entry.port).filter(|&port| port != 0),
        server_name: entry.server_name.as_deref(),
    };
    // Neither a vector nor these types can fail.
    let _ = serde_json::to_writer(line, &object);
}

#[cfg(test)]
mod tests {
    use super::super::text::testing::{ACCEPTED, entry, named, unserved};
    use super::*;

    fn line(entry: &Entry, busy: Busy) -> String {
        let mut line = Vec::new();
        json(&mut line, entry, &named(entry), ACCEPTED, busy);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn every_key_in_its_order() {
        let busy = Busy { process: 9, listener: 8, pool: 7, backend: 6 };
        assert_eq!(
            line(&Entry { picks: 2, behind: 3, ..entry() }, busy),
            "{\"accepted\":\"2026-09-21T14:13:20.123456Z\",\"session\":\"1-17\",\"worker\":1,\"client_ip\":\"192.0.2.7\",\
             \"client_port\":50123,\"listener\":\"web\",\"pool\":\"app\",\"algorithm\":\"peak-ewma\",\"backend\":\"blue\",\
             \"backend_address\":\"10.0.0.1:80\",\"end\":\"complete\",\"termination\":\"--\",\"wait_us\":1250,\
             \"connect_us\":340,\"first_byte_us\":12345,\"total_us\":5007999,\"to_backend_bytes\":97,\
             \"to_client_bytes\":212,\"retries\":1,\"queued_behind\":3,\"process_sessions\":9,\"listener_sessions\":8,\
             \"pool_sessions\":7,\"backend_sessions\":6,\"listener_port\":443,\"server_name\":null}"
        );
    }

    #[test]
    fn what_was_not_reached_is_null() {
        let entry = Entry { client: "[::ffff:192.0.2.7]:1".parse().unwrap(), ..unserved() };
        let line = line(&entry, Busy::default());
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        for key in ["backend", "backend_address", "wait_us", "connect_us", "first_byte_us"] {
            assert!(object[key].is_null() && line.contains(&format!("\"{key}\":null")), "{line}");
        }
        assert_eq!((object["client_ip"].as_str(), object["retries"].as_u64()), (Some("192.0.2.7"), Some(0)));
        assert_eq!(object["termination"], "SC");
    }
}
