//! Connection: the flags that say which ringway is meant, and how its answers are shown.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;

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
    /// Print the JSON of the API as it is; mistakes as JSON on standard error
    #[arg(long)]
    pub(super) json: bool,
}

impl Connection {
    pub(super) fn door(&self) -> Result<Door, Failure> {
        // What is set to nothing is not set.
        let token_file = self.token_file.as_deref().filter(|path| !path.as_os_str().is_empty());
        Door::new(self.admin.clone(), token_file)
    }

    pub(super) fn form(&self) -> Form {
        match self.json {
            true => Form::Json,
            false => Form::Text(Look::on(terminal_width())),
        }
    }
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
