//! Runtime: makes the runtime of one worker, with a ring of the size and the flags that this kernel grants.

use std::io;

use tokio_uring::Runtime;

use super::Unavailable;

/// Entries that can be queued before the kernel is called. A full queue is flushed by itself: more only batches more.
const SUBMISSIONS: u32 = 1024;
/// With fewer than this the ring is not worth having.
const SUBMISSIONS_MIN: u32 = 16;
/// The kernel's own maximum for a completion queue.
pub(super) const COMPLETIONS_MAX: usize = 65_536;

/// Makes the runtime of the calling thread, with room for `in_flight` operations at once.
///
/// The flags save interrupts and locks in the kernel (5 to 15 % of the cost of a small message). A kernel that does not
/// know them answers EINVAL and gets fewer. DEFER_TASKRUN would save more but is never asked for: tokio-uring sleeps in
/// epoll on the ring's descriptor, and under that flag the descriptor does not become readable.
pub fn runtime(in_flight: usize) -> Result<Runtime, Unavailable> {
    let mut flags = Flags::All;
    let mut sizes = Sizes::for_operations(in_flight);
    loop {
        let error = match build(flags, sizes) {
            Ok(runtime) => return Ok(runtime),
            Err(error) => error,
        };
        match (error.raw_os_error(), sizes.smaller()) {
            (Some(libc::EINVAL), _) if flags != Flags::None => flags = flags.fewer(),
            // Some kernels count the queues against the limit on locked memory.
            (Some(libc::ENOMEM), Some(smaller)) => sizes = smaller,
            _ => return Err(Unavailable::new("io_uring_setup", error)),
        }
    }
}

/// Entries in the two queues of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) submissions: u32,
    pub(super) completions: u32,
}

impl Sizes {
    /// A full completion queue loses nothing (the kernel keeps a list), but it is slower: have room for all.
    fn for_operations(in_flight: usize) -> Sizes {
        let completions =
            in_flight.next_power_of_two().clamp(2 * SUBMISSIONS as usize, COMPLETIONS_MAX) as u32;
        Sizes { submissions: SUBMISSIONS, completions }
    }

    /// Half of the completions, down to twice the submissions; from there half of both.
    fn smaller(self) -> Option<Sizes> {
        let Sizes { submissions, completions } = self;
        if completions > 2 * submissions {
            Some(Sizes { submissions, completions: completions / 2 })
        } else if submissions > SUBMISSIONS_MIN {
            Some(Sizes { submissions: submissions / 2, completions: completions / 2 })
        } else {
            None
        }
    }
}

/// What is asked of the ring: each step down suits an older kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flags {
    /// Linux 6.0
    All,
    /// Linux 5.19
    Cooperative,
    /// Any
    None,
}

impl Flags {
    fn fewer(self) -> Flags {
        match self {
            Flags::All => Flags::Cooperative,
            Flags::Cooperative | Flags::None => Flags::None,
        }
    }
}

pub(super) fn build(flags: Flags, sizes: Sizes) -> io::Result<Runtime> {
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(sizes.completions);
    match flags {
        Flags::All => {
            ring.setup_coop_taskrun().setup_taskrun_flag().setup_single_issuer();
        }
        Flags::Cooperative => {
            ring.setup_coop_taskrun().setup_taskrun_flag();
        }
        Flags::None => {}
    }
    Runtime::new(tokio_uring::builder().entries(sizes.submissions).uring_builder(&ring))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_is_refused_for_memory_is_tried_smaller_until_it_is_not_worth_it() {
        let mut sizes = Sizes::for_operations(20_000);
        assert_eq!(sizes, Sizes { submissions: 1024, completions: 32_768 });
        let mut steps = 0;
        while let Some(smaller) = sizes.smaller() {
            assert!(smaller.completions < sizes.completions);
            assert!(smaller.completions >= 2 * smaller.submissions);
            sizes = smaller;
            steps += 1;
        }
        assert_eq!((sizes, steps), (Sizes { submissions: 16, completions: 32 }, 10));
    }
}
