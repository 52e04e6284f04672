//! The sink backend: reads, counts and drops.

use tokio::{io::AsyncReadExt, net::TcpStream};

use super::totals::{End, Totals};

/// Until the client's end of stream.
pub(super) async fn serve(stream: &mut TcpStream, totals: &Totals) -> End {
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return End::Clean,
            Ok(count) => totals.read(count),
            Err(error) => return End::from(error),
        }
    }
}

const BUFFER_LEN: usize = 64 * 1024;
