//! The echo backend: what comes in goes out, the end of the stream included.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    service_time::{Delay, Wait},
    totals::{End, Totals},
};

/// Until the client's end of stream, which is passed back after the last byte.
pub(super) async fn serve(stream: &mut TcpStream, delay: Delay, totals: &Totals) -> End {
    copy_back(stream, delay, totals).await.map_or_else(End::from, |()| End::Clean)
}

async fn copy_back(stream: &mut TcpStream, mut delay: Delay, totals: &Totals) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return stream.shutdown().await;
        }
        totals.read(count);
        delay.wait(Duration::ZERO).await;
        stream.write_all(&buffer[..count]).await?;
        totals.wrote(count);
    }
}

const BUFFER_LEN: usize = 16 * 1024;
