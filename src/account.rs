//! Account: what is told of a session that has ended.

use std::time::Duration;

use crate::arrivals::{Arrival, Client};
use crate::config::Address;
use crate::end::End;
use crate::entries::{Entry, Reached};
use crate::relay::Direction;
use crate::watch::{Stage, Watch};

/// For the record. Moments are since the process began to serve.
pub fn arrival(watch: &Watch, client: Client, accepted: Duration, now: Duration, end: End) -> Arrival {
    let marks = watch.marks.get();
    let duration_us = us(now.saturating_sub(accepted));
    Arrival {
        listener: watch.listener() as u32,
        pool: watch.pool() as u32,
        backend: watch.served_by.get(),
        client,
        accepted_us: us(accepted),
        waited_us: marks.picked_us.map_or(duration_us, u64::from).min(duration_us),
        connect_us: marks.connect_us.map(u64::from),
        first_byte_us: marks.first_byte_us.map(u64::from),
        duration_us,
        bytes_to_backend: watch.meter.bytes(Direction::ToBackend),
        bytes_to_client: watch.meter.bytes(Direction::ToClient),
        end,
    }
}

/// For the access log.
pub fn entry(
    watch: &Watch,
    client: Address,
    server_name: Option<Box<str>>,
    accepted: Duration,
    now: Duration,
    end: End,
) -> Entry {
    let marks = watch.marks.get();
    let (reached, duration_us) = (reached(watch, end), us(now.saturating_sub(accepted)));
    let waited_us = marks.picked_us.map(u64::from).or((reached == Reached::Queue).then_some(duration_us));
    Entry {
        id: watch.id,
        client,
        listener: watch.listener() as u32,
        port: watch.port.get(),
        pool: watch.pool() as u32,
        backend: watch.served_by.get(),
        accepted_us: us(accepted),
        waited_us,
        connect_us: marks.connect_us.map(u64::from),
        first_byte_us: marks.first_byte_us.map(u64::from),
        duration_us,
        bytes_to_backend: watch.meter.bytes(Direction::ToBackend),
        bytes_to_client: watch.meter.bytes(Direction::ToClient),
        behind: marks.behind,
        picks: marks.picks,
        reached,
        unanswered: is_unanswered(watch, end),
        end,
        server_name,
    }
}

fn us(time: Duration) -> u64 {
    time.as_micros() as u64
}

fn reached(watch: &Watch, end: End) -> Reached {
    match end {
        // The farewell has taken the place of the stage in which it waited.
        End::QueueFull | End::QueueTimeout => Reached::Queue,
        End::ProxyUntrusted => Reached::Greeting,
        _ if watch.marks.get().connect_us.is_some() => Reached::Data,
        _ if watch.stage.get() == Stage::Greeting => Reached::Greeting,
        _ if watch.stage.get() == Stage::Queued => Reached::Queue,
        _ => Reached::Connect,
    }
}

/// Of a session that ended because nothing came: whether it was the backend that had to say something next.
fn is_unanswered(watch: &Watch, end: End) -> bool {
    let meter = &watch.meter;
    match end {
        End::NoReply => true,
        End::ConnectFailed => watch.marks.get().timed_out,
        End::IdleTimeout => meter.bytes(Direction::ToBackend) > 0 && meter.bytes(Direction::ToClient) == 0,
        End::HalfClosedTimeout => meter.ended_first() == Some(Direction::ToBackend),
        _ => false,
    }
}
