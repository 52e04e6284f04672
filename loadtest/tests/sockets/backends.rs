//! The backends, asked by hand.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    command::{Backend, PATIENCE},
    peer::connect,
};

/// A request of the reply protocol with these filling bytes, as its documentation says.
fn request(reply_len: u32, delay: Duration, filling: &[u8]) -> Vec<u8> {
    let mut bytes = b"RWL1".to_vec();
    bytes.extend(u32::try_from(24 + filling.len()).unwrap().to_be_bytes());
    bytes.extend(reply_len.to_be_bytes());
    bytes.extend(u32::try_from(delay.as_micros()).unwrap().to_be_bytes());
    bytes.extend(7u64.to_be_bytes());
    bytes.extend(filling);
    bytes
}

/// Everything until the end of the stream.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn echo_returns_every_byte_and_then_the_end_of_the_stream() {
    let backend = Backend::start("echo");
    let mut stream = connect(backend.address);
    // More than the socket buffers hold: both directions flow at the same time.
    let sent: Vec<u8> = (0..8_000_000u32).map(|index| (index % 251) as u8).collect();
    let received = thread::scope(|scope| {
        let mut writer = stream.try_clone().unwrap();
        let sent = &sent;
        scope.spawn(move || {
            writer.write_all(sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        rest(&mut stream)
    });
    assert!(received == sent, "{} of {} bytes, or other ones", received.len(), sent.len());
    assert_eq!(backend.totals(["connections", "bytes_in", "bytes_out"]), [1, 8_000_000, 8_000_000]);
}

#[test]
fn echo_does_not_end_before_the_client_does() {
    let backend = Backend::start("echo");
    let mut stream = connect(backend.address);
    for word in [b"one", b"two"] {
        stream.write_all(word).unwrap();
        let mut back = [0; 3];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, word);
    }
}

#[test]
fn reply_answers_each_request_with_as_many_bytes_as_it_asks_for() {
    for reply_len in [1, 64, 65_536, 200_001] {
        let backend = Backend::start("reply");
        let mut stream = connect(backend.address);
        stream.write_all(&request(reply_len, Duration::ZERO, &[])).unwrap();
        stream.write_all(&request(5, Duration::ZERO, &[])).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut stream).len(), reply_len as usize + 5);
        let totals = backend.totals(["requests", "bytes_in", "bytes_out"]);
        assert_eq!(totals, [2, 48, u64::from(reply_len) + 5]);
    }
}

#[test]
fn reply_waits_its_own_delay_and_that_of_the_request() {
    let backend = Backend::start("reply --delay 30ms");
    let mut stream = connect(backend.address);
    let start = Instant::now();
    stream.write_all(&request(1, Duration::from_millis(20), &[])).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    // A lower bound only: no load makes a correct backend faster.
    assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
}

#[test]
fn reply_resets_a_client_that_does_not_speak_its_protocol() {
    let wrong_filling = request(1, Duration::ZERO, &[0; 8]);
    let nothing_wanted = request(0, Duration::ZERO, &[]);
    for bytes in [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), wrong_filling, nothing_wanted] {
        let backend = Backend::start("reply");
        let mut stream = connect(backend.address);
        stream.write_all(&bytes).unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(backend.totals(["malformed", "requests", "bytes_out"]), [1, 0, 0]);
    }
}

#[test]
fn reply_counts_a_client_that_closes_within_a_request() {
    let backend = Backend::start("reply");
    for bytes_sent in [10, 24] {
        let mut stream = connect(backend.address);
        stream.write_all(&request(1, Duration::ZERO, &[0; 8])[..bytes_sent]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut stream).len(), 0);
    }
    assert_eq!(backend.totals(["cut_short", "requests"]), [2, 0]);
}

#[test]
fn sink_counts_what_it_reads_and_says_nothing() {
    let backend = Backend::start("sink");
    let mut stream = connect(backend.address);
    stream.write_all(&[1; 300_000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream).len(), 0);
    assert_eq!(backend.totals(["connections", "bytes_in", "bytes_out"]), [1, 300_000, 0]);
}

#[test]
fn a_connection_over_the_bound_waits_until_another_closes() {
    let backend = Backend::start("echo --max-connections 1");
    let mut first = connect(backend.address);
    first.write_all(b"1").unwrap();
    first.read_exact(&mut [0]).unwrap();

    let mut second = connect(backend.address);
    second.write_all(b"2").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(second.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);

    drop(first);
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    second.read_exact(&mut [0]).unwrap();
}

#[test]
fn both_signals_end_a_backend_with_its_totals_even_with_a_connection_open() {
    for signal in [Signal::TERM, Signal::INT] {
        let backend = Backend::start("echo --name left");
        let mut stream = connect(backend.address);
        stream.write_all(b"1").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        let totals = backend.end(signal);
        assert!(totals.starts_with("left: connections=1 requests=0 bytes_in=1 bytes_out=1 "), "{totals}");
    }
}
