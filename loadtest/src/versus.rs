//! Compares ringway with other proxies: the same backends, the same requests, one after another within one run.
//!
//! Read [`run`] first. Every proxy is started once and runs through the whole comparison: one that nobody talks to costs
//! nothing, and none is measured with a cold start. Only what the idle connections cost in memory is asked of a fresh one,
//! because memory that was once taken is not always given back.

mod backends;
mod cell;
mod counters;
mod cpu;
mod datagrams;
mod figure;
mod generator;
mod header;
mod http;
mod idle;

mod memory;

mod plan;

mod progress;
mod proxy;
mod rate;
mod record;
mod results;
mod series;
mod stage;
mod table;
mod target;
mod tools;
mod work;
mod wrk;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use self::{
    cell::Cell, header::Header, progress::Progress, record::Record, results::Results, stage::Stage,
    tools::Tools,
};
pub(crate) use self::{
    plan::{Peer, Plan, Ringway},
    work::{Work, all as all_works},
};
use crate::interrupt::Stop;

/// Measures all of the plan, then prints and keeps the tables. Fails if a cell is not valid.
pub(crate) fn run(plan: &Plan) -> io::Result<ExitCode> {
    let stop = Stop::on_signals()?;
    let tools = Tools::find(plan)?;
    let header = Header::new(plan, &tools)?;
    let mut record = Record::create(plan.out.as_deref(), &header)?;
    let mut cells = Vec::new();
    let measured = measure(plan, &tools, &stop, &mut record, &mut cells);
    let results = Results::new(&tools.proxies, &cells);
    let text = record.keep(&header, &results, stop.is_set())?;
    io::stdout().write_all(text.as_bytes())?;
    // After the tables: what was measured until then is still worth something.
    if !stop.is_set() {
        measured?;
    }
    Ok(match (stop.is_set(), results.is_valid()) {
        (true, _) => ExitCode::from(crate::EXIT_INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

/// Every cell: for each work, for each round, each proxy, in an order that turns by one from round to round. Ends early
/// when interrupted.
fn measure(
    plan: &Plan,
    tools: &Tools,
    stop: &Stop,
    record: &mut Record,
    cells: &mut Vec<Cell>,
) -> io::Result<()> {
    let mut stage = Stage::build(plan, tools, stop)?;
    let mut progress = Progress::new(plan, tools);
    for work in &plan.works {
        let rate =
            if work.is_open() { rate::settle(&mut stage, plan.rounds, &mut progress, record)? } else { None };
        for round in 0..plan.rounds {
            for turn in 0..tools.proxies.len() {
                let proxy = (round + turn) % tools.proxies.len();
                if stop.is_set() {
                    return Ok(());
                }
                let mut cell = stage.measure(work, proxy, rate)?;
                cell.round = round;
                // One that was cut short is neither good nor bad.
                if stop.is_set() {
                    return Ok(());
                }
                progress.measured(&cell);
                record.add(&cell)?;
                cells.push(cell);
            }
        }
    }
    Ok(())
}
