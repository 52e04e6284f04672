//! The ramp: at which rate does it break? The rate climbs step by step until an algorithm does not hold any more.

use std::{io, path::Path};

use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use super::{
    about,
    plan::Plan,
    progress::Progress,
    record::Record,
    result::{About, Times},
    shuffled,
    summary::times,
    table::{PLAIN, late},
    trial::Trial,
    units::time,
};
use crate::{dice::mix, interrupt::Stop};

/// What a ramp gave.
#[derive(Debug, Serialize)]
pub(super) struct Ramp {
    about: About,
    /// Sessions a second at each step.
    rates: Vec<f64>,
    algorithms: Vec<Climb>,
}

impl Ramp {
    /// Whether any session was answered.
    pub(super) fn has_answers(&self) -> bool {
        self.algorithms.iter().flat_map(|climb| &climb.steps).any(|step| step.session.count > 0)
    }
}

/// How far an algorithm came.
#[derive(Debug, Serialize)]
struct Climb {
    algorithm: String,
    /// The last rate that held, of each repeat; 0 if not even the first did.
    knees: Vec<f64>,
    /// Every step that was tried.
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Serialize)]
struct Step {
    round: usize,
    rate_per_s: f64,
    achieved_per_s: f64,
    failed: u64,
    session: Times,
    /// How late the generator itself was, p99.
    late_p99_us: f64,
    holds: bool,
}

/// Every algorithm in every round, from the lowest rate up to the first that it does not hold.
pub(super) fn measure(plan: &Plan, stop: &Stop, record: &mut Record) -> io::Result<Ramp> {
    let rates = plan.rates();
    let mut climbs: Vec<_> = plan
        .algorithms
        .iter()
        .map(|algorithm| Climb { algorithm: algorithm.clone(), knees: Vec::new(), steps: Vec::new() })
        .collect();
    let mut progress = Progress::new(plan.repeats * rates.len() * climbs.len());
    'rounds: for round in 0..plan.repeats {
        let seed = mix(plan.seed ^ mix(round as u64));
        for index in shuffled(climbs.len(), seed) {
            let climb = &mut climbs[index];
            let mut knee = 0.0;
            let mut calm_us = None;
            for (at, &rate) in rates.iter().enumerate() {
                let trial = Trial { algorithm: &climb.algorithm, rate, seed };
                let measured = trial.measure(plan, record.scratch(), stop);
                if stop.is_set() {
                    break 'rounds;
                }
                let gave = measured?;
                record.add(round, &trial, &gave)?;
                let tally = &gave.outcome.tally;
                progress.measured(round, &format!("{} at {rate:.0}/s", climb.algorithm), tally);
                let window_s = gave.outcome.window.as_secs_f64();
                let (session, failed) = (times(&tally.request), tally.failed_total() + tally.not_sent);
                let achieved_per_s = tally.done_in_window as f64 / window_s;
                let offered_per_s = gave.planned as f64 / window_s;
                let calm_us = *calm_us.get_or_insert(session.p99);
                let late_p99_us = tally.late.value_at_quantile(0.99) as f64 / 1e3;
                let holds = failed == 0
                    && session.count > 0
                    && achieved_per_s >= ACHIEVED_LEAST * offered_per_s
                    && session.p99 <= P99_RISE_MAX * calm_us;
                climb.steps.push(Step {
                    round,
                    rate_per_s: rate,
                    achieved_per_s,
                    failed,
                    session,
                    late_p99_us,
                    holds,
                });
                if !holds {
                    progress.skip(rates.len() - 1 - at);
                    break;
                }
                knee = rate;
            }
            climb.knees.push(knee);
        }
    }
    let about = about(plan, rates[0], record.at(), stop.is_set());
    Ok(Ramp { about, rates, algorithms: climbs })
}

/// For the terminal and the file.
pub(super) fn text(ramp: &Ramp, folder: &Path) -> String {
    let mut table = Table::new();
    table.load_style(PLAIN);
    let mut head = vec!["algorithm".to_owned(), "holds up to".to_owned()];
    head.extend(ramp.rates.iter().map(|rate| format!("{rate:.0}/s")));
    table.set_header(head);
    for climb in &ramp.algorithms {
        let mut row = vec![climb.algorithm.clone(), knees(&climb.knees)];
        row.extend(ramp.rates.iter().map(|rate| at(climb, *rate)));
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let about = &ramp.about;
    let interrupted = if about.interrupted { "\nInterrupted: not all was measured.\n" } else { "" };
    format!(
        "{}: {}\n{} repeats of {} s at each rate, after {} s of warm-up; seed {}; {}\n{interrupted}\n{}\n\n\
         p99 of a session at each rate, middle of the repeats. A rate holds if nothing fails, {:.0} % of what was offered is\n\
         achieved, and p99 is no more than {P99_RISE_MAX} times that at the first rate; ! marks where it did not.\n\n\
         {}kept in {}\n",
        about.scenario,
        about.description,
        about.repeats,
        about.duration_s,
        about.warm_up_s,
        about.seed,
        about.machine,
        table.trim_fmt(),
        ACHIEVED_LEAST * 100.0,
        late(ramp.algorithms.iter().flat_map(|climb| &climb.steps).map(|step| step.late_p99_us)),
        folder.display()
    )
}

fn knees(knees: &[f64]) -> String {
    let least = knees.iter().copied().fold(f64::INFINITY, f64::min);
    let most = knees.iter().copied().fold(0.0, f64::max);
    let word = |knee: f64| if knee > 0.0 { format!("{knee:.0}/s") } else { "none".to_owned() };
    match (knees.is_empty(), least.total_cmp(&most)) {
        (true, _) => "-".to_owned(),
        (false, std::cmp::Ordering::Equal) => word(most),
        (false, _) => format!("{} to {}", word(least), word(most)),
    }
}

fn at(climb: &Climb, rate: f64) -> String {
    let mut steps: Vec<_> = climb.steps.iter().filter(|step| step.rate_per_s == rate).collect();
    steps.sort_by(|a, b| a.session.p99.total_cmp(&b.session.p99));
    let Some(middle) = steps.get(steps.len() / 2) else { return "-".to_owned() };
    let mark = if steps.iter().all(|step| step.holds) { "" } else { " !" };
    format!("{}{mark}", time(middle.session.p99))
}

const ACHIEVED_LEAST: f64 = 0.95;
const P99_RISE_MAX: f64 = 10.0;
