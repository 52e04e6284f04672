//! Who may connect to a listener, by address.

use std::path::PathBuf;

use ipnet::IpNet;

use super::Choice;

/// `[listener.access]`: the longest network that holds the client decides; where one is allowed and denied, it is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// What holds for a client that no network holds.
    pub default: Standing,
    /// Networks whose clients may connect.
    pub allow: Vec<IpNet>,
    /// Networks whose clients may not.
    pub deny: Vec<IpNet>,
    /// Files with more of the first kind.
    pub allow_files: Vec<PathBuf>,
    /// Files with more of the second.
    pub deny_files: Vec<PathBuf>,
    /// What a connection gets that is refused, for whatever reason.
    pub refuse: Refuse,
}

impl Default for Access {
    /// Everybody may connect.
    fn default() -> Access {
        Access {
            default: Standing::Allow,
            allow: Vec::new(),
            deny: Vec::new(),
            allow_files: Vec::new(),
            deny_files: Vec::new(),
            refuse: Refuse::Reset,
        }
    }
}

/// How a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may connect.
    Allow,
    /// It may not.
    Deny,
}

impl Choice for Standing {
    const ALL: &'static [Self] = &[Self::Allow, Self::Deny];

    fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What a connection gets that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuse {
    /// A TCP reset.
    Reset,
    /// The end of the stream.
    Close,
}

impl Choice for Refuse {
    const ALL: &'static [Self] = &[Self::Reset, Self::Close];

    fn word(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Close => "close",
        }
    }
}
