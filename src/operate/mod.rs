//! Operate: the commands that look at a running ringway and tell it what to do, over its admin API.
//!
//! `door.rs` is the request, `shapes` of the API what is said, and each command a file that makes text of the answer.

mod address;
mod backends;
mod changes;
mod columns;
mod decisions;
mod door;
mod failure;
mod form;
mod orders;
mod overview;
mod reload;
#[cfg(test)]
mod sample;
mod sessions;
mod target;
pub mod top;
mod units;

pub use address::Address;
pub use backends::{Which as WhichBackends, backends};
pub use changes::changes;
pub use decisions::decisions;
pub use door::Door;
pub use failure::Failure;
pub use form::{Form, Look};
pub use orders::{add_backend, kill, remove_backend, set_algorithm, set_mode, set_weight};
pub use overview::{check, status};
pub use reload::{How as HowToReload, reload};
pub use sessions::{Which as WhichSessions, sessions};

/// JSON as the API sent it, as a line; nothing where it sent nothing.
fn as_it_came(body: &[u8]) -> String {
    match String::from_utf8_lossy(body).trim() {
        "" => String::new(),
        json => format!("{json}\n"),
    }
}
