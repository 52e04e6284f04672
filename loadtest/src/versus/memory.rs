//! Resident memory of a process and its descendants.

use std::{
    fs, io, thread,
    time::{Duration, Instant},
};

/// In bytes, now. Pages that processes share count once.
pub(super) fn resident(pids: &[u32]) -> io::Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path)?;
        // The proportional size: several processes have the pages of their program in common.
        sum += pss(&text)
            .ok_or_else(|| io::Error::other(format!("{path} does not say how much is resident")))?;
    }
    Ok(sum)
}

/// As [`resident`], once it has stopped to change; at most three seconds later.
pub(super) fn settled(pids: &[u32]) -> io::Result<u64> {
    let deadline = Instant::now() + SETTLE_MAX;
    let mut last = resident(pids)?;
    loop {
        thread::sleep(LOOK_EVERY);
        let now = resident(pids)?;
        if now.abs_diff(last) <= PAGE || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
    }
}

fn pss(smaps_rollup: &str) -> Option<u64> {
    let line = smaps_rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

const SETTLE_MAX: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(300);
const PAGE: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proportional_size_is_read_in_bytes() {
        let text =
            "55-7f ---p 00000000 00:00 0   [rollup]\nRss:  1712 kB\nPss:   318 kB\nPss_Dirty: 116 kB\n";
        assert_eq!(pss(text), Some(318 * 1024));
        assert_eq!(pss("Rss: 1 kB\n"), None);
    }
}
