//! The keys of `[server]`.

use std::time::Duration;

use super::Preset::{Follows, Is};
use super::{DAY, Kind, SECOND, Section, key, number, number_or, rate_or_off, time, time_or_off};

/// `[server]`
pub const SERVER: Section = Section {
    path: "server",
    header: "[server]",
    tables: &[],
    keys: &[
        key(
            "workers",
            Kind::Workers,
            Is("auto"),
            "how many workers, or on which cores; auto is one on each core",
        ),
        key(
            "engine",
            Kind::Choice(&["auto", "fixed", "multishot"]),
            Is("auto"),
            "what carries small messages; auto is multishot where the kernel has it (Linux 6.1)",
        ),
        key(
            "busy_poll_us",
            number(0, 1000),
            Is("0"),
            "microseconds for which a worker that has nothing to do looks for bytes before it sleeps (multishot engine)",
        ),
        key(
            "drain_timeout",
            time(Duration::ZERO, DAY),
            Is("30s"),
            "how long running sessions may go on after SIGTERM or SIGINT",
        ),
        key(
            "removed_drain_timeout",
            time(Duration::ZERO, DAY),
            Is("10m"),
            "how long sessions may go on whose backend a reload has removed",
        ),
        key(
            "upgrade_timeout",
            time(Duration::from_secs(1), DAY),
            Is("1m"),
            "how long a new process may take to be ready to replace this one (SIGUSR2)",
        ),
        key(
            "sessions_max",
            number_or("auto", 1, 10_000_000),
            Is("auto"),
            "sessions at once in the whole process; auto derives it from the limit on open files",
        ),
        key(
            "rate_max",
            rate_or_off(),
            Is("off"),
            "connections that all listeners together take in a second, minute or hour; more wait in the kernel's queues",
        ),
        key(
            "buffer_size",
            Kind::Size { min: 4 << 10, max: 1 << 20, step: 4 << 10 },
            Is("16KiB"),
            "bytes in one relay buffer",
        ),
        key(
            "buffers_per_worker",
            number(16, 65_536),
            Is("1024"),
            "relay buffers that each worker holds ready",
        ),
        key(
            "large_buffers_per_worker",
            number(0, 4096),
            Is("16"),
            "buffers of 256KiB that each worker holds ready for long transfers",
        ),
        key(
            "pipes_per_worker",
            number(0, 4096),
            Is("64"),
            "pipes that each worker may splice long transfers through; 0 never splices",
        ),
        key(
            "status_interval",
            time_or_off(SECOND, DAY),
            Is("off"),
            "how often the table of backends is printed",
        ),
        key(
            "log",
            Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
            Is("info"),
            "the lowest level of message that is logged",
        ),
        key(
            "user",
            Kind::Name,
            Follows("none"),
            "the user, by name or number, that the process becomes once it has its sockets; it has to be started as root then",
        ),
        key("group", Kind::Name, Follows("that of the user"), "the group that it becomes, by name or number"),
        key(
            "record",
            Kind::File,
            Follows("none"),
            "the file to which arrivals are recorded, for `ringway replay`; nothing is unless it is given",
        ),
        key(
            "record_size_max",
            Kind::Size { min: 64 << 10, max: 64 << 30, step: 4 << 10 },
            Is("64MiB"),
            "bytes of one file of the record; a full one is renamed and another begun",
        ),
        key(
            "record_files",
            number(0, 1_000),
            Is("4"),
            "full files that are kept beside it: NAME.1 is the newest",
        ),
        key(
            "record_addresses",
            Kind::Switch,
            Is("false"),
            "whether the record tells clients by their addresses, and not by numbers that are anew at each start",
        ),
    ],
};
