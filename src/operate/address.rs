//! Address: where the admin API of a ringway is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// At a port of a host, which is an address or a name.
    Port(String),
    /// At the path of a socket.
    Socket(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(typed: &str) -> Result<Address, String> {
        if typed.starts_with("https://") {
            return Err(
                "the admin API speaks plain HTTP; write IP:PORT, or the path of its socket".to_owned()
            );
        }
        let text = typed.strip_prefix("unix:").unwrap_or(typed);
        if text.starts_with(['/', '.']) {
            return Ok(Address::Socket(text.into()));
        }
        let text = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let is_host = |host: &str| {
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            match bare {
                Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
                None => {
                    !host.is_empty()
                        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
                }
            }
        };
        match text.rsplit_once(':') {
            Some((host, port)) if is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0) => {
                Ok(Address::Port(text.to_owned()))
            }
            _ => Err("write IP:PORT such as 127.0.0.1:8404 or [::1]:8404, or a path such as /run/ringway/admin.sock"
                .to_owned()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Port(text) => write!(f, "{text}"),
            Address::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_or_a_path() {
        for (typed, shown) in [
            ("127.0.0.1:8404", "127.0.0.1:8404"),
            ("[::1]:8404", "[::1]:8404"),
            ("lb-1.example:8404", "lb-1.example:8404"),
            ("http://127.0.0.1:8404/", "127.0.0.1:8404"),
            ("/run/a.sock", "/run/a.sock"),
            ("unix:/run/a.sock", "/run/a.sock"),
            ("./a.sock", "./a.sock"),
        ] {
            let address: Address = typed.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(matches!(address, Address::Socket(_)), shown.contains('/'));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_one_looks_like() {
        for typed in
            ["", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", ":8404", "::1:8404", "a b:1", "[a]:1"]
        {
            let error = typed.parse::<Address>().unwrap_err();
            assert!(error.contains("127.0.0.1:8404"), "{typed}: {error}");
        }
        assert!("https://a:1".parse::<Address>().unwrap_err().contains("plain HTTP"));
    }
}
