//! Udp: asks with a datagram, more than once, and waits for one that is an answer.

use std::io;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;

use crate::config::{Address, Datagrams, Expect};

use super::approach::Approach;
use super::expect::{self, Answer};
use super::{Finding, Obstacle, failed};

/// How often one look asks: a datagram that is lost is no failure, nor is a second one.
const ASKED_TIMES: u32 = 3;
/// Datagrams that are looked at. Who sends more that are no answer will not send one.
const ANSWERS_MAX: u32 = 64;
/// How much of a datagram is looked at.
const LOOKED_AT_MAX: usize = 4096;

/// One look, in this time.
pub(super) async fn look(
    datagrams: &Datagrams,
    address: Address,
    approach: &Approach,
    timeout: Duration,
) -> Result<Finding, Obstacle> {
    let Some(address) = address.as_ip() else {
        return failed("a Unix socket takes no datagrams of UDP; give the backend a check_address");
    };
    let begun = Instant::now();
    let socket = approach.connect_udp(address).await?;
    let mut heard = Heard { answers: 0, last: Answer::default() };
    let mut buffer = [0; LOOKED_AT_MAX];
    for time in 0..ASKED_TIMES {
        socket.send(&datagrams.send).await.map_err(told)?;
        let end = begun + until(time, timeout);
        let heard_it = listen(&socket, datagrams.expect.as_ref(), &mut heard, &mut buffer);
        if let Ok(finding) = tokio::time::timeout_at(end.into(), heard_it).await {
            return finding;
        }
    }
    Ok(silence(datagrams.expect.as_ref(), &heard, timeout))
}

/// How long after the beginning the next datagram is sent, or the look is over: the last one, too, has half of the time for
/// its answer.
fn until(asked_before: u32, timeout: Duration) -> Duration {
    if asked_before + 1 == ASKED_TIMES { timeout } else { timeout / 4 * (asked_before + 1) }
}

/// What has been heard of the backend.
struct Heard {
    answers: u32,
    last: Answer,
}

/// Until an answer or a refusal comes. A receive that is given up takes nothing.
async fn listen(
    socket: &UdpSocket,
    expect: Option<&Expect>,
    heard: &mut Heard,
    buffer: &mut [u8],
) -> Result<Finding, Obstacle> {
    loop {
        let count = socket.recv(buffer).await.map_err(told)?;
        heard.answers += 1;
        // Each for itself: an answer is one datagram.
        heard.last = Answer::default();
        heard.last.take(&buffer[..count]);
        if expect.is_none_or(|expect| heard.last.meets(expect)) {
            return Ok(Finding::Passed);
        }
        if heard.answers == ANSWERS_MAX {
            let what = unmet(heard, expect);
            return failed(format_args!("{what}, and {ANSWERS_MAX} such datagrams"));
        }
    }
}

/// What the kernel says of a datagram that was sent: by ICMP it has heard that nobody has that port.
fn told(error: io::Error) -> Obstacle {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Obstacle::Backend("port unreachable: nobody has it".into()),
        _ => error.into(),
    }
}

/// What it means that the time is over. Where nothing is expected it passes, because none of the datagrams was refused. That
/// is weak: a machine that is off refuses nothing, and one that is on refuses only so many datagrams in a second.
fn silence(expect: Option<&Expect>, heard: &Heard, timeout: Duration) -> Finding {
    match (expect, heard.answers) {
        (None, _) => Finding::Passed,
        (Some(_), 0) => Finding::Failed(format!("no answer within {timeout:?}, asked {ASKED_TIMES} times")),
        (Some(_), _) => Finding::Failed(format!("{} within {timeout:?}", unmet(heard, expect))),
    }
}

fn unmet(heard: &Heard, expect: Option<&Expect>) -> String {
    let expected = expect.map(|expect| format!(", expected {}", expect::name(expect)));
    format!("answer {}{}", heard.last, expected.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_datagram_has_its_part_of_the_time_and_the_last_one_half_of_it() {
        let ends: Vec<u128> =
            (0..ASKED_TIMES).map(|time| until(time, Duration::from_secs(1)).as_millis()).collect();
        assert_eq!(ends, [250, 500, 1000]);
    }

    #[test]
    fn silence_passes_only_where_nothing_is_expected() {
        let heard = |bytes: &[u8]| {
            let mut last = Answer::default();
            last.take(bytes);
            Heard { answers: u32::from(!bytes.is_empty()), last }
        };
        let expect = Expect::Bytes(b"pong".to_vec());
        let second = Duration::from_secs(1);
        assert!(matches!(silence(None, &heard(b""), second), Finding::Passed));
        let words = |heard: &Heard| match silence(Some(&expect), heard, second) {
            Finding::Failed(words) => words,
            other => panic!("{other:?}"),
        };
        assert_eq!(words(&heard(b"")), "no answer within 1s, asked 3 times");
        assert_eq!(words(&heard(b"no")), r#"answer "no", expected "pong" within 1s"#);
    }
}
