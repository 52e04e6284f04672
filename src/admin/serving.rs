//! Serving: connections, so many at once and none for ever.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

use super::binding::{Bound, SocketFile};
use super::patience::Patient;
use super::who::Peer;

/// Connections at once; each is a descriptor.
pub const CONNECTIONS_MAX: usize = 256;
/// How long a client may take for the head of a request, or say nothing between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// After an accept that failed for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// What a client gets when there are too many.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nConnection: close\r\n\r\n\
    {\"title\":\"busy\",\"detail\":\"256 connections are open already, and no more may be; close some\",\"status\":503}";

/// Where connections come from.
pub(super) enum Door {
    Tcp(net::TcpListener),
    /// The file goes when nobody listens any more.
    Unix {
        listener: net::UnixListener,
        _file: SocketFile,
    },
}

enum Stream {
    Tcp(net::TcpStream),
    Unix(net::UnixStream),
}

impl Door {
    /// On the runtime that this runs on.
    pub(super) fn open(bound: Bound) -> io::Result<Door> {
        let of_tcp = |listener: TcpListener| net::TcpListener::from_std(listener);
        Ok(match bound {
            Bound::Tcp(listener) => Door::Tcp(of_tcp(listener)?),
            Bound::Unix(listener, file) => {
                Door::Unix { listener: net::UnixListener::from_std(listener)?, _file: file }
            }
        })
    }

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Door::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Peer::Address(address)))
            }
            Door::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let who = stream.peer_cred().map(|peer| Peer::Process { uid: peer.uid(), pid: peer.pid() });
                Ok((Stream::Unix(stream), who.unwrap_or(Peer::Unknown)))
            }
        }
    }
}

/// Accepts and serves until it is dropped. `refused` counts who came when there were too many.
pub(super) async fn serve(door: Door, router: Router, refused: Arc<AtomicU64>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (stream, peer) = match door.accept().await {
            Ok(accepted) => accepted,
            // Short of descriptors, or a client that has left already.
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            refused.fetch_add(1, Ordering::Relaxed);
            refuse(&stream);
            continue;
        };
        let router = router.clone();
        match stream {
            Stream::Tcp(stream) => drop(tokio::spawn(connection(stream, peer, router, permit))),
            Stream::Unix(stream) => drop(tokio::spawn(connection(stream, peer, router, permit))),
        }
    }
}

/// Says so if that takes no waiting.
fn refuse(stream: &Stream) {
    let _ = match stream {
        Stream::Tcp(stream) => stream.try_write(TOO_MANY),
        Stream::Unix(stream) => stream.try_write(TOO_MANY),
    };
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    _permit: OwnedSemaphorePermit,
) {
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        // A router is always ready.
        router.clone().call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "a connection to the admin API failed");
    }
}
