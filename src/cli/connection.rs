//! Connection: the flags that say which ringway is meant, and how its answers are shown.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::units;
use crate::operate::{Address, Door, Failure, Form, Look};

/// What every command over the admin API takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Connection {
    /// Where the admin API is: IP:PORT, or the path of a socket
    #[arg(
        long,
        value_name = "WHERE",
        env = "RINGWAY_ADMIN",
        hide_env_values = true,
        default_value = "127.0.0.1:8404",
        help_heading = "Connection"
    )]
    pub(super) admin: Address,
    /// The file whose first line is the token, where the API asks for one
    #[arg(
        long,
        value_name = "FILE",
        env = "RINGWAY_TOKEN_FILE",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    pub(super) token_file: Option<PathBuf>,
    /// How long each answer may take, 100ms to 10m [default: 30s; 5s of status --check]
    #[arg(long, value_name = "TIME", value_parser = patience, help_heading = "Connection")]
    pub(super) timeout: Option<Duration>,
    /// Print the JSON of the API as it is; mistakes as JSON on standard error
    #[arg(long)]
    pub(super) json: bool,
}

impl Connection {
    /// Unless it was said how long an answer may take, it is this long.
    pub(super) fn door(&self, preset: Duration) -> Result<Door, Failure> {
        // What is set to nothing is not set.
        let token_file = self.token_file.as_deref().filter(|path| !path.as_os_str().is_empty());
        Door::new(self.admin.clone(), token_file, self.timeout.unwrap_or(preset))
    }

    pub(super) fn form(&self) -> Form {
        match self.json {
            true => Form::Json,
            false => Form::Text(Look::on(terminal_width())),
        }
    }
}

fn patience(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_millis(100)..=Duration::from_secs(600);
    let time = units::duration(text).ok().filter(|time| bounds.contains(time));
    time.ok_or_else(|| "write a time from 100ms to 10m".into())
}

/// Of standard output, if it is a terminal.
fn terminal_width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    // One that does not say how wide it is counts as one of old.
    let width = ratatui::crossterm::terminal::size().map_or(0, |(columns, _)| usize::from(columns));
    Some(if width == 0 { 80 } else { width })
}
