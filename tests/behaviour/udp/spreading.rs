//! Many clients over many workers.

use std::num::NonZeroUsize;

use ringway::config::Workers;

use super::{UdpBackend, assert_echo, client_of, config};
use crate::common::Ringway;

#[test]
fn each_client_stays_on_one_worker_and_all_workers_have_some() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let backend = UdpBackend::echo();
        let mut config = config(&[backend.address]);
        config.server.workers = Workers::Count(NonZeroUsize::new(2).unwrap());
        config.listeners[0].bind = vec![bind.parse().unwrap()];
        let ringway = Ringway::start(config);
        let clients: Vec<_> = (0..200).map(|_| client_of(ringway.address())).collect();
        for round in 0..3 {
            clients.iter().for_each(|client| assert_echo(client, &[round]));
        }
        // One session each: none of them ever came to another worker.
        assert_eq!(ringway.totals().accepted, 200);
        let stats = ringway.server().stats();
        let shares: Vec<u64> =
            stats.workers.iter().map(|worker| worker.listeners[0].accepted.get()).collect();
        // Further from 100 than that it is once in some 10^12 times.
        assert!(shares.iter().all(|&share| (50..=150).contains(&share)), "{shares:?}");
        ringway.finish();
    }
}
