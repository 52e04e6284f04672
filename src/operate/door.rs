//! Door: one request to the admin API of a ringway, and its answer.
//!
//! Each request has a connection of its own: a command makes one or a few and ends.

use std::env;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{self, Runtime};
use tokio::time::{Instant, timeout_at};

use super::address::Address;
use super::failure::Failure;
use crate::admin::shapes::Problem;

/// How long the way there may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest answer that is read: the sessions of a large machine, many times over.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Where a change says who wants it: over the loopback a peer has no other name.
const USER_HEADER: &str = "x-ringway-user";

/// What there is to say to an API, and what it says.
#[derive(Debug)]
pub struct Door {
    address: Address,
    token: Option<HeaderValue>,
    /// How long an answer may take, with the way there.
    patience: Duration,
    runtime: Runtime,
}

/// An answer, as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Door {
    /// To this address, with the token in this file; each answer may take so long.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or has no token in it.
    pub fn new(address: Address, token_file: Option<&Path>, patience: Duration) -> Result<Door, Failure> {
        let token = token_file.map(token).transpose()?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Output(format!("no runtime for the request: {error}")))?;
        Ok(Door { address, token, patience, runtime })
    }

    /// Where it leads.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// What is there, as JSON that came.
    pub(super) fn get(&self, path: &str) -> Result<Bytes, Failure> {
        self.done(self.ask(Method::GET, path, None)?)
    }

    /// What is there.
    pub(super) fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.understood(&self.get(path)?)
    }

    /// Wants something done; the answer, as JSON that came.
    pub(super) fn order(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Bytes, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::Wrong(error.to_string()))?;
        self.done(self.ask(method, path, Some(body))?)
    }

    /// The same, when the path says it all.
    pub(super) fn order_plainly(&self, method: Method, path: &str) -> Result<Bytes, Failure> {
        self.done(self.ask(method, path, None)?)
    }

    /// What an answer means.
    pub(super) fn understood<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|error| {
            if error.is_data() {
                let cure = "try --json, or the command of its version";
                Failure::NoAnswer(format!(
                    "at {} is a ringway of another version: {error}; {cure}",
                    self.address
                ))
            } else {
                self.no_ringway(&error)
            }
        })
    }

    fn no_ringway(&self, why: &dyn Display) -> Failure {
        let cure = "is this the address in [admin] (--admin or RINGWAY_ADMIN)?";
        Failure::NoAnswer(format!(
            "what answers at {} is not the admin API of a ringway: {why}; {cure}",
            self.address
        ))
    }

    /// One request, whatever is said to it.
    pub(super) fn ask(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Answer, Failure> {
        let request = self.request(method, path, body)?;
        let deadline = Instant::now() + self.patience;
        self.runtime.block_on(async {
            match &self.address {
                Address::Port(address) => {
                    let stream = self.reach(TcpStream::connect(address), deadline).await?;
                    self.exchange(stream, request, deadline).await
                }
                Address::Socket(path) => {
                    let stream = self.reach(UnixStream::connect(path), deadline).await?;
                    self.exchange(stream, request, deadline).await
                }
            }
        })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let host = match &self.address {
            Address::Port(address) => address.as_str(),
            Address::Socket(_) => "localhost",
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .header(USER_AGENT, concat!("ringway/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .header(CONNECTION, "close");
        if let Some(user) = user() {
            request = request.header(USER_HEADER, user);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::new(body.unwrap_or_default().into()))
            .map_err(|error| Failure::Wrong(format!("the request is not valid: {error}")))
    }

    async fn reach<S>(
        &self,
        connecting: impl Future<Output = io::Result<S>>,
        deadline: Instant,
    ) -> Result<S, Failure> {
        let nobody = |why: &dyn Display| {
            let cure =
                "is it running with [admin], and is this the address of it (--admin or RINGWAY_ADMIN)?";
            Failure::NoAnswer(format!("no ringway answers at {}: {why}; {cure}", self.address))
        };
        match timeout_at(deadline.min(Instant::now() + CONNECT_TIMEOUT), connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(Failure::NoAnswer(format!(
                    "{}: {}; who may use the socket is in its group: see ls -l {}",
                    self.address,
                    said(&error),
                    self.address
                )))
            }
            Ok(Err(error)) => Err(nobody(&said(&error))),
            Err(_) => {
                Err(nobody(&format_args!("no connection within {:?}", self.patience.min(CONNECT_TIMEOUT))))
            }
        }
    }

    async fn exchange<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Answer, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |why: &dyn Display| self.no_ringway(why);
        let exchange = async {
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
            // It ends with the runtime, or when the answer has been read.
            tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok(Answer { status, body: body.map_err(|error| broken(&error))?.to_bytes() })
        };
        match timeout_at(deadline, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::NoAnswer(format!(
                "nothing came from {} within {:?}: the process there is stopped or overloaded, or is no ringway; --timeout waits longer",
                self.address, self.patience
            ))),
        }
    }

    /// The body, unless it says why there is none.
    fn done(&self, answer: Answer) -> Result<Bytes, Failure> {
        let Answer { status, body } = answer;
        let is_json = matches!(body.trim_ascii_start().first(), None | Some(b'{' | b'['));
        if status.is_success() {
            return if is_json { Ok(body) } else { Err(self.no_ringway(&"it sends no JSON")) };
        }
        let problem: Option<Problem> = serde_json::from_slice(&body).ok();
        match (status, problem) {
            (StatusCode::UNAUTHORIZED, problem) => {
                let words = match &self.token {
                    None => {
                        "it wants a token: name the file that holds it, --token-file FILE or RINGWAY_TOKEN_FILE=FILE"
                    }
                    Some(_) => "it does not know this token: is it the file that its admin.token_file names?",
                };
                let detail = format!("{}: {words}", self.address);
                let title = problem.map_or_else(|| "unauthorized".to_owned(), |problem| problem.title);
                Err(Failure::Refused(Problem { title, detail, status: status.as_u16() }))
            }
            (_, Some(problem)) => Err(Failure::Refused(problem)),
            (_, None) => Err(self.no_ringway(&format_args!("it says {status}"))),
        }
    }
}

/// One part of a path: names of backends may be addresses, with brackets.
pub(super) fn part(name: &str) -> impl Display {
    utf8_percent_encode(name, NON_ALPHANUMERIC)
}

/// The first line of a file, as the header that carries it.
fn token(path: &Path) -> Result<HeaderValue, Failure> {
    let wrong = |why: &dyn Display| Failure::Wrong(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| {
        wrong(&format_args!("the token cannot be read: {error}; give another --token-file"))
    })?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err(wrong(&"there is no token in its first line"));
    }
    let mut header = HeaderValue::try_from(format!("Bearer {line}"))
        .map_err(|_| wrong(&"the token in its first line has bytes that no header can carry"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Who types: the one behind sudo, if there is one.
fn user() -> Option<HeaderValue> {
    ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| {
        let user = env::var(name).ok().filter(|user| !user.is_empty())?;
        HeaderValue::try_from(user).ok()
    })
}

/// Without the number that Rust puts behind it.
fn said(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
