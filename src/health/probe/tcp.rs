//! Tcp: connects; then, if asked to, sends and waits for an answer.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::{Address, Exchange};

use super::approach::Approach;
use super::expect::Answer;
use super::{Finding, Obstacle, failed};

/// One look, in this time.
pub(super) async fn look(
    exchange: &Exchange,
    address: Address,
    approach: &Approach,
    timeout: Duration,
) -> Result<Finding, Obstacle> {
    let mut answer = Answer::default();
    match tokio::time::timeout(timeout, converse(exchange, address, approach, &mut answer)).await {
        Ok(finding) => finding,
        Err(_) if answer.is_empty() => failed(format_args!("no answer within {timeout:?}")),
        Err(_) => failed(format_args!("{}within {timeout:?}", unmet(exchange, &answer))),
    }
}

async fn converse(
    exchange: &Exchange,
    address: Address,
    approach: &Approach,
    answer: &mut Answer,
) -> Result<Finding, Obstacle> {
    let mut stream = approach.connect(address).await?;
    stream.write_all(&exchange.send).await?;
    let Some(expect) = &exchange.expect else { return Ok(Finding::Passed) };
    let mut buffer = [0; 4096];
    loop {
        let count = match stream.read(&mut buffer).await {
            Ok(count) => count,
            Err(error) if answer.is_empty() => return Err(error.into()),
            Err(error) => return failed(format_args!("{}and then: {error}", unmet(exchange, answer))),
        };
        if count == 0 {
            return failed(format_args!("{}before the end", unmet(exchange, answer)));
        }
        answer.take(&buffer[..count]);
        if answer.meets(expect) {
            return Ok(Finding::Passed);
        }
        if answer.is_full() {
            return failed(format_args!("{}and too much of it", unmet(exchange, answer)));
        }
    }
}

/// What came instead, for a sentence that goes on.
fn unmet(exchange: &Exchange, answer: &Answer) -> String {
    let expected =
        exchange.expect.as_ref().map(|expect| format!(", expected {}", super::expect::name(expect)));
    format!("answer {answer}{} ", expected.unwrap_or_default())
}
