//! Activation: listening sockets that a service manager has opened for us (sd_listen_fds(3)).
//!
//! A socket belongs to the listener that has its address: the same file serves with a manager and without. The manager keeps
//! the socket while ringway is away, and clients wait in its queue.

use std::env;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process;

use crate::config::{Address, Listener};
use crate::net::{self, Inlet, Listening};

/// At most so many sockets are taken: as many as listeners can have addresses, and far more than a unit names.
const SOCKETS_MAX: usize = 65_536;

/// Sockets that nobody has asked for yet.
#[derive(Debug, Default)]
pub struct Activation {
    sockets: Vec<Passed>,
    /// The same for datagrams: the name of each, and where it is.
    inlets: Vec<(String, SocketAddr, Inlet)>,
    /// Dual-stack ones that a listener has taken.
    dual: Vec<Address>,
}

#[derive(Debug)]
struct Passed {
    name: String,
    address: Address,
    listening: Listening,
}

/// Why a socket cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// The variables of the manager make no sense.
    Variables(String),
    /// A descriptor that was promised is not there.
    Descriptors(io::Error),
    /// It is neither a socket of streams that listens nor a UDP socket.
    NotListening {
        /// As the manager calls it.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// No listener has its address: clients would wait in its queue for ever.
    Unasked {
        /// As the manager calls it.
        name: String,
        /// Where it listens.
        address: Address,
    },
    /// It takes the clients of a listener that is to have a socket of its own.
    DualStack {
        /// Where it listens.
        passed: Address,
        /// The listener's address.
        wanted: Address,
    },
    /// The kernel refused something.
    Kernel(io::Error),
}

impl Activation {
    /// Takes the sockets that the environment tells of, if they are meant for this process. Once: the next one gets none.
    ///
    /// # Errors
    ///
    /// When one of them is not what was told.
    pub fn from_environment() -> Result<Activation, Unusable> {
        let variable = |name| env::var(name).ok();
        let (id, count, names) = (variable("LISTEN_PID"), variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"));
        let names = names_of(id.as_deref(), count.as_deref(), names.as_deref(), process::id())?;
        if names.is_empty() {
            return Ok(Activation::default());
        }
        let descriptors = net::inherited(names.len()).map_err(Unusable::Descriptors)?;
        let mut activation = Activation::default();
        for (name, descriptor) in names.into_iter().zip(descriptors) {
            let wrong =
                |error: io::Error| Unusable::NotListening { name: name.clone(), why: error.to_string() };
            if net::is_inlet(&descriptor) {
                let inlet = Inlet::given(descriptor).map_err(wrong)?;
                let address = inlet.local_addr().map_err(wrong)?;
                activation.inlets.push((name, address, inlet));
                continue;
            }
            let listening = Listening::lent(descriptor).map_err(wrong)?;
            let address = listening.local_addr().map_err(Unusable::Kernel)?;
            activation.sockets.push(Passed { name, address, listening });
        }
        Ok(activation)
    }

    /// What each worker gets of the sockets with this address; `None` if there are none.
    ///
    /// # Errors
    ///
    /// When one that was passed takes the clients of this address as well.
    pub fn share(
        &mut self,
        address: Address,
        workers: usize,
        listener: &Listener,
    ) -> Result<Option<Vec<Vec<Listening>>>, Unusable> {
        let (ours, others): (Vec<_>, Vec<_>) =
            self.sockets.drain(..).partition(|passed| passed.address == address);
        self.sockets = others;
        if ours.is_empty() {
            let rivals = self.sockets.iter().filter(|passed| passed.listening.is_dual_stack());
            let rivals = rivals.map(|passed| passed.address).chain(self.dual.iter().copied());
            return match rivals.into_iter().find(|&rival| takes_clients_of(rival, address)) {
                Some(passed) => Err(Unusable::DualStack { passed, wanted: address }),
                None => Ok(None),
            };
        }
        let names: Vec<&str> = ours.iter().map(|passed| passed.name.as_str()).collect();
        tracing::info!(%address, sockets = names.len(), names = names.join(","), "listens on what the service manager passed");
        for passed in &ours {
            passed.listening.set_options(listener).map_err(Unusable::Kernel)?;
            self.dual.extend(passed.listening.is_dual_stack().then_some(passed.address));
        }
        let ours: Vec<Listening> = ours.into_iter().map(|passed| passed.listening).collect();
        dealt(&ours, workers).map(Some).map_err(Unusable::Kernel)
    }

    /// The sockets for datagrams with this address; `None` if there are none.
    pub fn inlets(&mut self, address: Address) -> Option<Vec<Inlet>> {
        let (ours, others): (Vec<_>, Vec<_>) =
            self.inlets.drain(..).partition(|(_, passed, _)| Address::Ip(*passed) == address);
        self.inlets = others;
        let ours: Vec<Inlet> = ours.into_iter().map(|(_, _, inlet)| inlet).collect();
        (!ours.is_empty()).then_some(ours)
    }

    /// All listeners have theirs: none may be left.
    ///
    /// # Errors
    ///
    /// When one is.
    pub fn finish(self) -> Result<(), Unusable> {
        let left = self.sockets.into_iter().map(|Passed { name, address, .. }| (name, address));
        let left =
            left.chain(self.inlets.into_iter().map(|(name, address, _)| (name, Address::Ip(address)))).next();
        left.map_or(Ok(()), |(name, address)| Err(Unusable::Unasked { name, address }))
    }
}

/// Descriptors of these sockets for each worker, dealt in turn, so that each worker has one and each socket a worker.
///
/// # Errors
///
/// When the kernel has no descriptor left.
pub fn dealt(sockets: &[Listening], workers: usize) -> io::Result<Vec<Vec<Listening>>> {
    let count = sockets.len();
    let shares = shares(count, workers).into_iter().enumerate();
    // The first to have a socket counts who waits there, and who was dropped.
    let one = |worker: usize, socket: usize| match socket % workers == worker {
        true => sockets[socket].another_that_counts(),
        false => sockets[socket].another(),
    };
    shares.map(|(worker, share)| share.into_iter().map(|socket| one(worker, socket)).collect()).collect()
}

/// Which sockets each worker gets: each worker has one at least, and each socket is some worker's. With fewer sockets than
/// workers some share one, and whoever looks first takes the client.
fn shares(sockets: usize, workers: usize) -> Vec<Vec<usize>> {
    let mut shares = vec![Vec::new(); workers];
    for nth in 0..sockets.max(workers) {
        shares[nth % workers].push(nth % sockets);
    }
    shares
}

/// Whether a dual-stack socket there gets the clients of an IPv4 address.
fn takes_clients_of(dual: Address, address: Address) -> bool {
    let (Address::Ip(dual), Address::Ip(address)) = (dual, address) else { return false };
    let all = dual.ip() == Ipv6Addr::UNSPECIFIED && dual.port() == address.port();
    all && address.ip() == Ipv4Addr::UNSPECIFIED
}

/// The name of each socket, if they are meant for this process.
fn names_of(
    id: Option<&str>,
    count: Option<&str>,
    names: Option<&str>,
    own: u32,
) -> Result<Vec<String>, Unusable> {
    if id.and_then(|id| id.parse().ok()) != Some(own) {
        return Ok(Vec::new());
    }
    let count = count.unwrap_or_default();
    let number = count.parse().ok().filter(|&number: &usize| number <= SOCKETS_MAX);
    let number = number.ok_or_else(|| Unusable::Variables(format!("LISTEN_FDS is {count:?}")))?;
    let mut given = names.unwrap_or_default().split(':').filter(|name| !name.is_empty());
    Ok((0..number).map(|_| given.next().unwrap_or("unknown").to_owned()).collect())
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Variables(what) => {
                write!(
                    f,
                    "sockets of the service manager: {what}, which is no number of sockets up to {SOCKETS_MAX}"
                )
            }
            Unusable::Descriptors(error) => write!(
                f,
                "sockets of the service manager: a descriptor that LISTEN_FDS promises is not open: {error}"
            ),
            Unusable::NotListening { name, why } => write!(
                f,
                "socket {name} of the service manager: {why}; ringway takes sockets that listen (ListenStream=IP:PORT or \
                 a path, with Accept=no) and UDP sockets (ListenDatagram=IP:PORT)"
            ),
            Unusable::Unasked { name, address } => write!(
                f,
                "socket {name} of the service manager: no listener has its address {address}, so its clients would wait for \
                 ever; add {address} to listener.bind, or take it out of the socket unit"
            ),
            Unusable::DualStack { passed, wanted } => write!(
                f,
                "listener.bind: {wanted} is taken by the socket {passed} of the service manager, which accepts IPv4 as well; \
                 write BindIPv6Only=ipv6-only into the socket unit and ListenStream={wanted} beside it, or take {wanted} out \
                 of listener.bind"
            ),
            Unusable::Kernel(error) => write!(f, "sockets of the service manager: {error}"),
        }
    }
}

impl std::error::Error for Unusable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_a_socket_and_each_socket_a_worker() {
        assert_eq!(shares(1, 3), [[0], [0], [0]]);
        assert_eq!(shares(3, 3), [[0], [1], [2]]);
        assert_eq!(shares(2, 3), [[0], [1], [0]]);
        assert_eq!(shares(3, 1), [[0, 1, 2]]);
        assert_eq!(shares(3, 2), [vec![0, 2], vec![1]]);
    }

    #[test]
    fn sockets_are_taken_by_whom_they_are_meant_for() {
        let names = |id, count, names| names_of(Some(id), Some(count), Some(names), 7).unwrap();
        assert_eq!(names("7", "2", "web:api"), ["web", "api"]);
        assert_eq!(names("7", "2", "web"), ["web", "unknown"]);
        assert_eq!(names("7", "0", ""), Vec::<String>::new());
        assert_eq!(names("8", "2", "web:api"), Vec::<String>::new());
        assert!(names_of(None, Some("2"), None, 7).unwrap().is_empty());
        for wrong in ["many", "-1", "100000", ""] {
            let error = names_of(Some("7"), Some(wrong), None, 7).unwrap_err().to_string();
            assert!(error.contains("LISTEN_FDS"), "{error}");
        }
    }

    #[test]
    fn a_dual_stack_socket_rivals_the_same_port_of_ipv4_alone() {
        let of =
            |dual: &str, address: &str| takes_clients_of(dual.parse().unwrap(), address.parse().unwrap());
        assert!(of("[::]:80", "0.0.0.0:80"));
        assert!(!of("[::]:80", "0.0.0.0:81"));
        assert!(!of("[::1]:80", "0.0.0.0:80"));
        assert!(!of("[::]:80", "[::1]:80"));
    }
}
