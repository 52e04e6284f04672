//! Where a socket is: an IP address and a port, or the name of a Unix socket.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use serde::{Serialize, Serializer};

/// What a Unix socket's name begins with where it is written.
const SCHEME: &str = "unix:";

/// Where a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A Unix socket of this machine.
    Unix(UnixName),
}

impl Address {
    /// The one of a client that came by a Unix socket: hardly any has a name.
    pub const NAMELESS: Address = Address::Unix(UnixName(""));

    /// The IP address and the port, if it has them.
    pub fn as_ip(self) -> Option<SocketAddr> {
        match self {
            Address::Ip(address) => Some(address),
            Address::Unix(_) => None,
        }
    }

    /// The IP address by which a client is told from others. Clients of a Unix socket have none: together they count as the
    /// one client 0.0.0.0, which no packet can come from.
    pub fn ip(self) -> IpAddr {
        self.as_ip().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip())
    }

    /// Whether it asks for any free port.
    pub fn is_any_port(self) -> bool {
        self.as_ip().is_some_and(|address| address.port() == 0)
    }

    /// Whether it is a Unix socket.
    pub fn is_unix(self) -> bool {
        matches!(self, Address::Unix(_))
    }

    /// The same at this port; a Unix socket has none and stays as it is.
    pub fn at_port(self, port: Option<u16>) -> Address {
        match (self, port) {
            (Address::Ip(address), Some(port)) => Address::Ip(SocketAddr::new(address.ip(), port)),
            (same, _) => same,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Ip(address)
    }
}

impl From<UnixName> for Address {
    fn from(name: UnixName) -> Address {
        Address::Unix(name)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(name) => name.fmt(f),
        }
    }
}

/// As it is displayed. For what another process wrote: what a person wrote wants better words when it is wrong.
impl FromStr for Address {
    type Err = ();

    fn from_str(text: &str) -> Result<Address, ()> {
        match text.strip_prefix(SCHEME) {
            Some(name) => UnixName::new(name).map(Address::Unix).map_err(drop),
            None => text.parse().map(Address::Ip).map_err(drop),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The name of a Unix socket: a path from the root, or `@` and a name that is in no folder (abstract).
///
/// A copy is two words and counts nothing, as copies are made for each session: the text itself is kept for the life of the
/// process. Each name that was ever in a configuration is kept once; a reload would have to bring a new one each second for a
/// hundred days to make a gigabyte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixName(&'static str);

/// Why a text is not the name of a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnixFault {
    /// There is nothing after `unix:` or after the `@`.
    Empty,
    /// A path that does not begin at the root.
    Relative,
    /// More bytes than the kernel has room for.
    TooLong(usize),
    /// A space or a control character: the name is shown and passed on in lines of words.
    Space,
}

impl UnixName {
    /// The kernel's structure has room for so many, and a NUL.
    pub const BYTES_MAX: usize = 107;

    /// The name without `unix:`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn new(name: &str) -> Result<UnixName, UnixFault> {
        if name.is_empty() || name == "@" {
            return Err(UnixFault::Empty);
        }
        if !name.starts_with(['/', '@']) {
            return Err(UnixFault::Relative);
        }
        if name.len() > UnixName::BYTES_MAX {
            return Err(UnixFault::TooLong(name.len()));
        }
        if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(UnixFault::Space);
        }
        Ok(UnixName(kept(name)))
    }

    /// The path, unless it is an abstract name.
    pub fn path(self) -> Option<&'static str> {
        self.0.starts_with('/').then_some(self.0)
    }

    /// The abstract name without its `@`, unless it is a path.
    pub fn abstract_name(self) -> Option<&'static str> {
        self.0.strip_prefix('@')
    }
}

/// The one text of these bytes.
fn kept(name: &str) -> &'static str {
    static KEPT: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.into());
    names.insert(name);
    name
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str("unix"),
            name => write!(f, "{SCHEME}{name}"),
        }
    }
}

impl fmt::Display for UnixFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnixFault::Empty => f.write_str(
                "names no Unix socket; give its path, as in \"unix:/run/app.sock\", or an abstract name, as in \"unix:@app\"",
            ),
            UnixFault::Relative => f.write_str(
                "is no path from the root; write \"unix:/...\" for a path, or \"unix:@...\" for an abstract name",
            ),
            UnixFault::TooLong(bytes) => write!(
                f,
                "has a name of {bytes} bytes; the kernel has room for {}; give a shorter one",
                UnixName::BYTES_MAX
            ),
            UnixFault::Space => {
                f.write_str("has a space or a control character in its name; give one without them")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_displayed_is_what_is_read() {
        for text in ["127.0.0.1:80", "[::1]:80", "unix:/run/app.sock", "unix:@app"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(Address::NAMELESS.to_string(), "unix");
    }

    #[test]
    fn a_name_that_no_socket_can_have_is_refused() {
        for (name, fault) in [
            ("", UnixFault::Empty),
            ("@", UnixFault::Empty),
            ("run/app.sock", UnixFault::Relative),
            ("/run/my app.sock", UnixFault::Space),
            ("@a\0", UnixFault::Space),
        ] {
            assert_eq!(UnixName::new(name), Err(fault), "{name:?}");
        }
        let long = format!("/{}", "a".repeat(UnixName::BYTES_MAX));
        assert_eq!(UnixName::new(&long), Err(UnixFault::TooLong(UnixName::BYTES_MAX + 1)));
        assert!(UnixName::new(&long[..UnixName::BYTES_MAX]).is_ok());
    }

    #[test]
    fn a_name_is_kept_once_and_makes_no_address_larger() {
        let (one, other) = (UnixName::new("/run/a").unwrap(), UnixName::new("/run/a").unwrap());
        assert!(std::ptr::eq(one.0, other.0));
        assert_eq!(size_of::<Address>(), size_of::<SocketAddr>());
    }

    #[test]
    fn ports_are_for_ip_addresses() {
        let (ip, unix): (Address, Address) = ("[::1]:0".parse().unwrap(), "unix:@a".parse().unwrap());
        assert!(ip.is_any_port() && !unix.is_any_port());
        assert_eq!((ip.at_port(Some(7)).to_string(), unix.at_port(Some(7))), ("[::1]:7".to_owned(), unix));
        assert!(unix.ip().is_unspecified());
    }
}
