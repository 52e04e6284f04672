//! Addresses as people write them: `"10.0.0.1:8080"`, `"[2001:db8::1]:8080"`, `"unix:/run/app.sock"`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::keys::SPAN_PORTS_MAX;
use super::typed::shown;
use super::types::{Address, UnixFault, UnixName};

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressFault {
    /// A host name where an IP address belongs; the port, if it had a good one.
    HostName(Option<u16>),
    /// Only a port, or `*` and a port.
    NoIp(u16),
    /// Only an IP address.
    NoPort(IpAddr),
    /// What stands for the port is not a number from 0 to 65535.
    BadPort(String),
    /// An IPv6 address with a port but without the brackets that keep them apart.
    NoBrackets(Ipv6Addr, u16),
    /// A URL.
    Scheme(String),
    /// An IPv4 address in IPv6 dress.
    Mapped(Ipv4Addr, u16),
    /// A path without what says that it is one.
    Path(String),
    /// A Unix socket that cannot be.
    Unix(UnixFault),
    /// A Unix socket where only an IP address will do.
    NotIp,
    /// A range of ports from a larger one to a smaller one, or from 0.
    Backwards {
        /// Where it begins.
        first: u16,
        /// Where it ends.
        last: u16,
        /// What to write instead.
        meant: String,
    },
    /// A range of too many ports.
    TooWide(usize),
    /// Nothing of the above.
    Nonsense,
}

/// Reads `ip:port`, or `unix:` and a name.
///
/// # Errors
///
/// Says what kind of text stands in place of an address.
pub(super) fn place(text: &str) -> Result<Address, AddressFault> {
    match text.strip_prefix("unix:") {
        Some(name) => UnixName::new(name).map(Address::Unix).map_err(AddressFault::Unix),
        None => address(text).map(Address::Ip),
    }
}

/// Reads `ip:port`.
///
/// # Errors
///
/// Says what kind of text stands in place of an address. Names are not resolved: what a name means can change while
/// ringway runs, and a check that needs a name server is no check.
pub(super) fn address(text: &str) -> Result<SocketAddr, AddressFault> {
    match text.parse() {
        Ok(SocketAddr::V6(v6)) => unmapped(v6),
        Ok(v4) => Ok(v4),
        Err(_) => Err(fault(text)),
    }
}

fn unmapped(v6: SocketAddrV6) -> Result<SocketAddr, AddressFault> {
    match v6.ip().to_ipv4_mapped() {
        Some(v4) => Err(AddressFault::Mapped(v4, v6.port())),
        None => Ok(SocketAddr::V6(v6)),
    }
}

fn fault(text: &str) -> AddressFault {
    if text.starts_with("unix:") {
        return AddressFault::NotIp;
    }
    if text.starts_with('/') {
        return AddressFault::Path(text.to_owned());
    }
    if let Some((_, rest)) = text.split_once("://") {
        return AddressFault::Scheme(rest.trim_end_matches('/').to_owned());
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse() {
        return no_port_or_no_brackets(text, ip);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let port_number = port.parse::<u16>().ok();
    let is_ip = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    match port_number {
        Some(number) if host.is_empty() || host == "*" => AddressFault::NoIp(number),
        None if is_ip => AddressFault::BadPort(port.to_owned()),
        _ if !is_ip && is_host_name(host) => AddressFault::HostName(port_number),
        _ => text.parse().map_or(AddressFault::Nonsense, AddressFault::NoIp),
    }
}

/// `::1:8000` is an IPv6 address too, but hardly the one that was meant.
fn no_port_or_no_brackets(text: &str, ip: IpAddr) -> AddressFault {
    let meant = text.rsplit_once(':').and_then(|(head, port)| {
        // A port of four or five digits after a whole address; `2001:db8::1` stays an address without a port.
        let port_like = port.len() >= 4 && !port.starts_with('0');
        Some((head.parse().ok()?, port.parse().ok().filter(|_| port_like)?))
    });
    match meant {
        Some((head, port)) if !text.starts_with('[') => AddressFault::NoBrackets(head, port),
        _ => AddressFault::NoPort(ip),
    }
}

/// Letters, digits, dots, dashes and underscores, with at least one letter: `api.internal`, `db_1`.
fn is_host_name(host: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    host.chars().all(allowed) && host.chars().any(char::is_alphabetic)
}

impl fmt::Display for AddressFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostName(port) => {
                let port = port.unwrap_or(8080);
                write!(
                    f,
                    "is a host name, and names are not resolved; give ip:port, such as \"10.0.0.1:{port}\" or \
                     \"[2001:db8::1]:{port}\""
                )
            }
            Self::NoIp(port) => write!(
                f,
                "has no IP address; write \"127.0.0.1:{port}\" for this machine only, \"0.0.0.0:{port}\" for every \
                 IPv4 address or \"[::]:{port}\" for every IPv6 address of it"
            ),
            Self::NoPort(IpAddr::V4(ip)) => write!(f, "has no port; give ip:port, such as \"{ip}:8080\""),
            Self::NoPort(IpAddr::V6(ip)) => write!(f, "has no port; give [ip]:port, such as \"[{ip}]:8080\""),
            Self::BadPort(port) if port.is_empty() => f.write_str("has no port after the colon"),
            Self::BadPort(port) => write!(f, "has the port {port:?}; ports are numbers from 1 to 65535"),
            Self::NoBrackets(ip, port) => {
                write!(f, "is an IPv6 address with a port but without brackets; write \"[{ip}]:{port}\"")
            }
            Self::Scheme(rest) => write!(f, "is a URL; give only ip:port, such as {rest:?}"),
            Self::Mapped(ip, port) => {
                write!(f, "is an IPv4 address written as IPv6; write \"{ip}:{port}\"")
            }
            Self::Path(path) => write!(f, "is a path; for a Unix socket write \"unix:{}\"", shown(path)),
            Self::Unix(fault) => fault.fmt(f),
            Self::NotIp => f.write_str(
                "is a Unix socket, and only an IP address will do here; give ip:port, such as \"10.0.0.1:8080\"",
            ),
            Self::Backwards { first, last, meant } => write!(
                f,
                "is a range of ports from {first} to {last}; ports go up, and begin at 1: write {meant:?}"
            ),
            Self::TooWide(count) => write!(
                f,
                "has {count} ports; at most {SPAN_PORTS_MAX} are allowed in all ranges together; take fewer, or have a firewall \
                 redirect them to one port"
            ),
            Self::Nonsense => f.write_str(
                "is not an address; give ip:port, such as \"10.0.0.1:8080\" or \"[2001:db8::1]:8080\"",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_of_both_families() {
        for text in ["127.0.0.1:8080", "0.0.0.0:0", "[::]:8000", "[2001:db8::1]:443", "[fe80::1%3]:80"] {
            assert_eq!(address(text).map(|a| a.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_not_an_address_says_what_it_is() {
        let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let cases = [
            ("localhost:8080", AddressFault::HostName(Some(8080))),
            ("api.internal", AddressFault::HostName(None)),
            ("db_1:x", AddressFault::HostName(None)),
            (":8000", AddressFault::NoIp(8000)),
            ("*:8000", AddressFault::NoIp(8000)),
            ("8000", AddressFault::NoIp(8000)),
            ("10.0.0.1", AddressFault::NoPort([10, 0, 0, 1].into())),
            ("::1", AddressFault::NoPort(v6("::1").into())),
            ("[::1]", AddressFault::NoPort(v6("::1").into())),
            ("2001:db8::1", AddressFault::NoPort(v6("2001:db8::1").into())),
            ("10.0.0.1:", AddressFault::BadPort(String::new())),
            ("10.0.0.1:70000", AddressFault::BadPort("70000".to_owned())),
            ("[::1]:http", AddressFault::BadPort("http".to_owned())),
            ("::1:8000", AddressFault::NoBrackets(v6("::1"), 8000)),
            ("tcp://10.0.0.1:80/", AddressFault::Scheme("10.0.0.1:80".to_owned())),
            ("[::ffff:10.0.0.1]:80", AddressFault::Mapped([10, 0, 0, 1].into(), 80)),
            ("/run/app.sock", AddressFault::Path("/run/app.sock".to_owned())),
            ("unix:/run/app.sock", AddressFault::NotIp),
            ("10.0.0.256:80", AddressFault::Nonsense),
            ("10.0.0.1 :80", AddressFault::Nonsense),
            ("", AddressFault::Nonsense),
            ("::::", AddressFault::Nonsense),
        ];
        for (text, fault) in cases {
            assert_eq!(address(text), Err(fault), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\]:.0-9a-fé*/ ]{0,40}") {
            if let Err(fault) = address(&text) {
                prop_assert!(!fault.to_string().is_empty());
            }
        }
    }
}
