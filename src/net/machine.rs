//! What this process has of the machine: cores, descriptors, memory; and what the machine says of itself.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Connections that the kernel dropped because a listener's queue was full: on the whole machine, since it started.
pub fn listen_drops() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/net/netstat").ok()?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let place = names.split_whitespace().position(|name| name == "ListenDrops")?;
    values.split_whitespace().nth(place)?.parse().ok()
}

/// Ends every process of a group at once. `leader` is a child of this process that nobody has waited for yet, so that its
/// number cannot have become another one's.
pub fn kill_group(leader: u32) {
    let Ok(leader) = libc::pid_t::try_from(leader) else { return };
    assert!(leader > 1, "0 is our own group, and -1 is everybody");
    // SAFETY: kill takes two numbers and touches no memory of ours. An error says that nobody is left in the group.
    let _ = unsafe { libc::kill(-leader, libc::SIGKILL) };
}

/// The cores that this process may run on, in ascending order.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    // SAFETY: cpu_set_t is a plain array of words for which all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes at most the size given to the set on the stack; 0 names the calling thread.
    let result = unsafe { libc::sched_getaffinity(0, mem::size_of::<libc::cpu_set_t>(), &raw mut set) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let contains = |core: usize| {
        // SAFETY: `core` is below CPU_SETSIZE, the number of bits in the set; CPU_ISSET only reads.
        unsafe { libc::CPU_ISSET(core, &set) }
    };
    Ok((0..libc::CPU_SETSIZE as usize).filter(|&core| contains(core)).collect())
}

/// Keeps the calling thread on one core.
pub fn pin_to(core: usize) -> io::Result<()> {
    keep_to(&[core])
}

/// Keeps the calling thread off these cores, if it may run on any other.
pub fn keep_off(cores: &[usize]) -> io::Result<()> {
    let others: Vec<usize> = allowed_cores()?.into_iter().filter(|core| !cores.contains(core)).collect();
    if others.is_empty() { Ok(()) } else { keep_to(&others) }
}

fn keep_to(cores: &[usize]) -> io::Result<()> {
    // SAFETY: as in `allowed_cores`.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &core in cores {
        if core >= libc::CPU_SETSIZE as usize {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // SAFETY: `core` is below CPU_SETSIZE: the bit lies inside the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: the kernel reads the size given from the set on the stack; 0 names the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &raw const set) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Has the calling thread get less of a core that others want too: a ninth or so. Nothing if that is refused.
pub fn step_back() {
    // SAFETY: three numbers; 0 is the calling thread, which on Linux has a nice value of its own.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}

/// Has the kernel back this process's memory with small pages alone.
///
/// The allocator asks for huge ones, and then each kind of block takes 2 MiB when its first is used: with a few thousand
/// sessions that is most of what the process takes. An error says that the kernel has no huge pages.
pub fn use_small_pages() {
    // SAFETY: prctl with PR_SET_THP_DISABLE takes numbers and touches no memory of ours.
    let _ = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

/// Raises the limit on open files as far as it goes and returns what it is now.
pub fn raise_open_files_limit() -> io::Result<u64> {
    let mut limit = resource_limit(libc::RLIMIT_NOFILE)?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the kernel reads one rlimit from a live local.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// Has the kernel make its table of this process's descriptors as large as it will have to be.
///
/// It grows by doubling, and each time the kernel lets one of our threads wait until every core has passed a quiet moment
/// (synchronize_rcu in expand_fdtable), and with it all that want a descriptor meanwhile. On a busy machine of two cores that
/// took the health thread many seconds. So it grows once, before there is anybody to wait.
pub fn make_room_for_descriptors(count: u64) -> io::Result<()> {
    let highest = libc::c_int::try_from(count.saturating_sub(1)).unwrap_or(libc::c_int::MAX);
    let any = std::fs::File::open("/dev/null")?;
    // SAFETY: fcntl with F_DUPFD_CLOEXEC takes two numbers; the descriptor is open for as long as `any` lives.
    let copy = unsafe { libc::fcntl(any.as_raw_fd(), libc::F_DUPFD_CLOEXEC, highest) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
    drop(unsafe { OwnedFd::from_raw_fd(copy) });
    Ok(())
}

/// Bytes of memory that this user may lock (RLIMIT_MEMLOCK); `None` is unlimited, or exempt by CAP_IPC_LOCK.
pub fn locked_memory_limit() -> Option<u64> {
    const CAP_IPC_LOCK: u64 = 1 << 14;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    if u64::from_str_radix(capabilities.trim(), 16).is_ok_and(|set| set & CAP_IPC_LOCK != 0) {
        return None;
    }
    let limit = resource_limit(libc::RLIMIT_MEMLOCK).ok()?;
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

fn resource_limit(which: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit to a live local.
    if unsafe { libc::getrlimit(which, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit)
}

/// The largest backlog that the kernel grants (net.core.somaxconn), if it can be read.
pub fn backlog_max() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?;
    text.trim().parse().ok()
}

/// Pages that all pipes of a user without privileges may hold (fs.pipe-user-pages-soft): further ones are made with very
/// little room. 0 is no limit.
pub fn pipe_pages_soft() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").ok()?;
    text.trim().parse().ok()
}

/// The kernel's release, for messages.
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| String::from("unknown"), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_descriptors_is_made_up_to_the_limit_and_not_beyond() {
        let size = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
            line.trim().parse::<u64>().unwrap()
        };
        let limit = resource_limit(libc::RLIMIT_NOFILE).unwrap().rlim_cur;
        make_room_for_descriptors(limit.min(1000)).unwrap();
        assert!(size() >= limit.min(1000));
        assert!(make_room_for_descriptors(limit + 1).is_err());
    }
}
