//! One request and its reply, every byte of it checked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
};

use super::link::Link;
use crate::{
    failure::Failure,
    frame::{Frame, HEAD_LEN},
    pattern::Pattern,
};

/// What the target speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// A head says how long the reply is; for 'backend reply'
    Reply,
    /// The reply is the request; for 'backend echo'
    Echo,
    /// A text is sent, and the reply is whatever comes until the end of the stream; for servers of the world
    #[value(skip)]
    Text,
}

/// What a request is; all of a run are alike but for the bytes.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// What the target speaks.
    pub(crate) protocol: Protocol,
    /// Length of a request, within the bounds of [`Frame`].
    pub(crate) request_len: u64,
    /// Length of a reply, within the bounds of [`Frame`].
    pub(crate) reply_len: u64,
    /// What the request asks the backend to wait.
    pub(crate) delay: Duration,
    /// What is sent in [`Protocol::Text`].
    pub(crate) text: Arc<[u8]>,
}

/// When the reply came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub(super) first_byte: Instant,
    pub(super) last_byte: Instant,
}

impl Exchange {
    /// Sends the request with this seed and waits for the whole reply.
    pub(super) async fn perform(&self, link: &mut Link, seed: u64) -> Result<Received, Failure> {
        if self.protocol == Protocol::Text {
            return self.ask(link).await;
        }
        if link.unasked {
            return Err(Failure::WrongBytes { at: 0 });
        }
        let frame =
            Frame { request_len: self.request_len, reply_len: self.reply_len, delay: self.delay, seed };
        let (mut input, mut output) = link.stream.split();
        // At the same time: an echo of a long request comes back while we still send.
        let ((), received) = tokio::try_join!(
            biased;
            self.send(&mut output, &frame),
            self.receive(&mut input, &mut link.input, frame.reply()),
        )?;
        Ok(received)
    }

    /// Sends the text and reads to the end of the stream, which ends the connection.
    async fn ask(&self, link: &mut Link) -> Result<Received, Failure> {
        link.stream.write_all(&self.text).await?;
        let mut first_byte = None;
        loop {
            let count = link.stream.read(&mut link.input).await?;
            let now = Instant::now();
            match (count, first_byte) {
                (0, None) => return Err(Failure::CutShort { received: 0 }),
                (0, Some(first_byte)) => return Ok(Received { first_byte, last_byte: now }),
                _ => _ = first_byte.get_or_insert(now),
            }
        }
    }

    /// How much to read at once.
    pub(super) fn input_len(&self) -> usize {
        if self.protocol == Protocol::Text {
            return CHUNK_LEN as usize;
        }
        (self.reply_len + 1).min(CHUNK_LEN) as usize
    }

    async fn send(&self, output: &mut WriteHalf<'_>, frame: &Frame) -> Result<(), Failure> {
        let bytes = match self.protocol {
            Protocol::Reply => frame.filling(),
            Protocol::Echo | Protocol::Text => frame.reply(),
        };
        let mut chunk = [0; SEND_LEN];
        let mut at = 0;
        while at < self.request_len {
            let chunk = &mut chunk[..(self.request_len - at).min(SEND_LEN as u64) as usize];
            bytes.fill(at, chunk);
            if at == 0 && self.protocol == Protocol::Reply {
                chunk[..HEAD_LEN].copy_from_slice(&frame.encode());
            }
            output.write_all(chunk).await?;
            at += chunk.len() as u64;
        }
        Ok(())
    }

    async fn receive(
        &self,
        input: &mut ReadHalf<'_>,
        buffer: &mut [u8],
        expected: Pattern,
    ) -> Result<Received, Failure> {
        let mut first_byte = None;
        let mut at = 0;
        while at < self.reply_len {
            let count = input.read(buffer).await?;
            let now = Instant::now();
            if count == 0 {
                return Err(Failure::CutShort { received: at });
            }
            let first_byte = *first_byte.get_or_insert(now);
            let in_reply = (self.reply_len - at).min(count as u64) as usize;
            if let Some(at) = expected.first_difference(at, &buffer[..in_reply]) {
                return Err(Failure::WrongBytes { at });
            }
            if in_reply < count {
                return Err(Failure::WrongBytes { at: self.reply_len });
            }
            at += count as u64;
            if at == self.reply_len {
                return Ok(Received { first_byte, last_byte: now });
            }
        }
        unreachable!("a reply has at least one byte")
    }
}

/// The longest read.
const CHUNK_LEN: u64 = 64 * 1024;
/// The longest write; it lives in the task, so it is kept small.
const SEND_LEN: usize = 4 * 1024;
