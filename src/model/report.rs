//! Report: what the algorithms made of the same scenario, as a table.

use std::fmt::Write;
use std::time::Duration;

use super::scenario::{Plan, Scenario};
use super::world::{Run, run};
use crate::config::{Algorithm, Choice};
use crate::status::nanos;

/// Runs each algorithm and writes a line for each, and a head above them. `told` hears of each before it begins.
pub fn table(
    scenario: Scenario,
    algorithms: &[Algorithm],
    length: Duration,
    seed: u64,
    told: impl Fn(Algorithm),
) -> String {
    let plan = scenario.plan(length);
    let mut text = head(scenario, &plan);
    for &algorithm in algorithms {
        told(algorithm);
        line(&mut text, &plan, algorithm, &run(&plan, algorithm, seed));
    }
    text
}

fn head(scenario: Scenario, plan: &Plan) -> String {
    let mut text = format!(
        "{}: {} backends, {:.0} sessions a second for {} s\n",
        scenario.word(),
        plan.backends.len(),
        plan.rate,
        plan.length.as_secs()
    );
    let troubled = if plan.troubled > 0 { "  TROUBLED" } else { "" };
    let _ = writeln!(
        text,
        "{:<20}  {:>7}  {:>7}  {:>7}  {:>7}  {:>6}  {:>6}{troubled}",
        "ALGORITHM", "P50", "P99", "P99.9", "MAX", "MOST", "FAILED"
    );
    text
}

fn line(text: &mut String, plan: &Plan, algorithm: Algorithm, run: &Run) {
    let at = |quantile| nanos(run.latencies.value_at_quantile(quantile));
    let _ = write!(
        text,
        "{:<20}  {:>7}  {:>7}  {:>7}  {:>7}  {:>6}  {:>6}",
        algorithm.word(),
        at(0.5),
        at(0.99),
        at(0.999),
        nanos(run.latencies.max()),
        run.most_active,
        run.failed
    );
    if plan.troubled > 0 {
        let picks = run.picks.iter().filter(|(_, backend)| *backend < plan.troubled).count();
        let _ = write!(text, "  {:>7.2}%", 100.0 * picks as f64 / run.picks.len() as f64);
    }
    text.push('\n');
}
