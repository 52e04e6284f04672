//! The closed loop: each connection sends its next request when the last is answered.

use std::{
    rc::Rc,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use super::Client;

/// Keeps this thread's share of the connections busy until the end of the run.
pub(super) async fn run(client: &Rc<Client>, requests_per_connection: u64) {
    let mut connections = JoinSet::new();
    for index in 0..client.connections() {
        let client = Rc::clone(client);
        connections.spawn_local(async move { keep_busy(&client, index, requests_per_connection).await });
    }
    connections.join_all().await;
}

async fn keep_busy(client: &Client, index: usize, requests_per_connection: u64) {
    // Every request of the run has a number of its own, and so bytes of its own.
    let mut number = ((client.thread as u64) << 56) | ((index as u64) << 36);
    let mut link = None;
    let mut carried = 0;
    while may_start(client) {
        link = client.request(link, number, Instant::now()).await;
        number += 1;
        carried += 1;
        if link.is_none() {
            carried = 0;
            sleep(FAILURE_PAUSE).await;
        } else if carried == requests_per_connection {
            carried = 0;
            link = None;
        }
    }
}

fn may_start(client: &Client) -> bool {
    !client.is_stopped()
        && Instant::now() < client.window_end
        && client.requests_left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// After a failure: a refused connect takes no time, and would be tried a million times a second.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
