//! Probe: one look at one backend, in the way that its pool asks for.

mod approach;
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

use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::{self, Address, Check, Datagrams, Exchange};
use crate::{net, proxy_protocol};

use approach::Approach;
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
    approach: Approach,
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
        let sent = pool.proxy_protocol.as_ref().filter(|_| pool.health.proxy_protocol);
        let preamble = sent.map_or(&b""[..], |sent| proxy_protocol::local(sent.version));
        let look = match &pool.health.check {
            Check::None => return Ok(None),
            Check::Tcp(exchange) => Look::Tcp(exchange.clone()),
            // Before each that is sent: whichever arrives may be the first.
            Check::Udp(Datagrams { send, expect }) => {
                Look::Udp(Datagrams { send: [preamble, send].concat(), expect: expect.clone() })
            }
            Check::Http(check) => Look::Http(HttpProbe::new(check, None)),
            Check::Https(check, trust) => {
                Look::Http(HttpProbe::new(check, Some(tls::Client::new(&pool.name, trust)?)))
            }
            Check::Command(words) => Look::Command(words.clone()),
        };
        Ok(Some(Probe { look, approach: Approach::new(pool, preamble) }))
    }

    /// Whether a look is a process instead of a connection.
    pub(super) fn is_a_process(&self) -> bool {
        matches!(self.look, Look::Command(_))
    }

    /// One look. It is over when the time is.
    pub(super) async fn look(&self, target: &Target, timeout: Duration) -> Finding {
        let (address, approach) = (target.address, &self.approach);
        let finding = match &self.look {
            Look::Tcp(exchange) => tcp::look(exchange, address, approach, timeout).await,
            Look::Udp(datagrams) => udp::look(datagrams, address, approach, timeout).await,
            Look::Http(probe) => probe.look(address, approach, timeout).await,
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
