//! Farewell: what a client hears that no backend can serve.

use std::io;

use crate::buffers::Chunk;
use crate::config::NoBackend;
use crate::end::End;
use crate::net::{self, Socket};
use crate::ring;
use crate::shared::Shared;
use crate::watch::{Stage, Watch};

/// Tells a client that nobody could be reached, in the way that its listener says.
pub(super) async fn say_farewell(shared: &Shared, watch: &Watch, end: End) {
    if watch.verdict().is_some() {
        return;
    }
    if matches!(end, End::Unrouted | End::ClientReset) {
        return net::abort(&watch.client);
    }
    let text = match &shared.listener(watch).no_backend {
        NoBackend::Reset => return net::abort(&watch.client),
        NoBackend::Close => "",
        NoBackend::Message(text) => text,
    };
    watch.stage.set(Stage::Farewell(shared.core.now.get()));
    // A failure here is the client's own leaving.
    let _ = write_and_close(shared, &watch.client, text).await;
}

async fn write_and_close(shared: &Shared, client: &Socket, text: &str) -> io::Result<()> {
    let mut chunk = Chunk::of(text.as_bytes());
    while chunk.remaining() > 0 {
        chunk = ring::write(client, chunk).await?;
    }
    net::finish_writing(client)?;
    // Closing a socket that holds unread bytes sends a reset, which can destroy the text on its way. So take what the
    // client sends until it closes; the tick ends it if that takes too long.
    loop {
        ring::readable(client).await?;
        if ring::read(client, shared.core.supplies.arena.take()).await?.is_none() {
            return Ok(());
        }
    }
}
