//! The page of a comparison: one HTML file with everything in it, which needs no network and no script.
//!
//! Charts are SVG inside the page, drawn here: so all colours, the dark ones too, are variables of one style sheet.

mod curves;
mod dots;
mod drawing;
mod entry;
mod number;
mod over_time;
mod scale;
mod shares;
mod tables;

use std::{fs, io, path::Path};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::entry::Entry;
use super::result::{About, Comparison};

/// The page of a result that was kept as JSON.
pub(crate) fn draw_anew(result: &Path) -> io::Result<String> {
    let name = result.display();
    let text = fs::read(result).map_err(|error| io::Error::other(format!("{name}: {error}")))?;
    let comparison = serde_json::from_slice(&text).map_err(|error| {
        io::Error::other(format!("{name}: not a result that loadtest compare has kept: {error}"))
    })?;
    Ok(render(&comparison))
}

/// All of it. What comes from outside is escaped by the templates.
pub(crate) fn render(comparison: &Comparison) -> String {
    let Comparison { about, backends, verdict, .. } = comparison;
    let entries = Entry::ranked(comparison);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Balancing algorithms compared: " (about.scenario) }
                // Or the browser asks the server, or the folder, for one.
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        p.eyebrow { "ringway · balancing algorithms compared by measured latency" }
                        h1 { (about.scenario) }
                        @if !about.description.is_empty() { p.description { (about.description) } }
                        p.verdict { (verdict) }
                        (chips(about, backends.len()))
                        (warnings(about, &entries))
                    }
                    (tables::sessions(&entries))
                    (dots::figure(&entries))
                    (curves::figure(&entries))
                    (over_time::figure(&entries, about))
                    (shares::figure(&entries, backends))
                    (tables::rest(&entries))
                    (how_to_read(about))
                    (what_was_done(about))
                }
                footer { "Made by loadtest compare. loadtest page draws it anew from the JSON that was kept." }
            }
        }
    }
    .into_string()
}

/// The chart of percentiles as a file by itself, for pages of others. `None` if no session was answered.
pub(crate) fn picture(comparison: &Comparison) -> Option<String> {
    curves::picture(&Entry::ranked(comparison), STYLE).map(Markup::into_string)
}

fn chips(about: &About, backends: usize) -> Markup {
    html! {
        ul.chips {
            li { (number::rate(about.rate_per_s)) " sessions/s, " (about.arrivals) }
            li { (number::count(backends, "backend")) }
            li { (number::count(about.repeats, "repeat")) " of " (number::seconds(about.duration_s)) }
            li { "warm-up " (number::seconds(about.warm_up_s)) }
            li { "seed " (about.seed) }
            @if !about.at.is_empty() { li { (about.at) } }
        }
    }
}

/// What a reader must know before believing anything below.
fn warnings(about: &About, entries: &[Entry]) -> Markup {
    let late = entries.iter().filter(|entry| entry.is_generator_late());
    let late: Vec<&str> = late.map(|entry| entry.name()).collect();
    let failed = entries.iter().filter(|entry| entry.measured.failed > 0);
    let failed: Vec<&str> = failed.map(|entry| entry.name()).collect();
    html! {
        @if about.interrupted {
            p.warning { strong { "Interrupted. " } "There are fewer repeats than were asked for." }
        }
        @if !late.is_empty() {
            p.warning {
                strong { "The generator itself was late. " }
                "Its own p99 is more than a tenth of what was measured with " (late.join(", "))
                ": those figures say more about the machine than about the algorithm."
            }
        }
        @if !failed.is_empty() {
            p.warning {
                strong { "Sessions failed " } "with " (failed.join(", "))
                ". Times are those of the sessions that were answered; the failed ones are counted in the table."
            }
        }
    }
}

fn how_to_read(about: &About) -> Markup {
    html! {
        section {
            h2 { "How to read this" }
            ul.prose {
                li {
                    "A session is one connection through ringway, with one request and its reply. Times count from when "
                    "the session was due, not from when it could be begun: what has to wait behind a stall counts in full."
                }
                li {
                    "p99 is the time that 99 of 100 sessions did not exceed. The slow ones are where algorithms differ: "
                    "medians are often alike."
                }
                li {
                    "Every algorithm got the same arrivals in the same round"
                    @if about.repeats > 1 { ", and each round had the algorithms in another order" }
                    ". The interval says where p99 lies with 95 % confidence over the repeats. Whether two algorithms "
                    "differ is what the sentence at the top says: it compares them round by round, which can tell even "
                    "where intervals overlap."
                }
                li {
                    "Jain's fairness index is 1 if every backend served its part by weight, and 1/n if one of n served "
                    "all. Even is not the aim in itself: to send less to a backend that is slow is often right."
                }
                li { "This is one machine and one kind of load. Run it with your own rate and backends before you choose." }
            }
        }
    }
}

fn what_was_done(about: &About) -> Markup {
    html! {
        section {
            h2 { "What was done" }
            dl {
                dt { "Command" } dd { code { (about.command) } }
                dt { "Scenario" } dd { (about.scenario) @if !about.description.is_empty() { ": " (about.description) } }
                dt { "Events" }
                dd {
                    @if about.events.is_empty() { "none" }
                    @for (index, event) in about.events.iter().enumerate() {
                        @if index > 0 { "; " }
                        (number::span(event)) " " (event.what)
                    }
                }
                dt { "Load" }
                dd { (number::rate(about.rate_per_s)) " sessions/s, " (about.arrivals) " arrivals, seed " (about.seed) }
                dt { "Measured" }
                dd {
                    (number::seconds(about.duration_s)) " for each algorithm in each of "
                    (number::count(about.repeats, "repeat")) ", after " (number::seconds(about.warm_up_s)) " of warm-up"
                    @if about.interrupted { "; interrupted" }
                }
                dt { "ringway" } dd { (about.ringway) }
                dt { "Machine" } dd { (about.machine) }
                dt { "Begun" } dd { (about.at) }
            }
        }
    }
}

const STYLE: &str = include_str!("page/style.css");

#[cfg(test)]
mod tests;
