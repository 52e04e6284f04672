//! Meaning of `[listener.proxy_protocol]` and `[pool.proxy_protocol]`: who tells whom who the client is.

use std::collections::HashMap;

use super::time;
use crate::config::errors::Reason;
use crate::config::keys::{self, CUSTOM_TLVS_MAX};
use crate::config::read::{Reader, all};
use crate::config::typed::{Node, Table};
use crate::config::types::{AcceptProxy, Check, Choice, Protocol, ProxyDatagrams, ProxyVersion, SendProxy};
use crate::config::values;

/// `Some(None)` without the table.
pub(super) fn accept_proxy(
    listener: &Reader<'_, '_>,
    protocol: Option<Protocol>,
) -> Option<Option<AcceptProxy>> {
    let empty = Table::new();
    let (table, place) = listener.table("proxy_protocol", &empty)?;
    if !listener.is_given("proxy_protocol") {
        return Some(None);
    }
    let reader = listener.inside(&keys::ACCEPT_PROXY, table, place);
    let accept_from = reader.list("accept_from", values::network);
    let versions = words(&reader, "versions", "among the versions", ProxyVersion::ALL);
    let timeout = time(&reader, "timeout");
    let datagrams = reader.get_if_given("datagrams", values::choice);
    let refuse = |name: &'static str, words: &str| {
        let reason = Reason::Conflict(words.to_owned());
        reader.report(&reader.place_of(name), name, reason);
    };
    let versions = match protocol {
        Some(Protocol::Udp) => {
            if reader.is_given("timeout") {
                refuse(
                    "timeout",
                    "protocol is \"udp\", and a datagram has the whole header in it; remove it",
                );
            }
            if versions.as_ref().is_some_and(|versions| !versions.contains(&ProxyVersion::V2)) {
                refuse(
                    "versions",
                    "protocol is \"udp\", which only version 2 has; write \"v2\" or remove it",
                );
            }
            if !reader.is_given("datagrams") {
                let cure = "add a line: datagrams = \"each\" where the sender puts a header before each datagram, \"first\" where \
                            it puts one before the first of each client only";
                reader.report(
                    &listener.place_of("proxy_protocol"),
                    "datagrams",
                    Reason::Missing(cure.to_owned()),
                );
            }
            versions.map(|_| vec![ProxyVersion::V2])
        }
        Some(Protocol::Tcp) if reader.is_given("datagrams") => {
            refuse("datagrams", "protocol is \"tcp\"; set protocol to \"udp\" or remove it");
            versions
        }
        _ => versions,
    };
    let accept_from =
        accept_from?.into_iter().map(|one| one.map(|(network, _)| network)).collect::<Option<_>>();
    Some(Some(AcceptProxy {
        accept_from: accept_from?,
        versions: versions?,
        timeout: timeout?,
        datagrams: datagrams?.unwrap_or(ProxyDatagrams::First),
    }))
}

/// `Some(None)` if none is sent. Every key is read, also then: a mistake in one that is not used is a mistake too.
pub(super) fn send_proxy(pool: &Reader<'_, '_>) -> Option<Option<SendProxy>> {
    let empty = Table::new();
    let (table, place) = pool.table("proxy_protocol", &empty)?;
    let reader = pool.inside(&keys::SEND_PROXY, table, place.clone());
    if pool.is_given("proxy_protocol") && !reader.is_given("send") {
        let cure = "add a line such as: send = \"v2\"".to_owned();
        reader.report(&place, "send", Reason::Missing(cure));
    }
    let send: Option<Send> = reader.get("send", values::choice);
    let tlvs = words(&reader, "tlvs", "among the TLVs", &[]);
    let datagrams = reader.get("datagrams", values::choice);
    let custom = custom(&reader);
    if send == Some(Send::V1) {
        for name in ["tlvs", "datagrams", "custom"].into_iter().filter(|name| reader.is_given(name)) {
            let words = "version 1 has no room for it; set send to \"v2\" or remove it".to_owned();
            reader.report(&reader.place_of(name), name, Reason::Conflict(words));
        }
    }
    let (tlvs, datagrams, custom) = (tlvs?, datagrams?, custom?);
    let version = match send? {
        Send::Off => return Some(None),
        Send::V1 => ProxyVersion::V1,
        Send::V2 => ProxyVersion::V2,
    };
    Some(Some(SendProxy { version, datagrams, tlvs, custom }))
}

/// Whether checks begin with a header. `sends` is the version that sessions have, if it is known whether they have one.
pub(super) fn checks_with_proxy(
    health: &Reader<'_, '_>,
    check: Option<&Check>,
    sends: Option<Option<ProxyVersion>>,
) -> Option<bool> {
    let name = "proxy_protocol";
    let given = health.get_if_given(name, values::switch)?;
    let impossible = match sends? {
        None => Some("the pool has no version to send it in; set send in [pool.proxy_protocol] or remove it"),
        Some(ProxyVersion::V1) if matches!(check, Some(Check::Udp(_))) => Some(
            "check is \"udp\", and version 1 is for streams; set send to \"v2\" in [pool.proxy_protocol] or remove it",
        ),
        Some(_) => None,
    };
    if let Some(words) = impossible.filter(|_| given == Some(true)) {
        health.report(&health.place_of(name), name, Reason::Conflict(words.to_owned()));
    }
    Some(given.unwrap_or(impossible.is_none()))
}

/// One word or a list of them, each once; `preset` if nothing is given.
fn words<T: Choice + Eq + std::hash::Hash>(
    reader: &Reader<'_, '_>,
    name: &'static str,
    within: &'static str,
    preset: &[T],
) -> Option<Vec<T>> {
    if !reader.is_given(name) {
        return Some(preset.to_vec());
    }
    let found = reader.list(name, values::choice::<T>)?;
    let mut seen = HashMap::new();
    for (word, place) in found.iter().flatten() {
        reader.unique(&mut seen, name, *word, format!("\"{}\"", word.word()), place.clone(), within);
    }
    all(found.into_iter().map(|one| one.map(|(word, _)| word)))
}

fn custom(reader: &Reader<'_, '_>) -> Option<Vec<(u8, Box<[u8]>)>> {
    let tables = reader.tables("custom")?;
    reader.at_most("[[pool.proxy_protocol.custom]] tables in one pool", tables.len(), CUSTOM_TLVS_MAX)?;
    let mut seen = HashMap::new();
    all(tables.iter().map(|(table, place)| {
        let reader = reader.inside(&keys::CUSTOM_TLV, table, place.clone());
        let kind: Option<CustomType> = reader.get("type", custom_type);
        let value = reader.get("value", values::bytes);
        let kind = kind?;
        let shown = format!("\"{}\"", kind.word());
        reader.unique(&mut seen, "type", kind, shown, reader.place_of("type"), "among the TLVs of a pool");
        Some((CustomType::FIRST + kind.0, value?.into()))
    }))
}

/// What looks like one of sixteen numbers is seldom a slip of the one that it looks like most.
fn custom_type(key: &keys::Key, node: &Node<'_>) -> Result<CustomType, Reason> {
    values::choice(key, node).map_err(|reason| match reason {
        Reason::NotAChoice { typed, near, .. }
            if !near
                .as_ref()
                .is_some_and(|near| typed.trim_matches(['"', '\'']).eq_ignore_ascii_case(near)) =>
        {
            let why = "is not one of the types that are left to users; write \"0xE0\" to \"0xEF\"".to_owned();
            Reason::Malformed { typed, why }
        }
        reason => reason,
    })
}

/// `send` as typed, before the TLVs join it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Send {
    Off,
    V1,
    V2,
}

impl Choice for Send {
    const ALL: &'static [Self] = &[Self::Off, Self::V1, Self::V2];

    fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// One of the sixteen types that the specification leaves to users, by its place among them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CustomType(u8);

impl CustomType {
    const FIRST: u8 = 0xE0;
    const WORDS: [&'static str; 16] = [
        "0xE0", "0xE1", "0xE2", "0xE3", "0xE4", "0xE5", "0xE6", "0xE7", "0xE8", "0xE9", "0xEA", "0xEB",
        "0xEC", "0xED", "0xEE", "0xEF",
    ];
}

impl Choice for CustomType {
    const ALL: &'static [Self] = &{
        let mut all = [CustomType(0); 16];
        let mut place = 0;
        while place < all.len() {
            all[place] = CustomType(place as u8);
            place += 1;
        }
        all
    };

    fn word(self) -> &'static str {
        Self::WORDS[usize::from(self.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::Kind;
    use crate::config::types::ProxyTlv;
    use crate::config::{Config, Errors, parse};
    use std::time::Duration;

    fn understood(listener: &str, pool: &str) -> Result<Config, Errors> {
        let text = format!(
            "[[listener]]\nname='a'\nbind='127.0.0.1:1'\npool='p'\n{listener}\n[[pool]]\nname='p'\n{pool}\n\
             [[pool.backend]]\naddress='127.0.0.1:2'\n"
        );
        parse("f", &text)
    }

    fn config(listener: &str, pool: &str) -> Config {
        understood(listener, pool).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn refused(listener: &str, pool: &str) -> String {
        understood(listener, pool).unwrap_err().to_string()
    }

    #[test]
    fn the_table_of_keys_and_the_types_know_the_same_words() {
        let listed = |section: &keys::Section, name| match section.key(name).map(|key| &key.kind) {
            Some(Kind::Words(words) | Kind::Choice(words)) => words.to_vec(),
            _ => panic!("{name}"),
        };
        fn words<T: Choice>() -> Vec<&'static str> {
            T::ALL.iter().map(|one| one.word()).collect()
        }
        assert_eq!(listed(&keys::ACCEPT_PROXY, "versions"), words::<ProxyVersion>());
        assert_eq!(listed(&keys::SEND_PROXY, "tlvs"), words::<ProxyTlv>());
        assert_eq!(listed(&keys::SEND_PROXY, "send"), words::<Send>());
        assert_eq!(listed(&keys::SEND_PROXY, "datagrams"), words::<ProxyDatagrams>());
        assert_eq!(listed(&keys::ACCEPT_PROXY, "datagrams"), words::<ProxyDatagrams>());
        assert_eq!(listed(&keys::CUSTOM_TLV, "type"), CustomType::WORDS);
    }

    #[test]
    fn without_the_tables_nothing_is_taken_or_sent() {
        let config = config("", "");
        assert_eq!(config.listeners[0].proxy_protocol, None);
        assert_eq!((&config.pools[0].proxy_protocol, config.pools[0].health.proxy_protocol), (&None, false));
    }

    #[test]
    fn every_key_reaches_its_setting() {
        let listener = "proxy_protocol = { accept_from = ['10.0.0.0/8', '192.0.2.7', 'fd00::/8'], versions = 'v2', timeout = '10ms' }";
        let pool = "[pool.proxy_protocol]\nsend = 'v2'\ntlvs = ['authority', 'crc32c']\n\
                    custom = [{ type = '0xE1', value = 'rack-7' }, { type = '0xEF', value = 'b' }]";
        let config = config(listener, pool);
        let accept = config.listeners[0].proxy_protocol.as_ref().unwrap();
        for (address, is_trusted) in [
            ("10.255.0.1", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(accept.trusts(address.parse().unwrap()), is_trusted, "{address}");
        }
        assert_eq!(accept.versions, [ProxyVersion::V2]);
        assert_eq!(accept.timeout, Duration::from_millis(10));
        let send = config.pools[0].proxy_protocol.as_ref().unwrap();
        assert_eq!((send.version, send.tells(ProxyTlv::Checksum)), (ProxyVersion::V2, true));
        assert!(!send.tells(ProxyTlv::Alpn));
        assert_eq!(send.custom, [(0xE1, b"rack-7"[..].into()), (0xEF, b"b"[..].into())]);
        assert!(config.pools[0].health.proxy_protocol);
    }

    #[test]
    fn over_udp_it_has_to_be_said_where_headers_are() {
        let of =
            |keys: &str| format!("protocol='udp'\nproxy_protocol = {{ accept_from = '10.0.0.0/8'{keys} }}");
        for (word, datagrams) in [("first", ProxyDatagrams::First), ("each", ProxyDatagrams::Each)] {
            let config = config(&of(&format!(", datagrams = '{word}'")), "");
            let accept = config.listeners[0].proxy_protocol.as_ref().unwrap();
            assert_eq!((accept.datagrams, &accept.versions[..]), (datagrams, &[ProxyVersion::V2][..]));
        }
        for (keys, words) in [
            ("", "datagrams = \"each\" where"),
            (", datagrams = 'each', versions = 'v1'", "which only version 2 has"),
            (", datagrams = 'each', timeout = '1s'", "the whole header in it"),
        ] {
            let said = refused(&of(keys), "");
            assert!(said.contains(words), "{said}");
        }
        let said = refused("proxy_protocol = { accept_from = '10.0.0.0/8', datagrams = 'each' }", "");
        assert!(said.contains("protocol is \"tcp\""), "{said}");
    }

    #[test]
    fn what_is_not_said_holds() {
        let config = config(
            "proxy_protocol = { accept_from = '::/0' }",
            "proxy_protocol = { send = 'v1' }\nhealth = { proxy_protocol = false }",
        );
        let accept = config.listeners[0].proxy_protocol.as_ref().unwrap();
        assert_eq!((accept.versions.as_slice(), accept.timeout.as_secs()), (ProxyVersion::ALL, 5));
        assert!(!config.pools[0].health.proxy_protocol);
    }

    #[test]
    fn a_check_over_udp_begins_with_version_2_or_nothing() {
        let checks = |send: &str, key: &str| {
            let health = format!("[pool.health]\ncheck = 'udp'\nsend = '?'\n{key}\n[pool.proxy_protocol]\n");
            understood("", &(health + &format!("send = '{send}'")))
                .map(|config| config.pools[0].health.proxy_protocol)
        };
        for (send, key, expected) in [
            ("v2", "", true),
            ("v2", "proxy_protocol = true", true),
            ("v2", "proxy_protocol = false", false),
            ("v1", "", false),
            ("v1", "proxy_protocol = false", false),
            ("off", "", false),
        ] {
            assert_eq!(
                checks(send, key).unwrap_or_else(|errors| panic!("{errors}")),
                expected,
                "{send} {key}"
            );
        }
        let said = checks("v1", "proxy_protocol = true").unwrap_err().to_string();
        assert!(said.contains("set send to \"v2\""), "{said}");
    }

    #[test]
    fn every_mistake_is_told_with_its_cure() {
        let said = refused("proxy_protocol = { timeout = '1h', versions = ['v2', 'v2'] }", "");
        for part in ["accept_from", "10.0.0.0/8", "timeout", "5m", "\"v2\""] {
            assert!(said.contains(part), "{said}");
        }
        let said = refused("proxy_protocol = { accept_from = ['10.0.0.1/8', '10.0.0.0/33', 'proxy'] }", "");
        for part in ["10.0.0.0/8", "10.0.0.0/33", "'proxy'"] {
            assert!(said.contains(part), "{said}");
        }
        let said = refused("", "proxy_protocol = { send = 'v1', tlvs = 'alpn' }");
        assert!(said.contains("no room"), "{said}");
        let said = refused("", "health = { proxy_protocol = true }");
        assert!(said.contains("[pool.proxy_protocol]"), "{said}");
        for (typed, words) in [("0x01", "write \"0xE0\" to \"0xEF\""), ("0xe1", "did you mean \"0xE1\"?")] {
            let said = refused(
                "",
                &format!(
                    "proxy_protocol = {{ send = 'v2', custom = [{{ type = '{typed}', value = 'a' }}] }}"
                ),
            );
            assert!(said.contains(words), "{said}");
        }
        let twice = "{ type = '0xE1', value = 'a' }";
        let said = refused("", &format!("proxy_protocol = {{ send = 'v2', custom = [{twice}, {twice}] }}"));
        assert!(said.contains("\"0xE1\""), "{said}");
        let said = refused("", "proxy_protocol = { tlvs = 'alpn' }");
        assert!(said.contains("send"), "{said}");
    }
}
