//! Unavailable: why io_uring cannot be used here, and what to do about it.

use std::fmt;
use std::io;

use crate::net;

/// Why io_uring cannot be used here.
#[derive(Debug)]
pub struct Unavailable {
    call: &'static str,
    error: io::Error,
    cause: Cause,
}

/// What most likely stands in the way, as far as this process can tell.
#[derive(Debug, PartialEq, Eq)]
enum Cause {
    /// The sysctl kernel.io_uring_disabled has this value.
    Sysctl(u8),
    /// A seccomp filter: containers have one by default.
    Seccomp,
    /// The kernel lacks it.
    Kernel(String),
    /// Memory that may be locked, or descriptors.
    Limits,
    /// None of these.
    Unknown,
}

impl Unavailable {
    pub(super) fn new(call: &'static str, error: io::Error) -> Unavailable {
        Unavailable { call, cause: cause_of(&error), error }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io_uring is not available ({}: {}); ", self.call, self.error)?;
        match &self.cause {
            Cause::Sysctl(value) => write!(
                f,
                "the sysctl kernel.io_uring_disabled is {value}; to allow it: sysctl -w kernel.io_uring_disabled=0"
            ),
            Cause::Seccomp => write!(
                f,
                "likely a seccomp filter, as container runtimes have by default; allow io_uring_setup, io_uring_enter \
                 and io_uring_register in its profile (docker run --security-opt seccomp=PROFILE.json)"
            ),
            Cause::Kernel(release) => write!(
                f,
                "kernel {release} does not offer what ringway needs, or a seccomp filter hides it; ringway needs \
                 Linux 5.11 or later with CONFIG_IO_URING"
            ),
            Cause::Limits => write!(
                f,
                "a limit of this process is too low; raise it: ulimit -l 65536, ulimit -n 20000 (LimitMEMLOCK= and \
                 LimitNOFILE= in a systemd unit)"
            ),
            Cause::Unknown => write!(f, "try it outside of any sandbox, and see the kernel log (dmesg)"),
        }
    }
}

impl std::error::Error for Unavailable {}

fn cause_of(error: &io::Error) -> Cause {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) if disabled > 0 => Cause::Sysctl(disabled),
        Some(libc::EPERM | libc::EACCES) => Cause::Seccomp,
        Some(libc::ENOSYS | libc::EINVAL) => Cause::Kernel(net::kernel_release()),
        Some(libc::ENOMEM | libc::EMFILE | libc::ENFILE) => Cause::Limits,
        _ => Cause::Unknown,
    }
}
