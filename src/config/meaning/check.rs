//! Meaning of `check` and of the keys that only some checks have.

use crate::config::errors::Reason;
use crate::config::keys::quoted;
use crate::config::read::Reader;
use crate::config::types::{Check, Choice, Datagrams, Exchange, Expect, HttpCheck, TlsCheck};
use crate::config::values;

/// Every key is read, whatever the check: a mistake in one that is not used is a mistake too.
pub(super) fn check(reader: &Reader<'_, '_>) -> Option<Check> {
    let word = reader.get("check", values::choice);
    if let Some(word) = word {
        refuse_unused(reader, word);
    }
    let send = send(reader);
    let expect = expect(reader);
    let http = http(reader);
    let tls = tls(reader);
    let command = command(reader, word);
    Some(match word? {
        CheckWord::None => Check::None,
        CheckWord::Tcp => Check::Tcp(Exchange { send: send?, expect: expect? }),
        CheckWord::Udp => Check::Udp(Datagrams { send: asked(reader, send?)?, expect: expect? }),
        CheckWord::Http => Check::Http(HttpCheck { body: expect?, ..http? }),
        CheckWord::Https => Check::Https(HttpCheck { body: expect?, ..http? }, tls?),
        CheckWord::Command => Check::Command(command?),
    })
}

/// `check` as typed, before its details join it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckWord {
    Tcp,
    Udp,
    Http,
    Https,
    Command,
    None,
}

impl Choice for CheckWord {
    const ALL: &'static [Self] = &[Self::Tcp, Self::Udp, Self::Http, Self::Https, Self::Command, Self::None];

    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Http => "http",
            Self::Https => "https",
            Self::Command => "command",
            Self::None => "none",
        }
    }
}

/// The keys that only some checks have, and which those are.
const USED_BY: &[(&str, &[CheckWord])] = {
    use CheckWord::{Command, Http, Https, Tcp, Udp};
    &[
        ("proxy_protocol", &[Tcp, Udp, Http, Https]),
        ("send", &[Tcp, Udp]),
        ("send_hex", &[Tcp, Udp]),
        ("expect", &[Tcp, Udp, Http, Https]),
        ("expect_hex", &[Tcp, Udp, Http, Https]),
        ("expect_regex", &[Tcp, Udp, Http, Https]),
        ("method", &[Http, Https]),
        ("path", &[Http, Https]),
        ("host", &[Http, Https]),
        ("status", &[Http, Https]),
        ("tls_name", &[Https]),
        ("tls_verify", &[Https]),
        ("tls_authorities", &[Https]),
        ("command", &[Command]),
    ]
};

fn refuse_unused(reader: &Reader<'_, '_>, word: CheckWord) {
    for (name, users) in USED_BY {
        if reader.is_given(name) && !users.contains(&word) {
            let users: Vec<&str> = users.iter().map(|user| user.word()).collect();
            let words = format!(
                "it is never used, because check is \"{}\"; set check to {} or remove it",
                word.word(),
                quoted(&users)
            );
            reader.report(&reader.place_of(name), name, Reason::Conflict(words));
        }
    }
}

fn send(reader: &Reader<'_, '_>) -> Option<Vec<u8>> {
    at_most_one(reader, &["send", "send_hex"], "sends");
    let text = reader.get_if_given("send", values::bytes);
    let hex = reader.get_if_given("send_hex", values::hex);
    Some(text?.or(hex?).unwrap_or_default())
}

/// A UDP check has to ask: nobody answers an empty datagram, and nobody hears of one that was not sent.
fn asked(reader: &Reader<'_, '_>, send: Vec<u8>) -> Option<Vec<u8>> {
    if !send.is_empty() {
        return Some(send);
    }
    let words = "is missing, and a check over UDP has to ask something; add a line such as: send = \"PING\"";
    reader.report(&reader.place_of("check"), "send", Reason::Conflict(words.to_owned()));
    None
}

fn expect(reader: &Reader<'_, '_>) -> Option<Option<Expect>> {
    at_most_one(reader, &["expect", "expect_hex", "expect_regex"], "expects");
    let text = reader.get_if_given("expect", values::bytes);
    let hex = reader.get_if_given("expect_hex", values::hex);
    let regex = reader.get_if_given("expect_regex", values::regex);
    let (bytes, regex) = (text?.or(hex?), regex?);
    Some(bytes.map(Expect::Bytes).or(regex.map(Expect::Regex)))
}

/// Reports every key but the first of those that say the same thing in different ways.
fn at_most_one(reader: &Reader<'_, '_>, names: &[&str], verb: &str) {
    let mut given = names.iter().filter(|name| reader.is_given(name));
    let Some(first) = given.next() else { return };
    for name in given {
        let words = format!("{first} is given too, and a check {verb} one thing; keep one of the two");
        reader.report(&reader.place_of(name), name, Reason::Conflict(words));
    }
}

/// Without the body, which other checks have too.
fn http(reader: &Reader<'_, '_>) -> Option<HttpCheck> {
    let method = reader.get("method", values::method);
    let path = reader.get("path", values::request_path);
    let host = reader.get_if_given("host", values::host);
    let status = reader.list("status", values::statuses);
    if method.as_deref() == Some("HEAD") {
        refuse_body(reader);
    }
    let status = status?.into_iter().map(|one| one.map(|(range, _)| range)).collect::<Option<_>>();
    Some(HttpCheck { method: method?, path: path?, host: host?, status: status?, body: None })
}

fn refuse_body(reader: &Reader<'_, '_>) {
    for name in ["expect", "expect_hex", "expect_regex"].into_iter().filter(|name| reader.is_given(name)) {
        let words =
            "the answer to a HEAD request has no body to find it in; set method to \"GET\" or remove it";
        reader.report(&reader.place_of(name), name, Reason::Conflict(words.to_owned()));
    }
}

fn tls(reader: &Reader<'_, '_>) -> Option<TlsCheck> {
    let name = reader.get_if_given("tls_name", values::host_name);
    let verify = reader.get("tls_verify", values::switch);
    let authorities = reader.get_if_given("tls_authorities", values::file);
    if verify == Some(false) && reader.is_given("tls_authorities") {
        let words = "nobody is asked, because tls_verify is false; set tls_verify to true or remove it";
        let place = reader.place_of("tls_authorities");
        reader.report(&place, "tls_authorities", Reason::Conflict(words.to_owned()));
    }
    Some(TlsCheck { name: name?, verify: verify?, authorities: authorities? })
}

/// Needed by one check only, so that its absence is a mistake only there.
fn command(reader: &Reader<'_, '_>, word: Option<CheckWord>) -> Option<Vec<String>> {
    let name = "command";
    if !reader.is_given(name) && word != Some(CheckWord::Command) {
        return None;
    }
    let texts = reader.list(name, values::argument)?;
    if let Some(Some((_, place))) = texts.first().filter(|first| is_empty(first)) {
        let words = "the first text is empty; it is the program that is run".to_owned();
        reader.report(place, name, Reason::Conflict(words));
    }
    texts.into_iter().map(|one| one.map(|(text, _)| text)).collect()
}

fn is_empty<P>(text: &Option<(String, P)>) -> bool {
    text.as_ref().is_some_and(|(text, _)| text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn a_key_says_in_its_meaning_which_checks_use_it() {
        for (name, users) in USED_BY {
            let users: Vec<&str> = users.iter().map(|user| user.word()).collect();
            let meaning = keys::HEALTH.key(name).unwrap().meaning;
            assert!(meaning.starts_with(&format!("{}: ", users.join(", "))), "{name}: {meaning}");
        }
        for key in keys::HEALTH.keys {
            let is_shared = !USED_BY.iter().any(|(name, _)| *name == key.name);
            assert!(!is_shared || !key.meaning.starts_with("tcp"), "{}", key.name);
        }
    }
}
