//! Bytes, ends and resets between one client and one backend.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;
use std::thread;

use ringway::end::End;

use crate::common::*;
use crate::network::is_in_a_network_of_its_own;

/// Of a session that lasts for days nobody wants to hear at its end only.
#[test]
fn what_a_session_carries_is_counted_while_it_runs() {
    let backend = TestBackend::echo();
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    for sum in [10_000, 20_000] {
        assert_echo(&mut client, &[7; 10_000]);
        await_that("it is counted", || {
            let totals = ringway.totals();
            (totals.active, totals.bytes_to_backend, totals.bytes_to_client) == (1, sum, sum)
        });
    }
    drop(client);
    let totals = ringway.finish();
    assert_eq!((totals.bytes_to_backend, totals.bytes_to_client), (20_000, 20_000));
}

#[test]
fn what_the_client_sends_comes_back() {
    let backend = TestBackend::echo();
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    assert_echo(&mut client, b"hello");
    assert_echo(&mut client, &Noise::new(1).bytes(100_000));
    drop(client);
    let totals = ringway.finish();
    assert_eq!(totals.ended(End::Complete), 1);
    assert_eq!((totals.bytes_to_backend, totals.bytes_to_client), (100_005, 100_005));
}

#[test]
fn a_large_transfer_each_way_in_random_chunks_is_exact() {
    const SIZE: usize = 64 * 1024 * 1024;
    // Each side sends its own noise while it checks that of the other: both directions are busy at once.
    fn both_ways(stream: std::net::TcpStream, seed: u64, expected_seed: u64) {
        let mut sending = stream.try_clone().unwrap();
        let sender = thread::spawn(move || {
            let (bytes, mut chunks, mut sent) = (Noise::new(seed).bytes(SIZE), Noise::new(seed + 100), 0);
            while sent < SIZE {
                let count = chunks.up_to(200_000).min(SIZE - sent);
                sending.write_all(&bytes[sent..sent + count]).unwrap();
                sent += count;
            }
            sending.shutdown(Shutdown::Write).unwrap();
        });
        let mut receiving = stream;
        let received = read_all(&mut receiving);
        assert_eq!(received.len(), SIZE);
        assert!(received == Noise::new(expected_seed).bytes(SIZE), "bytes were altered");
        sender.join().unwrap();
    }
    let (done, backend_done) = mpsc::channel();
    let backend = TestBackend::new(move |stream| {
        both_ways(stream, 2, 1);
        done.send(()).unwrap();
    });
    let ringway = Ringway::over(&[backend.address]);
    both_ways(ringway.connect(), 1, 2);
    backend_done.recv_timeout(DEADLINE).expect("the backend got every byte");
    let totals = ringway.finish();
    assert_eq!((totals.bytes_to_backend, totals.bytes_to_client), (SIZE as u64, SIZE as u64));
}

#[test]
fn a_client_that_has_ended_its_stream_still_gets_the_reply() {
    let backend = TestBackend::new(|mut stream| {
        let request = read_all(&mut stream);
        stream.write_all(&request).unwrap();
        stream.write_all(b" and the end was seen").unwrap();
    });
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    client.write_all(b"request").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"request and the end was seen");
    assert_eq!(ringway.finish().ended(End::Complete), 1);
}

#[test]
fn a_backend_that_has_ended_its_stream_still_gets_the_rest() {
    let (got, rest) = mpsc::channel();
    let backend = TestBackend::new(move |mut stream| {
        stream.write_all(b"early reply").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        got.send(read_all(&mut stream)).unwrap();
    });
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    assert_eq!(read_all(&mut client), b"early reply");
    client.write_all(b"the rest").unwrap();
    drop(client);
    assert_eq!(rest.recv_timeout(DEADLINE).unwrap(), b"the rest");
    assert_eq!(ringway.finish().ended(End::Complete), 1);
}

#[test]
fn no_byte_of_the_tail_is_lost_when_the_client_ends_first() {
    const SIZE: usize = 8 * 1024 * 1024;
    let backend = TestBackend::new(|mut stream| {
        let bytes = Noise::new(7).bytes(SIZE);
        stream.write_all(&bytes[..SIZE / 2]).unwrap();
        assert_eq!(read_all(&mut stream), b"");
        stream.write_all(&bytes[SIZE / 2..]).unwrap();
    });
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(read_all(&mut client) == Noise::new(7).bytes(SIZE), "bytes were lost or altered");
    assert_eq!(ringway.finish().ended(End::Complete), 1);
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    let backend = TestBackend::new(|mut stream| {
        stream.write_all(b"220 ready\r\n").unwrap();
        echo(stream);
    });
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    let mut greeting = [0; 11];
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 ready\r\n");
    assert_echo(&mut client, b"EHLO");
    drop(client);
    ringway.finish();
}

#[test]
fn a_connection_without_a_byte_ends_cleanly() {
    let (got, seen) = mpsc::channel();
    let backend = TestBackend::new(move |mut stream| got.send(read_all(&mut stream)).unwrap());
    let ringway = Ringway::over(&[backend.address]);
    drop(ringway.connect());
    assert_eq!(seen.recv_timeout(DEADLINE).unwrap(), b"");
    assert_eq!(ringway.finish().ended(End::Complete), 1);
}

#[test]
fn a_reset_by_the_client_reaches_the_backend_as_a_reset() {
    let (got, seen) = mpsc::channel();
    let backend = TestBackend::new(move |mut stream| {
        stream.write_all(b"go").unwrap();
        got.send(read_until_broken(&mut stream)).unwrap();
    });
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    client.write_all(b"before").unwrap();
    let mut go = [0; 2];
    client.read_exact(&mut go).unwrap();
    reset(client);
    let (bytes, how) = seen.recv_timeout(DEADLINE).unwrap();
    assert_eq!(how.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(b"before".starts_with(&bytes));
    assert_eq!(ringway.finish().ended(End::ClientReset), 1);
}

#[test]
fn a_reset_by_the_backend_reaches_the_client_after_every_byte_before_it() {
    const SIZE: usize = 3 * 1024 * 1024;
    let (go, went) = mpsc::channel::<()>();
    let went = std::sync::Mutex::new(went);
    let backend = TestBackend::new(move |mut stream| {
        stream.write_all(&Noise::new(9).bytes(SIZE)).unwrap();
        // Reset only when ringway has taken everything: what the kernel still holds dies with the reset.
        went.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        reset(stream);
    });
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    let mut first = vec![0; SIZE - 10];
    client.read_exact(&mut first).unwrap();
    go.send(()).unwrap();
    let (rest, how) = read_until_broken(&mut client);
    first.extend(rest);
    assert!(first == Noise::new(9).bytes(SIZE), "bytes before the reset were lost: {}", first.len());
    assert_eq!(how.unwrap_err().kind(), ErrorKind::ConnectionReset, "a cut transfer must not look whole");
    assert_eq!(ringway.finish().ended(End::BackendReset), 1);
}

/// Writes until nothing moves any more: whoever should read it does not.
fn stuff(stream: &mut std::net::TcpStream) {
    let bytes = vec![1; 1 << 20];
    stream.set_write_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    while stream.write(&bytes).is_ok() {}
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
}

#[test]
fn a_backend_reset_is_a_reset_while_the_client_uploads() {
    // A write to the backend and a read from it are both pending: the kernel tells only one of them of the reset.
    for _ in 0..5 {
        let (full, is_full) = mpsc::channel::<()>();
        let is_full = std::sync::Mutex::new(is_full);
        let backend = TestBackend::new(move |stream| {
            is_full.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            reset(stream);
        });
        let ringway = Ringway::over(&[backend.address]);
        let mut client = ringway.connect();
        stuff(&mut client);
        full.send(()).unwrap();
        assert_reset(&mut client);
        assert_eq!(ringway.finish().ended(End::BackendReset), 1);
    }
}

#[test]
fn a_reset_after_a_half_close_is_passed_on_by_either_side() {
    // The client has ended its stream: nobody reads from it when it resets.
    let (got, seen) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let backend = TestBackend::new(move |mut stream| {
        assert_eq!(read_all(&mut stream), b"");
        ended.send(()).unwrap();
        // The client's end was seen; what comes now is its reset, and it shows when writing.
        let mut result = Ok(());
        let begun = std::time::Instant::now();
        while result.is_ok() && begun.elapsed() < DEADLINE {
            std::thread::sleep(std::time::Duration::from_millis(5));
            result = match stream.take_error().unwrap() {
                Some(error) => Err(error),
                None => Ok(()),
            };
        }
        got.send(result).unwrap();
    });
    let ringway = Ringway::over(&[backend.address]);
    let client = ringway.connect();
    client.shutdown(Shutdown::Write).unwrap();
    has_ended.recv_timeout(DEADLINE).unwrap();
    reset(client);
    seen.recv_timeout(DEADLINE).unwrap().expect_err("the backend was not told of the reset");
    assert_eq!(ringway.finish().ended(End::ClientReset), 1);

    // The backend has ended its stream: nobody reads from it when it resets.
    let (go, went) = mpsc::channel::<()>();
    let went = std::sync::Mutex::new(went);
    let backend = TestBackend::new(move |stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        went.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        reset(stream);
    });
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    assert_eq!(read_all(&mut client), b"");
    go.send(()).unwrap();
    ringway.await_end(End::BackendReset, 1);
    ringway.finish();
}

#[test]
fn a_clean_upload_is_whole_when_the_backend_ended_first_and_reads_late() {
    // Both streams of the client's connection have ended while bytes still wait for a slow backend: that is no reset.
    const SIZE: usize = 12 * 1024 * 1024;
    let (got, seen) = mpsc::channel();
    let backend = TestBackend::new(move |mut stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(600));
        got.send(read_until_broken(&mut stream)).unwrap();
    });
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    assert_eq!(read_all(&mut client), b"");
    let sender = thread::spawn(move || {
        client.write_all(&Noise::new(21).bytes(SIZE)).unwrap();
    });
    let (bytes, how) = seen.recv_timeout(DEADLINE).unwrap();
    assert!(how.is_ok() && bytes == Noise::new(21).bytes(SIZE), "{} bytes, {how:?}", bytes.len());
    sender.join().unwrap();
    assert_eq!(ringway.finish().ended(End::Complete), 1);
}

#[test]
fn an_urgent_byte_is_carried_where_it_stands() {
    let backend = TestBackend::echo();
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    client.write_all(b"abc").unwrap();
    socket2::SockRef::from(&client).send_out_of_band(b"d").unwrap();
    client.write_all(b"efg").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"abcdefg");
    ringway.finish();
}

#[test]
fn bytes_before_a_reset_reach_a_client_that_reads_late() {
    // They wait in ringway's own send queue when the reset comes: passing it on at once would destroy them.
    const SIZE: usize = 1024 * 1024;
    let (sent, is_sent) = mpsc::channel();
    let (go, went) = mpsc::channel::<()>();
    let went = std::sync::Mutex::new(went);
    let backend = TestBackend::new(move |mut stream| {
        stream.write_all(&Noise::new(31).bytes(SIZE)).unwrap();
        went.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        reset(stream);
        sent.send(()).unwrap();
    });
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    // What its kernel still holds unread dies with the reset.
    await_that("ringway has taken everything", || ringway.carried().bytes() == SIZE as u64);
    go.send(()).unwrap();
    is_sent.recv_timeout(DEADLINE).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let (bytes, how) = read_until_broken(&mut client);
    assert!(bytes == Noise::new(31).bytes(SIZE), "only {} of {SIZE} bytes came", bytes.len());
    assert_eq!(how.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(ringway.finish().ended(End::BackendReset), 1);
}

#[test]
fn a_client_reset_is_noticed_while_the_backend_does_not_read() {
    let (got, seen) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let backend = TestBackend::new(move |mut stream| {
        released.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        got.send(read_until_broken(&mut stream).1).unwrap();
    });
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    stuff(&mut client);
    reset(client);
    ringway.await_end(End::ClientReset, 1);
    release.send(()).unwrap();
    assert_eq!(seen.recv_timeout(DEADLINE).unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    ringway.finish();
}

#[test]
fn a_worker_that_always_finds_work_lets_others_in() {
    let backend = TestBackend::echo();
    let mut config = config(&[backend.address]);
    one_worker(&mut config);
    config.server.busy_poll = std::time::Duration::from_millis(1);
    let ringway = Ringway::start(config);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let rounds = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // Whoever looks for its bytes finds some before a millisecond has passed, again and again.
        let mut busy = ringway.connect();
        let (is_over, rounds) = (&is_over, &rounds);
        let so_far = || rounds.load(std::sync::atomic::Ordering::Relaxed);
        scope.spawn(move || {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                assert_echo(&mut busy, b"ping");
                rounds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        await_that("it is busy", || so_far() > 20);
        for _ in 0..20 {
            let mut other = ringway.connect();
            assert_echo(&mut other, b"and me");
        }
        let before = so_far();
        await_that("it still is", || so_far() > before);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(ringway.finish().ended(End::Complete), 21);
}

#[test]
fn a_slow_reader_stops_the_reading_and_gets_every_byte_later() {
    const SIZE: usize = 64 * 1024 * 1024;
    let (progress, written) = mpsc::channel();
    let backend = TestBackend::new(move |mut stream| {
        for chunk in Noise::new(3).bytes(SIZE).chunks(1 << 20) {
            stream.write_all(chunk).unwrap();
            progress.send(chunk.len()).unwrap();
        }
    });
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    // Nobody reads: what the backend can get rid of is what two pairs of socket buffers and one cell hold.
    let mut taken = 0;
    while let Ok(count) = written.recv_timeout(std::time::Duration::from_millis(500)) {
        taken += count;
    }
    assert!(taken < SIZE / 2, "{taken} bytes were taken from the backend and nobody read them");
    assert!(read_all(&mut client) == Noise::new(3).bytes(SIZE), "bytes were lost or altered");
    drop(client);
    assert_eq!(ringway.finish().ended(End::Complete), 1);
}

#[test]
fn no_byte_of_another_session_is_ever_seen() {
    // Every session sends only its own byte, in sizes that leave old bytes of others in the cells.
    let backend = TestBackend::echo();
    let mut config = config(&[backend.address]);
    one_worker(&mut config);
    config.server.buffers_per_worker = 16;
    let ringway = Ringway::start(config);
    let clients: Vec<_> = (0..8_u8)
        .map(|own| {
            let address = ringway.address();
            thread::spawn(move || {
                let mut sizes = Noise::new(u64::from(own));
                for _ in 0..40 {
                    let mut client = connect(address);
                    for _ in 0..4 {
                        let bytes = vec![own + 1; sizes.up_to(40_000)];
                        assert_echo(&mut client, &bytes);
                    }
                }
            })
        })
        .collect();
    assert_eq!(clients.len(), 8);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(ringway.finish().ended(End::Complete), 8 * 40);
}

#[test]
fn ipv6_and_dual_stack_are_served() {
    let backend = TestBackend::at("[::1]:0".parse().unwrap(), echo);
    let mut config = config(&[backend.address]);
    config.listeners[0].bind = vec!["[::1]:0".parse().unwrap(), any_port().into()];
    let ringway = Ringway::start(config);
    let addresses = ringway.server().addresses(0).to_vec();
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        assert_echo(&mut connect(address), b"either family");
    }
    assert_eq!(ringway.finish().accepted, 2);
}

#[test]
fn both_families_may_have_the_same_port() {
    // Elsewhere somebody may have it in the other family.
    if !is_in_a_network_of_its_own("relaying::both_families_may_have_the_same_port") {
        return;
    }
    let backend = TestBackend::echo();
    let first = Ringway::over(&[backend.address]);
    let port = first.address().port();
    let mut config = config(&[backend.address]);
    config.listeners[0].bind = vec![std::net::SocketAddr::new("::".parse().unwrap(), port).into()];
    let second = Ringway::start(config);
    assert_echo(&mut connect(format!("[::1]:{port}").parse().unwrap()), b"six");
    assert_echo(&mut first.connect(), b"four");
    assert_eq!((first.finish().accepted, second.finish().accepted), (1, 1));
}
