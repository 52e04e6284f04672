//! `ringway demo`: its flags, and the configuration that they make.

use clap::Args;

use crate::config::{self, Config, Errors, Flags};

const DEMO_EXAMPLES: &str = "\
Examples:
  ringway demo
  ringway demo --algorithm least-connections --workers 1
  ringway demo --listen 127.0.0.1:9000 --backend-port 9100

Then, in another terminal:
  curl http://127.0.0.1:8000/";

/// `ringway demo`
#[derive(Debug, Clone, Args)]
#[command(after_help = DEMO_EXAMPLES)]
pub struct DemoArgs {
    /// Where to accept clients
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8000")]
    pub listen: String,
    /// The first of the four ports, one after the other, on which the backends of the demo serve
    #[arg(long, value_name = "PORT", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..=65_532))]
    pub backend_port: u16,
    /// How a backend is chosen: round-robin, weighted-round-robin, least-connections, least-response-time, peak-ewma,
    /// random, power-of-two, source-hash, maglev or first [default: round-robin]
    #[arg(long, value_name = "NAME")]
    pub algorithm: Option<String>,
    /// How many workers, or on which cores: auto, 4, 0,2-3; each takes turns of its own, one makes them plain to see
    #[arg(long, value_name = "WORKERS", default_value = "1")]
    pub workers: String,
    /// How often each backend is checked
    #[arg(long, value_name = "TIME", default_value = "500ms")]
    pub health_interval: String,
    /// Where the admin API, the metrics and the page are: IP:PORT of the loopback, the path of a socket, or off
    #[arg(long, value_name = "WHERE", default_value = "127.0.0.1:8404")]
    pub admin: String,
}

impl DemoArgs {
    /// How many backends the demo starts.
    pub const BACKENDS: u16 = 4;

    /// What to run with: a pool of the demo's own backends, on consecutive ports of this machine.
    ///
    /// # Errors
    ///
    /// Every mistake in the flags.
    pub fn config(&self) -> Result<Config, Errors> {
        let ports = (0..Self::BACKENDS).map(|nth| self.backend_port.saturating_add(nth));
        config::from_flags(&Flags {
            listen: vec![self.listen.clone()],
            backends: ports.map(|port| format!("127.0.0.1:{port}")).collect(),
            algorithm: self.algorithm.clone(),
            workers: Some(self.workers.clone()),
            health_interval: Some(self.health_interval.clone()),
            admin: Some(self.admin.clone()),
            ..Flags::default()
        })
    }
}
