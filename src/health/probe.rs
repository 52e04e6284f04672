//! Probe: one look at one backend.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::net;

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

/// Connects and closes.
pub(super) async fn tcp(address: SocketAddr, timeout: Duration) -> Finding {
    match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        Ok(Ok(stream)) if net::is_connected_to_itself(&stream, address) => {
            Finding::Failed(String::from("nobody listens: the connection met itself"))
        }
        Ok(Ok(stream)) => {
            // Close with a reset: thousands of checks must not leave thousands of ports in TIME_WAIT.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            Finding::Passed
        }
        Ok(Err(error)) if net::is_out_of_ports(&error) || net::is_shortage(&error) => Finding::Unable(error),
        Ok(Err(error)) => Finding::Failed(error.to_string()),
        Err(_) => Finding::Failed(format!("no answer within {timeout:?}")),
    }
}
