//! Privileges: how a process that was started as root becomes somebody else, once it has what only root can have.
//!
//! The kernel knows users by thread. The C library changes all threads of the process together, so these calls go through
//! it; capabilities are the calling thread's alone, and threads that it starts from then on inherit them.

use std::ffi::CString;
use std::fmt;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Group, Uid, User};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities};

use crate::config::RunAs;

/// What is kept: a listener below port 1024 can be opened later, too.
const KEPT: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;
/// What is kept as well where something is transparent: of the two that let a socket have addresses of others the smaller one.
const KEPT_TRANSPARENT: CapabilitySet = CapabilitySet::NET_RAW;

/// Whom the process has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Became {
    /// The user.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
}

/// Why it cannot become that user.
#[derive(Debug)]
pub enum Unusable {
    /// The process is neither root nor that user already.
    NotRoot {
        /// Whom it was to become.
        wanted: String,
        /// Who it is.
        uid: u32,
    },
    /// There is no such user.
    NoUser(String),
    /// There is no such group.
    NoGroup(String),
    /// A user that is given by number has no entry that would name its group.
    NoGroupOf(String),
    /// The user or group database cannot be read.
    Database(Errno),
    /// The kernel refused.
    Refused {
        /// Which call.
        call: &'static str,
        /// What it said.
        error: Errno,
    },
    /// Root can be had back.
    CanComeBack,
}

/// Becomes this user in every thread, for good. `None` if the process is that user already. One that is `transparent` can give
/// its sockets the addresses of others afterwards.
///
/// # Errors
///
/// When there is no such user or group, or the process may not become it. It can be half way then: it has to end.
pub fn become_user(wanted: &RunAs, transparent: bool) -> Result<Option<Became>, Unusable> {
    let became = find(wanted)?;
    let (uid, gid) = (Uid::from_raw(became.uid), Gid::from_raw(became.gid));
    if unistd::geteuid() == uid && unistd::getegid() == gid {
        return Ok(None);
    }
    if !unistd::geteuid().is_root() {
        return Err(Unusable::NotRoot { wanted: wanted.user.clone(), uid: unistd::geteuid().as_raw() });
    }
    keep_what_root_could_lock();
    let refused = |call| move |error| Unusable::Refused { call, error };
    let rustix_refused =
        |call| move |error: rustix::io::Errno| refused(call)(Errno::from_raw(error.raw_os_error()));
    let wanted_capabilities = if transparent { KEPT | KEPT_TRANSPARENT } else { KEPT };
    let kept = capabilities(None).map_err(rustix_refused("capget"))?.permitted & wanted_capabilities;
    // Without this, leaving root takes every capability along. With it, they stay permitted to this thread.
    set_keep_capabilities(true).map_err(rustix_refused("prctl(PR_SET_KEEPCAPS)"))?;
    // Groups first: afterwards the process may no longer change them. The user last.
    let groups: Vec<Gid> = became.groups.iter().copied().map(Gid::from_raw).collect();
    unistd::setgroups(&groups).map_err(refused("setgroups"))?;
    unistd::setresgid(gid, gid, gid).map_err(refused("setresgid"))?;
    unistd::setresuid(uid, uid, uid).map_err(refused("setresuid"))?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(rustix_refused("capset"))?;
    set_keep_capabilities(false).map_err(rustix_refused("prctl(PR_SET_KEEPCAPS)"))?;
    // What this is all about.
    let is_root_again = !uid.is_root() && unistd::setuid(Uid::from_raw(0)).is_ok();
    if is_root_again { Err(Unusable::CanComeBack) } else { Ok(Some(became)) }
}

/// Root is exempt from the limit on locked memory and the user is not: the same buffers are to be registered all the same.
/// Where a container forbids that, the arena gets smaller and says so.
fn keep_what_root_could_lock() {
    let unlimited = Rlimit { current: None, maximum: None };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        tracing::debug!(%error, "the limit on locked memory stays as it is");
    }
}

fn find(wanted: &RunAs) -> Result<Became, Unusable> {
    let entry = match wanted.user.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(&wanted.user),
    };
    let entry = entry.map_err(Unusable::Database)?;
    let uid = entry.as_ref().map(|entry| entry.uid.as_raw()).or_else(|| wanted.user.parse().ok());
    let uid = uid.ok_or_else(|| Unusable::NoUser(wanted.user.clone()))?;
    let gid = match &wanted.group {
        Some(group) => find_group(group)?,
        None => entry.as_ref().ok_or_else(|| Unusable::NoGroupOf(wanted.user.clone()))?.gid,
    };
    let groups = match entry.and_then(|entry| CString::new(entry.name).ok()) {
        Some(name) => unistd::getgrouplist(&name, gid).map_err(Unusable::Database)?,
        None => vec![gid],
    };
    let groups = groups.into_iter().map(Gid::as_raw).collect();
    Ok(Became { uid, gid: gid.as_raw(), groups })
}

fn find_group(group: &str) -> Result<Gid, Unusable> {
    if let Ok(number) = group.parse() {
        return Ok(Gid::from_raw(number));
    }
    let entry = Group::from_name(group).map_err(Unusable::Database)?;
    entry.map(|entry| entry.gid).ok_or_else(|| Unusable::NoGroup(group.to_owned()))
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::NotRoot { wanted, uid } => write!(
                f,
                "server.user: only root can become {wanted:?}, and this process is user {uid}: start it as root, or take \
                 server.user out and start it as that user (User= in a systemd unit)"
            ),
            Unusable::NoUser(user) => write!(
                f,
                "server.user: there is no user {user:?} (getent passwd {user}); make it: useradd --system --user-group {user}"
            ),
            Unusable::NoGroup(group) => write!(
                f,
                "server.group: there is no group {group:?} (getent group {group}); make it: groupadd --system {group}"
            ),
            Unusable::NoGroupOf(user) => {
                write!(f, "server.user: user {user} has no entry that says its group; give server.group, too")
            }
            Unusable::Database(error) => {
                write!(f, "server.user: users and groups cannot be looked up: {error}")
            }
            Unusable::Refused { call, error } => write!(
                f,
                "server.user: {call} was refused: {error}; a container or unit has to allow CAP_SETUID and CAP_SETGID, or \
                 to start ringway as that user"
            ),
            Unusable::CanComeBack => {
                write!(
                    f,
                    "server.user: the process could still become root again; it will not serve like that"
                )
            }
        }
    }
}

impl std::error::Error for Unusable {}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(user: &str, group: Option<&str>) -> Result<Became, String> {
        let wanted = RunAs { user: user.into(), group: group.map(Into::into) };
        find(&wanted).map_err(|error| error.to_string())
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        let root = found("root", None).unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(found("0", None).unwrap(), root);
        let lone = found("61234", Some("61235")).unwrap();
        assert_eq!(lone, Became { uid: 61234, gid: 61235, groups: vec![61235] });
        assert_eq!(found("61234", Some("root")).unwrap().gid, 0);
    }

    #[test]
    fn who_is_not_there_is_named_with_what_to_do() {
        assert!(
            found("nobody-here", None).unwrap_err().contains("useradd --system --user-group nobody-here")
        );
        assert!(found("root", Some("nobody-here")).unwrap_err().contains("groupadd --system nobody-here"));
        assert!(found("61234", None).unwrap_err().contains("give server.group"));
    }
}
