//! The rate of the open loop: a share of what the best peer can carry at most, measured right before.

use std::io;

use super::{
    cell::Cell,
    progress::Progress,
    record::Record,
    series::Series,
    stage::Stage,
    work::{self, Work},
};

/// Measures every peer, in turns, takes the best by its median, and of that the largest share at which the generator
/// keeps up. `None` without a peer that gave any.
pub(super) fn settle(
    stage: &mut Stage<'_>,
    rounds: usize,
    progress: &mut Progress,
    record: &mut Record,
) -> io::Result<Option<f64>> {
    let open = work::ALL.into_iter().find(Work::is_open).expect("it is one of them");
    let mut keep = |cell: Cell| {
        progress.measured(&cell);
        record.add(&cell)?;
        Ok::<Cell, io::Error>(cell)
    };
    let Some((best, top)) = top(stage, &open, rounds, &mut keep)? else {
        record.note("open loop: no rate, as no peer gave a top rate");
        return Ok(None);
    };
    let mut share = SHARES[0];
    let mut is_kept = false;
    for tried in SHARES {
        share = tried;
        let cell = keep(stage.measure_open(&open, best, share * top)?)?;
        is_kept = keeps_up(&cell);
        if is_kept || stage.is_stopped() {
            break;
        }
    }
    let why = match (is_kept, share < SHARES[0]) {
        (true, false) => "",
        (true, true) => "; with more the generator, which shares its core with the backend, is late",
        (false, _) => "; the generator, which shares its core with the backend, is late even then",
    };
    let (rate, percent) = (share * top, share * 100.0);
    record.note(&format!(
        "open loop: {rate:.0} requests/s, {percent:.0} % of {top:.0}, the top rate of {}{why}",
        stage.name(best)
    ));
    Ok(Some(rate))
}

/// The best peer and its top rate.
fn top(
    stage: &mut Stage<'_>,
    open: &Work,
    rounds: usize,
    keep: &mut impl FnMut(Cell) -> io::Result<Cell>,
) -> io::Result<Option<(usize, f64)>> {
    let peers = stage.peers();
    let mut tops = vec![Series(Vec::new()); peers.len()];
    for round in 0..rounds.min(ROUNDS_MAX) {
        for (index, &peer) in peers.iter().enumerate() {
            if stage.is_stopped() {
                return Ok(None);
            }
            let mut cell = stage.measure_top(open, peer)?;
            cell.round = round;
            let cell = keep(cell)?;
            let load = cell.load.as_ref().filter(|load| cell.is_valid() && load.seconds > 0.0);
            tops[index].0.push(load.map(|load| load.requests as f64 / load.seconds));
        }
    }
    let medians = peers.iter().zip(&tops).filter_map(|(&peer, tops)| Some((peer, tops.spread()?.median)));
    Ok(medians.max_by(|a, b| a.1.total_cmp(&b.1)))
}

/// Its lateness is part of every time it takes. A stall of the machine makes some requests late at any rate, so it is
/// seen against those times.
fn keeps_up(cell: &Cell) -> bool {
    let Some(load) = cell.load.as_ref().filter(|_| cell.is_valid()) else { return false };
    let is_small = |late: Option<f64>, all: Option<f64>| {
        late.zip(all).is_some_and(|(late, all)| late <= all * LATE_SHARE_MAX)
    };
    is_small(load.late_p50_us, load.p50_us) && is_small(load.late_p99_us, load.p99_us)
}

/// How many cells of [`settle`] there will be, at least.
pub(super) fn cells(peers: usize, rounds: usize) -> usize {
    peers * rounds.min(ROUNDS_MAX) + 1
}

const SHARES: [f64; 5] = [0.7, 0.6, 0.5, 0.4, 0.3];
const LATE_SHARE_MAX: f64 = 0.35;
const ROUNDS_MAX: usize = 3;
