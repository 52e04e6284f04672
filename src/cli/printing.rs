//! Printing: standard output of the commands that print and end.

use std::io::{self, Write as _};
use std::process::ExitCode;

/// Whether anybody still reads what is printed.
pub(super) enum Reader {
    Listens,
    Left,
}

/// Whoever reads only the first lines (`| head`) closes the pipe: no failure, and nothing more to say.
pub(super) fn write(text: &str) -> Result<Reader, String> {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Left),
        Err(error) => Err(format!("standard output: cannot be written: {error}")),
    }
}

/// The same for commands that have nothing else to say; what is wrong is told.
pub(super) fn print(text: &str) -> Result<Reader, ExitCode> {
    write(text).map_err(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}
