//! Failure: why a command did not do what it was told, and the exit status that says so to scripts.

use std::fmt;
use std::process::ExitCode;

use crate::admin::shapes::Problem;

/// Why it was not done.
#[derive(Debug)]
pub enum Failure {
    /// The ringway there says why.
    Refused(Problem),
    /// There is no such thing there, or not in this form.
    NotFound(String),
    /// It was not so in the time that there was.
    Late(String),
    /// What was typed, or a file that it names, is wrong.
    Wrong(String),
    /// Nobody answers, or somebody who is no ringway.
    NoAnswer(String),
    /// It answers, and clients should go elsewhere.
    NotReady(Vec<String>),
    /// What it found cannot be shown.
    Output(String),
}

impl Failure {
    /// As scripts see it. The numbers are promised in `docs/commands.md`.
    pub fn exit_status(&self) -> u8 {
        match self {
            Failure::Refused(_) | Failure::NotFound(_) | Failure::Late(_) | Failure::Output(_) => 1,
            Failure::Wrong(_) => 2,
            Failure::NoAnswer(_) => 4,
            Failure::NotReady(_) => 5,
        }
    }

    /// Says it on standard error: to people, or to a script that asked for JSON.
    pub fn report(&self, json: bool) -> ExitCode {
        match json {
            true => eprintln!(
                "{}",
                serde_json::json!({ "title": self.title(), "detail": self.to_string(), "status": self.http_status() })
            ),
            false => eprintln!("{self}"),
        }
        ExitCode::from(self.exit_status())
    }

    fn title(&self) -> &str {
        match self {
            Failure::Refused(problem) => &problem.title,
            Failure::NotFound(_) => "not found",
            Failure::Late(_) => "late",
            Failure::Wrong(_) => "wrong usage",
            Failure::NoAnswer(_) => "no answer",
            Failure::NotReady(_) => "not ready",
            Failure::Output(_) => "no output",
        }
    }

    /// Of the answer, where there was one that says it.
    fn http_status(&self) -> Option<u16> {
        match self {
            Failure::Refused(problem) => Some(problem.status),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(problem) if problem.detail.is_empty() => {
                write!(f, "refused: {} ({})", problem.title, problem.status)
            }
            Failure::Refused(problem) => write!(f, "{}", problem.detail.trim_end()),
            Failure::NotReady(reasons) => write!(f, "not ready: {}", reasons.join("; ")),
            Failure::NotFound(words)
            | Failure::Late(words)
            | Failure::Wrong(words)
            | Failure::NoAnswer(words)
            | Failure::Output(words) => write!(f, "{words}"),
        }
    }
}
