//! Probe: one look at one backend, in the way that its pool asks for.

mod command;
mod expect;
mod http;
mod tcp;
mod tls;
mod udp;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, UnixStream};

use crate::config::{self, Address, Check, Datagrams, Exchange, PoolSocket};
use crate::{net, proxy_protocol};

use http::HttpProbe;

pub use tls::Unusable;

/// What a probe found.
#[derive(Debug)]
pub(super) enum Finding {
    /// The backend answers.
    Passed,
    /// It does not, for this reason.
    Failed(String),
    /// This machine could not ask: no port or descriptor was left.
    Unable(io::Error),
}

/// Whom a probe looks at.
#[derive(Debug)]
pub(super) struct Target {
    /// The pool's name.
    pub(super) pool: String,
    /// The backend's.
    pub(super) name: Arc<str>,
    /// Where it is checked.
    pub(super) address: Address,
}

/// How the backends of each pool are checked.
pub struct Probes(Vec<Option<Arc<Probe>>>);

/// How the backends of one pool are checked.
pub(super) struct Probe {
    look: Look,
    opening: Opening,
}

/// How a connection of a check begins.
struct Opening {
    /// What the connections of sessions are like too.
    socket: PoolSocket,
    /// What is sent first: a PROXY protocol header that says that it is our own, or nothing.
    preamble: &'static [u8],
}

/// What a check does.
enum Look {
    /// Connects, and asks if there is something to ask.
    Tcp(Exchange),
    /// Asks with a datagram.
    Udp(Datagrams),
    /// An HTTP request, with or without TLS.
    Http(HttpProbe),
    /// A program and its arguments.
    Command(Vec<String>),
}

impl Probes {
    /// Reads what the checks need from files, so that what is missing is told at the start and not by checks that fail.
    pub fn new(pools: &[config::Pool]) -> Result<Probes, Unusable> {
        let probe = |pool| Ok(Probe::new(pool)?.map(Arc::new));
        pools.iter().map(probe).collect::<Result<_, _>>().map(Probes)
    }

    /// Those of this pool, which has checks.
    pub(super) fn of_pool(&self, pool: usize) -> Arc<Probe> {
        self.0[pool].clone().expect("only backends of pools with checks are looked at")
    }
}

impl Probe {
    fn new(pool: &config::Pool) -> Result<Option<Probe>, Unusable> {
        let look = match &pool.health.check {
            Check::None => return Ok(None),
            Check::Tcp(exchange) => Look::Tcp(exchange.clone()),
            Check::Udp(datagrams) => Look::Udp(datagrams.clone()),
            Check::Http(check) => Look::Http(HttpProbe::new(check, None)),
            Check::Https(check, trust) => {
                Look::Http(HttpProbe::new(check, Some(tls::Client::new(&pool.name, trust)?)))
            }
            Check::Command(words) => Look::Command(words.clone()),
        };
        let sent = pool.proxy_protocol.as_ref().filter(|_| pool.health.proxy_protocol);
        let preamble = sent.map_or(&b""[..], |sent| proxy_protocol::local(sent.version));
        let opening = Opening { socket: pool.socket.clone(), preamble };
        Ok(Some(Probe { look, opening }))
    }

    /// Whether a look is a process instead of a connection.
    pub(super) fn is_a_process(&self) -> bool {
        matches!(self.look, Look::Command(_))
    }

    /// One look. It is over when the time is.
    pub(super) async fn look(&self, target: &Target, timeout: Duration) -> Finding {
        let (address, opening) = (target.address, &self.opening);
        let finding = match &self.look {
            Look::Tcp(exchange) => tcp::look(exchange, address, opening, timeout).await,
            Look::Udp(datagrams) => udp::look(datagrams, address, &opening.socket, timeout).await,
            Look::Http(probe) => probe.look(address, opening, timeout).await,
            Look::Command(words) => command::look(words, target, timeout).await,
        };
        finding.unwrap_or_else(Obstacle::into_finding)
    }
}

/// What keeps a probe from its question.
enum Obstacle {
    Backend(String),
    Machine(io::Error),
}

impl Obstacle {
    fn into_finding(self) -> Finding {
        match self {
            Obstacle::Backend(why) => Finding::Failed(why),
            Obstacle::Machine(error) => Finding::Unable(error),
        }
    }
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Obstacle {
        if net::is_out_of_ports(&error) || net::is_shortage(&error) {
            Obstacle::Machine(error)
        } else {
            Obstacle::Backend(error.to_string())
        }
    }
}

/// A failure, in these words.
fn failed(why: impl fmt::Display) -> Result<Finding, Obstacle> {
    Ok(Finding::Failed(why.to_string()))
}

/// A connection of either kind, while something is asked over it.
trait Conversation: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Conversation for T {}

/// A connection that ends with a reset, whenever and however it is dropped: thousands of checks must not leave thousands
/// of ports in TIME_WAIT.
async fn connect(address: Address, opening: &Opening) -> Result<Box<dyn Conversation>, Obstacle> {
    let address = match address {
        Address::Ip(address) => address,
        Address::Unix(name) => {
            let path = name.path().map(str::to_owned);
            let path = path.unwrap_or_else(|| format!("\0{}", name.abstract_name().unwrap_or_default()));
            let mut stream = UnixStream::connect(path).await?;
            stream.write_all(opening.preamble).await?;
            return Ok(Box::new(stream));
        }
    };
    let socket = net::prepare_check(address, &opening.socket)?;
    let mut stream = TcpSocket::from_std_stream(std::net::TcpStream::from(socket)).connect(address).await?;
    if net::is_connected_to_itself(&stream, address) {
        return Err(Obstacle::Backend("nobody listens: the connection met itself".into()));
    }
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    stream.write_all(opening.preamble).await?;
    Ok(Box::new(stream))
}
