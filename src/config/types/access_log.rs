//! What is told of each session that has ended.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Choice;

/// `[access_log]`: one line for each session that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where lines go.
    pub to: LogTo,
    /// What a line looks like.
    pub format: LogFormat,
    /// Which sessions get one.
    pub only: Only,
    /// Of a million sessions that went well, so many get one; of the others all.
    pub sample_ppm: u32,
}

impl AccessLog {
    /// All of a million.
    pub const WHOLE_PPM: u32 = 1_000_000;
}

/// Where the lines of the access log go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTo {
    /// Standard output.
    Stdout,
    /// Standard error, between the messages.
    Stderr,
    /// This file, or what else has a path.
    File(PathBuf),
    /// A syslog server, under this facility.
    Syslog(SyslogAddress, Facility),
}

/// Where a syslog server takes lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A Unix socket of this machine.
    Socket(PathBuf),
    /// By UDP.
    Udp(SocketAddr),
}

/// What a line of the access log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// That of HAProxy, and more.
    Text,
    /// One JSON object.
    Json,
}

impl Choice for LogFormat {
    const ALL: &'static [Self] = &[Self::Text, Self::Json];

    fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Which sessions get a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// All of them, or the sample.
    All,
    /// Those that did not go well.
    Errors,
}

impl Choice for Only {
    const ALL: &'static [Self] = &[Self::All, Self::Errors];

    fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Errors => "errors",
        }
    }
}

/// Under what a syslog server files the lines. Those that are for other purposes are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are as syslog calls them")]
pub enum Facility {
    User,
    Daemon,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

impl Facility {
    /// Its number in the protocol.
    pub fn code(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Daemon => 3,
            Self::Local0 => 16,
            Self::Local1 => 17,
            Self::Local2 => 18,
            Self::Local3 => 19,
            Self::Local4 => 20,
            Self::Local5 => 21,
            Self::Local6 => 22,
            Self::Local7 => 23,
        }
    }
}

impl Choice for Facility {
    const ALL: &'static [Self] = &[
        Self::User,
        Self::Daemon,
        Self::Local0,
        Self::Local1,
        Self::Local2,
        Self::Local3,
        Self::Local4,
        Self::Local5,
        Self::Local6,
        Self::Local7,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Daemon => "daemon",
            Self::Local0 => "local0",
            Self::Local1 => "local1",
            Self::Local2 => "local2",
            Self::Local3 => "local3",
            Self::Local4 => "local4",
            Self::Local5 => "local5",
            Self::Local6 => "local6",
            Self::Local7 => "local7",
        }
    }
}
