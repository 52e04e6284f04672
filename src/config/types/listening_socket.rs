//! What a listener's sockets are like, beyond what all TCP sockets have.

/// `[listener.socket]`: who may connect to a Unix socket, and what the kernel is told of the listening ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListeningSocket {
    /// The mode of a Unix socket's file: whoever may write to it may connect.
    pub mode: u32,
    /// Whose that file is; `None` leaves it to whoever started the process.
    pub user: Option<String>,
    /// Its group.
    pub group: Option<String>,
}
