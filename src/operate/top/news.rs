//! News: the thread that asks, so that keys are answered while an answer takes its time.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use hyper::Method;

use super::figures::Figures;
use crate::admin::shapes::{BackendPatch, Mode};
use crate::operate::door::Door;
use crate::operate::failure::Failure;
use crate::operate::orders;
use crate::operate::target::Target;

/// What has come.
#[derive(Debug)]
pub(super) enum News {
    /// Newer figures.
    Figures(Box<Figures>),
    /// None, and why.
    Lost(String),
    /// An order is done.
    Done(String),
    /// It is not.
    Refused(String),
}

/// What is wanted of a backend.
#[derive(Debug, PartialEq)]
pub(super) struct Order {
    pub(super) target: Target,
    pub(super) mode: Option<Mode>,
    pub(super) weight: Option<u32>,
}

/// Asks in this interval, and after each order, until nobody listens any more. The first figures are there already.
pub(super) fn fetch(door: &Door, interval: Duration, orders: &Receiver<Order>, news: &Sender<News>) {
    let mut next = Instant::now() + interval;
    loop {
        match orders.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(order) => {
                let done = carry_out(door, &order);
                let told = done.map_or_else(|failure| News::Refused(failure.to_string()), News::Done);
                if news.send(told).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        next = Instant::now() + interval;
        let seen = look(door);
        let told =
            seen.map_or_else(|failure| News::Lost(failure.to_string()), |seen| News::Figures(Box::new(seen)));
        if news.send(told).is_err() {
            return;
        }
    }
}

/// What is to be seen now.
pub(super) fn look(door: &Door) -> Result<Figures, Failure> {
    Ok(Figures {
        info: door.read("/api/v1/info")?,
        listeners: door.read("/api/v1/listeners")?,
        pools: door.read("/api/v1/pools")?,
    })
}

fn carry_out(door: &Door, order: &Order) -> Result<String, Failure> {
    let patch = BackendPatch { mode: order.mode, weight: order.weight };
    let body = door.order(Method::PATCH, &order.target.path(), &patch)?;
    Ok(orders::line(&order.target, &door.understood(&body)?).trim_end().to_owned())
}
