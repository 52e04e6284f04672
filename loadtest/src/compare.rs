//! Compares balancing algorithms by measured latency: the same arrivals and the same backends, ringway once with each
//! algorithm in front of them.
//!
//! Read [`run`] first. Everything is made anew for each trial, so that no algorithm meets what another has left: backends,
//! ringway, connections. In one round every algorithm gets the same arrivals and the same dice for its backends; rounds
//! differ, and the order within a round is shuffled.

mod fleet;
mod hgrm;
mod page;
mod plan;
mod progress;
mod ramp;
mod record;
mod result;
mod scenario;
mod service;
mod statistics;
mod summary;
mod table;
mod trial;
mod units;
mod verdict;

use std::{
    io::{self, Write},
    process::ExitCode,
};

pub(crate) use self::{
    page::draw_anew,
    plan::{ALGORITHMS, Backends, Pace, Plan},
    scenario::Scenario,
};
use self::{
    progress::Progress,
    record::Record,
    result::{About, Comparison},
    summary::Summary,
    trial::{Gave, Trial},
};
use crate::{
    descriptors,
    dice::{Dice, mix},
    interrupt::Stop,
    machine,
};

/// Measures all of the plan, then prints and keeps the results. Fails if no session at all was answered.
pub(crate) fn run(plan: &Plan) -> io::Result<ExitCode> {
    let stop = Stop::on_signals()?;
    machine::has(&plan.ringway)?;
    // A session is a connection of the client, and one of the backend.
    let descriptors = 2 * plan.sessions_max as u64 + trial::known(plan).len() as u64;
    descriptors::reserve("--sessions-max, counted twice", descriptors, THREADS).map_err(io::Error::other)?;
    trial::check(plan)?;
    let mut record = Record::create(plan)?;
    let (text, has_answers) = match plan.pace {
        Pace::Rate(rate) => {
            let (comparison, failure) = compare(plan, rate, &stop, &mut record)?;
            record.keep(&comparison)?;
            if let Some(error) = failure {
                let folder = record.folder().display();
                return Err(io::Error::other(format!(
                    "{error}\nwhat was measured before is kept in {folder}"
                )));
            }
            let text =
                if plan.json { record.json(&comparison)? } else { table::all(&comparison, record.folder()) };
            (text, comparison.algorithms.iter().any(|one| one.session.count > 0))
        }
        Pace::Ramp { .. } => {
            let ramp = ramp::measure(plan, &stop, &mut record)?;
            record.keep_ramp(&ramp)?;
            let text = if plan.json { record.json(&ramp)? } else { ramp::text(&ramp, record.folder()) };
            (text, ramp.has_answers())
        }
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(match (stop.is_set(), has_answers) {
        (true, _) => ExitCode::from(crate::EXIT_INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

/// Every algorithm in every round. Interrupted, or when something fails, it makes do with the rounds that are complete, and
/// gives the failure beside them.
fn compare(
    plan: &Plan,
    rate: f64,
    stop: &Stop,
    record: &mut Record,
) -> io::Result<(Comparison, Option<io::Error>)> {
    let known = trial::known(plan);
    let mut progress = Progress::new(plan.repeats * plan.algorithms.len());
    let mut summaries: Vec<_> =
        plan.algorithms.iter().map(|algorithm| Summary::new(algorithm, &known, plan)).collect();
    let mut failure = None;
    'rounds: for round in 0..plan.repeats {
        let seed = mix(plan.seed ^ mix(round as u64));
        let mut gave: Vec<Option<Gave>> = plan.algorithms.iter().map(|_| None).collect();
        for index in shuffled(plan.algorithms.len(), seed) {
            let trial = Trial { algorithm: &plan.algorithms[index], rate, seed };
            let measured = trial.measure(plan, record.scratch(), stop);
            if stop.is_set() {
                break 'rounds;
            }
            let measured = match measured {
                Ok(measured) => measured,
                Err(error) => {
                    failure = Some(error);
                    break 'rounds;
                }
            };
            progress.measured(round, trial.algorithm, &measured.outcome.tally);
            record.add(round, &trial, &measured)?;
            gave[index] = Some(measured);
        }
        for (summary, gave) in summaries.iter_mut().zip(gave) {
            summary.add(round, &gave.expect("the round is complete"));
        }
    }
    let mut algorithms = Vec::new();
    for (algorithm, summary) in plan.algorithms.iter().zip(summaries) {
        if let Some(tally) = summary.tally() {
            record.distributions(algorithm, tally)?;
        }
        algorithms.push(summary.finish());
    }
    let comparison = Comparison {
        about: about(plan, rate, record.at(), stop.is_set() || failure.is_some()),
        backends: known.into_iter().map(|known| known.name).collect(),
        verdict: verdict::verdict(&algorithms),
        algorithms,
    };
    Ok((comparison, failure))
}

fn about(plan: &Plan, rate: f64, at: &str, interrupted: bool) -> About {
    let (description, events) = match &plan.backends {
        Backends::Modelled(scenario) => {
            (scenario.description.clone(), summary::events(scenario, plan.duration))
        }
        Backends::Real { addresses, .. } => {
            (format!("{} servers that run already.", addresses.len()), Vec::new())
        }
    };
    About {
        at: at.to_owned(),
        command: machine::command_line(),
        scenario: plan.name().to_owned(),
        description,
        events,
        ringway: machine::version(&plan.ringway),
        machine: machine::describe(),
        rate_per_s: rate,
        arrivals: plan.arrivals.to_string(),
        duration_s: plan.duration.as_secs_f64(),
        warm_up_s: plan.warm_up.as_secs_f64(),
        repeats: plan.repeats,
        seed: plan.seed,
        interrupted,
    }
}

/// The numbers below `count` in an order that the seed decides.
fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut dice = Dice::new(mix(seed));
    let mut order: Vec<(f64, usize)> = (0..count).map(|index| (dice.unit(), index)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    order.into_iter().map(|(_, index)| index).collect()
}

/// Generator and backends.
const THREADS: u64 = 2;
