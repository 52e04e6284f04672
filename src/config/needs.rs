//! Needs: what a configuration wants to be there on the machine, each with the key that names it.
//!
//! Nobody here looks whether it is: whoever reads a file for this machine does.

use std::fmt;
use std::path::PathBuf;

use super::errors::Place;

/// Something that has to be there, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Where the value stands.
    pub place: Place,
    /// Dotted, such as `admin.token_file`.
    pub key: String,
    /// Such as `listener "web"`; empty where there is none.
    pub owner: String,
    /// What has to be there.
    pub what: Needed,
}

/// What has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needed {
    /// A user, by name or number.
    User(String),
    /// A group, by name or number.
    Group(String),
    /// A network interface.
    Device(String),
    /// The folder in which a file or a socket of this path is made.
    FolderOf(PathBuf),
    /// A file whose first line is a token.
    Token(PathBuf),
    /// A file of networks.
    Networks(PathBuf),
}

impl fmt::Display for Need {
    /// As errors begin, without the file: `line 12: listener.bind in listener "web"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner.as_str() {
            "" => write!(f, "{}: {}", self.place, self.key),
            owner => write!(f, "{}: {} in {owner}", self.place, self.key),
        }
    }
}
