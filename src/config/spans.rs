//! Spans: ports in a row, as people write them and as they are shown: `"127.0.0.1:8000-8099"`. Pure.

use std::net::SocketAddr;

use super::address::{AddressFault, address, place};
use super::keys::SPAN_PORTS_MAX;
use super::types::Address;

/// Shorter rows are shown as the addresses that they are.
const SHOWN_MIN: usize = 3;

/// Reads `ip:port`, `ip:first-last`, or `unix:` and a name: every address that the text stands for.
///
/// # Errors
///
/// Says what kind of text stands in place of an address.
pub(super) fn places(text: &str) -> Result<Vec<Address>, AddressFault> {
    let Some((head, first, last)) = parts(text) else { return place(text).map(|one| vec![one]) };
    let port = |text: &str| text.parse::<u16>().map_err(|_| AddressFault::BadPort(text.to_owned()));
    let (first, last) = (port(first)?, port(last)?);
    let one = address(&format!("{head}:{first}"))?;
    if first == 0 || first > last {
        let (low, high) = (first.min(last).max(1), first.max(last).max(1));
        return Err(AddressFault::Backwards { first, last, meant: format!("{head}:{low}-{high}") });
    }
    let count = usize::from(last - first) + 1;
    if count > SPAN_PORTS_MAX {
        return Err(AddressFault::TooWide(count));
    }
    let at = |port| {
        let mut address = one;
        address.set_port(port);
        Address::Ip(address)
    };
    Ok((first..=last).map(at).collect())
}

/// What stands before the ports, and the two.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (head, ports) = text.rsplit_once(':')?;
    let (first, last) = ports.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (!text.starts_with("unix:") && is_number(first) && is_number(last)).then_some((head, first, last))
}

/// The addresses in their order, with those whose ports are in a row as one.
pub fn spans(addresses: &[Address]) -> Vec<String> {
    let rows = addresses.chunk_by(|&one, &next| is_next(one, next));
    rows.flat_map(|row| match (row.len() >= SHOWN_MIN, row.last().and_then(|last| last.as_ip())) {
        (true, Some(last)) => vec![format!("{}-{}", row[0], last.port())],
        _ => row.iter().map(ToString::to_string).collect(),
    })
    .collect()
}

fn is_next(one: Address, next: Address) -> bool {
    let (Some(one), Some(next)) = (one.as_ip(), next.as_ip()) else { return false };
    let following = one.port().checked_add(1).map(|port| {
        let mut address: SocketAddr = one;
        address.set_port(port);
        address
    });
    one.port() != 0 && following == Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        places(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_read_is_what_is_shown() {
        assert_eq!(read("127.0.0.1:8000-8001"), ["127.0.0.1:8000", "127.0.0.1:8001"]);
        assert_eq!(read("127.0.0.1:8000-8000"), ["127.0.0.1:8000"]);
        assert_eq!(read("[::1]:65534-65535"), ["[::1]:65534", "[::1]:65535"]);
        assert_eq!(read("unix:/run/a:1-2"), ["unix:/run/a:1-2"]);
        for text in ["127.0.0.1:8000-8099", "[::1]:1-3", "[fe80::1%3]:65000-65535", "0.0.0.0:0", "unix:@a"] {
            assert_eq!(spans(&places(text).unwrap()), [text]);
        }
        let all: Vec<Address> = ["127.0.0.1:8000-8002", "127.0.0.1:8003", "127.0.0.2:8004-8005", "unix:/a"]
            .iter()
            .flat_map(|text| places(text).unwrap())
            .collect();
        assert_eq!(spans(&all), ["127.0.0.1:8000-8003", "127.0.0.2:8004", "127.0.0.2:8005", "unix:/a"]);
        assert!(spans(&[]).is_empty());
    }

    #[test]
    fn what_is_no_span_says_why() {
        let why = |text: &str| places(text).unwrap_err().to_string();
        assert!(why("127.0.0.1:8099-8000").contains("write \"127.0.0.1:8000-8099\""));
        assert!(why("[::1]:0-5").contains("write \"[::1]:1-5\""));
        assert!(why("127.0.0.1:0-0").contains("write \"127.0.0.1:1-1\""));
        assert!(why("127.0.0.1:1-70000").contains("\"70000\""));
        assert!(why("127.0.0.1:1-65535").contains("65535 ports"));
        assert!(why("127.0.0.1:80-x").contains("\"80-x\""));
        assert!(why("localhost:80-90").contains("host name"));
        assert!(why("[::ffff:10.0.0.1]:80-90").contains("written as IPv6"));
    }
}
