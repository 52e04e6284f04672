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
    for width in [1200, 420] {
        browser.set_width(width);
        browser.open(&page);
        browser.keep_picture(&format!("page-{width}"));
        let charts = charts_in_place(&browser, width);
        for (figure, shapes) in SHAPES {
            let of_figure = charts.iter().filter(|chart| chart["figure"] == *figure);
            let seen: Vec<_> = of_figure.map(|chart| chart["shapes"].as_u64().unwrap()).collect();
            assert_eq!(seen, *shapes, "{figure} at {width}");
        }
    }
}

#[test]
fn a_sheet_of_paper_has_all_of_it_too_and_dark_on_white() {
    let browser = Browser::start();
    // A4 at 96 dots an inch, without margins; from somebody who likes it dark.
    browser.set_width(794);
    browser.print_from("dark");
    browser.open(&page("paper"));
    browser.keep_picture("page-paper");
    assert_eq!(charts_in_place(&browser, 794).len(), 3 + 9);
    assert_eq!(browser.run("return getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)");
    assert_eq!(browser.run(include_str!("contrast.js"))["faint"], Value::Array(vec![]));
}

#[test]
fn long_names_and_many_backends_stay_in_their_places() {
    let browser = Browser::start();
    let mut result: Value = serde_json::from_str(SAMPLE).unwrap();
    for (index, algorithm) in result["algorithms"].as_array_mut().unwrap().iter_mut().enumerate() {
        let name =
            ["WWWWWWWWWW".repeat(6), "a-name-that-goes-on-".repeat(5), "词".repeat(40), "i".repeat(90)];
        algorithm["algorithm"] = format!("{index}{}", name[index % name.len()]).into();
        algorithm["shares"] = vec![1.0 / 12.0; 12].into();
    }
    let backends: Vec<String> = (0..12).map(|index| format!("backend-in-a-far-away-place-{index}")).collect();
    result["backends"] = backends.into();
    result["verdict"] = "W".repeat(300).into();
    result["about"]["command"] = "W".repeat(300).into();
    let page = page_of("names", &result.to_string());
    for width in [1200, 420] {
        browser.set_width(width);
        browser.open(&page);
        browser.keep_picture(&format!("page-names-{width}"));
        assert_eq!(charts_in_place(&browser, width).len(), 3 + 9);
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

/// What can be seen of each chart, none of which may be too small, too wide, or have texts that are cut or in each other's
/// way.
fn charts_in_place(browser: &Browser, width: u32) -> Vec<Value> {
    let charts = browser.run(include_str!("charts.js")).as_array().unwrap().clone();
    for chart in &charts {
        let number = |name: &str| chart[name].as_f64().unwrap();
        assert!(number("height") > 150.0, "{width}: {chart}");
        assert!(number("width") > 300.0, "{width}: {chart}");
        assert!(number("left") >= 0.0 && number("right") <= f64::from(width), "{width}: {chart}");
        assert_eq!(chart["overlapping"], Value::Array(vec![]), "{width}: {chart}");
        assert_eq!(chart["outside"], Value::Array(vec![]), "{width}: {chart}");
        assert!(number("text") >= 8.5, "{width}: {chart}");
    }
    let page_width = browser.run("return document.documentElement.scrollWidth").as_u64().unwrap();
    assert!(page_width <= width.into(), "at {width} the page is {page_width} wide");
    charts
}

/// Has the command draw the sample, and tells where.
fn page(test: &str) -> PathBuf {
    page_of(test, SAMPLE)
}

fn page_of(test: &str, result: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (json, page) = (folder.join(format!("page-{test}.json")), folder.join(format!("page-{test}.html")));
    fs::write(&json, result).unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("page").arg(json).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    fs::write(&page, ran.stdout).unwrap();
    page
}

/// Made-up figures of nine algorithms and four backends in five repeats; all of them served something.
const SAMPLE: &str = include_str!("sample.json");
/// How many lines, dots or bars each chart of the sample has, on all pages: nothing is left out where there is less room.
const SHAPES: [(&str, &[u64]); 4] =
    [("p99", &[9 + 9 * 5]), ("percentiles", &[9]), ("over-time", &[2; 9]), ("shares", &[9 * 4])];
