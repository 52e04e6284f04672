//! What a reader of the page finds in it, whatever the figures and names are.

use scraper::{Html, Selector};

use super::*;
use crate::compare::result::{Measured, Times};

#[test]
fn every_algorithm_and_backend_is_in_every_part_that_compares() {
    let comparison = sample();
    let page = parse(&comparison);
    for part in ["#sessions", "#percentiles", "#over-time", "#shares", "#rest"] {
        let text = text(&page, part);
        for measured in &comparison.algorithms {
            assert!(text.contains(&measured.algorithm), "{part} does not name {}", measured.algorithm);
        }
    }
    for backend in &comparison.backends {
        assert!(text(&page, "#shares").contains(backend), "{backend}");
    }
    let header = text(&page, "header");
    assert!(header.contains(&comparison.verdict), "{header}");
    let about = &comparison.about;
    let whole = text(&page, "main");
    for said in [&about.command, &about.machine, &about.ringway, &about.at, &about.events[0].what] {
        assert!(whole.contains(said.as_str()), "{said}");
    }
}

#[test]
fn the_lowest_p99_is_at_the_top_and_the_best_of_a_column_is_bold() {
    let page = parse(&sample());
    let selector = Selector::parse("#sessions tbody tr").unwrap();
    let rows: Vec<String> =
        page.select(&selector).map(|row| row.text().collect::<Vec<_>>().join("|")).collect();
    assert!(rows[0].starts_with("peak-ewma|0.306|0.443|0.641|0.614–0.669|1.00|7.71|20.0|0"), "{}", rows[0]);
    assert!(rows[8].starts_with("maglev|"), "{}", rows[8]);
    let best = Selector::parse("#sessions .best").unwrap();
    let best: Vec<String> = page.select(&best).map(|cell| cell.text().collect()).collect();
    assert_eq!(best, ["0.306", "0.443", "0.641", "7.71", "20.0"]);
}

#[test]
fn what_comes_from_outside_is_text_and_nothing_else() {
    let evil = "</script></style><b id='evil'>&\"'";
    let mut comparison = sample();
    comparison.algorithms[0].algorithm = evil.to_owned();
    comparison.algorithms[1].failures = evil.to_owned();
    comparison.backends[0] = evil.to_owned();
    comparison.verdict = evil.to_owned();
    let about = &mut comparison.about;
    let event = &mut about.events[0].what;
    let from_outside = [
        event,
        &mut about.at,
        &mut about.command,
        &mut about.scenario,
        &mut about.description,
        &mut about.ringway,
    ];
    for text in from_outside.into_iter().chain([&mut about.machine, &mut about.arrivals]) {
        evil.clone_into(text);
    }
    let page = parse(&comparison);
    assert_eq!(page.select(&Selector::parse("b").unwrap()).count(), 0);
    assert_eq!(text(&page, ".verdict"), evil);
    assert!(text(&page, "title").contains(evil));
    for part in ["#sessions", "#shares", "#over-time", "#rest", "dl"] {
        assert!(text(&page, part).contains(evil), "{part}");
    }
}

#[test]
fn the_page_has_all_in_it_and_no_script() {
    let page = render(&sample());
    for foreign in ["http:", "https:", "url(", "@import", "<script", " src=", "srcset"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let hrefs: Vec<&str> =
        page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(
        !hrefs.is_empty() && hrefs.iter().all(|href| href.starts_with('#') || *href == "data:,"),
        "{hrefs:?}"
    );
}

#[test]
fn the_picture_stands_by_itself_and_there_is_none_of_nothing() {
    let comparison = sample();
    let picture = picture(&comparison).unwrap();
    assert!(picture.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{}", &picture[..80]);
    for foreign in ["https:", "url(", "@import", "<script", "href="] {
        assert!(!picture.contains(foreign), "{foreign}");
    }
    let parsed = Html::parse_fragment(&picture);
    assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
    let lines = Selector::parse("path.line").unwrap();
    assert_eq!(parsed.select(&lines).count(), comparison.algorithms.len());
    let nothing = Comparison { algorithms: vec![Measured::default()], ..comparison };
    assert!(super::picture(&nothing).is_none());
}

#[test]
fn every_chart_says_what_it_is() {
    let page = parse(&sample());
    let charts: Vec<_> = page.select(&Selector::parse("svg.chart").unwrap()).collect();
    // Two of each, for wide and for narrow; the small ones once for each algorithm.
    assert_eq!(charts.len(), 2 * 3 + 9);
    for chart in charts {
        assert_eq!(chart.attr("role"), Some("img"));
        assert!(chart.attr("aria-label").is_some_and(|label| label.len() > 20));
    }
    let captions = Selector::parse("figure > figcaption").unwrap();
    assert_eq!(page.select(&captions).count(), 4);
    assert!(text(&page, "#over-time figcaption").contains("Shaded: slow stalls, 8–12\u{a0}s."));
}

#[test]
fn one_algorithm_and_one_backend_are_a_page_too() {
    let mut comparison = sample();
    comparison.algorithms.truncate(1);
    comparison.algorithms[0].shares = vec![1.0];
    comparison.backends.truncate(1);
    let page = parse(&comparison);
    assert_eq!(page.select(&Selector::parse("#percentiles svg.wide path.line").unwrap()).count(), 1);
    assert!(text(&page, "#shares").contains("100\u{a0}%"));
    assert_eq!(page.select(&Selector::parse(".best").unwrap()).count(), 0, "one alone is not the best");
}

#[test]
fn charts_without_figures_are_left_out() {
    let mut comparison = sample();
    for measured in &mut comparison.algorithms {
        measured.over_time.clear();
    }
    assert!(parse(&comparison).select(&Selector::parse("#over-time").unwrap()).next().is_none());
    comparison.algorithms.clear();
    comparison.backends.clear();
    parse(&comparison);
}

#[test]
fn who_answered_nothing_has_dashes_and_is_last() {
    let mut comparison = sample();
    answer_nothing(&mut comparison.algorithms[4]);
    let page = parse(&comparison);
    let last = Selector::parse("#sessions tbody tr:last-child").unwrap();
    let last: String = page.select(&last).next().unwrap().text().collect();
    assert_eq!(last, "peak-ewma–––––––30000");
    assert!(text(&page, "#p99").contains("no session answered"));
    assert!(text(&page, "header").contains("Sessions failed with"), "{}", text(&page, "header"));

    comparison.algorithms.iter_mut().for_each(answer_nothing);
    let page = parse(&comparison);
    assert!(page.select(&Selector::parse("#p99, #percentiles, #over-time").unwrap()).next().is_none());
}

#[test]
fn no_number_that_is_none_gets_into_the_page() {
    for nothing in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut comparison = sample();
        let about = &mut comparison.about;
        (about.rate_per_s, about.duration_s, about.warm_up_s) = (nothing, nothing, nothing);
        (about.events[0].from_s, about.events[0].to_s) = (1.0, nothing);
        for measured in &mut comparison.algorithms[..8] {
            let times =
                Times { count: 3, p50: nothing, p90: nothing, p99: nothing, p99_9: nothing, max: nothing };
            (measured.session, measured.connect, measured.first_byte) = (times, times, times);
            measured.p99.middle = nothing;
            (measured.p99.low, measured.p99.high) = (Some(nothing), Some(nothing));
            (measured.fairness, measured.late_p99_us) = (nothing, nothing);
            (measured.achieved_per_s, measured.offered_per_s) = (nothing, nothing);
            measured.shares[0] = nothing;
            measured.curve[3].us = nothing;
            measured.curve[4].percentile = nothing;
            (measured.over_time[2].p99_us, measured.over_time[3].at_s) = (nothing, nothing);
            measured.over_time[4].p50_us = nothing;
            measured.repeats[0].session = times;
        }
        let page = render(&comparison);
        for written in ["NaN", "inf ", ">inf", "\"inf", "Linf", "Minf"] {
            assert!(!page.contains(written), "{nothing}: {written}");
        }
        parse(&comparison);
    }
}

#[test]
fn a_late_generator_and_an_interrupt_are_said_at_the_top() {
    let mut comparison = sample();
    assert!(!text(&parse(&comparison), "header").contains("generator"));
    comparison.about.interrupted = true;
    comparison.algorithms[0].late_p99_us = comparison.algorithms[0].p99.middle / 2.0;
    let header = text(&parse(&comparison), "header");
    assert!(header.contains("Interrupted.") && header.contains("measured with round-robin:"), "{header}");
}

#[test]
fn a_file_that_is_no_result_is_named() {
    let missing = draw_anew(Path::new("/nowhere/result.json")).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/result.json: No such file"), "{missing}");
    let wrong =
        draw_anew(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))).unwrap_err().to_string();
    assert!(wrong.contains("Cargo.toml: not a result that loadtest compare has kept"), "{wrong}");
}

/// Made-up figures of nine algorithms and four backends, the same that the browser is shown.
fn sample() -> Comparison {
    serde_json::from_str(include_str!("../../../tests/browser/sample.json")).unwrap()
}

fn answer_nothing(measured: &mut Measured) {
    let nothing = Times::default();
    (measured.session, measured.connect, measured.first_byte) = (nothing, nothing, nothing);
    measured.p99 = crate::compare::result::Interval::default();
    (measured.failed, measured.achieved_per_s) = (measured.planned, 0.0);
    measured.shares.fill(0.0);
    measured.curve.clear();
    measured.over_time.clear();
    measured.repeats.iter_mut().for_each(|repeat| repeat.session = nothing);
}

/// The page as a browser reads it, which must have found no mistake.
fn parse(comparison: &Comparison) -> Html {
    let page = Html::parse_document(&render(comparison));
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    page
}

fn text(page: &Html, selector: &str) -> String {
    let found = page.select(&Selector::parse(selector).unwrap()).next();
    found.unwrap_or_else(|| panic!("no {selector}")).text().collect()
}
