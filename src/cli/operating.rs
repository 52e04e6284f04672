//! The commands over the admin API: what may be typed, and their exit status.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::connection::Connection;
use super::printing::write;
use super::word;
use crate::admin::shapes::{Mode, NewBackend};
use crate::config::{Algorithm, Choice as _, units};
use crate::operate::{self, Failure, Form, HowToReload, WhichBackends, WhichSessions, top};

const STATUS: &str = "\
Examples:
  ringway status
  ringway status --check && echo send clients here
  ringway status --admin /run/ringway/admin.sock --json | jq .info.generation

Exit status: 0 fine; 1 refused; 2 wrong usage; 4 no ringway answers there; 5 with --check: it answers, and clients \
should go elsewhere, because it drains or a pool is below admin.quorum.";

const BACKENDS: &str = "\
Examples:
  ringway backends
  ringway backends --pool web --troubled

Columns:
  STATE     what an operator wants, then what checks and sessions say
  WEIGHT    its share; while it comes back, the part of it that it gets
  SESSIONS  now, of the most that it takes
  TOTAL     sessions that were connected
  FAILED    sessions that could not connect or got no answer
  TIME      what the algorithm compares: of few samples it is doubted and
            lies between their figure and the pool's, so it can be above P99
  P99       the 99th percentile as it was measured, in the same window";

const SESSIONS: &str = "\
Examples:
  ringway sessions
  ringway sessions --backend web/a --limit 1000";

const EXPLAIN: &str = "\
Examples:
  ringway explain
  ringway explain --limit 1

Each worker writes one choice down every 50 ms.";

const CHANGES: &str = "\
Examples:
  ringway changes
  ringway changes --limit 256 --json | jq '.[] | select(.who != \"health\")'";

const TOP: &str = "\
Examples:
  ringway top
  ringway top --pool web --interval 250ms
  ringway top --json | jq --unbuffered .pools

Keys: q leaves, ? shows all the others.";

const DRAIN: &str = "\
Examples:
  ringway drain web/a
  ringway drain web/a web/b --wait 5m && ringway maintenance web/a web/b

It gets no new sessions; those that it has go on. Holds over a reload, until `ringway ready`.
Exit status: 1 if with --wait there are sessions left after that time.";

const READY: &str = "\
Examples:
  ringway ready web/a";

const MAINTENANCE: &str = "\
Examples:
  ringway maintenance web/a

It gets no new sessions and is not checked; sessions that it has go on. Holds over a reload, until `ringway ready`.";

const WEIGHT: &str = "\
Examples:
  ringway weight web/a 50
  ringway weight web/a 0";

const ALGORITHM: &str = "\
Examples:
  ringway algorithm web least-response-time

Holds until the file is read again.";

const KILL: &str = "\
Examples:
  ringway kill 0-17
  ringway sessions --backend web/a --json | jq -r '.[].id' | xargs ringway kill

Of several all that run are ended. Exit status: 1 if some did not run (any more); 2 if one is no id, and then none is ended.";

const ADD: &str = "\
Examples:
  ringway add-backend web 10.0.0.3:8080 --name c --weight 2

It has the settings of its pool and is checked before it serves, as after a change of the file. Holds until the file is \
read again: write it there too.";

const REMOVE: &str = "\
Examples:
  ringway drain web/a --wait 5m && ringway remove-backend web/a

Its sessions may go on for server.removed_drain_timeout. Holds until the file is read again: take it out there too.";

const RELOAD: &str = "\
Examples:
  ringway reload --dry-run
  ringway reload

A wrong file is refused whole, with every mistake (exit status 1), and everything stays as it is.";

/// The bounds of what a backend can be given; the API has the same.
const WEIGHT_MAX: u32 = 256;
const CONNECTIONS_MAX: u32 = 10_000_000;

/// How long an answer may take: a reload looks at names, files and sockets.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for what keepalived and others ask again and again.
const CHECK_PATIENCE: Duration = Duration::from_secs(5);

/// What can be done with a ringway that runs.
#[derive(Debug, Clone, Subcommand)]
pub enum Operation {
    /// Show how a running ringway is, or with --check whether clients should be sent there
    #[command(after_help = STATUS)]
    Status(StatusArgs),
    /// Show its backends, live in the terminal
    #[command(after_help = TOP)]
    Top(TopArgs),
    /// List its backends
    #[command(after_help = BACKENDS)]
    Backends(BackendsArgs),
    /// List its sessions, the oldest first
    #[command(after_help = SESSIONS)]
    Sessions(SessionsArgs),
    /// Show how the last backends were chosen, and from whom
    #[command(after_help = EXPLAIN)]
    Explain(ExplainArgs),
    /// Show what has become of backends lately, and what operators did
    #[command(after_help = CHANGES)]
    Changes(ChangesArgs),
    /// Give backends no new sessions
    #[command(after_help = DRAIN)]
    Drain(DrainArgs),
    /// Have backends serve again
    #[command(after_help = READY)]
    Ready(BackendArgs),
    /// Give backends no new sessions, and do not check them
    #[command(after_help = MAINTENANCE)]
    Maintenance(BackendArgs),
    /// Give a backend another share of its pool
    #[command(after_help = WEIGHT)]
    Weight(WeightArgs),
    /// Have a pool choose in another way
    #[command(after_help = ALGORITHM)]
    Algorithm(AlgorithmArgs),
    /// End sessions at once
    #[command(after_help = KILL)]
    Kill(KillArgs),
    /// Add a backend to a pool
    #[command(after_help = ADD)]
    AddBackend(AddArgs),
    /// Remove a backend from its pool
    #[command(after_help = REMOVE)]
    RemoveBackend(RemoveArgs),
    /// Have the file read again, or see what that would change
    #[command(after_help = RELOAD)]
    Reload(ReloadArgs),
}

/// `ringway status`
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Only say whether clients should be sent there, by the exit status: 0 ready, 5 not ready
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `ringway top`
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// The pool that is shown; all unless one is named
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// From one look to the next, 100ms to 60s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `ringway backends`
#[derive(Debug, Clone, Args)]
pub struct BackendsArgs {
    /// Those of this pool
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// Those that are not up, or not wanted
    #[arg(long)]
    pub troubled: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `ringway sessions`
#[derive(Debug, Clone, Args)]
pub struct SessionsArgs {
    /// Those of this pool
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// Those on this backend; the name alone is enough
    #[arg(long, value_name = "POOL/BACKEND")]
    pub backend: Option<String>,
    /// So many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = whole(1, 1000), allow_negative_numbers = true)]
    pub limit: u32,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `ringway explain`
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// So many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = whole(1, 256), allow_negative_numbers = true)]
    pub limit: u32,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `ringway changes`
#[derive(Debug, Clone, Args)]
pub struct ChangesArgs {
    /// So many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = whole(1, 256), allow_negative_numbers = true)]
    pub limit: u32,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `ringway drain`
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// Wait until their last sessions have ended, for so long at most
    #[arg(long, value_name = "TIME", value_parser = waiting)]
    pub wait: Option<Duration>,
    #[command(flatten)]
    pub(super) backends: BackendArgs,
}

/// `ringway ready`, `ringway maintenance`
#[derive(Debug, Clone, Args)]
pub struct BackendArgs {
    /// Which ones; the name alone is enough where only one pool has it
    #[arg(value_name = "POOL/BACKEND", required = true)]
    pub backends: Vec<String>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `ringway weight`
#[derive(Debug, Clone, Args)]
pub struct WeightArgs {
    /// Which one; the name alone is enough where only one pool has it
    #[arg(value_name = "POOL/BACKEND")]
    pub backend: String,
    /// Its share against the other weights of the pool; with 0 it gets nothing
    #[arg(value_name = "WEIGHT", value_parser = whole(0, WEIGHT_MAX), allow_negative_numbers = true)]
    pub weight: u32,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `ringway algorithm`
#[derive(Debug, Clone, Args)]
pub struct AlgorithmArgs {
    /// Which pool
    #[arg(value_name = "POOL")]
    pub pool: String,
    /// How it chooses from now on
    #[arg(value_name = "ALGORITHM", value_parser = word::<Algorithm>())]
    pub algorithm: Algorithm,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `ringway kill`
#[derive(Debug, Clone, Args)]
pub struct KillArgs {
    /// Which ones, as `ringway sessions` lists them
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `ringway add-backend`
#[derive(Debug, Clone, Args)]
pub struct AddArgs {
    /// To which pool
    #[arg(value_name = "POOL")]
    pub pool: String,
    /// Where it serves
    #[arg(value_name = "IP:PORT")]
    pub address: String,
    /// What it is called [default: its address]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Its share against the other weights of the pool [default: 1]
    #[arg(long, value_name = "WEIGHT", value_parser = whole(1, WEIGHT_MAX), allow_negative_numbers = true)]
    pub weight: Option<u32>,
    /// Sessions that it takes at once [default: no limit]
    #[arg(long, value_name = "COUNT", value_parser = whole(1, CONNECTIONS_MAX), allow_negative_numbers = true)]
    pub max_connections: Option<u32>,
    /// It only stands by
    #[arg(long)]
    pub backup: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `ringway remove-backend`
#[derive(Debug, Clone, Args)]
pub struct RemoveArgs {
    /// Which one; the name alone is enough where only one pool has it
    #[arg(value_name = "POOL/BACKEND")]
    pub backend: String,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// `ringway reload`
#[derive(Debug, Clone, Args)]
pub struct ReloadArgs {
    /// Only say what would change
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// Does it, and says what came of it.
pub fn operate(operation: &Operation) -> ExitCode {
    match carry_out(operation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(operation.connection().json),
    }
}

fn carry_out(operation: &Operation) -> Result<(), Failure> {
    let connection = operation.connection();
    let patience = match operation {
        Operation::Status(args) if args.check => CHECK_PATIENCE,
        _ => PATIENCE,
    };
    let (door, form) = (connection.door(patience)?, connection.form());
    let text = match operation {
        Operation::Status(args) if args.check => operate::check(&door, form)?,
        Operation::Status(_) => operate::status(&door, form)?,
        Operation::Top(args) => {
            return match form {
                Form::Json => top::stream(&door, args.pool.as_deref(), args.interval),
                Form::Text(_) => top::top(door, args.pool.clone(), args.interval),
            };
        }
        Operation::Backends(args) => {
            let which = WhichBackends { pool: args.pool.clone(), troubled: args.troubled };
            operate::backends(&door, &which, form)?
        }
        Operation::Sessions(args) => {
            let which =
                WhichSessions { limit: args.limit, pool: args.pool.clone(), backend: args.backend.clone() };
            operate::sessions(&door, &which, form)?
        }
        Operation::Explain(args) => operate::decisions(&door, args.limit, form)?,
        Operation::Changes(args) => operate::changes(&door, args.limit, form)?,
        Operation::Drain(DrainArgs { wait, backends }) => {
            return operate::set_mode(&door, &backends.backends, Mode::Drain, *wait, form, &mut say);
        }
        Operation::Ready(args) => {
            return operate::set_mode(&door, &args.backends, Mode::Ready, None, form, &mut say);
        }
        Operation::Maintenance(args) => {
            return operate::set_mode(&door, &args.backends, Mode::Maintenance, None, form, &mut say);
        }
        Operation::Weight(args) => operate::set_weight(&door, &args.backend, args.weight, form)?,
        Operation::Algorithm(args) => operate::set_algorithm(&door, &args.pool, args.algorithm.word(), form)?,
        Operation::Kill(args) => return operate::kill(&door, &args.ids, form, &mut say),
        Operation::AddBackend(args) => {
            let new = NewBackend {
                address: args.address.clone(),
                name: args.name.clone(),
                weight: args.weight,
                max_connections: args.max_connections,
                backup: args.backup,
            };
            operate::add_backend(&door, &args.pool, &new, form)?
        }
        Operation::RemoveBackend(args) => operate::remove_backend(&door, &args.backend, form)?,
        Operation::Reload(args) => {
            let how = if args.dry_run { HowToReload::Dry } else { HowToReload::Done };
            operate::reload(&door, how, form)?
        }
    };
    say(&text)
}

/// Prints, at once: what is said line by line may be watched.
fn say(text: &str) -> Result<(), Failure> {
    write(text).map(drop).map_err(Failure::Output)
}

impl Operation {
    fn connection(&self) -> &Connection {
        match self {
            Operation::Status(args) => &args.connection,
            Operation::Top(args) => &args.connection,
            Operation::Backends(args) => &args.connection,
            Operation::Sessions(args) => &args.connection,
            Operation::Explain(args) => &args.connection,
            Operation::Changes(args) => &args.connection,
            Operation::Drain(args) => &args.backends.connection,
            Operation::Ready(args) | Operation::Maintenance(args) => &args.connection,
            Operation::Weight(args) => &args.connection,
            Operation::Algorithm(args) => &args.connection,
            Operation::Kill(args) => &args.connection,
            Operation::AddBackend(args) => &args.connection,
            Operation::RemoveBackend(args) => &args.connection,
            Operation::Reload(args) => &args.connection,
        }
    }
}

/// A whole number in these bounds.
fn whole(min: u32, max: u32) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| format!("write a whole number from {min} to {max}"))
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_millis(100)..=Duration::from_secs(60);
    let time = units::duration(text).ok().filter(|time| bounds.contains(time));
    time.ok_or_else(|| "write a time from 100ms to 60s".into())
}

fn waiting(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|_| "write a time such as 90s or 5m".into())
}
