//! All cells put together: for each work and figure, what each proxy gave.

use super::{
    cell::Cell,
    figure::{Better, Figure},
    proxy::Proxy,
    series::Series,
    work::{self, Work},
};

/// The figures of a run.
#[derive(Debug)]
pub(super) struct Results {
    /// By their place in every row.
    pub(super) proxies: Vec<Proxy>,
    /// In the order of the works and their figures; none without any value.
    pub(super) rows: Vec<Row>,
    /// What was not valid, in words.
    pub(super) faults: Vec<String>,
    /// How quiet the proxies' core was.
    pub(super) noise: Option<Noise>,
}

/// One figure of one work.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) work: Work,
    pub(super) figure: Figure,
    /// Of each proxy.
    pub(super) series: Vec<Series>,
    /// Cells of each proxy that were not valid.
    pub(super) invalid: Vec<usize>,
}

impl Noise {
    fn of(cells: &[Cell]) -> Option<Self> {
        let mut sum = (0, 0, 0.0);
        for cell in cells {
            let Some(load) = &cell.load else { continue };
            sum.0 += cell.stolen_ticks.unwrap_or(0);
            sum.1 += cell.waited_ns.unwrap_or(0);
            sum.2 += load.seconds;
        }
        let (ticks, waited_ns, seconds) = sum;
        // A tick is a hundredth of a second.
        (seconds > 0.0).then(|| Self {
            stolen_percent: ticks as f64 / seconds,
            waited_percent: waited_ns as f64 / 1e7 / seconds,
        })
    }
}

impl Row {
    fn new(work: Work, figure: Figure, proxies: &[Proxy], of_work: &[&Cell], rounds: usize) -> Self {
        let mut row = Self { work, figure, series: Vec::new(), invalid: Vec::new() };
        for proxy in proxies {
            let (mut values, mut invalid) = (vec![None; rounds], 0);
            for cell in of_work.iter().filter(|cell| cell.proxy == proxy.name()) {
                values[cell.round] = figure.value(&work, cell);
                invalid += usize::from(!cell.is_valid());
            }
            row.series.push(Series(values));
            row.invalid.push(invalid);
        }
        row
    }
}

/// Shares of the measured time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Noise {
    /// The machine below had the core.
    pub(super) stolen_percent: f64,
    /// The proxy could have run, but another process had the core.
    pub(super) waited_percent: f64,
}

/// Who is asked for the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Against {
    /// Every peer.
    Peers,
    /// HAProxy, with and without splice.
    HaProxy,
}

impl Results {
    pub(super) fn new(proxies: &[Proxy], cells: &[Cell]) -> Self {
        let mut rows = Vec::new();
        for work in work::ALL {
            let of_work: Vec<_> = cells.iter().filter(|cell| cell.work == work.name).collect();
            let rounds = of_work.iter().map(|cell| cell.round + 1).max().unwrap_or(0);
            for &figure in Figure::of(&work) {
                let row = Row::new(work, figure, proxies, &of_work, rounds);
                let is_known = row.series.iter().any(|series| series.spread().is_some());
                // A figure that nobody has, such as cycles that are not counted, is no row; cells that all failed are.
                if is_known || (rounds > 0 && figure == Figure::of(&work)[0]) {
                    rows.push(row);
                }
            }
        }
        let faults = cells.iter().flat_map(|cell| {
            let place = format!("{} {} round {}", cell.work, cell.proxy, cell.round + 1);
            cell.faults.iter().map(move |fault| format!("{place}: {fault}"))
        });
        Self { proxies: proxies.to_vec(), rows, faults: faults.collect(), noise: Noise::of(cells) }
    }

    /// Whether every cell was.
    pub(super) fn is_valid(&self) -> bool {
        self.faults.is_empty()
    }

    /// The row of a work, if it was measured.
    pub(super) fn row(&self, work: &str, figure: Figure) -> Option<&Row> {
        self.rows.iter().find(|row| row.work.name == work && row.figure == figure)
    }

    /// The peer with the best median, by its place.
    pub(super) fn best(&self, row: &Row, against: Against) -> Option<usize> {
        let better = row.figure.better()?;
        let medians =
            self.proxies.iter().zip(&row.series).enumerate().filter_map(|(index, (proxy, series))| {
                let takes_part = match against {
                    Against::Peers => proxy.is_peer(),
                    Against::HaProxy => proxy.name().starts_with("haproxy") && proxy.is_peer(),
                };
                let median = series.spread()?.median;
                takes_part.then_some((index, median))
            });
        let best = match better {
            Better::Lower => medians.min_by(|a, b| a.1.total_cmp(&b.1)),
            Better::Higher => medians.max_by(|a, b| a.1.total_cmp(&b.1)),
        };
        best.map(|(index, _)| index)
    }

    /// The builds and settings of ringway, by their places.
    pub(super) fn ringways(&self) -> Vec<usize> {
        let proxies = self.proxies.iter().enumerate();
        proxies.filter(|(_, proxy)| !proxy.is_peer()).map(|(index, _)| index).collect()
    }
}
