//! CPU time of a process and its descendants, to the nanosecond.

use std::{
    collections::BTreeMap,
    fs, io, thread,
    time::{Duration, Instant},
};

/// The time that every thread has run so far.
#[derive(Debug, Default)]
pub(super) struct Reading {
    // By process and thread. Kept apart, because a thread that ends takes its time with it.
    threads_ns: BTreeMap<(u32, u32), u64>,
    // The same of the time that it could have run, but another process had the core.
    waits_ns: BTreeMap<(u32, u32), u64>,
    // By process, with the threads that have ended, but only to the hundredth of a second.
    processes_ns: BTreeMap<u32, u64>,
}

impl Reading {
    /// Of these processes, now.
    pub(super) fn of(pids: &[u32]) -> io::Result<Self> {
        let mut reading = Self::default();
        for &pid in pids {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let task = task?;
                let Some(thread) = task.file_name().to_str().and_then(|name| name.parse().ok()) else {
                    continue;
                };
                // It may have ended since it was listed.
                let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
                if let Some((ran, waited)) = run_and_wait(&text) {
                    reading.threads_ns.insert((pid, thread), ran);
                    reading.waits_ns.insert((pid, thread), waited);
                }
            }
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            reading.processes_ns.extend(ticks(&stat).map(|ticks| (pid, ticks * TICK_NS)));
        }
        if reading.threads_ns.is_empty() {
            return Err(io::Error::other(
                "CPU time cannot be read: /proc/PID/task/*/schedstat is missing; it needs a kernel with CONFIG_SCHED_INFO",
            ));
        }
        Ok(reading)
    }

    /// How long threads had to wait for the core from `before` until this.
    pub(super) fn waited_since(&self, before: &Self) -> u64 {
        let before = |key| before.waits_ns.get(key).copied().unwrap_or(0);
        self.waits_ns.iter().map(|(key, now)| now.saturating_sub(before(key))).sum()
    }

    /// What was used from `before` until this.
    pub(super) fn since(&self, before: &Self) -> u64 {
        let used =
            |key: &(u32, u32), now: u64| now - before.threads_ns.get(key).copied().unwrap_or(0).min(now);
        let by_threads: u64 = self.threads_ns.iter().map(|(key, now)| used(key, *now)).sum();
        let has_lost_a_thread = before.threads_ns.keys().any(|key| !self.threads_ns.contains_key(key));
        if !has_lost_a_thread {
            return by_threads;
        }
        let before = |pid: &u32| before.processes_ns.get(pid).copied().unwrap_or(0);
        let by_processes = self.processes_ns.iter().map(|(pid, now)| now.saturating_sub(before(pid))).sum();
        by_threads.max(by_processes)
    }
}

/// A reading after what was begun has come to its end: connections that the generator left are closed by then. At most
/// half a second later.
pub(super) fn settled(pids: &[u32]) -> io::Result<Reading> {
    let deadline = Instant::now() + SETTLE_MAX;
    let mut last = Reading::of(pids)?;
    loop {
        thread::sleep(SETTLE_LOOK_EVERY);
        let reading = Reading::of(pids)?;
        if reading.since(&last) < SETTLED_NS || Instant::now() > deadline {
            return Ok(reading);
        }
        last = reading;
    }
}

/// The first two figures of schedstat: nanoseconds on a core, and nanoseconds of waiting for one.
fn run_and_wait(schedstat: &str) -> Option<(u64, u64)> {
    let mut figures = schedstat.split_whitespace();
    Some((figures.next()?.parse().ok()?, figures.next()?.parse().ok()?))
}

/// User and system time in /proc/PID/stat; the name before them may have spaces and brackets in it.
fn ticks(stat: &str) -> Option<u64> {
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// The kernel tells user space hundredths of a second on every machine that ringway runs on.
const TICK_NS: u64 = 10_000_000;
const SETTLE_MAX: Duration = Duration::from_millis(500);
const SETTLE_LOOK_EVERY: Duration = Duration::from_millis(20);
const SETTLED_NS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(threads: &[(u32, u64)], process_ns: u64) -> Reading {
        Reading {
            threads_ns: threads.iter().map(|&(thread, ns)| ((1, thread), ns)).collect(),
            waits_ns: threads.iter().map(|&(thread, ns)| ((1, thread), ns / 10)).collect(),
            processes_ns: [(1, process_ns)].into(),
        }
    }

    #[test]
    fn schedstat_has_the_time_on_a_core_and_of_waiting_for_one() {
        assert_eq!(run_and_wait("191669987 15069393 552\n"), Some((191_669_987, 15_069_393)));
        assert_eq!(run_and_wait(""), None);
        assert_eq!(reading(&[(1, 300), (2, 50)], 0).waited_since(&reading(&[(1, 100)], 0)), 25);
    }

    #[test]
    fn ticks_are_user_and_system_time() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 0 0 20 0 1 0 100 0";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn new_threads_count_and_so_do_those_that_ended() {
        let before = reading(&[(1, 100), (2, 50)], 0);
        assert_eq!(reading(&[(1, 130), (2, 50), (3, 7)], 0).since(&before), 37);
        // Thread 2 went, and what it used shows in the process only.
        assert_eq!(reading(&[(1, 130)], TICK_NS).since(&before), TICK_NS);
    }

    #[test]
    fn this_process_has_used_some() {
        let pid = [std::process::id()];
        let before = Reading::of(&pid).unwrap();
        // It waits for nothing else than that this loop shows.
        while Reading::of(&pid).unwrap().since(&before) == 0 {
            std::hint::spin_loop();
        }
    }
}
