//! Control: what somebody outside can see and want of a running ringway. One door for signals, the command line and the
//! admin API.
//!
//! Whoever changes something holds one lock meanwhile, so that changes come one after the other and an order means the
//! configuration that its giver saw. No worker ever waits for it.

mod reload;
mod upgrade;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use crate::changes::Changes;
use crate::config::{Engine, Source};
use crate::generation::Generation;
use crate::health::{Order, Refusal, Wish};
use crate::limits::Limits;
use crate::phase::{Phase, PhaseFlag};
use crate::session_id::SessionId;
use crate::stats::Stats;
use crate::table::BackendTable;
use crate::worker::{Errand, Listing};

pub use crate::worker::{LISTED_MAX, Listed, Wanted};
pub use reload::{Refused, Reload};

/// How long a worker may take to answer: very many ticks.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// What carries small messages.
    pub engine: Engine,
    /// What has become of backends lately.
    pub changes: Arc<Changes>,
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
    engine: Engine,
    changes: Arc<Changes>,
    /// Sessions at once; beside the limits, so that nobody waits for a change to read it.
    sessions_max: AtomicUsize,
    /// What the present configuration may use. Held by whoever changes something.
    limits: Mutex<Limits>,
    /// Another process is about to take the sockets over: they stay as they are. Read and changed by who holds `limits`.
    is_upgrading: AtomicBool,
}

impl Control {
    /// Of a process whose threads run.
    pub fn new(setup: Setup) -> Arc<Control> {
        let Setup { source, generation, errands, wishes, figures, limits, elsewhere, phase, engine, changes } =
            setup;
        Arc::new(Control {
            source,
            generation: ArcSwap::new(generation),
            errands,
            wishes,
            figures,
            phase,
            elsewhere,
            earlier: Mutex::default(),
            engine,
            changes,
            sessions_max: AtomicUsize::new(limits.sessions_max),
            limits: Mutex::new(limits),
            is_upgrading: AtomicBool::new(false),
        })
    }

    /// The present configuration, and what belongs to it.
    pub fn generation(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// Where the configuration can be read again.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What the process is about.
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Sessions at once in the whole process, at most.
    pub fn sessions_max(&self) -> usize {
        self.sessions_max.load(Ordering::Relaxed)
    }

    /// What carries small messages; never `Auto`.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// What has become of backends lately, and what operators did.
    pub fn changes(&self) -> &Changes {
        &self.changes
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

    /// Sessions as the workers have them at their next ticks; of a worker that does not answer in time there are none.
    pub async fn sessions(&self, wanted: Wanted) -> Vec<Listed> {
        let ask = |worker: &Sender<Errand>| {
            let (reply, answer) = oneshot::channel();
            let _ = worker.send(Errand::List(Listing { wanted: wanted.clone(), reply }));
            answer
        };
        let answers: Vec<_> = self.errands.iter().map(ask).collect();
        let mut listed = Vec::new();
        let deadline = tokio::time::Instant::now() + ANSWER_TIMEOUT;
        for answer in answers {
            if let Ok(Ok(sessions)) = tokio::time::timeout_at(deadline, answer).await {
                listed.extend(sessions);
            }
        }
        listed
    }

    /// Ends a session; `false` if there is none of that name any more.
    pub async fn kill(&self, id: SessionId) -> bool {
        let Some(worker) = self.errands.get(id.worker()) else { return false };
        let (reply, answer) = oneshot::channel();
        let _ = worker.send(Errand::Kill(id, reply));
        matches!(tokio::time::timeout(ANSWER_TIMEOUT, answer).await, Ok(Ok(true)))
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
