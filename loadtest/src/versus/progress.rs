//! How far it is, on stderr: a line for each cell, with the time that is left.

use std::time::{Duration, Instant};

use super::{cell::Cell, plan::Plan, rate, tools::Tools, work::Work};

/// Counts the cells.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    cells: usize,
    done: usize,
}

impl Progress {
    /// Nothing is measured yet.
    pub(super) fn new(plan: &Plan, tools: &Tools) -> Self {
        let peers = tools.proxies.iter().filter(|proxy| proxy.is_peer()).count();
        let opens = plan.works.iter().filter(|work| work.is_open()).count();
        let cells =
            plan.works.len() * plan.rounds * tools.proxies.len() + opens * rate::cells(peers, plan.rounds);
        Self { start: Instant::now(), cells, done: 0 }
    }

    /// One more is.
    pub(super) fn measured(&mut self, cell: &Cell) {
        self.done += 1;
        let left = (self.cells - self.done.min(self.cells)) as u32;
        let left = self.start.elapsed() / self.done as u32 * left;
        let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
        eprintln!(
            "{:>4}/{}  round {}  {:<12} {:<16} {:<28} {left} left",
            self.done,
            self.cells,
            cell.round + 1,
            cell.work,
            cell.proxy,
            gist(cell),
        );
    }
}

fn gist(cell: &Cell) -> String {
    if let Some(fault) = cell.faults.first() {
        return format!("not valid: {fault}");
    }
    let figures = [super::figure::Figure::Throughput, super::figure::Figure::MemoryEach];
    let work = Work::named(cell.work);
    let work = work.first().unwrap_or(&super::work::ALL[0]);
    let value = figures.into_iter().find_map(|figure| Some((figure, figure.value(work, cell)?)));
    value.map_or_else(String::new, |(figure, value)| {
        format!("{} {}", super::table::number(value), figure.label(work))
    })
}
