//! Control: what somebody outside can see and want of a running ringway. One door for signals, the command line and the
//! admin API.
//!
//! Whoever changes something holds one lock meanwhile, so that changes come one after the other and an order means the
//! configuration that its giver saw. No worker ever waits for it.

mod reload;

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::config::Source;
use crate::generation::Generation;
use crate::health::{Order, Refusal, Wish};
use crate::limits::Limits;
use crate::phase::{Phase, PhaseFlag};
use crate::stats::Stats;
use crate::table::BackendTable;
use crate::worker::Errand;

pub use reload::{Refused, Reload};

/// What control is made from.
pub struct Setup {
    /// Where the configuration can be read again.
    pub source: Source,
    /// The configuration with which the process began.
    pub generation: Arc<Generation>,
    /// To each worker.
    pub errands: Vec<Sender<Errand>>,
    /// To the health thread.
    pub wishes: mpsc::Sender<Wish>,
    /// To the thread that makes figures.
    pub figures: Sender<Arc<Generation>>,
    /// What the process is about.
    pub phase: PhaseFlag,
    /// What the process may use.
    pub limits: Limits,
    /// Descriptors that other parts of the process hold.
    pub elsewhere: u64,
}

/// What takes orders.
pub struct Control {
    source: Source,
    generation: ArcSwap<Generation>,
    errands: Vec<Sender<Errand>>,
    wishes: mpsc::Sender<Wish>,
    figures: Sender<Arc<Generation>>,
    phase: PhaseFlag,
    elsewhere: u64,
    /// The counters of earlier configurations, each for as long as it has sessions.
    earlier: Mutex<Vec<Weak<Stats>>>,
    /// What the present configuration may use. Held by whoever changes something.
    limits: Mutex<Limits>,
}

impl Control {
    /// Of a process whose threads run.
    pub fn new(setup: Setup) -> Arc<Control> {
        let Setup { source, generation, errands, wishes, figures, phase, limits, elsewhere } = setup;
        Arc::new(Control {
            source,
            generation: ArcSwap::new(generation),
            errands,
            wishes,
            figures,
            phase,
            elsewhere,
            earlier: Mutex::default(),
            limits: Mutex::new(limits),
        })
    }

    /// The present configuration, and what belongs to it.
    pub fn generation(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// The table of backends that was published last.
    pub fn table(&self) -> Arc<BackendTable> {
        self.generation().table()
    }

    /// What the present configuration may use.
    pub fn limits(&self) -> Limits {
        self.change().clone()
    }

    /// Nobody is taken any more. Waits for a change that is being made: what it opens must be ended too.
    pub fn begin_to_end(&self) {
        let _changing = self.change();
        self.phase.advance(Phase::Draining);
    }

    /// Whether it can be told to read its file again.
    pub fn has_file(&self) -> bool {
        matches!(self.source, Source::File(_))
    }

    /// Earlier configurations that still have sessions.
    pub fn earlier(&self) -> usize {
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        earlier.retain(|stats| stats.strong_count() > 0);
        earlier.len()
    }

    /// Whether new sessions are taken.
    pub fn is_running(&self) -> bool {
        self.phase.get() == Phase::Running
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.errands.len()
    }

    /// Has the health thread do what an operator wants; the table shows it in a moment.
    ///
    /// # Errors
    ///
    /// When it cannot be done, or not now.
    pub fn order(&self, order: Order) -> Result<(), Refusal> {
        let _changing = self.change();
        self.send(order)
    }

    /// The same for something that is found in the present configuration, which nobody changes in between.
    ///
    /// # Errors
    ///
    /// When it is not found, cannot be done, or not now.
    pub fn order_of<E: From<Refusal>>(
        &self,
        find: impl FnOnce(&Generation) -> Result<Order, E>,
    ) -> Result<(), E> {
        let _changing = self.change();
        let order = find(&self.generation())?;
        Ok(self.send(order)?)
    }

    fn send(&self, order: Order) -> Result<(), Refusal> {
        let order = order.check(self.table().backends.len())?;
        self.wishes.try_send(Wish::Order(order)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::Busy,
            mpsc::error::TrySendError::Closed(_) => Refusal::Over,
        })
    }

    fn change(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
