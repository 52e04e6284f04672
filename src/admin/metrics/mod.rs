//! Metrics: all counters as Prometheus scrapes them.
//!
//! They are read where they are counted, at the scrape: workers pay nothing. One scrape serves all that come within a
//! moment, so that whoever asks a thousand times a second costs no more than ten.

mod catalogue;
mod datagrams;
mod text;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::access::Refused;
use crate::config::{Choice, Signal};
use crate::control::Control;
use crate::end::End;
use crate::generation::Generation;
use crate::net;
use crate::phase::Phase;
use crate::routing::Heard;
use crate::stats::{BOUNDS, BackendStats, CoreStats, Counter, ListenerStats, Timing};
use crate::table::{Backend, Mode, State};

use catalogue as of;
pub use catalogue::{ALL, Metric};

/// How old a scrape may be.
const AGE_MAX: Duration = Duration::from_millis(100);

/// What is scraped.
pub(super) struct Metrics {
    registry: Registry,
    last: Mutex<Option<Scrape>>,
}

/// One scrape, in both formats.
#[derive(Clone)]
struct Scrape {
    at: Instant,
    open_metrics: Bytes,
    prometheus: Bytes,
}

/// The format of a scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// That of Prometheus, which everybody reads.
    Prometheus,
    /// Its successor, which has to be asked for.
    OpenMetrics,
}

impl Format {
    /// What somebody who sends this Accept header reads.
    pub(super) fn accepted(header: &str) -> Format {
        if header.contains("application/openmetrics-text") { Format::OpenMetrics } else { Format::Prometheus }
    }

    /// What it is called.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Metrics {
    /// Of this process. `refused` counts the connections to the admin API that were refused.
    pub(super) fn new(control: Arc<Control>, refused: Arc<AtomicU64>, started: SystemTime) -> Metrics {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Counters { control, refused, started }));
        Metrics { registry, last: Mutex::default() }
    }

    /// All of them, at most a moment old.
    pub(super) fn scrape(&self, format: Format) -> Bytes {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_fresh = |scrape: &Scrape| now.saturating_duration_since(scrape.at) < AGE_MAX;
        let scrape = match last.take().filter(is_fresh) {
            Some(scrape) => scrape,
            None => {
                let mut open_metrics = String::new();
                // Writing into a text does not fail.
                let _ = prometheus_client::encoding::text::encode(&mut open_metrics, &self.registry);
                let prometheus = text::as_prometheus(&open_metrics).into();
                Scrape { at: now, open_metrics: open_metrics.into(), prometheus }
            }
        };
        *last = Some(scrape.clone());
        match format {
            Format::Prometheus => scrape.prometheus,
            Format::OpenMetrics => scrape.open_metrics,
        }
    }
}

/// Where the counters are.
struct Counters {
    control: Arc<Control>,
    refused: Arc<AtomicU64>,
    started: SystemTime,
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counters")
    }
}

impl Collector for Counters {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let generation = self.control.generation();
        let mut page = Page { encoder, generation: &generation };
        self.process(&mut page)?;
        listeners(&mut page)?;
        datagrams::datagrams(&mut page)?;
        pools(&mut page)?;
        backends(&mut page)?;
        workers(&mut page)
    }
}

type CounterOf = fn(&BackendStats) -> &Counter;
type Labels<'l> = &'l [(&'static str, &'l str)];

/// What is written to.
struct Page<'e, 'g> {
    encoder: DescriptorEncoder<'e>,
    generation: &'g Generation,
}

impl Page<'_, '_> {
    /// One metric, with as many series as `series` gives.
    fn metric(
        &mut self,
        metric: Metric,
        series: impl FnOnce(&mut Series<'_>, &Generation) -> fmt::Result,
    ) -> fmt::Result {
        // The crate writes the end of a counter's name itself.
        let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
        let generation = self.generation;
        let encoder = self.encoder.encode_descriptor(name, metric.help, None, metric.kind)?;
        series(&mut Series { encoder, metric }, generation)
    }
}

/// The series of one metric.
struct Series<'a> {
    encoder: MetricEncoder<'a>,
    metric: Metric,
}

impl Series<'_> {
    fn number(&mut self, labels: Labels<'_>, value: u64) -> fmt::Result {
        self.float(labels, value as f64)
    }

    fn float(&mut self, labels: Labels<'_>, value: f64) -> fmt::Result {
        debug_assert!(labels.iter().map(|(name, _)| name).eq(self.metric.labels), "{}", self.metric.name);
        let kind = self.metric.kind;
        let write = |encoder: &mut MetricEncoder<'_>| match kind {
            MetricType::Counter if value.fract() == 0.0 => {
                encoder.encode_counter::<NoLabelSet, u64, u64>(&(value as u64), None)
            }
            MetricType::Counter => encoder.encode_counter::<NoLabelSet, f64, u64>(&value, None),
            _ if value.fract() == 0.0 => encoder.encode_gauge(&(value as i64)),
            _ => encoder.encode_gauge(&value),
        };
        // Without labels there are no brackets.
        if labels.is_empty() {
            write(&mut self.encoder)
        } else {
            write(&mut self.encoder.encode_family(&labels)?)
        }
    }

    fn timing(&mut self, labels: Labels<'_>, timing: &Timing) -> fmt::Result {
        let counts = timing.counts();
        let bounds = BOUNDS.iter().copied().chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let (sum, count) = (timing.sum().as_secs_f64(), counts.iter().sum());
        self.encoder.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

impl Counters {
    fn process(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let control = &self.control;
        let (kernel, engine) = (net::kernel_release(), control.engine().word());
        page.metric(of::BUILD, |series, _| {
            let labels = [("version", env!("CARGO_PKG_VERSION")), ("kernel", &*kernel), ("engine", engine)];
            series.number(&labels, 1)
        })?;
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        page.metric(of::START, |series, _| series.float(&[], started))?;
        let accepting = u64::from(control.phase() == Phase::Running);
        page.metric(of::READY, |series, _| series.number(&[], accepting))?;
        page.metric(of::WORKERS, |series, _| series.number(&[], control.workers() as u64))?;
        page.metric(of::GENERATION, |series, generation| series.number(&[], generation.number))?;
        page.metric(of::EPOCH, |series, generation| series.number(&[], generation.table().epoch))?;
        let sessions_max = control.sessions_max() as u64;
        page.metric(of::SESSIONS_MAX, |series, _| series.number(&[], sessions_max))?;
        page.metric(of::LOST, |series, generation| series.number(&[], generation.stats.samples_lost.get()))?;
        page.metric(of::DROPS, |series, _| series.number(&[], net::listen_drops().unwrap_or(0)))?;
        let refused = self.refused.load(Ordering::Relaxed);
        page.metric(of::REFUSED, |series, _| series.number(&[], refused))
    }
}

fn listeners(page: &mut Page<'_, '_>) -> fmt::Result {
    fn sum(generation: &Generation, place: usize, counter: impl Fn(&ListenerStats) -> &Counter) -> u64 {
        generation.stats.sum(|worker| counter(&worker.listeners[place]))
    }
    fn names(generation: &Generation) -> impl Iterator<Item = (usize, &str)> {
        generation.config.listeners.iter().map(|listener| &*listener.name).enumerate()
    }
    let each = |series: &mut Series<'_>, generation: &Generation, counter: fn(&ListenerStats) -> &Counter| {
        names(generation).try_for_each(|(place, name)| {
            series.number(&[("listener", name)], sum(generation, place, counter))
        })
    };
    page.metric(of::ACCEPTED, |series, generation| each(series, generation, |one| &one.accepted))?;
    page.metric(of::LISTENER_ACTIVE, |series, generation| each(series, generation, |one| &one.active))?;
    page.metric(of::QUEUE_DROPS, |series, generation| each(series, generation, |one| &one.queue_drops))?;
    page.metric(of::LISTENER_QUEUE, |series, generation| each(series, generation, |one| &one.waiting))?;
    page.metric(of::ENDS, |series, generation| {
        names(generation).try_for_each(|(place, name)| {
            End::ALL.into_iter().try_for_each(|end| {
                let count = sum(generation, place, |one| &one.ends[end as usize]);
                series.number(&[("listener", name), ("reason", end.name())], count)
            })
        })
    })?;
    page.metric(of::TURNED_AWAY, |series, generation| {
        names(generation).try_for_each(|(place, name)| {
            Refused::ALL.into_iter().try_for_each(|reason| {
                let count = sum(generation, place, |one| &one.refused[reason as usize]);
                series.number(&[("listener", name), ("reason", reason.name())], count)
            })
        })
    })?;
    page.metric(of::UNKNOWN_SOURCES, |series, generation| {
        names(generation).try_for_each(|(place, name)| {
            series.number(&[("listener", name)], generation.doors[place].unknown_sources())
        })
    })?;
    page.metric(of::LISTENER_BYTES, |series, generation| {
        names(generation).try_for_each(|(place, name)| {
            let labels = |direction| [("listener", name), ("direction", direction)];
            series.number(&labels("to_backend"), sum(generation, place, |one| &one.bytes_to_backend))?;
            series.number(&labels("to_client"), sum(generation, place, |one| &one.bytes_to_client))
        })
    })?;
    page.metric(of::HELLOS, |series, generation| {
        let routed =
            names(generation).filter(|(place, _)| !generation.config.listeners[*place].routes.is_empty());
        for (place, name) in routed {
            for heard in Heard::ALL {
                let count = sum(generation, place, |one| &one.heard[heard as usize]);
                series.number(&[("listener", name), ("result", heard.name())], count)?;
            }
        }
        Ok(())
    })
}

fn pools(page: &mut Page<'_, '_>) -> fmt::Result {
    page.metric(of::QUEUED, |series, generation| {
        let pools = generation.config.pools.iter().zip(&*generation.queues);
        for (pool, queue) in pools {
            series.number(&[("pool", &pool.name)], u64::from(queue.len()))?;
        }
        Ok(())
    })
}

fn backends(page: &mut Page<'_, '_>) -> fmt::Result {
    let table = page.generation.table();
    let pools = &page.generation.config.pools;
    let labels = |backend: &'_ Backend| -> [(&'static str, String); 2] {
        [("pool", pools[backend.pool].name.clone()), ("backend", backend.name.to_string())]
    };
    // The names of all, once for all metrics.
    let all: Vec<(&Backend, [(&'static str, String); 2])> =
        table.backends.iter().map(|backend| (backend, labels(backend))).collect();
    let each = |write: &mut dyn FnMut(&Backend, Labels<'_>) -> fmt::Result| {
        all.iter().try_for_each(|(backend, [pool, name])| {
            write(backend, &[("pool", pool.1.as_str()), ("backend", name.1.as_str())])
        })
    };
    page.metric(of::STATE, |series, _| {
        each(&mut |backend, labels| {
            [State::Up, State::Down, State::Ejected, State::OnTrial].into_iter().try_for_each(|state| {
                let is_it = u64::from(backend.health.state == state);
                series.number(&[labels[0], labels[1], ("state", state.name())], is_it)
            })
        })
    })?;
    page.metric(of::MODE, |series, _| {
        each(&mut |backend, labels| {
            [Mode::Ready, Mode::Drain, Mode::Maintenance].into_iter().try_for_each(|mode| {
                let is_it = u64::from(backend.mode == mode);
                series.number(&[labels[0], labels[1], ("mode", mode.name())], is_it)
            })
        })
    })?;
    page.metric(of::WEIGHT, |series, _| {
        each(&mut |backend, labels| series.number(labels, u64::from(backend.weight)))
    })?;
    page.metric(of::RAMP, |series, _| {
        each(&mut |backend, labels| series.float(labels, f64::from(backend.ramp) / 100.0))
    })?;
    page.metric(of::ACTIVE, |series, generation| {
        each(&mut |backend, labels| series.number(labels, generation.stats.sessions(backend.id)))
    })?;
    page.metric(of::CONNECTIONS_MAX, |series, _| {
        each(&mut |backend, labels| match backend.max_connections {
            Some(max) => series.number(labels, u64::from(max.get())),
            None => Ok(()),
        })
    })?;
    let counts: [(Metric, CounterOf); 4] = [
        (of::PICKED, |one| &one.picked),
        (of::CONNECTED, |one| &one.connected),
        (of::CONNECT_FAILURES, |one| &one.connect_failures),
        (of::UNANSWERED, |one| &one.unanswered),
    ];
    for (metric, counter) in counts {
        page.metric(metric, |series, generation| {
            each(&mut |backend, labels| series.number(labels, generation.stats.backend(backend.id, counter)))
        })?;
    }
    page.metric(of::RESPONSE_TIME, |series, generation| {
        each(&mut |backend, labels| match generation.times.get(backend.id) {
            figure if figure.is_unknown() => Ok(()),
            figure => series.float(labels, figure.nanos() / 1e9),
        })
    })?;
    for (metric, signal) in
        [(of::CONNECT, Signal::Connect), (of::FIRST_BYTE, Signal::FirstByte), (of::SESSION, Signal::Session)]
    {
        page.metric(metric, |series, generation| {
            each(&mut |backend, labels| {
                series.timing(labels, generation.stats.timings[backend.id.index()].of(signal))
            })
        })?;
    }
    Ok(())
}

fn workers(page: &mut Page<'_, '_>) -> fmt::Result {
    fn each(generation: &Generation, mut write: impl FnMut(&CoreStats, &str) -> fmt::Result) -> fmt::Result {
        let workers = generation.stats.workers.iter().enumerate();
        workers.into_iter().try_for_each(|(number, worker)| write(&worker.core, &number.to_string()))
    }
    let mut plain = |metric, counter: fn(&CoreStats) -> &Counter| {
        page.metric(metric, |series, generation| {
            each(generation, |core, worker| series.number(&[("worker", worker)], counter(core).get()))
        })
    };
    plain(of::WORKER_ACTIVE, |core| &core.active)?;
    plain(of::ADMITTED, |core| &core.admitted)?;
    plain(of::HANDED_OVER, |core| &core.handed_over)?;
    plain(of::PAUSES, |core| &core.accept_pauses)?;
    page.metric(of::CARRIED, |series, generation| {
        each(generation, |core, worker| {
            let carried = &core.carried;
            [
                ("small", &carried.small),
                ("large", &carried.large),
                ("spliced", &carried.spliced),
                ("datagrams", &carried.datagrams),
            ]
            .into_iter()
            .try_for_each(|(way, bytes)| series.number(&[("worker", worker), ("way", way)], bytes.get()))
        })
    })?;
    let mut plain = |metric, counter: fn(&CoreStats) -> &Counter| {
        page.metric(metric, |series, generation| {
            each(generation, |core, worker| series.number(&[("worker", worker)], counter(core).get()))
        })
    };
    plain(of::PARKED, |core| &core.carried.parked)?;
    plain(of::CELLS, |core| &core.cells)?;
    plain(of::CELLS_FREE, |core| &core.cells_free)?;
    plain(of::BORROWED, |core| &core.buffers_borrowed)?;
    plain(of::PIPES, |core| &core.pipes_lent)?;
    plain(of::RING_ENTERS, |core| &core.ring.enters)?;
    plain(of::RING_COMPLETIONS, |core| &core.ring.completions)?;
    plain(of::RING_OVERFLOWS, |core| &core.ring.overflows)?;
    plain(of::RING_OPERATIONS, |core| &core.ring.in_flight)
}
