//! The bound on open files: every connection is one, and running into it mid-run would look like a failing server.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Beside the connections: the standard streams, listener, signals, and per thread a poller, its waker and an alarm.
pub(crate) const SPARE: u64 = 16;
/// Per thread of the run.
pub(crate) const PER_THREAD: u64 = 8;

/// Makes room for this many connections by raising the soft limit; the error names the option, the bound and the cure.
pub(crate) fn reserve(option: &str, connections: u64, threads: u64) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    let raise_to = plan(option, connections, threads, limit)?;
    let Some(soft) = raise_to else { return Ok(()) };
    setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum: limit.maximum }).map_err(|error| {
        format!("{option}: the soft limit on open files cannot be raised to {soft}: {error}")
    })
}

/// The soft limit to set, if it has to be raised at all. A limit of `None` is no limit.
fn plan(option: &str, connections: u64, threads: u64, limit: Rlimit) -> Result<Option<u64>, String> {
    let others = SPARE + threads * PER_THREAD;
    let needed = connections + others;
    if limit.maximum.is_some_and(|hard| needed > hard) {
        let hard = limit.maximum.unwrap_or(u64::MAX);
        return Err(format!(
            "{option}: value is too large ({connections}), at most {} is allowed by the hard limit of {hard} open files; \
             use fewer, or raise it as root with 'ulimit -Hn {needed}'",
            hard.saturating_sub(others)
        ));
    }
    Ok(limit.current.is_some_and(|soft| needed > soft).then_some(needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Rlimit = Rlimit { current: Some(1024), maximum: Some(4096) };

    #[test]
    fn a_soft_limit_that_suffices_is_left_alone_and_a_lower_one_is_raised() {
        assert_eq!(plan("--connections", 1000, 1, LIMIT), Ok(None));
        assert_eq!(plan("--connections", 1001, 1, LIMIT), Ok(Some(1025)));
        assert_eq!(plan("--connections", 4072, 1, LIMIT), Ok(Some(4096)));
    }

    #[test]
    fn more_than_the_hard_limit_is_refused_with_the_bound_and_the_cure() {
        let error = plan("--connections", 4073, 1, LIMIT).unwrap_err();
        assert!(error.contains("at most 4072"), "{error}");
        assert!(error.contains("ulimit -Hn 4097"), "{error}");
    }

    #[test]
    fn without_limits_everything_goes() {
        let unlimited = Rlimit { current: None, maximum: None };
        assert_eq!(plan("--connections", 1 << 40, 1, unlimited), Ok(None));
    }
}
