//! How long a backend takes before it answers.

use std::{rc::Rc, time::Duration};

use clap::ValueEnum;

use crate::{
    alarm::Alarm,
    dice::{Dice, mix},
};

/// How service times differ from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Spread {
    /// Always the same
    Constant,
    /// Exponential: mostly short, now and then several times the mean
    Exponential,
}

/// The service times of a backend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServiceTime {
    /// The mean; zero answers at once.
    pub(crate) mean: Duration,
    /// How they differ.
    pub(crate) spread: Spread,
    /// Decides the exponential ones.
    pub(crate) seed: u64,
}

/// What a request has to wait for before it is answered.
pub(crate) trait Wait {
    /// Until the next one is to be answered, with `extra` on top because it asked for that.
    async fn wait(&mut self, extra: Duration);
}

/// The service times of one connection, one after another.
#[derive(Debug)]
pub(super) struct Delay {
    service_time: ServiceTime,
    dice: Dice,
    alarm: Rc<Alarm>,
}

impl Delay {
    /// Each connection has dice of its own, so its times do not depend on how connections interleave.
    pub(super) fn new(service_time: ServiceTime, connection: u64, alarm: Rc<Alarm>) -> Self {
        Self { service_time, dice: Dice::new(mix(service_time.seed ^ mix(connection))), alarm }
    }
}

impl Wait for Delay {
    async fn wait(&mut self, extra: Duration) {
        let own = match self.service_time.spread {
            Spread::Constant => self.service_time.mean,
            Spread::Exponential => {
                let mean_s = self.service_time.mean.as_secs_f64();
                Duration::from_secs_f64(self.dice.exponential(mean_s))
            }
        };
        self.alarm.sleep(own + extra).await;
    }
}
