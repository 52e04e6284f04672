//! Everything that runs during a comparison: backends, proxies, and the folder with their files.

use std::{fs, io, path::PathBuf, time::Duration};

use tempfile::TempDir;

use super::{
    backends::Backends,
    cell::Cell,
    counters::{self, Counting},
    cpu, datagrams,
    generator::{Generator, Kind},
    idle,
    plan::Plan,
    proxy::{Proxy, Running},
    tools::Tools,
    work::{Flows, Load, Work},
    wrk::{Gave, Requests, Wrk},
};
use crate::descriptors;
use crate::{interrupt::Stop, pinning::pin};

/// Ends all it has started when it is dropped, and then removes the folder: in the order of the fields.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    running: Vec<Running>,
    backends: Backends,
    folder: TempDir,
    plan: &'a Plan,
    tools: &'a Tools,
    stop: &'a Stop,
    counts_cycles: bool,
    started: usize,
}

impl<'a> Stage<'a> {
    /// Starts everything; returns when every proxy carries requests.
    pub(super) fn build(plan: &'a Plan, tools: &'a Tools, stop: &'a Stop) -> io::Result<Self> {
        // The children inherit the limit. A session is two connections.
        let descriptors = 2 * plan.sessions_max() as u64 + 500;
        descriptors::reserve("--idle-connections", descriptors, 1).map_err(io::Error::other)?;
        pin(&[plan.cores.other])?;
        let folder = tempfile::Builder::new().prefix("loadtest-versus-").tempdir()?;
        let backends = Backends::start(plan, tools, folder.path(), stop)?;
        let counts_cycles = counters::probe(tools.perf()).is_ok();
        let mut stage =
            Self { running: Vec::new(), backends, folder, plan, tools, stop, counts_cycles, started: 0 };
        for proxy in &tools.proxies {
            let running = stage.start(proxy)?;
            stage.running.push(running);
        }
        Ok(stage)
    }

    /// One cell, warmed up before. What goes wrong with the proxy is a fault of the cell, not of the run.
    pub(super) fn measure(&mut self, work: &Work, proxy: usize, rate: Option<f64>) -> io::Result<Cell> {
        let mut cell = Cell::new(work, self.tools.proxies[proxy].name());
        match work.load {
            Load::Wrk { path, connections, keep } => {
                let requests = Requests { target: self.running[proxy].http, path, connections, keep };
                self.ask_by_wrk(proxy, &mut cell, &requests)?;
            }
            Load::Closed { connections } => self.generate(proxy, &mut cell, Kind::Closed(connections))?,
            Load::Open => match rate {
                Some(rate) => self.generate(proxy, &mut cell, Kind::Open(rate))?,
                None => cell.faults.push("there is no rate: no peer gave a top rate".to_owned()),
            },
            Load::Idle => self.measure_idle(proxy, &mut cell)?,
            Load::Datagrams(flows) => self.send_datagrams(proxy, &mut cell, flows)?,
        }
        let process = &self.running[proxy].process;
        if process.has_ended() {
            cell.faults.push(format!("{} has ended; its log: {}", cell.proxy, process.complaint()));
        }
        Ok(cell)
    }

    /// Whether the generator keeps up with this rate, seen through one proxy.
    pub(super) fn measure_open(&mut self, work: &Work, proxy: usize, rate: f64) -> io::Result<Cell> {
        let mut cell = Cell::new(work, self.tools.proxies[proxy].name());
        cell.work = "open-rate";
        self.generate(proxy, &mut cell, Kind::Open(rate))?;
        Ok(cell)
    }

    /// What a proxy carries when 64 connections do all they can.
    pub(super) fn measure_top(&mut self, work: &Work, proxy: usize) -> io::Result<Cell> {
        let mut cell = Cell::new(work, self.tools.proxies[proxy].name());
        cell.work = "top-rate";
        self.generate(proxy, &mut cell, Kind::Closed(TOP_CONNECTIONS))?;
        Ok(cell)
    }

    /// By its place.
    pub(super) fn name(&self, proxy: usize) -> &str {
        self.tools.proxies[proxy].name()
    }

    /// Which of the proxies ringway is compared with.
    pub(super) fn peers(&self) -> Vec<usize> {
        let proxies = self.tools.proxies.iter().enumerate();
        proxies.filter(|(_, proxy)| proxy.is_peer()).map(|(index, _)| index).collect()
    }

    /// Whether the run is to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    fn ask_by_wrk(&mut self, proxy: usize, cell: &mut Cell, requests: &Requests) -> io::Result<()> {
        let folder = self.folder.path().to_owned();
        let wrk = Wrk { program: self.tools.wrk()?, core: self.plan.cores.other, folder: &folder };
        // wrk says nothing of connections that are not served: it waits for them without an end.
        let before = self.settled_accepts(proxy)?;
        let is_served = wrk.warm_up(requests, WRK_WARM_UP, self.stop, || {
            let came = self.backends.accepted()?.zip(before).map(|(now, before)| now - before);
            Ok(came.is_none_or(|came| came >= requests.connections as u64))
        })?;
        if !is_served {
            cell.faults.push(format!("not all of {} connections were served", requests.connections));
        }
        let before = self.settled_accepts(proxy)?;
        self.watch(proxy, cell, || wrk.run(requests, self.plan.seconds, self.stop))?;
        let after = self.settled_accepts(proxy)?;
        // Nor of those that were closed: it opens others.
        cell.accepted = after.zip(before).map(|(after, before)| after - before);
        if let (Some(accepted), Some(load)) = (cell.accepted, &cell.load) {
            cell.faults.extend(requests.fault(load.requests, accepted));
        }
        Ok(())
    }

    /// When the connections that wrk has left are gone, and those that it had begun have come.
    fn settled_accepts(&mut self, proxy: usize) -> io::Result<Option<u64>> {
        // With a proxy that has ended there is nothing to wait for.
        let _ = self.running[proxy].process.tree().and_then(|pids| cpu::settled(&pids));
        self.backends.accepted()
    }

    fn generate(&self, proxy: usize, cell: &mut Cell, kind: Kind) -> io::Result<()> {
        let generator = Generator { core: self.plan.cores.other, folder: self.folder.path() };
        let target = self.running[proxy].reply;
        self.watch(proxy, cell, || generator.run(kind, target, WARM_UP, self.plan.cell_time(), self.stop))
    }

    fn send_datagrams(&self, proxy: usize, cell: &mut Cell, flows: Flows) -> io::Result<()> {
        let folder = self.folder.path();
        let Some(target) = self.running[proxy].udp else {
            cell.faults.push("it has no listener of datagrams".to_owned());
            return Ok(());
        };
        let (core, time) = (self.plan.cores.other, self.plan.cell_time());
        self.watch(proxy, cell, || datagrams::run((core, folder), flows, target, (WARM_UP, time), self.stop))
    }

    /// Runs a generator, and sees what the proxy uses in the meantime.
    fn watch(
        &self,
        proxy: usize,
        cell: &mut Cell,
        generate: impl FnOnce() -> io::Result<Gave>,
    ) -> io::Result<()> {
        let process = &self.running[proxy].process;
        let pids = process.tree()?;
        let counting = match self.tools.perf() {
            Some(perf) if self.counts_cycles => {
                Some(Counting::start(perf, self.plan.cores.other, &pids, self.folder.path())?)
            }
            _ => None,
        };
        let stolen = stolen_ticks(self.plan.cores.proxy);
        let before = cpu::settled(&pids);
        let gave = generate()?;
        // With a proxy that has ended there is nothing to read, which `measure` sees.
        let used = before.and_then(|before| {
            let after = cpu::settled(&pids)?;
            Ok((after.since(&before), after.waited_since(&before)))
        });
        match used {
            Ok((used, waited)) => (cell.cpu_ns, cell.waited_ns) = (Some(used), Some(waited)),
            Err(error) => cell.faults.push(format!("its CPU time is not known: {error}")),
        }
        cell.stolen_ticks =
            stolen_ticks(self.plan.cores.proxy).zip(stolen).map(|(after, before)| after - before);
        if let Some(counting) = counting {
            match counting.end(self.stop)? {
                Ok(counts) => cell.counts = Some(counts),
                Err(error) => cell.faults.push(error),
            }
        }
        cell.load = gave.load;
        cell.faults.extend(gave.faults);
        cell.raw = gave.raw;
        Ok(())
    }

    fn measure_idle(&mut self, proxy: usize, cell: &mut Cell) -> io::Result<()> {
        let fresh = self.start(&self.tools.proxies[proxy])?;
        let pids = fresh.process.tree()?;
        let (memory, faults) = idle::measure(fresh.http, self.plan.idle_connections, &pids, self.stop)?;
        cell.memory = Some(memory);
        cell.faults.extend(faults);
        if fresh.process.has_ended() {
            cell.faults.push(format!("{} has ended; its log: {}", cell.proxy, fresh.process.complaint()));
        }
        Ok(())
    }

    fn start(&mut self, proxy: &Proxy) -> io::Result<Running> {
        self.started += 1;
        let folder: PathBuf = self.folder.path().join(format!("{}-{}", proxy.name(), self.started));
        Running::start(proxy, (self.plan, self.tools, &self.backends), &folder, self.stop)
    }
}

/// Time that the machine below took from a core so far, in hundredths of a second.
fn stolen_ticks(core: usize) -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} ")))?;
    line.split_whitespace().nth(7)?.parse().ok()
}

const WRK_WARM_UP: Duration = Duration::from_millis(300);
/// In it an open loop opens its connections, all at once where something stalls: that is another work, and not measured.
const WARM_UP: Duration = Duration::from_secs(1);
const TOP_CONNECTIONS: usize = 64;
