//! Another process takes the sockets over, and no datagram is lost between the two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::{UdpBackend, assert_echo, client_of, receive};
use crate::common::{DEADLINE, await_that};
use crate::upgrading::Upgradable;

#[test]
fn datagrams_go_to_the_new_process_and_replies_still_come_from_the_old_one() {
    // Answers its first request only when it is told to.
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let (asked, was_asked) = std::sync::mpsc::channel();
    let mut first = None;
    let backend = UdpBackend::new(move |socket, bytes, from| {
        if bytes == b"slow" {
            first = Some(from);
            asked.send(()).unwrap();
        } else {
            drop(socket.send_to(bytes, from));
        }
        if told.try_recv().is_ok() {
            first.take().into_iter().for_each(|from| drop(socket.send_to(b"at last", from)));
        }
    });
    let text = format!(
        "[server]\nworkers = 2\nbuffers_per_worker = 16\nlarge_buffers_per_worker = 2\nsessions_max = 12000\n\
         [[listener]]\nname = 'u'\nprotocol = 'udp'\nbind = '127.0.0.1:0'\npool = 'p'\n\
         [[pool]]\nname = 'p'\n[pool.health]\ncheck = 'none'\n[[pool.backend]]\naddress = '{}'\n",
        backend.address
    );
    let mut ringway = Upgradable::start(&text);
    let address = ringway.process.address();
    let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (is_over, served) = (Arc::clone(&is_over), Arc::clone(&served));
            // As many as there is room for: they would push out the one that waits.
            let clients: Vec<_> = (0..50).map(|_| client_of(address)).collect();
            thread::spawn(move || {
                for client in clients.iter().cycle() {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    for round in 0..4_u8 {
                        client.send(&[round]).unwrap();
                        assert_eq!(receive(client), [round]);
                    }
                    served.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let await_more = |count: u64| {
        let wanted = served.load(Ordering::SeqCst) + count;
        await_that("the load is served", || {
            assert!(load.iter().all(|client| !client.is_finished()), "a datagram is lost");
            served.load(Ordering::SeqCst) >= wanted
        });
    };
    await_more(100);
    // Not before: the old process waits ten seconds for a reply, and no longer.
    let waiting = client_of(address);
    waiting.send(b"slow").unwrap();
    was_asked.recv_timeout(DEADLINE).unwrap();
    let old = ringway.process.id();
    let new = ringway.upgrade(old);
    assert_ne!(new, old);
    // By the old process, which still has the session.
    tell.send(()).unwrap();
    assert_eq!(receive(&waiting), b"at last");
    let status = ringway.process.await_exit();
    assert!(status.success(), "{status}: {}", ringway.process.errors());
    await_more(100);
    is_over.store(true, Ordering::SeqCst);
    load.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn with_more_workers_each_has_a_socket_and_every_client_stays_where_it_is_or_goes_to_a_new_one() {
    for (before, after) in [(1, 3), (2, 3)] {
        let backend = UdpBackend::echo();
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let text = |workers: usize| {
            format!(
                "[server]\nworkers = {workers}\nbuffers_per_worker = 16\nlarge_buffers_per_worker = 2\nsessions_max = 2000\n\
                 [access_log]\nto = '{}'\n[[listener]]\nname = 'u'\nprotocol = 'udp'\nbind = '127.0.0.1:0'\npool = 'p'\n\
                 [listener.udp]\nresponses = 1\n[[pool]]\nname = 'p'\n[pool.health]\ncheck = 'none'\n\
                 [[pool.backend]]\naddress = '{}'\n",
                log.display(),
                backend.address
            )
        };
        let mut ringway = Upgradable::start(&text(before));
        let address = ringway.process.address();
        let clients: Vec<_> = (0..120).map(|_| client_of(address)).collect();
        let ask = || clients.iter().for_each(|client| assert_echo(client, b"one session"));
        ask();
        ringway.write(&text(after));
        ringway.upgrade(ringway.process.id());
        let status = ringway.process.await_exit();
        assert!(status.success(), "{status}: {}", ringway.process.errors());
        ask();
        ask();
        let lines = || std::fs::read_to_string(&log).unwrap_or_default();
        await_that("all are logged", || lines().lines().count() == 360);
        let workers_of = |client: &std::net::UdpSocket| -> Vec<usize> {
            let start = format!("{} ", client.local_addr().unwrap());
            let worker = |line: &str| line.split("worker=").nth(1)?.split(' ').next()?.parse().ok();
            lines().lines().filter(|line| line.starts_with(&start)).filter_map(worker).collect()
        };
        let mut counts = vec![0; after];
        for client in &clients {
            let [first, second, third] = workers_of(client)[..] else { panic!("{}", lines()) };
            assert!(second == first || (before..after).contains(&second), "from {first} to {second}");
            assert_eq!(second, third);
            counts[second] += 1;
        }
        // A third of them is due to each; fewer than five it is once in some 10^15 times.
        assert!(counts.iter().all(|&count| count >= 5), "{counts:?}");
    }
}
