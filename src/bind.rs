//! Bind: the listening sockets of a configuration, one for each worker and address.

use std::fmt;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::activation::{self, Activation};
use crate::config::{Address, Config, Listener, Pool, Protocol, UnixName};
use crate::kernel::Settings;
use crate::net::{self, Inlet, Listening};
use crate::steering;
use crate::upgrade::Inherited;

/// The sockets of one worker, each with its listener.
pub type Sockets = Vec<(usize, Listening)>;

/// The same for datagrams.
pub type Inlets = Vec<(usize, Inlet)>;

/// A listener cannot have its address.
#[derive(Debug)]
pub struct Unbound {
    /// The listener's name.
    pub listener: String,
    /// The address.
    pub address: Address,
    /// What the kernel said.
    pub error: io::Error,
    /// An address at the same port where this process listens itself.
    pub own: Option<SocketAddr>,
}

impl Unbound {
    /// The same, known to be asked by a process that listens there.
    fn among(mut self, own: &[Vec<Address>]) -> Unbound {
        let Address::Ip(wanted) = self.address else { return self };
        let others = own.iter().flatten().filter_map(|other| other.as_ip());
        self.own = others.into_iter().find(|other| other.port() == wanted.port());
        self
    }
}

impl fmt::Display for Unbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unbound { listener, address, error, own } = self;
        write!(f, "listener {listener}: cannot listen on {address}: {error}")?;
        // What has no number of the kernel's has words with a cure of their own.
        if error.raw_os_error().is_none() && error.kind() != io::ErrorKind::AlreadyExists {
            return Ok(());
        }
        write!(f, "; ")?;
        match own {
            Some(own) if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "this ringway itself listens on {own}, and the kernel does not allow both at a time; take {own} away in a first \
                 reload, or start ringway anew"
            ),
            _ => match address {
                Address::Ip(address) => listen_cure(f, address, error),
                Address::Unix(name) => unix_cure(f, *name, error),
            },
        }
    }
}

impl std::error::Error for Unbound {}

fn listen_cure(f: &mut fmt::Formatter<'_>, address: &SocketAddr, error: &io::Error) -> fmt::Result {
    let port = address.port();
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => write!(
            f,
            "another process, perhaps a second ringway, has it (ss -ltnp 'sport = :{port}' shows which): stop that one \
             or choose another address with listener.bind (--listen)"
        ),
        Some(libc::EACCES) => write!(
            f,
            "ports below 1024 need a privilege: setcap cap_net_bind_service=+ep on the binary, AmbientCapabilities= in \
             a systemd unit, or a higher port"
        ),
        Some(libc::EADDRNOTAVAIL) => {
            write!(f, "this machine does not have that address (ip address shows those it has)")
        }
        _ => write!(f, "choose another address with listener.bind (--listen)"),
    }
}

fn unix_cure(f: &mut fmt::Formatter<'_>, name: UnixName, error: &io::Error) -> fmt::Result {
    let shown = name.path().map_or_else(|| name.to_string().replace("unix:", ""), str::to_owned);
    match error.raw_os_error().or(match error.kind() {
        io::ErrorKind::AlreadyExists => Some(libc::EEXIST),
        _ => None,
    }) {
        Some(libc::EADDRINUSE) => write!(
            f,
            "another process, perhaps a second ringway, listens there (ss -lxp 'src {shown}' shows which): stop that one or choose \
             another name with listener.bind (--listen)"
        ),
        Some(libc::EEXIST) => {
            write!(f, "remove {shown} or choose another name with listener.bind (--listen)")
        }
        Some(libc::EACCES | libc::EPERM | libc::ENOENT | libc::ENOTDIR | libc::EROFS) => write!(
            f,
            "the folder of a socket must be there and be writable for the user of ringway (RuntimeDirectory=ringway in a systemd \
             unit makes /run/ringway)"
        ),
        _ => write!(f, "choose another name with listener.bind (--listen), or other keys of listener.socket"),
    }
}

impl Error {
    /// The same, known to be asked by a process that listens there already.
    pub fn among(self, own: &[Vec<Address>]) -> Error {
        match self {
            Error::Unbound(unbound) => Error::Unbound(unbound.among(own)),
            other @ (Error::Activation(_) | Error::Socket(..)) => other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unbound(error) => error.fmt(f),
            Error::Activation(error) => error.fmt(f),
            Error::Socket(pool, error) => write!(f, "pool {pool}: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// What is bound.
pub struct Bound {
    /// The addresses of each listener, with the real ports.
    pub addresses: Vec<Vec<Address>>,
    /// The sockets that are new to this process, by worker.
    pub sockets: Vec<Sockets>,
    /// The same for datagrams.
    pub inlets: Vec<Inlets>,
    /// Those that were inherited, which still have the backlog and the options of their last owner.
    pub adjust: Vec<Adjust>,
}

/// Sockets that are there when this process starts.
#[derive(Debug, Default)]
pub struct Passed {
    /// Those of a service manager, which keeps them.
    pub activation: Activation,
    /// Those of the process before, which leaves them.
    pub inherited: Inherited,
}

/// What is still to be done to an inherited socket, once this process serves: as long as it may fail, the one before has it.
#[derive(Debug)]
pub struct Adjust {
    socket: Adjusted,
    listener: Listener,
}

#[derive(Debug)]
enum Adjusted {
    Listening(Listening),
    Inlet(Inlet),
    /// One of those that share an address, and how many these are now: each gets its share of the clients from then on.
    Steered(Inlet, usize),
}

impl Adjust {
    /// Does it.
    pub fn run(&self) {
        let Adjust { socket, listener } = self;
        let name = &listener.name;
        let done = match socket {
            Adjusted::Listening(socket) => socket.adjust(listener),
            Adjusted::Inlet(inlet) => inlet.adjust(&listener.socket),
            Adjusted::Steered(inlet, workers) => return steer(listener, inlet, *workers),
        };
        if let Err(error) = done {
            tracing::warn!(listener = %name, %error, "the listener keeps its old backlog and options");
        }
    }
}

/// Why a configuration cannot have its sockets.
#[derive(Debug)]
pub enum Error {
    /// A listener cannot have its address.
    Unbound(Unbound),
    /// A socket of the service manager cannot be used.
    Activation(activation::Unusable),
    /// Connections of this pool cannot be what they are to be.
    Socket(String, io::Error),
}

/// Binds every address once for each worker, or takes what was passed to us, but for those that are bound already: `known`
/// says where one really is.
pub fn bind(
    config: &Config,
    workers: usize,
    passed: &mut Passed,
    known: impl Fn(&Listener, usize) -> Option<Address>,
) -> Result<Bound, Error> {
    Settings::read().warnings(config).iter().for_each(|doubt| tracing::warn!("{doubt}"));
    config.pools.iter().try_for_each(try_socket)?;
    for pool in &config.pools {
        net::try_source(&pool.source, pool.socket.mptcp)
            .map_err(|error| Error::Socket(pool.name.clone(), error))?;
    }
    let mut addresses = vec![Vec::new(); config.listeners.len()];
    let mut sockets: Vec<Sockets> = (0..workers).map(|_| Vec::new()).collect();
    let mut inlets: Vec<Inlets> = (0..workers).map(|_| Vec::new()).collect();
    let mut adjust = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        if listener.protocol == Protocol::Tcp {
            warn_of_small_backlog(listener);
        }
        for (place, &address) in listener.bind.iter().enumerate() {
            let failed = |error| {
                Error::Unbound(Unbound { listener: listener.name.clone(), address, error, own: None })
            };
            if let Some(real) = known(listener, place) {
                // What it is to be from now on must be possible: a socket that clients come to is not the place to find out.
                match (address, listener.protocol) {
                    (Address::Ip(address), Protocol::Tcp) => {
                        net::try_options(address, listener).map_err(failed)?
                    }
                    (Address::Ip(address), Protocol::Udp) => {
                        net::try_inlet(address, &listener.socket).map_err(failed)?;
                    }
                    (Address::Unix(_), _) => {}
                }
                addresses[index].push(real);
                continue;
            }
            if listener.protocol == Protocol::Udp {
                let inherited = passed.inherited.take(listener, place).map(|group| group.inlets);
                let group = match inherited.or_else(|| passed.activation.inlets(address)) {
                    Some(group) => {
                        let (group, adjusts) = shared_inlets(listener, workers, group).map_err(failed)?;
                        adjust.extend(adjusts);
                        group
                    }
                    None => {
                        let group = patiently(|| net::bind_inlets(address, workers, &listener.socket))
                            .map_err(failed)?;
                        steer(listener, &group[0], group.len());
                        group
                    }
                };
                addresses[index].push(Address::Ip(group[0].local_addr().map_err(failed)?));
                let places = group.into_iter().enumerate();
                places.for_each(|(nth, inlet)| inlets[nth % workers].push((index, inlet)));
                continue;
            }
            let group = match inherited(listener, place, workers, &mut passed.inherited).map_err(failed)? {
                Some((group, adjusts)) => {
                    adjust.extend(adjusts);
                    Some(group)
                }
                None => passed.activation.share(address, workers, listener).map_err(Error::Activation)?,
            };
            let group = match group {
                Some(group) => group,
                None => patiently(|| net::listen(address, workers, listener))
                    .map_err(failed)?
                    .into_iter()
                    .map(|socket| vec![socket])
                    .collect(),
            };
            addresses[index].push(group[0][0].local_addr().map_err(failed)?);
            for (worker, group) in sockets.iter_mut().zip(group) {
                worker.extend(group.into_iter().map(|socket| (index, socket)));
            }
        }
    }
    mem::take(&mut passed.activation).finish().map_err(Error::Activation)?;
    Ok(Bound { addresses, sockets, inlets, adjust })
}

/// Those of the process before or of a service manager, with one more for each worker that would have none, and what is to be
/// done to them.
fn shared_inlets(
    listener: &Listener,
    workers: usize,
    mut inlets: Vec<Inlet>,
) -> io::Result<(Vec<Inlet>, Vec<Adjust>)> {
    let before = inlets.len();
    let adjust = |socket| Adjust { socket, listener: listener.clone() };
    let mut adjusts = Vec::new();
    for inlet in &inlets {
        adjusts.push(adjust(Adjusted::Inlet(inlet.another()?)));
    }
    let completed = complete_inlets(listener, workers, &mut inlets);
    if inlets.len() < workers {
        let why = completed.err().map_or_else(
            || format!("more than {} workers cannot share clients", steering::WORKERS_MAX),
            |error| format!("no socket can be added beside those that were passed ({error})"),
        );
        tracing::warn!(
            listener = %listener.name,
            "only {} of {workers} workers take datagrams: {why}; set server.workers to as many, or have the service manager pass \
             as many sockets (ListenDatagram= for each, ReusePort=yes)",
            inlets.len()
        );
    }
    if inlets.len() > before {
        adjusts.push(adjust(Adjusted::Steered(inlets[0].another()?, inlets.len())));
    }
    Ok((inlets, adjusts))
}

/// Adds sockets until there is one for each worker. Those that are new get nothing as long as nobody takes anything from them:
/// the program that says who gets what knows the others only.
fn complete_inlets(listener: &Listener, workers: usize, inlets: &mut Vec<Inlet>) -> io::Result<()> {
    let before = inlets.len();
    if before >= workers || steering::program(workers).is_none() {
        return Ok(());
    }
    // The same as it has. Of sockets that a service manager made nobody knows how they stand to each other.
    if let Some(program) = steering::program(before) {
        inlets[0].steer(&program)?;
    }
    let address = inlets[0].local_addr()?;
    while inlets.len() < workers {
        inlets.push(Inlet::beside(address, &listener.socket)?);
        if before == 1 && inlets.len() == 2 {
            // One alone has no program. What came to the other in between waits there.
            inlets[0].steer(&steering::first_alone())?;
        }
    }
    Ok(())
}

/// Has the kernel keep each client on one worker, however many there come to be.
fn steer(listener: &Listener, inlet: &Inlet, workers: usize) {
    let Some(program) = steering::program(workers) else { return };
    if let Err(error) = inlet.steer(&program) {
        tracing::warn!(
            listener = %listener.name,
            %error,
            "the kernel spreads clients over workers by itself: the same until ringway is started with another number of them"
        );
    }
}

/// What each worker gets of the sockets that the process before leaves at a listener's address, and what is to be done to
/// them.
#[allow(clippy::type_complexity, reason = "the two are taken apart at once")]
fn inherited(
    listener: &Listener,
    place: usize,
    workers: usize,
    inherited: &mut Inherited,
) -> io::Result<Option<(Vec<Vec<Listening>>, Vec<Adjust>)>> {
    let Some(group) = inherited.take(listener, place) else { return Ok(None) };
    let adjust = |socket: &Listening| {
        Ok(Adjust { socket: Adjusted::Listening(socket.another()?), listener: listener.clone() })
    };
    let adjusts = group.sockets.iter().map(adjust).collect::<io::Result<_>>()?;
    let group = complete(group.sockets, workers, group.address, listener);
    Ok(Some((activation::dealt(&group, workers)?, adjusts)))
}

/// Adds sockets until there is one for each worker, as far as that goes: not beside one of a service manager, nor beside
/// those of another user.
fn complete(
    mut group: Vec<Listening>,
    workers: usize,
    address: Address,
    listener: &Listener,
) -> Vec<Listening> {
    // The workers share a Unix socket.
    let Address::Ip(address) = address else { return group };
    if group.iter().any(Listening::is_lent) {
        return group;
    }
    while group.len() < workers {
        match Listening::beside(address, listener) {
            Ok(socket) => group.push(socket),
            Err(error) => {
                let (listener, sockets) = (&listener.name, group.len());
                tracing::warn!(%listener, %address, %error, "{workers} workers share {sockets} listening sockets");
                break;
            }
        }
    }
    group
}

/// Whether the kernel grants what a pool wants of its connections: sessions are not the place to find out.
fn try_socket(pool: &Pool) -> Result<(), Error> {
    let addresses = pool.backends.iter().filter_map(|backend| backend.address.as_ip());
    let one_of = |is_ipv6| addresses.clone().find(|address| address.is_ipv6() == is_ipv6);
    for address in [one_of(false), one_of(true)].into_iter().flatten() {
        net::prepare_stream(address.into(), pool.tcp, &pool.socket)
            .map_err(|error| Error::Socket(pool.name.clone(), error))?;
    }
    Ok(())
}

fn warn_of_small_backlog(listener: &Listener) {
    if let Some(max) = net::backlog_max().filter(|&max| max < listener.backlog) {
        tracing::warn!(
            listener = %listener.name,
            backlog = listener.backlog,
            granted = max,
            "the kernel grants a smaller backlog; to raise it: sysctl -w net.core.somaxconn={}",
            listener.backlog
        );
    }
}

/// Tries for a moment while the address is in use: the kernel tears the ring of a process that was killed down after its
/// end, and its listening sockets with it.
fn patiently<T>(mut listen: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    const PATIENCE: Duration = Duration::from_millis(500);
    const PAUSE: Duration = Duration::from_millis(10);
    let begun = Instant::now();
    loop {
        match listen() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < PATIENCE => {
                thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}
