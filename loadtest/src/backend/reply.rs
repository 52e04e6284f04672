//! The reply backend: answers each request of the reply protocol with as many bytes as it asks for.

use std::io;

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

use super::{
    service_time::Wait,
    totals::{End, Totals},
};
use crate::frame::{Frame, HEAD_LEN};

/// One request after another until the client's end of stream.
pub(crate) async fn serve(stream: &mut TcpStream, mut delay: impl Wait, totals: &Totals) -> End {
    let (input, mut output) = stream.split();
    let mut input = BufReader::with_capacity(INPUT_LEN, input);
    let mut chunk = Vec::new();
    loop {
        let frame = match read_request(&mut input, totals).await {
            Ok(frame) => frame,
            Err(end) => return end,
        };
        delay.wait(frame.delay).await;
        if let Err(error) = write_reply(&mut output, &frame, &mut chunk, totals).await {
            return End::from(error);
        }
        totals.answered();
    }
}

/// The head of the next request, after all of the request was read and found right.
async fn read_request(input: &mut BufReader<ReadHalf<'_>>, totals: &Totals) -> Result<Frame, End> {
    let mut head = [0; HEAD_LEN];
    let mut have = 0;
    while have < HEAD_LEN {
        let bytes = input.fill_buf().await?;
        let count = bytes.len().min(HEAD_LEN - have);
        match (count, have) {
            (0, 0) => return Err(End::Clean),
            (0, _) => return Err(End::CutShort),
            _ => {}
        }
        head[have..have + count].copy_from_slice(&bytes[..count]);
        take(input, count, totals);
        have += count;
    }
    let frame = Frame::decode(&head).ok_or(End::Malformed)?;
    let mut at = HEAD_LEN as u64;
    while at < frame.request_len {
        let bytes = input.fill_buf().await?;
        let count = (bytes.len() as u64).min(frame.request_len - at) as usize;
        if count == 0 {
            return Err(End::CutShort);
        }
        if frame.filling().first_difference(at, &bytes[..count]).is_some() {
            return Err(End::Malformed);
        }
        take(input, count, totals);
        at += count as u64;
    }
    Ok(frame)
}

fn take(input: &mut BufReader<ReadHalf<'_>>, count: usize, totals: &Totals) {
    input.consume(count);
    totals.read(count);
}

async fn write_reply(
    output: &mut WriteHalf<'_>,
    frame: &Frame,
    chunk: &mut Vec<u8>,
    totals: &Totals,
) -> io::Result<()> {
    let mut at = 0;
    while at < frame.reply_len {
        chunk.resize((frame.reply_len - at).min(CHUNK_LEN) as usize, 0);
        frame.reply().fill(at, chunk);
        output.write_all(chunk).await?;
        totals.wrote(chunk.len());
        at += chunk.len() as u64;
    }
    Ok(())
}

const INPUT_LEN: usize = 16 * 1024;
const CHUNK_LEN: u64 = 64 * 1024;
