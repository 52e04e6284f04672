//! A figure: what is read from a cell, in which unit, and which way is better.

use super::{
    cell::Cell,
    work::{Load, Unit, Work},
};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    /// Units a second.
    Throughput,
    /// CPU time of the proxy per unit.
    Cpu,
    /// Cycles of the proxy per unit.
    Cycles,
    /// Instructions of the proxy per unit.
    Instructions,
    /// Median time of a request.
    P50,
    /// Only one request of a hundred took longer.
    P99,
    /// Only one request of a thousand took longer.
    P999,
    /// How much of its core the proxy used.
    Busy,
    /// How late the generator was itself.
    Late,
    /// Datagrams that the proxy relayed, in both directions, in a second of its CPU time.
    Datagrams,
    /// Memory for each connection.
    MemoryEach,
    /// Memory without any connection.
    MemoryBefore,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    Lower,
    Higher,
}

impl Figure {
    /// What there is to say about a work.
    pub(super) fn of(work: &Work) -> &'static [Self] {
        match (work.load, work.unit) {
            (Load::Wrk { .. }, Unit::Gigabyte) => {
                &[Self::Throughput, Self::Cpu, Self::Cycles, Self::Instructions, Self::Busy]
            }
            (Load::Wrk { .. }, Unit::Request | Unit::Connection) => &[
                Self::Throughput,
                Self::Cpu,
                Self::Cycles,
                Self::Instructions,
                Self::P50,
                Self::P99,
                Self::P999,
                Self::Busy,
            ],
            (Load::Closed { .. }, _) => {
                &[Self::P50, Self::P99, Self::P999, Self::Throughput, Self::Cpu, Self::Cycles, Self::Busy]
            }
            (Load::Open, _) => {
                &[Self::P50, Self::P99, Self::P999, Self::Late, Self::Cpu, Self::Cycles, Self::Busy]
            }
            (Load::Datagrams(_), _) => &[
                Self::Datagrams,
                Self::Throughput,
                Self::Cpu,
                Self::Cycles,
                Self::P50,
                Self::P99,
                Self::P999,
                Self::Busy,
            ],
            (Load::Idle, _) => &[Self::MemoryEach, Self::MemoryBefore],
        }
    }

    /// Name and unit.
    pub(super) fn label(self, work: &Work) -> String {
        let unit = work.unit.word();
        match self {
            Self::Throughput => format!("{unit}s/s").replace("GBs", "GB"),
            Self::Cpu if work.unit == Unit::Gigabyte => "CPU s / GB".to_owned(),
            Self::Cpu => format!("CPU us / {unit}"),
            Self::Cycles => format!("cycles / {unit}"),
            Self::Instructions => format!("instructions / {unit}"),
            Self::P50 => "p50 us".to_owned(),
            Self::P99 => "p99 us".to_owned(),
            Self::P999 => "p99.9 us".to_owned(),
            Self::Busy => "proxy's core busy %".to_owned(),
            Self::Late => "generator late, p99 us".to_owned(),
            Self::Datagrams => "datagrams / CPU s".to_owned(),
            Self::MemoryEach => "resident KB each".to_owned(),
            Self::MemoryBefore => "resident MB before".to_owned(),
        }
    }

    /// `None` for what only helps to judge the others.
    pub(super) fn better(self) -> Option<Better> {
        match self {
            Self::Throughput | Self::Datagrams => Some(Better::Higher),
            Self::Busy | Self::Late | Self::MemoryBefore => None,
            _ => Some(Better::Lower),
        }
    }

    /// From a valid cell that has it.
    pub(super) fn value(self, work: &Work, cell: &Cell) -> Option<f64> {
        let cell = Some(cell).filter(|cell| cell.is_valid())?;
        let load = cell.load.as_ref();
        let units = || {
            let load = load?;
            let units = match work.unit {
                Unit::Request | Unit::Connection => load.requests as f64,
                Unit::Gigabyte => load.bytes as f64 / 1e9,
            };
            Some(units).filter(|units| *units > 0.0)
        };
        // What the proxy used, it used for those of the warm-up, too.
        let all_units = || Some(units()? + load?.warm_up_requests as f64);
        let seconds = || load.map(|load| load.seconds).filter(|seconds| *seconds > 0.0);
        match self {
            Self::Throughput => Some(units()? / seconds()?),
            Self::Cpu => {
                let scale = if work.unit == Unit::Gigabyte { 1e9 } else { 1e3 };
                Some(cell.cpu_ns? as f64 / scale / all_units()?)
            }
            Self::Cycles => Some(cell.counts?.cycles() as f64 / all_units()?),
            Self::Instructions => Some(cell.counts?.instructions() as f64 / all_units()?),
            Self::P50 => load?.p50_us,
            Self::P99 => load?.p99_us,
            Self::P999 => load?.p99_9_us,
            Self::Busy => Some(cell.cpu_ns? as f64 / 1e7 / (seconds()? + load?.warm_up_seconds)),
            Self::Late => load?.late_p99_us,
            // A question and its answer.
            Self::Datagrams => {
                let cpu_ns = cell.cpu_ns.filter(|used| *used > 0)?;
                Some(2.0 * all_units()? * 1e9 / cpu_ns as f64)
            }
            Self::MemoryEach => {
                let memory = cell.memory.filter(|memory| memory.connections > 0)?;
                Some((memory.with as f64 - memory.before as f64) / 1024.0 / memory.connections as f64)
            }
            Self::MemoryBefore => Some(cell.memory?.before as f64 / (1 << 20) as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versus::{cell, work};

    fn cell(work: &Work) -> Cell {
        let mut cell = Cell::new(work, "x");
        cell.cpu_ns = Some(1_500_000_000);
        cell.load = Some(cell::Load {
            requests: 30_000,
            bytes: 3_000_000_000,
            seconds: 3.0,
            source: "wrk",
            p50_us: Some(7.0),
            ..cell::Load::default()
        });
        cell
    }

    #[test]
    fn costs_are_per_unit_of_the_work() {
        let [small] = Work::named("small-64")[..] else { panic!("one work") };
        assert_eq!(Figure::Throughput.value(&small, &cell(&small)), Some(10_000.0));
        assert_eq!(Figure::Cpu.value(&small, &cell(&small)), Some(50.0));
        assert_eq!(Figure::Busy.value(&small, &cell(&small)), Some(50.0));
        let [bulk] = Work::named("bulk-10m-4")[..] else { panic!("one work") };
        assert_eq!(Figure::Throughput.value(&bulk, &cell(&bulk)), Some(1.0));
        assert_eq!(Figure::Cpu.value(&bulk, &cell(&bulk)), Some(0.5));
        assert_eq!(
            (Figure::Throughput.label(&bulk), Figure::Cpu.label(&bulk)),
            ("GB/s".into(), "CPU s / GB".into())
        );
    }

    #[test]
    fn a_cell_with_a_fault_has_no_figure() {
        for work in work::ALL {
            let mut cell = cell(&work);
            cell.faults.push("3 reads failed".to_owned());
            for figure in Figure::of(&work) {
                assert_eq!(figure.value(&work, &cell), None, "{figure:?}");
            }
        }
    }

    #[test]
    fn memory_is_what_it_grows_by_for_each() {
        let [idle] = Work::named("idle")[..] else { panic!("one work") };
        let mut cell = Cell::new(&idle, "x");
        cell.memory = Some(cell::Memory { before: 1 << 20, with: (1 << 20) + 100 * 2048, connections: 100 });
        assert_eq!(Figure::MemoryEach.value(&idle, &cell), Some(2.0));
        assert_eq!(Figure::MemoryBefore.value(&idle, &cell), Some(1.0));
    }
}
