//! The documentation and the table of keys say the same: every key in both, with the same default, range and meaning.

use ringway::config::keys::{Preset, SECTIONS};

const DOCS: &str = include_str!("../docs/configuration.md");
const EVERYTHING: &str = include_str!("../examples/everything.toml");

/// The cells of each row below the heading of each section, without the last cell, which is advice.
fn documented() -> Vec<Vec<String>> {
    let mut header = "";
    let mut rows = Vec::new();
    for line in DOCS.lines() {
        header = line.strip_prefix("## ").unwrap_or(header);
        if line.starts_with("| `") {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [key, default, range, meaning, advice] = cells[..] else { panic!("not five cells: {line}") };
            assert!(!advice.is_empty(), "no word on when to change: {line}");
            rows.push([header, key, default, range, meaning].map(str::to_owned).to_vec());
        }
    }
    rows
}

fn in_code() -> Vec<Vec<String>> {
    let rows = SECTIONS.iter().flat_map(|section| {
        section.keys.iter().map(|key| {
            let header = format!("`{}`", section.header);
            let name = format!("`{}`", key.name);
            vec![header, name, key.default.text(), key.kind.range(), key.meaning.to_owned()]
        })
    });
    rows.collect()
}

#[test]
fn the_documentation_has_every_key_and_no_other() {
    let code = in_code();
    assert!(code.len() > 30);
    for (documented, coded) in documented().iter().zip(&code) {
        assert_eq!(documented, coded);
    }
    assert_eq!(documented().len(), code.len());
}

#[test]
fn the_smallest_file_of_the_guide_is_the_example() {
    let minimal = include_str!("../examples/minimal.toml");
    let body = minimal.split_once("\n\n").map(|(_, body)| body).unwrap();
    assert!(DOCS.contains(&format!("```toml\n{body}```")));
}

#[test]
fn the_example_with_everything_has_every_key_with_its_default() {
    for section in SECTIONS {
        let part = EVERYTHING.split(&format!("\n{}\n", section.header)).nth(1).unwrap();
        let part = part.split("\n[").next().unwrap();
        for key in section.keys {
            let line = part
                .lines()
                .find(|line| line.trim_start_matches("# ").starts_with(&format!("{} =", key.name)));
            let line = line.unwrap_or_else(|| panic!("{} has no {}", section.path, key.name));
            let value =
                line.split_once('=').map(|(_, value)| value.split('#').next().unwrap().trim()).unwrap();
            match key.default {
                Preset::Is(_) => assert_eq!(value.trim_matches('"'), key.default.text(), "{line}"),
                Preset::Follows(words) => {
                    // A route has to ask for something.
                    let is_free = line.starts_with('#') || section.path == "listener.route";
                    assert!(words.starts_with(value.trim_matches('"')) || is_free, "{line}");
                }
                Preset::Required => assert!(!line.starts_with('#'), "{line}"),
            }
        }
    }
}

#[test]
fn the_example_with_everything_does_what_the_smallest_does() {
    let mut everything = ringway::config::parse("everything.toml", EVERYTHING).unwrap();
    // The tables that do something by being there.
    assert!(everything.admin.take().is_some());
    assert_eq!(everything.listeners[0].routes.drain(..).count(), 1);
    assert!(everything.listeners[0].proxy_protocol.take().is_some());
    let minimal = ringway::config::parse("minimal.toml", include_str!("../examples/minimal.toml")).unwrap();
    assert_eq!(everything, minimal);
}
