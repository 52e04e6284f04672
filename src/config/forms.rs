//! Texts that have to have a form: bytes in hex, regular expressions, what goes into a request, host names, statuses.
//!
//! Each function answers with the rest of a sentence that begins with the text as typed.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use ipnet::IpNet;
use regex::bytes::{Regex, RegexBuilder};

use super::types::{Choice, Rate, RateUnit};
use super::units::format_size;

/// The longest method.
pub(super) const METHOD_BYTES_MAX: usize = 32;
/// The longest path of a request.
pub(super) const PATH_BYTES_MAX: usize = 1_024;
/// The longest path of a file that the kernel takes, and the longest text that we hand to a program.
const ARGUMENT_BYTES_MAX: usize = 4_096;
/// What one compiled expression may take: `\w{500}` is a short text and a large program.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// `10.0.0.0/8`, or an address, which is a network of one. An IPv4 network that is written as an IPv6 one is the IPv4 one:
/// so its clients are known to us.
///
/// # Errors
///
/// The rest of a sentence that begins with the text.
pub fn network(text: &str) -> Result<IpNet, String> {
    const V4_IN_V6: u8 = 96;
    if text.contains(char::is_whitespace) {
        return Err("has a space in it; write one network in each line of a file, and in a list each as a text of its own".to_owned());
    }
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().map_err(|_| {
        "is no network; write an IP address, a slash and a number of bits, such as \"10.0.0.0/8\" or \"2001:db8::/32\"".to_owned()
    })?;
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    let is_number = |bits: &&str| !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
    let bits = match bits {
        None => Some(bits_max),
        Some(bits) if is_number(&bits) => bits.parse().ok(),
        Some(_) => return Err(format!("has no number of bits behind the slash; write 0 to {bits_max}")),
    };
    let network = bits.and_then(|bits| IpNet::new(address, bits).ok());
    let network = network
        .ok_or_else(|| format!("has more than {bits_max} bits behind the slash; write 0 to {bits_max}"))?;
    if network.network() != network.addr() {
        return Err(format!(
            "has bits behind the first {}; write \"{}\"",
            network.prefix_len(),
            network.trunc()
        ));
    }
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(V4_IN_V6)) {
        (v4 @ IpAddr::V4(_), Some(bits)) if network.addr().is_ipv6() => {
            IpNet::new(v4, bits).map_err(|error| error.to_string())
        }
        _ => Ok(network),
    }
}

/// `100/s`: so many, and as many at once.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    if text.split_once('/').is_some_and(|(count, _)| count.parse::<u64>() == Ok(0)) {
        return Err(
            "would take nobody; write 1 or more, such as \"1/s\", or \"off\" to have no bound".to_owned()
        );
    }
    let read = || {
        let (count, unit) = text.split_once('/')?;
        let unit = RateUnit::ALL.iter().find(|known| known.word() == unit)?;
        let count = Some(count).filter(|count| count.bytes().all(|b| b.is_ascii_digit()))?;
        let count = count.parse().ok().and_then(NonZeroU32::new)?;
        Some(Rate { count, unit: *unit, burst: count })
    };
    read().ok_or_else(|| {
        "is no rate; write how many and in which time, such as \"100/s\", \"600/m\" or \"1000/h\", or \"off\"".to_owned()
    })
}

/// `0d 0a`, in pairs of digits; spaces may stand anywhere.
pub(super) fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = text.chars().filter(|c| *c != ' ').collect();
    if let Some(odd) = digits.iter().find(|c| !c.is_ascii_hexdigit()) {
        return Err(format!("has {odd:?} in it, which is no hex digit; write each byte as two of 0-9 a-f"));
    }
    if !digits.len().is_multiple_of(2) {
        return Err("has an odd number of digits; write each byte as two of 0-9 a-f".to_owned());
    }
    let digit = |c: char| c.to_digit(16).unwrap_or_default() as u8;
    Ok(digits.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect())
}

/// A regular expression over bytes.
pub(super) fn regex(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            let max = format_size(REGEX_BYTES_MAX as u64);
            format!("takes more than {max} once compiled; write a simpler expression")
        }
        error => {
            let error = error.to_string();
            // The rest is a picture of the expression with a mark below it.
            let words = error.lines().rev().find_map(|line| line.strip_prefix("error: "));
            let words = words.unwrap_or("it cannot be read");
            format!("is not a regular expression: {words}; correct it, or give a plain text as `expect`")
        }
    })
}

/// Such as `GET`. Methods are in capitals, and servers take them at their word.
pub(super) fn method(text: &str) -> Result<String, String> {
    let is_method = |text: &str| {
        (1..=METHOD_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
    };
    if is_method(text) {
        return Ok(text.to_owned());
    }
    let capitals = text.to_ascii_uppercase();
    Err(match is_method(&capitals) {
        true => format!("is not in capitals; write {capitals:?}"),
        false => "is not a method; write one such as \"GET\", \"HEAD\" or \"OPTIONS\"".to_owned(),
    })
}

/// Such as `/healthz?full=1`. What could end the request line or a header is refused: one key is one path.
pub(super) fn request_path(text: &str) -> Result<String, String> {
    if let Some((_, rest)) = text.split_once("://") {
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        return Err(format!("is a URL; give only the path, such as {:?}", super::typed::shown(path)));
    }
    if !text.starts_with('/') {
        return Err("does not begin with a slash; write a path such as \"/healthz\"".to_owned());
    }
    if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(format!("has {odd:?} in it, which a path cannot have; write it with percent signs"));
    }
    match text.len() {
        0..=PATH_BYTES_MAX => Ok(text.to_owned()),
        count => Err(format!("has {count} bytes; at most {PATH_BYTES_MAX} are allowed")),
    }
}

/// What a Host header may say: a host name or an IP address, with a port or without.
pub(super) fn host(text: &str) -> Result<String, String> {
    let without_port = match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => host,
        _ => text,
    };
    let in_brackets = without_port.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = match in_brackets {
        Some(ip) => ip.parse::<Ipv6Addr>().is_ok(),
        // Without brackets nobody can tell where an IPv6 address ends and its port begins.
        None => is_host_name(without_port) || without_port.parse::<std::net::Ipv4Addr>().is_ok(),
    };
    match is_host {
        true => Ok(text.to_owned()),
        false => {
            Err("is not a host; write one such as \"api.example\", \"api.example:8080\" or \"[2001:db8::1]\""
                .to_owned())
        }
    }
}

/// What a certificate can be for: a host name or an IP address.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    match is_host_name(text) || text.parse::<IpAddr>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err("is not a host name; write one such as \"api.example\", without a port".to_owned()),
    }
}

/// Labels of letters, digits, dashes and underscores between dots; the last one is not a number, or it would be an address.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

/// The path of a file.
pub(super) fn file(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty; give the path of a file".to_owned()),
        _ => argument(text),
    }
}

/// `10.0.0.1`, or each address of `10.0.0.0/29` that a machine can have: of IPv4 neither the first nor the last.
pub(super) fn hosts(text: &str) -> Result<Vec<IpAddr>, String> {
    /// 256 addresses: more than a pool may have.
    const BITS_MAX: u8 = 8;
    if text.split('/').next().is_some_and(|address| address.parse::<IpAddr>().is_err()) {
        return Err("is no address; write one such as \"10.0.0.7\", or a network of at most 256, such as \"10.0.0.0/28\"".to_owned());
    }
    let network = network(text)?;
    if network.max_prefix_len() - network.prefix_len() > BITS_MAX {
        let most = network.max_prefix_len() - BITS_MAX;
        return Err(format!(
            "has more than 256 addresses; write a smaller network, such as \"{}/{most}\"",
            network.addr()
        ));
    }
    Ok(network.hosts().collect())
}

/// `20000-60000`.
pub(super) fn port_range(text: &str) -> Result<(u16, u16), String> {
    let ports =
        text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match ports {
        Some((first, last)) if 0 < first && first <= last => Ok((first, last)),
        _ => Err("is no range of ports; write the first and the last, as in \"20000-60000\"".to_owned()),
    }
}

/// `cs0` to `cs7`, `af11` to `af43`, `ef`, `va` and `le`.
pub(super) fn dscp(text: &str) -> Result<u8, String> {
    let lower = text.to_ascii_lowercase();
    let digit = |text: &[u8], max: u8| match text {
        [digit @ b'0'..=b'9'] if digit - b'0' <= max => Some(digit - b'0'),
        _ => None,
    };
    let class = match lower.as_bytes() {
        b"ef" => Some(46),
        b"va" => Some(44),
        b"le" => Some(1),
        [b'c', b's', class @ ..] => digit(class, 7).map(|class| class * 8),
        [b'a', b'f', class, drop] => {
            let (class, drop) = (digit(&[*class], 4), digit(&[*drop], 3));
            class
                .zip(drop)
                .filter(|&(class, drop)| class > 0 && drop > 0)
                .map(|(class, drop)| class * 8 + drop * 2)
        }
        _ => None,
    };
    class.ok_or_else(|| {
        "is no class of packets; write 0 to 63, \"ef\", \"va\", \"le\", \"cs0\" to \"cs7\", or \"af11\" to \"af43\"".to_owned()
    })
}

/// The mode of a file, as `chmod` takes it.
pub(super) fn file_mode(text: &str) -> Result<u32, String> {
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|digit| digit.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|&mode| digits && mode <= 0o777);
    mode.ok_or_else(|| {
        "is no mode; write three or four octal digits, such as \"0660\" for user and group".to_owned()
    })
}

/// What can be handed to a program.
pub(super) fn argument(text: &str) -> Result<String, String> {
    match text.len() {
        _ if text.contains('\0') => {
            Err("has a NUL character in it, at which the kernel would cut it".to_owned())
        }
        0..=ARGUMENT_BYTES_MAX => Ok(text.to_owned()),
        count => Err(format!("has {count} bytes; at most {ARGUMENT_BYTES_MAX} are allowed")),
    }
}

/// `200-399`, or `204` alone.
pub(super) fn statuses(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let [first, last] = [first, last].map(|end| end.trim().parse::<u16>().ok());
    match (first, last) {
        (Some(first), Some(last)) if !(100..=599).contains(&first) || !(100..=599).contains(&last) => {
            Err("is out of range; statuses go from 100 to 599".to_owned())
        }
        (Some(first), Some(last)) if first > last => Err(format!("counts down; write \"{last}-{first}\"")),
        (Some(first), Some(last)) => Ok((first, last)),
        _ => Err("is not a status; write a number such as 204 or a range such as \"200-399\"".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hex_is_read_in_pairs() {
        assert_eq!(hex("0d0A"), Ok(vec![13, 10]));
        assert_eq!(hex(" ff 00 7f "), Ok(vec![255, 0, 127]));
        assert_eq!(hex(""), Ok(vec![]));
        assert!(hex("0d0").unwrap_err().starts_with("has an odd number"));
        assert!(hex("0x0d").unwrap_err().starts_with("has 'x' in it"));
        assert!(hex("é0").is_err());
    }

    #[test]
    fn an_expression_that_is_wrong_says_why_in_one_line() {
        assert!(regex(r"^\+PONG\r\n$").unwrap().is_match(b"+PONG\r\n"));
        assert!(regex("(?-u)\\xff").unwrap().is_match(b"a\xff"));
        assert!(regex("a(b").unwrap_err().starts_with("is not a regular expression: unclosed group;"));
        assert!(regex(r"\w{1000}").unwrap_err().starts_with("takes more than 1MiB"));
        // The parser draws an expression of several lines in another way.
        for wrong in ["a(b\nc", "*", "[z-a]", "(?P<n", r"\p{nope}", "a{2,1}", "(?x)\n\n ["] {
            let said = regex(wrong).unwrap_err();
            assert!(!said.contains('\n') && !said.contains("it cannot be read"), "{wrong}: {said}");
        }
    }

    #[test]
    fn what_goes_into_a_request_cannot_end_its_line() {
        for good in ["/", "/healthz?full=1&a=%20"] {
            assert_eq!(request_path(good).as_deref(), Ok(good));
        }
        for wrong in
            ["", "healthz", "/a b", "/a\r\nHost: b", "/é", "/\u{7f}", "http://a/b", &"/".repeat(1_025)]
        {
            assert!(request_path(wrong).is_err(), "{wrong}");
        }
        assert!(request_path("http://a:1/b").unwrap_err().ends_with("such as \"/b\""));
        for good in ["GET", "M-SEARCH"] {
            assert_eq!(method(good).as_deref(), Ok(good));
        }
        assert!(method("get").unwrap_err().ends_with("write \"GET\""));
        for wrong in ["", "GET /", "GÉT", "A\r\n"] {
            assert!(method(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_and_names() {
        for good in ["a", "api.example", "a_b.example", "1.2.3.4", "api.example:8080", "[::1]", "[::1]:80"] {
            assert_eq!(host(good).as_deref(), Ok(good));
        }
        for wrong in
            ["", "a b", "a/b", "a:0", "a:70000", "::1", "[::1", "[1.2.3.4]", "a\r\nb", "-a", "a..b", "1.2.3"]
        {
            assert!(host(wrong).is_err(), "{wrong}");
        }
        for good in ["a", "api.example", "1.2.3.4", "::1"] {
            assert_eq!(host_name(good).as_deref(), Ok(good));
        }
        for wrong in ["", "a:80", "[::1]", "*.example", "a.", &"a".repeat(64), "1.2.3"] {
            assert!(host_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn statuses_are_numbers_or_ranges() {
        assert_eq!(statuses("200-399"), Ok((200, 399)));
        assert_eq!(statuses("204"), Ok((204, 204)));
        assert_eq!(statuses("399-200"), Err("counts down; write \"200-399\"".to_owned()));
        for wrong in ["", "2xx", "99", "600", "200-600", "-200", "200-", "1-2-3"] {
            assert!(statuses(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_answer_is_one_line(text in "\\PC{0,40}") {
            let answers = [
                hex(&text).err(),
                regex(&text).err(),
                method(&text).err(),
                request_path(&text).err(),
                host(&text).err(),
                host_name(&text).err(),
                statuses(&text).err(),
            ];
            for answer in answers.into_iter().flatten() {
                prop_assert!(!answer.contains('\n'), "{}", answer);
            }
        }
    }

    #[test]
    fn networks_are_the_addresses_that_a_machine_can_have() {
        let shown =
            |text: &str| hosts(text).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(shown("10.0.0.7").unwrap(), ["10.0.0.7"]);
        assert_eq!(shown("10.0.0.8/30").unwrap(), ["10.0.0.9", "10.0.0.10"]);
        assert_eq!(shown("10.0.0.8/31").unwrap(), ["10.0.0.8", "10.0.0.9"]);
        assert_eq!(shown("fd00::/127").unwrap(), ["fd00::", "fd00::1"]);
        assert!(shown("10.0.0.9/30").unwrap_err().contains("write \"10.0.0.8/30\""));
        assert!(
            shown("10.0.0.300").unwrap_err().contains("a network of at most 256, such as \"10.0.0.0/28\"")
        );
        for (wrong, why) in [
            ("10.0.0.0/33", "has more than 32 bits"),
            ("::/129", "has more than 128 bits"),
            ("10.0.0.0/999999", "has more than 32 bits"),
            ("10.0.0.0/", "has no number of bits"),
            ("10.0.0.0/+8", "has no number of bits"),
            ("11.0.0.0/8 12.0.0.0/8", "has a space in it"),
        ] {
            let found = network(wrong).unwrap_err();
            assert!(found.starts_with(why), "{found}");
        }
        assert!(rate("0/s").unwrap_err().contains("\"off\" to have no bound"));
        for wrong in ["10.0.0.0/16", "10.0.0.0/33", "host", "10.0.0.0/", "fd00::/64"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_of_ports() {
        assert_eq!(port_range("20000-60000"), Ok((20_000, 60_000)));
        for wrong in ["1", "0-9", "9-1", "1-70000", "-"] {
            assert!(port_range(wrong).is_err(), "{wrong}");
        }
    }
}
