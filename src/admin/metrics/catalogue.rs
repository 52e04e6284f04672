//! Catalogue: every metric there is, once. `docs/metrics.md` is tested against it.

use prometheus_client::metrics::MetricType;

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As it is scraped, with its unit, and `_total` if it is a counter.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricType,
    /// What its series differ by.
    pub labels: &'static [&'static str],
    /// In one line.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $constant: Metric = Metric {
            name: $name,
            kind: MetricType::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*
        /// All of them, in the order in which they are scraped.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    BUILD = Gauge "ringway_build_info" ["version", "kernel", "engine"] "1, with what runs as its labels";
    START = Gauge "ringway_start_time_seconds" [] "when the process began to serve, since 1970";
    READY = Gauge "ringway_accepting" [] "1 while clients are accepted, 0 while the process drains";
    WORKERS = Gauge "ringway_workers" [] "workers";
    GENERATION = Gauge "ringway_config_generation" [] "number of the configuration in force; each reload makes the next";
    EPOCH = Gauge "ringway_backend_table_epoch" [] "number of the table of backends; each change of state makes the next";
    SESSIONS_MAX = Gauge "ringway_sessions_max" [] "sessions at once in the whole process, at most";
    LOST = Counter "ringway_samples_lost_total" [] "measured times that are not in the histograms, because a worker had too many or a reload came between";
    DROPS = Counter "ringway_listen_drops_total" [] "connections that the kernel dropped because a queue was full; of the whole machine, since it was started";
    REFUSED = Counter "ringway_admin_connections_refused_total" [] "connections to the admin API that were refused because there were too many";

    ACCEPTED = Counter "ringway_listener_accepted_total" ["listener"] "connections accepted";
    LISTENER_ACTIVE = Gauge "ringway_listener_sessions" ["listener"] "sessions now";
    QUEUE_DROPS = Counter "ringway_listener_queue_drops_total" ["listener"] "connections, or over UDP datagrams, that the kernel dropped because a queue of the listener was full, once a second";
    LISTENER_QUEUE = Gauge "ringway_listener_accept_queue" ["listener"] "clients that wait in the kernel's queues to be accepted, once a second; 0 of a Unix socket and over UDP";
    ENDS = Counter "ringway_listener_session_ends_total" ["listener", "reason"] "sessions that have ended, by how";
    TURNED_AWAY = Counter "ringway_listener_refused_total" ["listener", "reason"] "connections that were not let in, by why; they are no sessions";
    UNKNOWN_SOURCES = Counter "ringway_listener_unknown_sources_total" ["listener"] "connections let in although their source found no place among those that are known";
    LISTENER_BYTES = Counter "ringway_listener_bytes_total" ["listener", "direction"] "bytes carried; of sessions that run, up to two seconds ago";
    HELLOS = Counter "ringway_listener_hellos_total" ["listener", "result"] "clients by what came of their TLS hello; only of listeners with routes";
    DATAGRAMS = Counter "ringway_listener_datagrams_total" ["listener", "way"] "datagrams by where they came from or went to; a listener over UDP";
    DATAGRAMS_DROPPED = Counter "ringway_listener_datagrams_dropped_total" ["listener", "reason"] "datagrams that went nowhere, by why";
    REBALANCED = Counter "ringway_listener_rebalanced_total" ["listener"] "clients over UDP whose session left a backend that was lost or refused them";

    QUEUED = Gauge "ringway_pool_queued_sessions" ["pool"] "sessions that wait for a backend with room";

    STATE = Gauge "ringway_backend_state" ["pool", "backend", "state"] "1 for the state that a backend is in, 0 for the others";
    MODE = Gauge "ringway_backend_mode" ["pool", "backend", "mode"] "1 for what operators want of a backend, 0 for the others";
    WEIGHT = Gauge "ringway_backend_weight" ["pool", "backend"] "share, against the other weights of the pool";
    RAMP = Gauge "ringway_backend_ramp_ratio" ["pool", "backend"] "part of its share that a backend gets; less than 1 after a recovery, with slow_start";
    ACTIVE = Gauge "ringway_backend_sessions" ["pool", "backend"] "sessions now, those that are connecting included";
    CONNECTIONS_MAX = Gauge "ringway_backend_sessions_max" ["pool", "backend"] "sessions that a backend takes at once; only of those with max_connections";
    PICKED = Counter "ringway_backend_picked_total" ["pool", "backend"] "times that a backend was chosen";
    CONNECTED = Counter "ringway_backend_connections_total" ["pool", "backend"] "connections made";
    CONNECT_FAILURES = Counter "ringway_backend_connect_failures_total" ["pool", "backend"] "connects that failed by the backend's doing";
    UNANSWERED = Counter "ringway_backend_unanswered_total" ["pool", "backend"] "connections without a first byte, or not in time";
    RESPONSE_TIME = Gauge "ringway_backend_response_time_seconds" ["pool", "backend"] "the figure by which least-response-time and the like choose";
    CONNECT = Histogram "ringway_backend_connect_seconds" ["pool", "backend"] "from the pick to the connection";
    FIRST_BYTE = Histogram "ringway_backend_first_byte_seconds" ["pool", "backend"] "from the client's first byte (from the pick where the backend speaks first) to the backend's first byte";
    SESSION = Histogram "ringway_backend_session_seconds" ["pool", "backend"] "from the pick to the end of the session";

    WORKER_ACTIVE = Gauge "ringway_worker_sessions" ["worker"] "sessions now";
    ADMITTED = Counter "ringway_worker_sessions_total" ["worker"] "sessions ever";
    HANDED_OVER = Counter "ringway_worker_handed_over_total" ["worker"] "connections accepted and given to another worker";
    PAUSES = Counter "ringway_worker_accept_pauses_total" ["worker"] "times that accepting paused because descriptors or memory were short";
    CARRIED = Counter "ringway_worker_carried_bytes_total" ["worker", "way"] "bytes carried, by how: small buffers, large buffers, spliced, datagrams";
    PARKED = Counter "ringway_worker_parked_total" ["worker"] "times that a direction waited without a buffer, because it had been silent";
    CELLS = Gauge "ringway_worker_arena_buffers" ["worker"] "relay buffers of the arena";
    CELLS_FREE = Gauge "ringway_worker_arena_free_buffers" ["worker"] "those of them that are not lent";
    BORROWED = Counter "ringway_worker_heap_buffers_total" ["worker"] "buffers that came from the heap because the arena was empty";
    PIPES = Gauge "ringway_worker_pipes_lent" ["worker"] "pipes that sessions splice through";
    RING_ENTERS = Counter "ringway_worker_ring_enters_total" ["worker"] "times that the kernel was entered for the ring of small messages; multishot engine";
    RING_COMPLETIONS = Counter "ringway_worker_ring_completions_total" ["worker"] "completions of that ring";
    RING_OVERFLOWS = Counter "ringway_worker_ring_overflows_total" ["worker"] "enters at which that ring had more completions than room; the kernel keeps them";
    RING_OPERATIONS = Gauge "ringway_worker_ring_operations" ["worker"] "operations of that ring that are under way";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_prometheus_wants_them() {
        for metric in ALL {
            assert!(metric.name.starts_with("ringway_"), "{}", metric.name);
            assert_eq!(
                metric.name.ends_with("_total"),
                matches!(metric.kind, MetricType::Counter),
                "{}",
                metric.name
            );
            assert!(!metric.help.ends_with('.') && !metric.help.contains('\n'), "{}", metric.name);
        }
        let mut names: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn the_documentation_has_every_metric_and_no_other() {
        let documented: Vec<Vec<&str>> = include_str!("../../../docs/metrics.md")
            .lines()
            .filter(|line| line.starts_with("| `ringway_"))
            .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
            .collect();
        let coded: Vec<Vec<String>> = ALL
            .iter()
            .map(|metric| {
                let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
                let labels = if labels.is_empty() { "-".to_owned() } else { labels.join(", ") };
                vec![
                    format!("`{}`", metric.name),
                    metric.kind.as_str().to_owned(),
                    labels,
                    metric.help.to_owned(),
                ]
            })
            .collect();
        for (documented, coded) in documented.iter().zip(&coded) {
            assert_eq!(documented, coded);
        }
        assert_eq!(documented.len(), coded.len());
    }
}
