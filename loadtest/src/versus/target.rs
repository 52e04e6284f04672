//! What ringway is to reach, and whether it has.

use super::{
    figure::Figure,
    results::{Against, Results, Row},
    series::Spread,
};

/// One line of the table of targets.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) work: &'static str,
    /// With the unit.
    pub(super) figure: String,
    /// In words.
    pub(super) target: String,
    /// Build or settings of ringway.
    pub(super) ringway: String,
    /// What was seen, if anything was.
    pub(super) measured: Option<Spread>,
    pub(super) is_met: Option<bool>,
}

/// Every target of a work that was measured, for each build and settings of ringway.
pub(super) fn verdicts(results: &Results) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for target in TARGETS {
        for work in target.works {
            let counted = results.row(work, target.figure);
            // Where cycles are not counted, CPU time stands in: at one speed of the core they are the same.
            let figure = if target.figure == Figure::Cycles && counted.is_none() {
                Figure::Cpu
            } else {
                target.figure
            };
            let Some(row) = results.row(work, figure) else { continue };
            for ringway in results.ringways() {
                let measured = target.measured(results, row, ringway);
                verdicts.push(Verdict {
                    work: row.work.name,
                    figure: row.figure.label(&row.work),
                    target: target.words(),
                    ringway: results.proxies[ringway].name().to_owned(),
                    measured,
                    is_met: measured.map(|measured| target.bound.is_met(measured.median)),
                });
            }
        }
    }
    verdicts
}

/// What is to be reached.
#[derive(Debug)]
struct Target {
    works: &'static [&'static str],
    figure: Figure,
    bound: Bound,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    /// The ratio to the best of these is this or less.
    RatioAtMost(Against, f64),
    /// The ratio to the best of these is this or more.
    RatioAtLeast(Against, f64),
    /// The figure itself is this or less.
    AtMost(f64),
}

impl Target {
    fn measured(&self, results: &Results, row: &Row, ringway: usize) -> Option<Spread> {
        let mine = &row.series[ringway];
        match self.bound {
            Bound::AtMost(_) => mine.spread(),
            Bound::RatioAtMost(against, _) | Bound::RatioAtLeast(against, _) => {
                let best = results.best(row, against)?;
                mine.ratio_to(&row.series[best]).spread()
            }
        }
    }

    fn words(&self) -> String {
        let of = |against| match against {
            Against::Peers => "the best peer",
            Against::HaProxy => "HAProxy",
        };
        match self.bound {
            Bound::RatioAtMost(against, bound) => format!("{bound:.2} of {} or less", of(against)),
            Bound::RatioAtLeast(against, bound) => format!("{bound:.2} of {} or more", of(against)),
            Bound::AtMost(bound) => format!("{bound} or less"),
        }
    }
}

impl Bound {
    fn is_met(self, measured: f64) -> bool {
        match self {
            Self::RatioAtMost(_, bound) | Self::AtMost(bound) => measured <= bound,
            Self::RatioAtLeast(_, bound) => measured >= bound,
        }
    }
}

const fn at_most(works: &'static [&'static str], figure: Figure, against: Against, ratio: f64) -> Target {
    Target { works, figure, bound: Bound::RatioAtMost(against, ratio) }
}

const TARGETS: &[Target] = &[
    at_most(&["small-64", "small-512"], Figure::Cycles, Against::Peers, 0.95),
    at_most(&["small-64", "small-512"], Figure::Cycles, Against::HaProxy, 0.85),
    at_most(&["latency-1"], Figure::P50, Against::Peers, 1.0),
    at_most(&["bulk-10m-4", "bulk-10m-64"], Figure::Cpu, Against::Peers, 0.6),
    Target {
        works: &["bulk-10m-4", "bulk-10m-64"],
        figure: Figure::Throughput,
        bound: Bound::RatioAtLeast(Against::Peers, 1.0),
    },
    at_most(&["bulk-64k-4", "bulk-64k-64"], Figure::Cpu, Against::Peers, 0.9),
    at_most(&["churn-32", "churn-256"], Figure::Cycles, Against::Peers, 1.0),
    at_most(&["churn-32", "churn-256"], Figure::Cycles, Against::HaProxy, 0.92),
    Target { works: &["idle"], figure: Figure::MemoryEach, bound: Bound::AtMost(2.0) },
    at_most(&["open"], Figure::P99, Against::Peers, 0.9),
    Target {
        works: &["udp-64-1", "udp-64-64", "udp-64-1000", "udp-1200-1", "udp-1200-64", "udp-1200-1000"],
        figure: Figure::Datagrams,
        bound: Bound::RatioAtLeast(Against::Peers, 2.0),
    },
];

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::versus::{
        Peer, Ringway, Work,
        cell::{self, Cell},
        proxy::Proxy,
        work,
    };

    fn proxies() -> Vec<Proxy> {
        let ringway = Ringway { name: "ringway".to_owned(), program: PathBuf::new(), settings: Vec::new() };
        vec![Proxy::Ringway(ringway), Proxy::Peer(Peer::HaProxy), Proxy::Peer(Peer::Nginx)]
    }

    fn cell(work: &Work, proxy: &str, requests: u64, cpu_ns: u64) -> Cell {
        let mut cell = Cell::new(work, proxy);
        cell.cpu_ns = Some(cpu_ns);
        cell.load = Some(cell::Load {
            requests,
            bytes: requests * 1_000_000_000,
            seconds: 1.0,
            source: "wrk",
            ..cell::Load::default()
        });
        cell
    }

    #[test]
    fn every_target_names_works_and_figures_that_there_are() {
        for target in TARGETS {
            for name in target.works {
                let work = work::ALL.into_iter().find(|work| work.name == *name);
                let work = work.unwrap_or_else(|| panic!("no work {name}"));
                assert!(Figure::of(&work).contains(&target.figure), "{name} {:?}", target.figure);
            }
        }
    }

    #[test]
    fn cpu_time_stands_in_for_cycles_and_each_peer_has_its_bound() {
        let [work] = Work::named("small-64")[..] else { panic!("one work") };
        // 0.95 of nginx, which is the best; 0.9 of HAProxy.
        let cells = [("ringway", 9_500), ("haproxy", 10_555), ("nginx", 10_000)]
            .map(|(proxy, cpu_ns)| cell(&work, proxy, 100, cpu_ns));
        let results = Results::new(&proxies(), &cells);
        let verdicts = verdicts(&results);
        let seen: Vec<_> = verdicts.iter().map(|verdict| (verdict.target.as_str(), verdict.is_met)).collect();
        assert_eq!(
            seen,
            [("0.95 of the best peer or less", Some(true)), ("0.85 of HAProxy or less", Some(false))]
        );
        assert_eq!(verdicts[0].figure, "CPU us / request");
    }

    #[test]
    fn throughput_is_better_when_it_is_higher() {
        let [work] = Work::named("bulk-10m-4")[..] else { panic!("one work") };
        for (requests, is_met) in [(20, true), (19, false)] {
            let cells = [("ringway", requests), ("haproxy", 20), ("nginx", 10)]
                .map(|(proxy, requests)| cell(&work, proxy, requests, 1));
            let verdicts = verdicts(&Results::new(&proxies(), &cells));
            let throughput = verdicts.iter().find(|verdict| verdict.figure == "GB/s").unwrap();
            assert_eq!(throughput.is_met, Some(is_met), "{requests}");
        }
    }

    #[test]
    fn without_a_valid_cell_there_is_no_verdict() {
        let [work] = Work::named("churn-32")[..] else { panic!("one work") };
        let mut cells = [("ringway", 1), ("nginx", 1)].map(|(proxy, cpu_ns)| cell(&work, proxy, 1, cpu_ns));
        cells[0].faults.push("1 reads failed".to_owned());
        let results = Results::new(&proxies(), &cells);
        let verdicts = verdicts(&results);
        assert!(!verdicts.is_empty());
        assert!(verdicts.iter().all(|verdict| verdict.is_met.is_none()), "{verdicts:?}");
        assert_eq!(results.faults, ["churn-32 ringway round 1: 1 reads failed"]);
    }

    #[test]
    fn memory_is_bounded_by_itself() {
        let [work] = Work::named("idle")[..] else { panic!("one work") };
        for (bytes_each, is_met) in [(2048, true), (2100, false)] {
            let mut cell = Cell::new(&work, "ringway");
            cell.memory = Some(cell::Memory { before: 0, with: 1000 * bytes_each, connections: 1000 });
            let verdicts = verdicts(&Results::new(&proxies(), &[cell]));
            assert_eq!(verdicts[0].is_met, Some(is_met), "{bytes_each}");
        }
    }
}
