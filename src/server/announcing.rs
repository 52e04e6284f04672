//! Announcing: what it says of itself once it serves.

use std::process;

use super::Server;
use crate::admin;
use crate::config::{Accept, AdminAddress, Choice, Config, Protocol};
use crate::handover;
use crate::net;
impl Server {
    pub(super) fn announce(&self) {
        let (generation, limits) = (self.control.generation(), self.control.limits());
        for (listener, addresses) in generation.config.listeners.iter().zip(&generation.addresses) {
            let pool = &generation.config.pools[listener.pool];
            for address in crate::config::spans(addresses) {
                tracing::info!(
                    listener = %listener.name,
                    %address,
                    pool = %pool.name,
                    backends = pool.backends.len(),
                    protocol = listener.protocol.word(),
                    accept = (listener.protocol == Protocol::Tcp).then(|| listener.accept.word()),
                    "listening"
                );
            }
        }
        let (server, workers) = (&generation.config.server, generation.stats.workers.len());
        tracing::info!("limits: {}", limits);
        if hands_over(&generation.config, workers) {
            tracing::info!(
                "handed over: up to {} connections wait for each of {workers} workers; they count as sessions",
                handover::INBOX_MAX
            );
        }
        tracing::info!(
            "relay buffers asked for: {workers} workers x ({} x {} KiB + {} x {} KiB) = {} MiB; when they are all lent, up to \
             {} MiB more from the heap",
            server.buffers_per_worker,
            server.buffer_size / 1024,
            server.large_buffers_per_worker,
            server.large_buffer_size() / 1024,
            limits.buffer_bytes / (1024 * 1024),
            limits.spill_bytes / (1024 * 1024)
        );
        if limits.datagram_bytes > 0 {
            tracing::info!(
                "datagrams: {workers} workers have buffers for {} MiB, of which the kernel gives as much as is used",
                limits.datagram_bytes / (1024 * 1024)
            );
        }
        if limits.told_bytes > 0 {
            tracing::info!(
                "PROXY protocol over UDP: what is known of clients takes up to {} MiB, if all headers are as long as they can be",
                limits.told_bytes.div_ceil(1024 * 1024)
            );
        }
        tracing::info!(
            "splicing: up to {workers} workers x {} pipes = {} MiB of the kernel's memory while all are full; fs.pipe-user-pages-soft \
             is {}",
            server.pipes_per_worker,
            limits.pipe_bytes / (1024 * 1024),
            net::pipe_pages_soft().map_or_else(
                || "unknown".into(),
                |pages| format!("{pages} pages for a user without privileges")
            )
        );
        tracing::info!(
            "response times: up to {} KiB of histograms, as backends answer",
            limits.figure_bytes / 1024
        );
        let rule_bytes: usize = generation.doors.iter().map(|door| door.rules().bytes()).sum();
        if rule_bytes > 0 || limits.source_bytes > 0 {
            tracing::info!(
                "access: the networks of the rules take {} KiB, and as much again during a reload; the tables of sources {} KiB",
                rule_bytes.div_ceil(1024),
                limits.source_bytes.div_ceil(1024)
            );
        }
        if let Some(recording) = &self.recording {
            tracing::info!("record: {}", recording.limits(workers));
        }
        if let Some(logging) = &self.logging {
            tracing::info!("access log: {}", logging.limits(workers, &generation.config));
        }
        if let (Some(admin), Some(spec)) = (&self.admin, &generation.config.admin) {
            let address = match (admin.address(), &spec.bind) {
                (Some(address), _) => format!("http://{address}/"),
                (None, AdminAddress::Socket(path)) => path.display().to_string(),
                (None, AdminAddress::Address(address)) => address.to_string(),
            };
            tracing::info!(
                %address,
                token = spec.token_file.is_some(),
                "admin API, metrics and page; up to {} connections",
                admin::CONNECTIONS_MAX
            );
        }
        let (version, kernel) = (env!("CARGO_PKG_VERSION"), net::kernel_release());
        tracing::info!(pid = process::id(), "ringway {version} is ready on kernel {kernel}");
    }
}

/// Whether workers hand connections to each other: a single one has nobody to give to.
fn hands_over(config: &Config, workers: usize) -> bool {
    workers > 1 && config.listeners.iter().any(|listener| listener.accept == Accept::Balanced)
}
