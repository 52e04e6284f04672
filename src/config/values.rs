//! One value: from as typed to what it means, or the reason why it cannot be that.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use regex::bytes::Regex;

use super::address::{address as parse_address, place as parse_place};
use super::errors::{Bound, Reason};
use super::forms;
use super::keys::{CORE_MAX, Key, Kind, LOG_TARGETS, NAME_BYTES_MAX, WORKERS_MAX, quoted};
use super::near::near;
use super::spans::places as parse_places;
use super::typed::{Node, Value, shown};
use super::types::{AccessLog, Address, AdminAddress, Choice, Rate, ServerName, SyslogAddress, Workers};
use super::units::{self, UnitFault};

pub(super) type Outcome<T> = Result<T, Reason>;

/// A whole number, or `None` for the key's word, such as `auto`.
pub(super) fn number(key: &Key, node: &Node<'_>) -> Outcome<Option<u64>> {
    let Kind::Number { min, max, word } = key.kind else { unreachable!("{} holds no number", key.name) };
    if word.is_some() && node.text() == word {
        return Ok(None);
    }
    let number = integer(node).ok_or_else(|| not_a_number(key, node))?;
    within(key, node, number, min, max).map(Some)
}

/// A time, or `None` for `off`.
pub(super) fn duration(key: &Key, node: &Node<'_>) -> Outcome<Option<Duration>> {
    let Kind::Duration { min, max, step, off } = key.kind else { unreachable!("{} holds no time", key.name) };
    let text = with_unit(key, node)?;
    if off && text == "off" {
        return Ok(None);
    }
    match units::duration(&text) {
        Ok(time) if time < min => Err(Reason::TooSmall(bound(key, node))),
        Ok(time) if time > max => Err(Reason::TooLarge(Bound { cure: None, ..bound(key, node) })),
        Ok(time) if time.as_millis() % step.as_millis() != 0 => {
            let whole = time.as_millis().div_ceil(step.as_millis()) * step.as_millis();
            let nearest = Duration::from_millis(u64::try_from(whole).unwrap_or(u64::MAX));
            let [step, nearest] = [step, nearest].map(units::format_duration);
            Err(Reason::OffStep { typed: node.shown(), step, nearest })
        }
        Ok(time) => Ok(Some(time)),
        Err(UnitFault::TooBig) => Err(Reason::TooLarge(Bound { cure: None, ..bound(key, node) })),
        Err(fault) => {
            let fits = |&unit_ms: &u64, count: u64| {
                let ms = u128::from(unit_ms) * u128::from(count);
                (min.as_millis()..=max.as_millis()).contains(&ms)
            };
            let cure = match fault {
                UnitFault::NoUnit(ref number) if off && number == "0" => Some("write \"off\"".to_owned()),
                _ => unit_cure(&fault, &text, &units::TIME_UNITS, fits),
            };
            let cure =
                cure.unwrap_or_else(|| format!("write {}; the units are d, h, m, s, ms", key.kind.wanted()));
            Err(Reason::Unit { typed: node.shown(), fault, cure })
        }
    }
}

/// A number of bytes, or `None` for `off`.
pub(super) fn size_or_off(key: &Key, node: &Node<'_>) -> Outcome<Option<u64>> {
    if node.text() == Some("off") { Ok(None) } else { size(key, node).map(Some) }
}

/// So many in a time, as many of them at once, or `None` for `off`.
pub(super) fn rate(key: &Key, node: &Node<'_>) -> Outcome<Option<Rate>> {
    let Kind::Rate { max } = key.kind else { unreachable!("{} holds no rate", key.name) };
    let text = node.text().ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    if text == "off" {
        return Ok(None);
    }
    let rate = forms::rate(text).map_err(|why| Reason::Malformed { typed: node.shown(), why })?;
    match rate.count.get() {
        count if count > max => Err(Reason::TooLarge(Bound { cure: None, ..bound(key, node) })),
        _ => Ok(Some(rate)),
    }
}

/// One network.
pub(super) fn network(key: &Key, node: &Node<'_>) -> Outcome<IpNet> {
    formed(key, node, forms::network)
}

/// A number of bytes.
pub(super) fn size(key: &Key, node: &Node<'_>) -> Outcome<u64> {
    let (min, max, step) = match key.kind {
        Kind::Size { min, max, step } => (min, max, step),
        Kind::SizeOrOff { min, max } => (min, max, 1),
        _ => unreachable!("{} holds no size", key.name),
    };
    let text = with_unit(key, node)?;
    match units::size(&text) {
        Ok(bytes) if bytes < min => Err(Reason::TooSmall(bound(key, node))),
        Ok(bytes) if bytes > max => Err(Reason::TooLarge(Bound { cure: None, ..bound(key, node) })),
        Ok(bytes) if bytes % step != 0 => {
            let [step, nearest] = [step, bytes.next_multiple_of(step)].map(units::format_size);
            Err(Reason::OffStep { typed: node.shown(), step, nearest })
        }
        Ok(bytes) => Ok(bytes),
        Err(UnitFault::TooBig) => Err(Reason::TooLarge(Bound { cure: None, ..bound(key, node) })),
        Err(fault) => {
            let fits = |&unit: &u64, count: u64| (min..=max).contains(&unit.saturating_mul(count));
            let cure = unit_cure(&fault, &text, &units::SIZE_UNITS, fits);
            let cure = cure
                .unwrap_or_else(|| format!("write {}; the units are B, KiB, MiB, GiB", key.kind.wanted()));
            Err(Reason::Unit { typed: node.shown(), fault, cure })
        }
    }
}

/// True or false.
pub(super) fn switch(key: &Key, node: &Node<'_>) -> Outcome<bool> {
    match node.value {
        Value::Boolean(on) => Ok(on),
        Value::Word("true") => Ok(true),
        Value::Word("false") => Ok(false),
        Value::Text(_) => Err(wrong_type(node, format!("{}, without quotes", key.kind.range()))),
        _ => Err(wrong_type(node, key.kind.wanted())),
    }
}

/// One of a closed set of words.
pub(super) fn choice<T: Choice>(key: &Key, node: &Node<'_>) -> Outcome<T> {
    let text = node.text().ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    let words = T::ALL.iter().map(|choice| choice.word());
    T::ALL.iter().copied().find(|choice| choice.word() == text).ok_or_else(|| Reason::NotAChoice {
        typed: node.shown(),
        near: near(text, words.clone()),
        choices: words.map(str::to_owned).collect(),
    })
}

/// What a listener, a pool or a backend is called.
pub(super) fn name(key: &Key, node: &Node<'_>) -> Outcome<String> {
    let text = node.text().ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    match (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(text.to_owned()),
        false if text.len() > NAME_BYTES_MAX && text.bytes().all(allowed) => {
            let why = format!("has {} characters; a name has at most {NAME_BYTES_MAX}", text.len());
            Err(Reason::Malformed { typed: node.shown(), why })
        }
        false => Err(Reason::BadName(node.shown())),
    }
}

/// The name of a pool; whether there is such a pool is for the caller to judge.
pub(super) fn pool_name(key: &Key, node: &Node<'_>) -> Outcome<String> {
    node.text().map(str::to_owned).ok_or_else(|| wrong_type(node, key.kind.wanted()))
}

/// A text of bounded length.
pub(super) fn text(key: &Key, node: &Node<'_>) -> Outcome<String> {
    let Kind::Text(max) = key.kind else { unreachable!("{} holds no text", key.name) };
    let text = node.text().ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    match text.len() {
        count if count > max => Err(Reason::TooMany { what: "bytes of text", count, max }),
        _ => Ok(text.to_owned()),
    }
}

/// A text as its bytes.
pub(super) fn bytes(key: &Key, node: &Node<'_>) -> Outcome<Vec<u8>> {
    let Kind::Bytes(max) = key.kind else { unreachable!("{} holds no bytes", key.name) };
    formed(key, node, |text| Ok(text.as_bytes().to_vec())).and_then(|bytes| bounded(node, bytes, max))
}

/// Bytes in hex.
pub(super) fn hex(key: &Key, node: &Node<'_>) -> Outcome<Vec<u8>> {
    let Kind::Hex(max) = key.kind else { unreachable!("{} holds no hex", key.name) };
    formed(key, node, forms::hex).and_then(|bytes| bounded(node, bytes, max))
}

/// A regular expression.
pub(super) fn regex(key: &Key, node: &Node<'_>) -> Outcome<Regex> {
    let Kind::Regex(max) = key.kind else { unreachable!("{} holds no expression", key.name) };
    // Before it is compiled: that takes time and memory.
    if let Some(text) = node.text() {
        bounded(node, text.as_bytes().to_vec(), max)?;
    }
    formed(key, node, forms::regex)
}

/// The method of a request.
pub(super) fn method(key: &Key, node: &Node<'_>) -> Outcome<String> {
    formed(key, node, forms::method)
}

/// The path of a request.
pub(super) fn request_path(key: &Key, node: &Node<'_>) -> Outcome<String> {
    formed(key, node, forms::request_path)
}

/// A host name or an IP address, with a port or without.
pub(super) fn host(key: &Key, node: &Node<'_>) -> Outcome<String> {
    formed(key, node, forms::host)
}

/// A host name or an IP address.
pub(super) fn host_name(key: &Key, node: &Node<'_>) -> Outcome<String> {
    formed(key, node, forms::host_name)
}

/// The path of a file.
pub(super) fn file(key: &Key, node: &Node<'_>) -> Outcome<PathBuf> {
    formed(key, node, forms::file).map(PathBuf::from)
}

/// A name of servers, or a wildcard for those below one.
pub(super) fn server_name(key: &Key, node: &Node<'_>) -> Outcome<ServerName> {
    formed(key, node, |text| {
        if text == "*" {
            let words = "is every name, for which no route is needed: whoever no route is for is served by the listener's own \
                         pool; remove it";
            return Err(words.to_owned());
        }
        let lower = text.to_ascii_lowercase();
        // The dot of the root says nothing, and clients leave it out.
        let lower = lower.strip_suffix('.').unwrap_or(&lower);
        if lower.parse::<IpAddr>().is_ok() {
            let words = "is an address, and clients ask for a server by its name only (RFC 6066); write a host name such as \
                         \"www.example.com\"";
            return Err(words.to_owned());
        }
        let (rest, is_wildcard) = lower.strip_prefix("*.").map_or((lower, false), |rest| (rest, true));
        let name = forms::host_name(rest).map_err(|why| match text.contains('*') {
            true => "may have a `*` only in front, as in \"*.example.com\"".to_owned(),
            false => why,
        })?;
        Ok(if is_wildcard { ServerName::Below(name.into()) } else { ServerName::Exact(name.into()) })
    })
}

/// What ALPN calls a protocol.
pub(super) fn protocol(key: &Key, node: &Node<'_>) -> Outcome<Box<str>> {
    formed(key, node, |text| match text.len() {
        1..=255 => Ok(text.into()),
        0 => Err("is empty; give a protocol such as \"h2\"".to_owned()),
        _ => Err("is longer than the 255 bytes that a name of a protocol may have".to_owned()),
    })
}

/// An IP address, or the addresses of a network that a machine can have.
pub(super) fn hosts(key: &Key, node: &Node<'_>) -> Outcome<Vec<IpAddr>> {
    formed(key, node, forms::hosts)
}

/// From one port to another.
pub(super) fn port_range(key: &Key, node: &Node<'_>) -> Outcome<(u16, u16)> {
    formed(key, node, forms::port_range)
}

/// The name of a network interface.
pub(super) fn device(key: &Key, node: &Node<'_>) -> Outcome<String> {
    /// IFNAMSIZ, less a NUL.
    const BYTES_MAX: usize = 15;
    let name = name(key, node)?;
    match name.len() {
        count if count > BYTES_MAX => {
            Err(Reason::TooMany { what: "bytes in the name of an interface", count, max: BYTES_MAX })
        }
        _ => Ok(name),
    }
}

/// A class of packets: its number, or the word that RFC 2474, 2597, 3246, 5865 or 8622 has for it.
pub(super) fn dscp(key: &Key, node: &Node<'_>) -> Outcome<u8> {
    if let Some(number) = integer(node) {
        return within(key, node, number, 0, 63).map(|class| class as u8);
    }
    let text = node.text().ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    forms::dscp(text).map_err(|why| Reason::Malformed { typed: node.shown(), why })
}

/// The mode of a file.
pub(super) fn file_mode(key: &Key, node: &Node<'_>) -> Outcome<u32> {
    formed(key, node, forms::file_mode)
}

/// Where lines go, before the keys of a syslog server join it.
#[derive(Debug)]
pub(super) enum Target {
    Off,
    Stdout,
    Stderr,
    Syslog,
    File(PathBuf),
}

/// Where lines go. A path has a slash in it: a word that is misspelt must not become the name of a file.
pub(super) fn log_target(key: &Key, node: &Node<'_>) -> Outcome<Target> {
    let text = node.text().ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    match text {
        "off" => Ok(Target::Off),
        "stdout" => Ok(Target::Stdout),
        "stderr" => Ok(Target::Stderr),
        "syslog" => Ok(Target::Syslog),
        path if path.contains('/') => file(key, node).map(Target::File),
        word => Err(match near(word, LOG_TARGETS) {
            None if !word.is_empty() => {
                let why = format!(
                    "is neither one of {} nor a path; for a file of this folder write \"./{}\"",
                    quoted(&LOG_TARGETS),
                    shown(word)
                );
                Reason::Malformed { typed: node.shown(), why }
            }
            near => {
                let choices = LOG_TARGETS.map(str::to_owned).to_vec();
                Reason::NotAChoice { typed: node.shown(), near, choices }
            }
        }),
    }
}

/// Where a syslog server is.
pub(super) fn syslog_address(key: &Key, node: &Node<'_>) -> Outcome<SyslogAddress> {
    /// The kernel's structure has room for so many, and a NUL.
    const PATH_BYTES_MAX: usize = 107;
    let text = node.text().ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    if !text.starts_with('/') {
        let address: SocketAddr = address(key, node)?;
        if address.port() == 0 {
            let why = "has the port 0, which no server has; the usual one is 514".to_owned();
            return Err(Reason::Malformed { typed: node.shown(), why });
        }
        return Ok(SyslogAddress::Udp(address));
    }
    let path = file(key, node)?;
    match text.len() {
        count if count > PATH_BYTES_MAX => {
            Err(Reason::TooMany { what: "bytes in the path of a socket", count, max: PATH_BYTES_MAX })
        }
        _ => Ok(SyslogAddress::Socket(path)),
    }
}

/// A part of one, in millionths.
pub(super) fn millionths(key: &Key, node: &Node<'_>) -> Outcome<u32> {
    let number: Option<f64> = match &node.value {
        Value::Float | Value::Integer(_) | Value::Word(_) => node.typed.replace('_', "").parse().ok(),
        _ => None,
    };
    let number =
        number.filter(|number| !number.is_nan()).ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    let millionths = (number * f64::from(AccessLog::WHOLE_PPM)).round();
    if millionths < 1.0 {
        Err(Reason::TooSmall(bound(key, node)))
    } else if number > 1.0 {
        Err(Reason::TooLarge(Bound { cure: None, ..bound(key, node) }))
    } else {
        Ok(millionths as u32)
    }
}

/// Where the admin API is.
pub(super) fn admin_address(key: &Key, node: &Node<'_>) -> Outcome<AdminAddress> {
    /// The kernel's structure has room for so many, and a NUL; some are for the name under which the socket is made.
    const PATH_BYTES_MAX: usize = 96;
    let text = node.text().ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    if !text.starts_with('/') {
        return address(key, node).map(AdminAddress::Address);
    }
    match text.len() {
        count if count > PATH_BYTES_MAX => {
            Err(Reason::TooMany { what: "bytes in the path of a socket", count, max: PATH_BYTES_MAX })
        }
        _ => file(key, node).map(AdminAddress::Socket),
    }
}

/// What can be handed to a program.
pub(super) fn argument(key: &Key, node: &Node<'_>) -> Outcome<String> {
    match &node.value {
        Value::Integer(_) | Value::Float | Value::Boolean(_) => {
            Err(wrong_type(node, format!("\"{}\", in quotes", node.shown())))
        }
        _ => formed(key, node, forms::argument),
    }
}

/// One status, or a range of them.
pub(super) fn statuses(key: &Key, node: &Node<'_>) -> Outcome<(u16, u16)> {
    let text = match &node.value {
        Value::Integer(number) => number.to_string().into(),
        _ => Cow::from(node.text().ok_or_else(|| wrong_type(node, key.kind.wanted()))?),
    };
    forms::statuses(&text).map_err(|why| Reason::Malformed { typed: node.shown(), why })
}

/// A text that has a form.
fn formed<T>(key: &Key, node: &Node<'_>, form: fn(&str) -> Result<T, String>) -> Outcome<T> {
    let text = node.text().ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    form(text).map_err(|why| Reason::Malformed { typed: node.shown(), why })
}

fn bounded(node: &Node<'_>, bytes: Vec<u8>, max: usize) -> Outcome<Vec<u8>> {
    match bytes.len() {
        0 => Err(Reason::Malformed {
            typed: node.shown(),
            why: "is empty; give a text or remove it".to_owned(),
        }),
        count if count > max => Err(Reason::TooMany { what: "bytes", count, max }),
        _ => Ok(bytes),
    }
}

/// One `ip:port`, or a Unix socket.
pub(super) fn place(key: &Key, node: &Node<'_>) -> Outcome<Address> {
    let text = node.text().ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    parse_place(text).map_err(|fault| Reason::Address { typed: node.shown(), fault })
}

/// An `ip:port`, a range of ports, or a Unix socket: all that it stands for.
pub(super) fn places(key: &Key, node: &Node<'_>) -> Outcome<Vec<Address>> {
    let text = node.text().ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    parse_places(text).map_err(|fault| Reason::Address { typed: node.shown(), fault })
}

/// One `ip:port`.
pub(super) fn address(key: &Key, node: &Node<'_>) -> Outcome<SocketAddr> {
    let text = node.text().ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    parse_address(text).map_err(|fault| Reason::Address { typed: node.shown(), fault })
}

/// `auto`, a number of workers, or a list of cores.
pub(super) fn workers(key: &Key, node: &Node<'_>) -> Outcome<Workers> {
    match (&node.value, node.text()) {
        (_, Some("auto")) => Ok(Workers::Auto),
        (Value::Text(text), _) if text.parse::<u64>().is_ok() => {
            let wanted = format!("{text} for so many workers, or [{text}] for one worker on core {text}");
            Err(wrong_type(node, wanted))
        }
        (Value::Integer(_) | Value::Word(_), _) if integer(node).is_some() => worker_count(key, node),
        (Value::List(items), _) => cores(items.iter().map(|item| core(key, item, integer(item)))),
        (_, Some(text)) => cores(core_ranges(key, node, text)?.into_iter()),
        _ => Err(wrong_type(node, key.kind.wanted())),
    }
}

fn worker_count(key: &Key, node: &Node<'_>) -> Outcome<Workers> {
    let number = integer(node).unwrap_or_default();
    let count = within(key, node, number, 1, WORKERS_MAX)?;
    let count = usize::try_from(count).ok().and_then(NonZeroUsize::new);
    Ok(count.map_or(Workers::Auto, Workers::Count))
}

/// `0,2-3` as the cores 0, 2 and 3.
fn core_ranges(key: &Key, node: &Node<'_>, text: &str) -> Outcome<Vec<Outcome<usize>>> {
    let mut found = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let [first, last] = [first, last].map(|end| end.trim().parse().ok());
        if let (None, _) | (_, None) = (first, last) {
            return Err(wrong_type(node, key.kind.wanted()));
        }
        let [first, last] = [core(key, node, first)?, core(key, node, last)?];
        if first > last {
            return Err(Reason::Conflict(format!("{part:?} counts down; write the lower core first")));
        }
        found.extend((first..=last).map(Ok));
        check_worker_count(found.len())?;
    }
    Ok(found)
}

fn core(key: &Key, node: &Node<'_>, number: Option<i128>) -> Outcome<usize> {
    let number = number.ok_or_else(|| wrong_type(node, key.kind.wanted()))?;
    if !(0..=i128::from(CORE_MAX)).contains(&number) {
        return Err(Reason::Conflict(format!(
            "{} is not a core number; cores go from 0 to {CORE_MAX}",
            node.shown()
        )));
    }
    Ok(usize::try_from(number).unwrap_or_default())
}

fn cores(found: impl Iterator<Item = Outcome<usize>>) -> Outcome<Workers> {
    let mut seen = HashSet::new();
    let mut cores = Vec::new();
    for core in found {
        let core = core?;
        if !seen.insert(core) {
            return Err(Reason::Conflict(format!(
                "core {core} is listed twice; one worker runs on each core"
            )));
        }
        cores.push(core);
    }
    check_worker_count(cores.len())?;
    match cores.is_empty() {
        true => Err(Reason::Conflict(
            "the list of cores is empty; list at least one or write \"auto\"".to_owned(),
        )),
        false => Ok(Workers::Cores(cores)),
    }
}

fn check_worker_count(count: usize) -> Outcome<()> {
    let max = usize::try_from(WORKERS_MAX).unwrap_or(usize::MAX);
    match count {
        count if count > max => Err(Reason::TooMany { what: "workers", count, max }),
        _ => Ok(()),
    }
}

fn integer(node: &Node<'_>) -> Option<i128> {
    match &node.value {
        Value::Integer(number) => Some(*number),
        Value::Word(word) => word.parse().ok(),
        _ => None,
    }
}

fn within(key: &Key, node: &Node<'_>, number: i128, min: u64, max: u64) -> Outcome<u64> {
    match u64::try_from(number) {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ if number < i128::from(min) => Err(Reason::TooSmall(bound(key, node))),
        _ => Err(Reason::TooLarge(Bound { cure: None, ..bound(key, node) })),
    }
}

fn not_a_number(key: &Key, node: &Node<'_>) -> Reason {
    match &node.value {
        Value::Text(text) if text.parse::<i128>().is_ok() => {
            wrong_type(node, format!("{text}, without quotes"))
        }
        _ => wrong_type(node, key.kind.wanted()),
    }
}

/// The text of a time or a size; a bare number stands for itself and will be found to have no unit.
fn with_unit<'n>(key: &Key, node: &'n Node<'_>) -> Outcome<Cow<'n, str>> {
    let text: Cow<'n, str> = match (&node.value, node.text()) {
        (Value::Integer(number), _) => number.to_string().into(),
        (Value::Float, _) => node.typed.into(),
        (_, Some(text)) => text.into(),
        _ => return Err(wrong_type(node, key.kind.wanted())),
    };
    match text.starts_with('-') {
        true => Err(Reason::TooSmall(bound(key, node))),
        false => Ok(text),
    }
}

/// The value as it should have been typed, where that can be told.
fn unit_cure(
    fault: &UnitFault,
    text: &str,
    units: &[(&str, u64)],
    fits: impl Fn(&u64, u64) -> bool,
) -> Option<String> {
    match fault {
        // "1m30" lacks a unit too, but which units may follow depends on the first.
        UnitFault::NoUnit(number) if number == text => {
            let count = number.parse().ok()?;
            let fitting = units.iter().rev().filter(|(_, factor)| fits(factor, count));
            let ways: Vec<String> = fitting.map(|(unit, _)| format!("{number}{unit}")).collect();
            match (count, ways.is_empty()) {
                (0, false) => Some("write \"0s\"".to_owned()),
                (_, false) => Some(format!("write {}", quoted(&ways))),
                (_, true) => None,
            }
        }
        UnitFault::UnknownUnit { unit, meant: Some(meant) } if text.matches(unit.as_str()).count() == 1 => {
            Some(format!("write {:?}", shown(&text.replace(unit.as_str(), meant))))
        }
        _ => None,
    }
}

fn bound(key: &Key, node: &Node<'_>) -> Bound {
    Bound {
        typed: node.shown(),
        key: key.name,
        range: key.kind.bounds(),
        word: key.kind.word(),
        cure: key.cure,
    }
}

pub(super) fn wrong_type(node: &Node<'_>, wanted: String) -> Reason {
    Reason::WrongType { typed: node.shown(), found: node.value.kind(), wanted }
}
