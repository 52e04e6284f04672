//! Top: the backends of a ringway, live in the terminal.
//!
//! `view.rs` is what is shown and what keys do (pure), `draw.rs` puts it on the screen, `news.rs` is the thread that asks.

mod draw;
mod figures;
mod news;
mod view;

use std::io::{self, IsTerminal as _, Write as _};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::door::{Door, part};
use super::failure::Failure;
use news::News;
use view::{Step, View};

/// How long a key, a signal or news may wait to be seen.
const LOOK: Duration = Duration::from_millis(50);

/// How long it may take to leave.
const LEAVE: Duration = Duration::from_secs(1);

/// Shows the backends, in this interval anew, until somebody leaves. The terminal is as it was afterwards, also after a panic
/// or a signal.
///
/// # Errors
///
/// Nobody answers at the start, or there is no terminal.
pub fn top(door: Door, pool: Option<String>, interval: Duration) -> Result<(), Failure> {
    // Before the screen is taken: what is wrong stays readable.
    let first = news::look(&door)?;
    if let Some(pool) = &pool {
        door.get(&format!("/api/v1/pools/{}", part(pool)))?;
    }
    if !io::stdout().is_terminal() {
        let words = "top draws on a terminal, and standard output is none; try `ringway status`, or --json";
        return Err(Failure::Wrong(words.into()));
    }
    let no_terminal = |error: io::Error| {
        Failure::Wrong(format!("the terminal cannot be drawn on: {error}; try `ringway status`"))
    };
    let asked_to_leave = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&asked_to_leave)).map_err(no_terminal)?;
    }
    let leaving = Arc::clone(&asked_to_leave);
    thread::Builder::new().name("leave".into()).spawn(move || leave_anyway(&leaving)).map_err(no_terminal)?;
    let mut view = View::new(door.address().to_string(), pool);
    view.take(News::Figures(Box::new(first)), Duration::ZERO);
    // Has a panic restore the terminal, too.
    let terminal = ratatui::try_init().map_err(no_terminal)?;
    let ended = run(terminal, door, view, interval, &asked_to_leave);
    ratatui::restore();
    ended.map_err(|error| Failure::Output(format!("the terminal is gone: {error}")))
}

/// Ends the process when it was asked to leave and does not. Of a terminal that is gone crossterm reads one error after the
/// other and never comes back from it, so the signal that says so would not be seen, and a core would be busy for ever.
fn leave_anyway(asked_to_leave: &AtomicBool) {
    while !asked_to_leave.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
    }
    thread::sleep(LEAVE);
    process::exit(1);
}

fn run(
    mut terminal: DefaultTerminal,
    door: Door,
    mut view: View,
    interval: Duration,
    asked_to_leave: &AtomicBool,
) -> io::Result<()> {
    let (order, orders) = mpsc::channel();
    let (tell, news) = mpsc::channel();
    // Not joined: it may be waiting for an answer when somebody leaves, and holds nothing that has to be put back.
    thread::Builder::new().name("news".into()).spawn(move || news::fetch(&door, interval, &orders, &tell))?;
    let mut seen = Instant::now();
    let mut heard = seen;
    let mut is_stale = true;
    while !asked_to_leave.load(Ordering::Relaxed) {
        loop {
            match news.try_recv() {
                Ok(one) => {
                    let now = Instant::now();
                    let apart = now - seen;
                    if matches!(one, News::Figures(_)) {
                        seen = now;
                    }
                    heard = now;
                    view.take(one, apart);
                    is_stale = true;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    return Err(io::Error::other("the thread that asks has ended"));
                }
            }
        }
        is_stale |= view.wait(heard.elapsed(), interval);
        if std::mem::take(&mut is_stale) {
            terminal.draw(|frame| draw::draw(frame, &mut view))?;
        }
        if !event::poll(LOOK)? {
            continue;
        }
        is_stale = true;
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => match view.on_key(key) {
                Step::Stay => {}
                Step::Order(wanted) => drop(order.send(wanted)),
                Step::Quit => return Ok(()),
            },
            _ => {}
        }
    }
    Ok(())
}

/// The same for scripts: a line of JSON in this interval, until it is ended.
///
/// # Errors
///
/// Nobody answers, or there is no such pool.
pub fn stream(door: &Door, pool: Option<&str>, interval: Duration) -> Result<(), Failure> {
    loop {
        let next = Instant::now() + interval;
        let mut line = String::from("{");
        for what in ["info", "listeners", "pools"] {
            let of_one = pool.filter(|_| what == "pools");
            let path = of_one.map_or_else(|| what.to_owned(), |pool| format!("pools/{}", part(pool)));
            let body = door.get(&format!("/api/v1/{path}"))?;
            let comma = if line.len() > 1 { "," } else { "" };
            let json = String::from_utf8_lossy(&body);
            // One pool is a list, too: whoever reads it needs not know how it was asked for.
            let json = if of_one.is_some() { format!("[{}]", json.trim()) } else { json.trim().to_owned() };
            line += &format!("{comma}\"{what}\":{json}");
        }
        line += "}\n";
        match io::stdout().write_all(line.as_bytes()) {
            Ok(()) => thread::sleep(next.saturating_duration_since(Instant::now())),
            // Whoever has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => {
                return Err(Failure::Output(format!("standard output: cannot be written: {error}")));
            }
        }
    }
}
