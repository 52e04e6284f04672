//! The page of a comparison as people see it: the real command draws it, and a real browser shows it.
//!
//! The pictures are kept in `target/tmp`, for whoever wants to look for himself.

mod browser;

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::browser::Browser;

#[test]
fn the_browser_has_nothing_to_complain_of_and_loads_nothing_else() {
    let browser = Browser::start();
    browser.open(&page("complaints"));
    assert_eq!(browser.run("return document.title"), "Balancing algorithms compared: one-slow");
    assert_eq!(browser.run("return performance.getEntriesByType('resource').length"), 0);
    assert_eq!(browser.run("return document.compatMode"), "CSS1Compat");
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn charts_are_large_on_a_desk_and_fit_a_telephone() {
    let browser = Browser::start();
    let page = page("sizes");
    for (width, least_width, figures) in [(1200, 300.0, DESK), (420, 300.0, TELEPHONE)] {
        browser.set_width(width);
        browser.open(&page);
        browser.keep_picture(&format!("page-{width}"));
        let charts = browser.run(include_str!("charts.js"));
        let charts = charts.as_array().unwrap();
        for (figure, lines) in figures {
            let of_figure: Vec<&Value> = charts.iter().filter(|chart| chart["figure"] == *figure).collect();
            let seen: Vec<_> = of_figure.iter().map(|chart| chart["shapes"].as_u64().unwrap()).collect();
            assert_eq!(seen, *lines, "{figure} at {width}");
        }
        for chart in charts {
            let number = |name: &str| chart[name].as_f64().unwrap();
            assert!(number("width") > least_width && number("height") > 150.0, "{width}: {chart}");
            assert!(number("left") >= 0.0 && number("right") <= f64::from(width), "{width}: {chart}");
            assert_eq!(chart["overlapping"], Value::Array(vec![]), "{width}: {chart}");
            assert_eq!(chart["outside"], Value::Array(vec![]), "{width}: {chart}");
            assert!(number("text") >= 8.5, "{width}: {chart}");
        }
        let page_width = browser.run("return document.documentElement.scrollWidth");
        assert!(page_width.as_i64().unwrap() <= width.into(), "at {width} the page is {page_width} wide");
    }
}

#[test]
fn text_and_lines_can_be_told_from_what_is_behind_them_in_light_and_in_dark() {
    let browser = Browser::start();
    let page = page("contrast");
    browser.set_width(1200);
    let mut backgrounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        browser.open(&page);
        browser.keep_picture(&format!("page-{scheme}"));
        let found = browser.run(include_str!("contrast.js"));
        assert!(found["texts"].as_u64().unwrap() > 300, "{scheme}: {found}");
        assert!(found["lines"].as_u64().unwrap() >= 27, "{scheme}: {found}");
        assert_eq!(found["faint"], Value::Array(vec![]), "{scheme}");
        backgrounds.push(found["background"].clone());
    }
    assert_ne!(backgrounds[0], backgrounds[1]);
}

/// Has the command draw the sample, and tells where.
fn page(test: &str) -> PathBuf {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/sample.json");
    let ran = Command::new(env!("CARGO_BIN_EXE_loadtest")).args(["page", sample]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{test}.html"));
    fs::write(&path, ran.stdout).unwrap();
    path
}

/// Figures, and how many lines, dots or bars each of their charts has: the sample has nine algorithms, four backends and
/// five repeats, and all of them served something.
const DESK: &[(&str, &[u64])] =
    &[("p99", &[9 + 9 * 5]), ("percentiles", &[9]), ("over-time", &[2; 9]), ("shares", &[9 * 4])];
/// The same, as nothing is left out where there is less room.
const TELEPHONE: &[(&str, &[u64])] = DESK;
