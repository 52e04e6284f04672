//! Datagrams: the backend asked by hand, and the client against backends that do what they should and what they should not.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::command::{Backend, PATIENCE, count, loadtest, start};

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn next(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = [0; 65_535];
    let (len, from) = socket.recv_from(&mut bytes).expect("an answer comes in time");
    (bytes[..len].to_vec(), from)
}

/// Answers each datagram with what this function gives, until the test process ends.
fn serve(mut behave: impl FnMut(&UdpSocket, &[u8], SocketAddr) + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 65_535];
        while let Ok((len, from)) = socket.recv_from(&mut bytes) {
            behave(&socket, &bytes[..len], from);
        }
    });
    address
}

const COUNTS: [&str; 8] =
    ["sent", "answered", "lost", "late", "duplicated", "altered", "misdelivered", "strange"];

/// The counts of a run, in the order of [`COUNTS`], and its exit code.
fn counts(arguments: &str) -> (Option<i32>, [u64; 8]) {
    let ran = loadtest(&format!("udp --json {arguments}"));
    let report = ran.report();
    (ran.code, COUNTS.map(|name| count(&report, &format!("/datagrams/{name}"))))
}

#[test]
fn the_backend_sends_each_datagram_back_from_the_address_it_came_to() {
    let backend = Backend::start("udp");
    let socket = socket();
    for bytes in [&b"hello"[..], b"", &[7; 9000], &[9; 65_507]] {
        socket.send_to(bytes, backend.address).unwrap();
        assert_eq!(next(&socket), (bytes.to_vec(), backend.address));
    }
    assert_eq!(
        backend.totals(["datagrams", "bytes_in", "replies", "bytes_out", "dropped"]),
        [4, 74_512, 4, 74_512, 0]
    );
}

#[test]
fn the_backend_answers_late_more_often_and_with_another_length_if_asked_to() {
    let backend = Backend::start("udp --delay 60ms --replies 3 --size 8");
    let socket = socket();
    let begun = Instant::now();
    for bytes in [&b"a long one"[..], b"short"] {
        socket.send_to(bytes, backend.address).unwrap();
    }
    for wanted in [b"a long o", b"short\0\0\0"] {
        for _ in 0..3 {
            assert_eq!(next(&socket).0, wanted);
        }
    }
    assert!(begun.elapsed() >= Duration::from_millis(60));
    assert_eq!(backend.totals(["datagrams", "replies"]), [2, 6]);
}

#[test]
fn a_closed_loop_has_every_datagram_answered() {
    let backend = Backend::start("udp");
    for rest in [
        "--clients 1 --datagrams 2000",
        "--clients 50 --datagrams 2000 --size 1200",
        "--clients 3 --outstanding 16 --datagrams 2000 --threads 2",
        "--clients 500 --from 127.8.0.0/16 --datagrams 2000 --threads 2",
        "--clients 2 --datagrams 200 --size 65507",
    ] {
        let (code, counts) = counts(&format!("--target {} {rest}", backend.address));
        let sent = counts[0];
        assert_eq!((code, counts), (Some(0), [sent, sent, 0, 0, 0, 0, 0, 0]), "{rest}");
        assert!(sent == 2000 || sent == 200, "{rest}");
    }
    assert_eq!(backend.totals(["datagrams", "dropped", "refused"]), [8200, 0, 0]);
}

#[test]
fn an_open_loop_sends_what_was_planned_and_takes_times_from_when_it_was() {
    let backend = Backend::start("udp --delay 20ms");
    let ran = loadtest(&format!(
        "udp --json --target {} --clients 20 --rate 1000/s --arrivals uniform --duration 1s --warm-up 500ms",
        backend.address
    ));
    let report = ran.report();
    let [warm_up, sent, answered] =
        ["warm_up", "sent", "answered"].map(|name| count(&report, &format!("/datagrams/{name}")));
    assert_eq!((ran.code, warm_up, sent, answered), (Some(0), 500, 1000, 1000), "{}", ran.stdout);
    let p50 = report.pointer("/microseconds/answer/p50").unwrap().as_f64().unwrap();
    assert!(p50 >= 20_000.0, "{p50}");
    assert_eq!(count(&report, "/microseconds/started_late/count"), 1000);
}

#[test]
fn several_answers_are_waited_for_and_one_more_is_a_duplicate() {
    let backend = Backend::start("udp --replies 3");
    let run = |replies| counts(&format!("--target {} --datagrams 300 --replies {replies}", backend.address));
    assert_eq!(run(3), (Some(0), [300, 300, 0, 0, 0, 0, 0, 0]));
    let (code, [sent, answered, lost, _, duplicated, ..]) = run(2);
    assert_eq!((code, sent, answered, lost), (Some(1), 300, 300, 0));
    // Those of the last ones may come when it has ended.
    assert!((290..=300).contains(&duplicated), "{duplicated}");
}

#[test]
fn what_is_not_answered_is_lost_and_what_comes_then_is_late() {
    let backend = Backend::start("udp --drop-ppm 250000");
    let (code, [sent, answered, lost, late, ..]) =
        counts(&format!("--target {} --clients 100 --datagrams 1000 --timeout 1s", backend.address));
    assert_eq!((code, sent, answered + lost, late), (Some(1), 1000, 1000, 0));
    let [dropped] = backend.totals(["dropped"]);
    // 250 expected, standard deviation 14. On a busy machine more can be lost than was dropped, for us.
    assert!((180..320).contains(&dropped) && lost >= dropped, "{dropped} dropped, {lost} lost");

    let backend = Backend::start("udp --delay 300ms");
    let (_, [sent, answered, lost, late, ..]) =
        counts(&format!("--target {} --outstanding 2 --timeout 100ms --duration 3s", backend.address));
    assert!(sent > 10 && answered == 0 && lost == sent && late > 0, "{sent} {answered} {lost} {late}");
}

#[test]
fn an_answer_with_another_byte_or_length_is_altered() {
    for change in [|bytes: &mut Vec<u8>| bytes[40] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(63)] {
        let target = serve(move |socket, bytes, from| {
            let mut bytes = bytes.to_vec();
            change(&mut bytes);
            socket.send_to(&bytes, from).unwrap();
        });
        let (code, counts) = counts(&format!("--target {target} --datagrams 5 --timeout 200ms"));
        assert_eq!((code, counts), (Some(1), [5, 0, 5, 0, 0, 5, 0, 0]));
    }
}

#[test]
fn an_answer_to_another_client_is_misdelivered_and_one_from_elsewhere_is_strange() {
    // Each gets what the one before had sent.
    let mut before: Option<Vec<u8>> = None;
    let target = serve(move |socket, bytes, from| {
        if let Some(other) = before.replace(bytes.to_vec()) {
            socket.send_to(&other, from).unwrap();
        }
    });
    for from in ["", "--from 127.0.0.0/24"] {
        let (_, counts) =
            counts(&format!("--target {target} --clients 10 --datagrams 10 --timeout 200ms {from}"));
        assert_eq!((counts[0], counts[1], counts[2]), (10, 0, 10), "{counts:?}");
        assert!(counts[6] >= 9, "{counts:?}");
    }

    let other = socket();
    let target = serve(move |_, bytes, from| _ = other.send_to(bytes, from));
    let (code, counts) = counts(&format!("--target {target} --datagrams 5 --timeout 200ms"));
    assert_eq!((code, counts), (Some(1), [5, 0, 5, 0, 0, 0, 0, 5]));
}

#[test]
fn a_flood_has_as_many_addresses_as_it_was_told() {
    let (send, came) = std::sync::mpsc::channel();
    let target = serve(move |_, _, from| _ = send.send(from));
    let run = format!(
        "udp --target {target} --clients 1000000 --from 127.0.0.0/8 --rate 5000/s --datagrams 1000 --timeout 100ms"
    );
    assert_eq!(loadtest(&run).code, Some(1));
    let addresses: std::collections::HashSet<SocketAddr> = came.try_iter().collect();
    // On a busy machine a few may be lost on the way.
    assert!((900..=1000).contains(&addresses.len()), "{}", addresses.len());
    let ports: std::collections::HashSet<u16> = addresses.iter().map(SocketAddr::port).collect();
    assert_eq!(ports.len(), 1);
}

#[test]
fn a_signal_ends_the_sending_and_the_report_is_printed() {
    let (send, came) = std::sync::mpsc::channel();
    let target = serve(move |_, _, from| _ = send.send(from));
    let running = start(&format!("udp --json --target {target} --rate 100/s --duration 1h --timeout 1ms"));
    came.recv_timeout(PATIENCE).expect("it sends");
    running.signal(Signal::INT);
    let ran = running.wait();
    assert_eq!(ran.report().pointer("/run/interrupted"), Some(&true.into()));
    assert!(count(&ran.report(), "/datagrams/not_sent") > 0);
}

#[test]
fn wrong_usage_is_told_with_the_bound() {
    for (arguments, words) in [
        ("udp --target 127.0.0.1:9 --size 15", "--size: value is too small (15), at least 16"),
        (
            "udp --target 127.0.0.1:9 --clients 255 --from 127.0.0.0/24",
            "--clients: value is too large (255), at most 254",
        ),
        ("udp --target 127.0.0.1:9 --from 10.0.0.0/8", "only networks of the loopback"),
        ("udp --target [::1]:9 --from 127.0.0.0/8", "--from: from addresses of the loopback"),
        (
            "udp --target 127.0.0.1:9 --rate 9000000 --timeout 1s",
            "--rate: 9000000 datagrams could be waiting",
        ),
        ("backend udp --listen 127.0.0.1:0 --drop-ppm 1000001", "--drop-ppm: value is too large"),
        ("backend udp --listen 127.0.0.1:0 --delay 1ms --delay-spread exponential", "--delay-spread:"),
        ("backend echo --listen 127.0.0.1:0 --replies 2", "--replies: only a backend of datagrams"),
    ] {
        let ran = loadtest(arguments);
        assert_eq!(ran.code, Some(2), "{arguments}");
        assert!(ran.stderr.contains(words), "{arguments}: {}", ran.stderr);
    }
}
