//! Http: one HTTP/1.1 request on a connection of its own, with or without TLS.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::{Address, Expect, HttpCheck};

use super::approach::Approach;
use super::expect::{self, Answer};
use super::tls::Client;
use super::{Finding, Obstacle, failed};

/// What hyper holds of an answer's head at most.
const HEAD_MAX: usize = 64 * 1024;

/// A request and what its answer must be.
pub(in crate::health) struct HttpProbe {
    check: HttpCheck,
    tls: Option<Client>,
}

impl HttpProbe {
    /// Over TLS if there is a client for that.
    pub(super) fn new(check: &HttpCheck, tls: Option<Client>) -> HttpProbe {
        HttpProbe { check: check.clone(), tls }
    }

    /// One look, in this time.
    pub(super) async fn look(
        &self,
        address: Address,
        approach: &Approach,
        timeout: Duration,
    ) -> Result<Finding, Obstacle> {
        let mut answer = Answer::default();
        match tokio::time::timeout(timeout, self.ask(address, approach, &mut answer)).await {
            Ok(finding) => finding,
            Err(_) if answer.is_empty() => failed(format_args!("no answer within {timeout:?}")),
            Err(_) => failed(format_args!("body {answer} and no more within {timeout:?}")),
        }
    }

    async fn ask(
        &self,
        address: Address,
        approach: &Approach,
        answer: &mut Answer,
    ) -> Result<Finding, Obstacle> {
        let stream = approach.connect(address).await?;
        match &self.tls {
            None => self.ask_over(stream, address, answer).await,
            Some(client) => {
                self.ask_over(
                    client.connect(stream, address.as_ip().map(|address| address.ip())).await?,
                    address,
                    answer,
                )
                .await
            }
        }
    }

    async fn ask_over<S>(&self, stream: S, address: Address, answer: &mut Answer) -> Result<Finding, Obstacle>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let request = self.request(address)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(obstacle)?;
        // The connection may end before its answer has been read: what it had to say waits in a channel then.
        let broken = Cell::new(None);
        let driven = async {
            broken.set(connection.await.err());
            pending::<Infallible>().await
        };
        let asked = async {
            let response = sender.send_request(request).await;
            // One that speaks before it is asked breaks the connection before the request is on it: the request then only
            // knows that it was not sent, and the connection knows why.
            let why = |error: hyper::Error| {
                if error.is_canceled() { broken.take().unwrap_or(error) } else { error }
            };
            self.judge(response.map_err(why).map_err(obstacle)?, answer).await
        };
        tokio::select! {
            finding = asked => finding,
            never = driven => match never {},
        }
    }

    fn request(&self, address: Address) -> Result<Request<Empty<Bytes>>, Obstacle> {
        let host = self.check.host.clone().unwrap_or_else(|| match address {
            Address::Ip(address) => address.to_string(),
            // Its name is no name of a host.
            Address::Unix(_) => "localhost".to_owned(),
        });
        Request::builder()
            .method(self.check.method.as_str())
            .uri(self.check.path.as_str())
            .header(HOST, host)
            .header(USER_AGENT, "ringway")
            .header(CONNECTION, "close")
            .body(Empty::new())
            .map_err(|error| Obstacle::Backend(format!("the request is not valid: {error}")))
    }

    async fn judge(&self, response: Response<Incoming>, answer: &mut Answer) -> Result<Finding, Obstacle> {
        let status = response.status().as_u16();
        if !self.check.status.iter().any(|&(first, last)| (first..=last).contains(&status)) {
            return failed(format_args!("status {status}, expected {}", ranges(&self.check.status)));
        }
        let Some(expect) = &self.check.body else { return Ok(Finding::Passed) };
        let mut body = response.into_body();
        if answer.meets(expect) {
            return Ok(Finding::Passed);
        }
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(obstacle)?.into_data() {
                answer.take(&data);
            }
            if answer.meets(expect) {
                return Ok(Finding::Passed);
            }
            if answer.is_full() {
                return failed(format_args!("{} in the first part of it", unmet(expect, status, answer)));
            }
        }
        failed(unmet(expect, status, answer))
    }
}

fn unmet(expect: &Expect, status: u16, answer: &Answer) -> String {
    format!("status {status}, body {answer}, expected {}", expect::name(expect))
}

/// `200-399, 404`.
fn ranges(ranges: &[(u16, u16)]) -> String {
    let range = |&(first, last): &(u16, u16)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}

/// hyper says what it was about; why is below it. That a request was called off says nothing beside the reason.
fn obstacle(error: hyper::Error) -> Obstacle {
    Obstacle::Backend(match std::error::Error::source(&error) {
        None => error.to_string(),
        Some(cause) if error.is_canceled() => cause.to_string(),
        Some(cause) => format!("{error}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    /// 50 times, because which of the two futures looks first is left to chance.
    #[test]
    fn a_server_that_spoke_before_it_was_asked_fails_with_the_reason() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let check = HttpCheck {
                method: "GET".into(),
                path: "/".into(),
                host: None,
                status: vec![(200, 399)],
                body: None,
            };
            let probe = HttpProbe::new(&check, None);
            for _ in 0..50 {
                let (ours, mut server) = tokio::io::duplex(1024);
                server.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
                let address = Address::Ip(([127, 0, 0, 1], 22).into());
                let Err(Obstacle::Backend(reason)) =
                    probe.ask_over(ours, address, &mut Answer::default()).await
                else {
                    panic!("this was no answer");
                };
                assert_eq!(reason, "received unexpected message from connection");
            }
        });
    }
}
