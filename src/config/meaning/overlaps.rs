//! Overlaps: an address that another one of the file has in it, such as `127.0.0.1:80` where `0.0.0.0:80` is.
//!
//! The kernel lets nobody have both, over TCP and over UDP alike, unless the sockets are of different interfaces. It would
//! if all of them had SO_REUSEPORT from the start; but without that on the first one a second ringway could not be told.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::config::errors::{Place, Reason};
use crate::config::read::Reader;
use crate::config::typed::Table;
use crate::config::types::{Admin, AdminAddress, Listener, Protocol};

/// A port of IPv4 or not, over TCP or UDP.
type Port = (u16, bool, Protocol);

/// The addresses of the listeners before.
#[derive(Default)]
pub(super) struct Overlaps {
    /// Those that stand for all of a family.
    all: HashMap<Port, Taken>,
    /// The others.
    one: HashMap<Port, Vec<Taken>>,
}

struct Taken {
    address: SocketAddr,
    device: Option<String>,
    place: Place,
}

impl Taken {
    fn excludes(&self, device: Option<&str>) -> bool {
        device.is_none_or(|device| self.device.as_deref().is_none_or(|own| own == device))
    }
}

impl Overlaps {
    /// Adds one more. Says what is wrong if the kernel would refuse it beside those before.
    pub(super) fn add(
        &mut self,
        address: SocketAddr,
        over: Protocol,
        device: Option<&str>,
        place: &Place,
    ) -> Option<String> {
        // Port 0 is a new port each time.
        if address.port() == 0 {
            return None;
        }
        let port = (address.port(), address.is_ipv4(), over);
        let taken = Taken { address, device: device.map(str::to_owned), place: place.clone() };
        let words = |all: SocketAddr, one: SocketAddr, other: &Taken| {
            format!(
                "\"{one}\" is one of the addresses that \"{all}\" stands for, and the kernel does not let anybody have both (the \
                 other one is on {}); remove \"{one}\", or list the addresses that you want in place of \"{all}\"",
                other.place
            )
        };
        let excludes = |other: &&Taken| other.excludes(device);
        if address.ip().is_unspecified() {
            let other = self.one.get(&port).into_iter().flatten().find(excludes);
            let found = other.map(|other| words(address, other.address, other));
            self.all.insert(port, taken);
            found
        } else {
            let other = self.all.get(&port).filter(excludes);
            let found = other.map(|other| words(other.address, address, other));
            self.one.entry(port).or_default().push(taken);
            found
        }
    }
}

/// Reports an admin API at an address where a listener accepts.
pub(super) fn refuse_admin(root: &Reader<'_, '_>, admin: &Admin, listeners: &[Listener]) {
    let AdminAddress::Address(own) = admin.bind else { return };
    let excludes = |address: &SocketAddr| {
        let is_all = |one: SocketAddr, other: SocketAddr| {
            one.ip().is_unspecified() && (one.is_ipv4() == other.is_ipv4())
        };
        // At `[::]` the admin API is for IPv4 as well, where the system says so, and a listener is not.
        let is_both = own.is_ipv6() && own.ip().is_unspecified();
        own.port() != 0
            && own.port() == address.port()
            && (own.ip() == address.ip() || is_all(own, *address) || is_all(*address, own) || is_both)
    };
    let over_tcp = listeners.iter().filter(|listener| listener.protocol == Protocol::Tcp);
    for listener in over_tcp {
        let Some(address) = listener.bind.iter().filter_map(|bind| bind.as_ip()).find(excludes) else {
            continue;
        };
        let words = format!(
            "the admin API at {own} and listener \"{}\" at {address} cannot both be there; give one of them another port",
            listener.name
        );
        let empty = Table::new();
        let (table, place) = root.table_if_right("admin", &empty).unwrap_or((&empty, Place::File));
        let place = table.get("bind").map_or(place, |bind| bind.node.place.clone());
        root.report(&place, "admin.bind", Reason::Conflict(words));
        return;
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    fn refused(listeners: &[(&str, &str)]) -> Vec<String> {
        let listener = |(at, (bind, keys)): (usize, &(&str, &str))| {
            format!("[[listener]]\nname='l{at}'\nbind={bind}\npool='p'\n{keys}\n")
        };
        let listeners: String = listeners.iter().enumerate().map(listener).collect();
        let text = format!("{listeners}[[pool]]\nname='p'\n[[pool.backend]]\naddress='127.0.0.1:2'\n");
        let errors = parse("f", &text).err();
        errors.map(|errors| errors.to_string().lines().map(str::to_owned).collect()).unwrap_or_default()
    }

    #[test]
    fn what_the_kernel_lets_nobody_have_is_a_mistake_in_either_order() {
        let (one, all) = ("'127.0.0.1:80'", "'0.0.0.0:80'");
        for (first, second) in [(one, all), (all, one)] {
            for keys in ["", "protocol='udp'"] {
                let told = refused(&[(first, keys), (second, keys)]);
                assert_eq!(told.len(), 1, "{told:?}");
                assert!(
                    told[0].contains("f:8: listener.bind in listener \"l1\": \"127.0.0.1:80\""),
                    "{told:?}"
                );
                assert!(told[0].contains("on line 3"), "{told:?}");
            }
        }
        assert_eq!(refused(&[("['[::1]:79-81', '[::]:80']", "")]).len(), 1);
        assert_eq!(refused(&[("['[::]:80', '[::1]:79-81']", "")]).len(), 1);
    }

    #[test]
    fn an_admin_api_has_an_address_of_its_own() {
        let told = |admin: &str, bind: &str| {
            let text = format!(
                "[admin]\nbind='{admin}'\ntoken_file='t'\n[[listener]]\nname='a'\nbind='{bind}'\npool='p'\n[[pool]]\nname='p'\n\
                 [[pool.backend]]\naddress='127.0.0.1:2'\n"
            );
            parse("f", &text).err().map(|errors| errors.to_string())
        };
        for (admin, bind) in [
            ("127.0.0.1:80", "127.0.0.1:79-81"),
            ("127.0.0.1:80", "0.0.0.0:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "127.0.0.1:80"),
        ] {
            let told = told(admin, bind).unwrap();
            assert!(
                told.starts_with(&format!("f:2: admin.bind: the admin API at {admin} and listener \"a\"")),
                "{told}"
            );
        }
        for (admin, bind) in
            [("127.0.0.1:80", "[::]:80"), ("127.0.0.1:80", "127.0.0.2:80"), ("127.0.0.1:0", "0.0.0.0:0")]
        {
            assert_eq!(told(admin, bind), None);
        }
    }

    #[test]
    fn what_it_lets_everybody_have_is_none() {
        assert_eq!(refused(&[("['0.0.0.0:80', '[::]:80', '0.0.0.0:81']", "")]), [""; 0]);
        assert_eq!(refused(&[("'0.0.0.0:80'", ""), ("'127.0.0.1:80'", "protocol='udp'")]), [""; 0]);
        assert_eq!(refused(&[("['0.0.0.0:0', '127.0.0.1:0', '[::1]:80']", "")]), [""; 0]);
        let devices = [("'0.0.0.0:80'", "socket.device='a'"), ("'127.0.0.1:80'", "socket.device='b'")];
        assert_eq!(refused(&devices), [""; 0]);
        assert_eq!(refused(&[devices[0], ("'127.0.0.1:80'", "")]).len(), 1);
    }
}
