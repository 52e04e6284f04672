//! `ringway run`: its flags, and the configuration that they make.

use std::path::PathBuf;

use clap::Args;

use crate::config::{self, Config, Errors, Flags, Source};
use crate::premises;

const RUN_USAGE: &str = "ringway run --config FILE
       ringway run --listen IP:PORT --backend IP:PORT[,weight=N][,name=NAME][,max-connections=N][,backup] [OPTIONS]";

const RUN_EXAMPLES: &str = "\
Examples:
  ringway run --config ringway.toml
  ringway run --listen 0.0.0.0:8000 --backend 10.0.0.1:8080 --backend 10.0.0.2:8080
  ringway run --listen 0.0.0.0:8000 --listen '[::]:8000' \\
      --algorithm weighted-round-robin \\
      --backend 10.0.0.1:8080,weight=3,name=big --backend 10.0.0.2:8080,name=small

Flags make one pool behind one listener. For more of them, and for every other setting, write a file.";

/// `ringway run`
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = RUN_EXAMPLES, override_usage = RUN_USAGE)]
pub struct RunArgs {
    /// The configuration file; holds every setting, so no other flag goes with it
    #[arg(long, value_name = "FILE", conflicts_with_all = SETTINGS)]
    pub config: Option<PathBuf>,
    /// Where to accept clients; may be given several times
    #[arg(long, value_name = "IP:PORT", required_unless_present = "config")]
    pub listen: Vec<String>,
    /// A backend, with its weight and its name if it needs them, the sessions that it takes at once, and whether it only
    /// stands by; may be given several times
    #[arg(
        long,
        value_name = "IP:PORT[,weight=N][,name=NAME][,max-connections=N][,backup]",
        required_unless_present = "config"
    )]
    pub backend: Vec<String>,
    /// How a backend is chosen: round-robin, weighted-round-robin, least-connections, least-response-time, peak-ewma,
    /// random, power-of-two, source-hash, maglev or first [default: round-robin]
    #[arg(long, value_name = "NAME")]
    pub algorithm: Option<String>,
    /// How many workers, or on which cores: auto, 4, 0,2-3 [default: auto]
    #[arg(long, value_name = "WORKERS")]
    pub workers: Option<String>,
    /// How long running sessions may go on after SIGTERM or SIGINT [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub drain_timeout: Option<String>,
    /// Sessions at once in the whole process [default: auto, from the limit on open files]
    #[arg(long, value_name = "COUNT")]
    pub sessions_max: Option<String>,
    /// Which worker serves a connection: reuseport, the one that the kernel chose, or balanced, the one with the fewest
    /// sessions [default: reuseport]
    #[arg(long, value_name = "WHICH")]
    pub accept: Option<String>,
    /// Ends a session in which no byte moved for this long, or off [default: 10m]
    #[arg(long, value_name = "TIME")]
    pub idle_timeout: Option<String>,
    /// How long one attempt to connect to a backend may take [default: 3s]
    #[arg(long, value_name = "TIME")]
    pub connect_timeout: Option<String>,
    /// What a client gets when no backend could be reached: reset, close or message [default: reset]
    #[arg(long, value_name = "WHAT")]
    pub no_backend: Option<String>,
    /// The text that --no-backend message sends
    #[arg(long, value_name = "TEXT")]
    pub no_backend_message: Option<String>,
    /// How often each backend is checked [default: 2s]
    #[arg(long, value_name = "TIME")]
    pub health_interval: Option<String>,
    /// How often the table of backends is printed, or off [default: off]
    #[arg(long, value_name = "TIME")]
    pub status_interval: Option<String>,
    /// The lowest level that is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Where the admin API, the metrics and the page are: IP:PORT of the loopback, the path of a socket, or off
    /// [default: off]
    #[arg(long, value_name = "WHERE")]
    pub admin: Option<String>,
}

/// Every flag that stands for a setting, by field.
pub(super) const SETTINGS: [&str; 15] = [
    "listen",
    "backend",
    "algorithm",
    "workers",
    "drain_timeout",
    "sessions_max",
    "accept",
    "idle_timeout",
    "connect_timeout",
    "no_backend",
    "no_backend_message",
    "health_interval",
    "status_interval",
    "log",
    "admin",
];

impl RunArgs {
    /// What to run with, and what of it may not be there yet.
    ///
    /// # Errors
    ///
    /// Every mistake in the file, or in the flags.
    pub fn config(&self) -> Result<(Config, Vec<String>), Errors> {
        match &self.config {
            Some(path) => premises::load(path),
            None => config::from_flags(&self.flags()).map(|config| (config, Vec::new())),
        }
    }

    /// Where it can be read again.
    pub fn source(&self) -> Source {
        self.config.clone().map_or(Source::Flags, Source::File)
    }

    fn flags(&self) -> Flags {
        let args = self.clone();
        Flags {
            listen: args.listen,
            backends: args.backend,
            algorithm: args.algorithm,
            workers: args.workers,
            drain_timeout: args.drain_timeout,
            sessions_max: args.sessions_max,
            accept: args.accept,
            idle_timeout: args.idle_timeout,
            connect_timeout: args.connect_timeout,
            no_backend: args.no_backend,
            no_backend_message: args.no_backend_message,
            health_interval: args.health_interval,
            status_interval: args.status_interval,
            log: args.log,
            admin: args.admin,
        }
    }
}
