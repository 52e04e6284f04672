//! House rules that a compiler does not know: who may import whom, where unsafe may be, what may not be left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom, room by room; the table of ARCHITECTURE.md. Nothing imports upwards.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // ENTRY
    ("main", &["admin", "cli", "config", "demo", "journal", "output", "server"]),
    ("cli", &["operate", "admin", "config", "kernel", "manual", "model", "premises"]),
    ("config", &[]),
    ("kernel", &["config"]),
    ("demo", &["config", "output", "server"]),
    ("manual", &["config"]),
    // CONTROL: cold
    (
        "server",
        &[
            "access",
            "access_log",
            "activation",
            "arrivals",
            "admin",
            "bind",
            "changes",
            "config",
            "control",
            "entries",
            "explain",
            "figures",
            "generation",
            "handover",
            "health",
            "heartbeat",
            "limits",
            "lists",
            "net",
            "notify",
            "output",
            "phase",
            "privileges",
            "record",
            "ring",
            "samples",
            "stats",
            "status",
            "table",
            "times",
            "upgrade",
            "worker",
        ],
    ),
    (
        "admin",
        &[
            "access",
            "routing",
            "moment",
            "changes",
            "config",
            "control",
            "decision",
            "end",
            "generation",
            "health",
            "net",
            "phase",
            "plan",
            "session_id",
            "stats",
            "table",
            "watch",
        ],
    ),
    (
        "control",
        &[
            "access",
            "session_id",
            "changes",
            "stats",
            "arrivals",
            "bind",
            "config",
            "generation",
            "health",
            "limits",
            "lineage",
            "lists",
            "phase",
            "plan",
            "premises",
            "record",
            "table",
            "upgrade",
            "worker",
        ],
    ),
    ("lists", &["access", "config"]),
    ("premises", &["admin", "config", "lists"]),
    ("plan", &["config", "lineage", "table"]),
    ("moment", &[]),
    ("notify", &[]),
    ("heartbeat", &[]),
    ("activation", &["config", "net"]),
    ("privileges", &["config"]),
    ("bind", &["activation", "config", "kernel", "net", "steering", "upgrade"]),
    ("upgrade", &["config", "net"]),
    (
        "health",
        &[
            "changes",
            "notify",
            "config",
            "epoch",
            "gate",
            "lineage",
            "net",
            "proxy_protocol",
            "stats",
            "table",
        ],
    ),
    ("figures", &["config", "generation", "samples", "stats", "table", "times"]),
    (
        "model",
        &[
            "arrivals", "balance", "config", "epoch", "figures", "health", "load", "pool", "record",
            "samples", "stats", "status", "table", "times",
        ],
    ),
    ("activation", &["config", "net"]),
    ("heartbeat", &[]),
    ("moment", &[]),
    ("notify", &[]),
    ("output", &[]),
    ("journal", &[]),
    ("access_log", &["moment", "config", "end", "entries", "generation", "net", "stats", "table"]),
    ("record", &["arrivals", "config", "end", "table"]),
    (
        "limits",
        &["access", "admin", "config", "datagrams", "figures", "health", "pipes", "proxy_protocol", "worker"],
    ),
    ("status", &["access", "config", "end", "queue", "stats", "table", "times"]),
    ("explain", &["config", "decision", "stats", "status", "table"]),
    ("operate", &["admin", "session_id", "status"]),
    // BORDER: what crosses threads
    ("access", &["config", "lineage"]),
    ("arrivals", &["end", "table"]),
    ("entries", &["config", "end", "generation", "routing", "session_id", "table"]),
    ("epoch", &["table"]),
    ("generation", &["access", "config", "epoch", "lineage", "queue", "stats", "table", "times"]),
    ("lineage", &["config", "table"]),
    ("phase", &[]),
    ("stats", &["access", "routing", "config", "decision", "end", "lineage", "table"]),
    ("changes", &[]),
    ("decision", &["end", "table"]),
    ("end", &[]),
    ("table", &["config", "gate"]),
    ("gate", &[]),
    ("handover", &["access", "config"]),
    ("queue", &[]),
    ("session_id", &[]),
    ("spread", &[]),
    ("steering", &["net"]),
    ("times", &["lineage", "table"]),
    ("samples", &["config", "table"]),
    // CHOICE: pure
    ("pool", &["balance", "config", "decision", "load", "shadow", "table", "times"]),
    ("proxy_protocol", &["config"]),
    ("routing", &["config"]),
    ("shadow", &["balance", "config", "stats", "table", "times"]),
    ("balance", &["config", "gate", "table", "times"]),
    ("load", &["config", "gate", "queue", "samples", "stats", "table"]),
    // DATA: hot
    (
        "worker",
        &[
            "access",
            "arrivals",
            "buffers",
            "config",
            "datagrams",
            "end",
            "entries",
            "generation",
            "handover",
            "net",
            "phase",
            "pipes",
            "relay",
            "ring",
            "samples",
            "session",
            "session_id",
            "shared",
            "spread",
            "stats",
            "table",
            "watch",
        ],
    ),
    (
        "session",
        &[
            "access",
            "account",
            "answer",
            "arrivals",
            "balance",
            "buffers",
            "config",
            "decision",
            "end",
            "entries",
            "load",
            "net",
            "peek",
            "pool",
            "proxy_protocol",
            "relay",
            "ring",
            "routing",
            "shadow",
            "shared",
            "watch",
        ],
    ),
    (
        "datagrams",
        &[
            "access",
            "balance",
            "config",
            "decision",
            "end",
            "generation",
            "load",
            "net",
            "pool",
            "proxy_protocol",
            "relay",
            "ring",
            "session",
            "shared",
            "stats",
            "table",
            "watch",
        ],
    ),
    (
        "shared",
        &[
            "access",
            "routing",
            "lineage",
            "answer",
            "arrivals",
            "config",
            "entries",
            "epoch",
            "generation",
            "load",
            "pool",
            "queue",
            "relay",
            "samples",
            "session_id",
            "stats",
            "table",
            "watch",
        ],
    ),
    ("account", &["config", "arrivals", "end", "entries", "relay", "watch"]),
    ("answer", &["config", "load", "relay", "watch"]),
    ("watch", &["config", "end", "gate", "net", "relay", "session_id", "table"]),
    ("relay", &["buffers", "net", "pipes", "ring"]),
    ("buffers", &[]),
    ("peek", &["net", "ring"]),
    ("pipes", &["net"]),
    // SYSTEM
    ("ring", &["buffers", "net"]),
    ("net", &["config"]),
];

/// The only files with unsafe code.
const UNSAFE: [&str; 2] = ["src/net.rs", "src/ring.rs"];
/// And the folders of these.
const UNSAFE_IN: [&str; 2] = ["src/net/", "src/ring/"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder, by its path from the root.
fn rust_files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no Rust file below {folder}");
    found
}

/// The code of a file without its tests (they are last, and may use what they like) and without comments.
fn code(text: &str) -> String {
    let end =
        text.find("#[cfg(test)]\nmod tests").or_else(|| text.find("#[cfg(test)]\npub(crate) mod testing"));
    let lines = text[..end.unwrap_or(text.len())].lines();
    lines.map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The module at the top that a file belongs to.
fn module(path: &str) -> String {
    let first = Path::new(path).iter().nth(1).unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The top modules that a text names behind `crate::` or `ringway::`, alone or in braces.
fn imports(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for start in ["crate::", "ringway::"] {
        for (at, _) in code.match_indices(start) {
            let rest = &code[at + start.len()..];
            let list = match rest.strip_prefix('{') {
                // `{self, a::{b, c}, d}`: what stands at the first level.
                Some(braced) => first_level(braced),
                None => vec![rest],
            };
            for item in list {
                let name: String = item.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                names.insert(name);
            }
        }
    }
    names.remove("");
    names
}

fn first_level(braced: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, c) in braced.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(braced[start..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(braced[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

#[test]
fn nobody_imports_what_the_table_does_not_allow() {
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in rust_files("src") {
        let own = module(&path);
        if own == "lib" {
            continue;
        }
        let allowed = table.get(own.as_str()).unwrap_or_else(|| panic!("{path}: {own} is not in the table"));
        for name in imports(&code(&text)) {
            assert!(name == own || allowed.contains(&name.as_str()), "{path}: {own} may not import {name}");
            used.entry(own.clone()).or_default().insert(name);
        }
    }
    for (own, allowed) in table {
        for name in allowed {
            let is_used = used.get(own).is_some_and(|names| names.contains(*name));
            assert!(is_used, "the table lets {own} import {name}, which it does not: take it out");
        }
    }
}

#[test]
fn unsafe_code_is_in_two_files_with_an_argument_each() {
    let mut blocks = 0;
    for (path, text) in
        rust_files("src").into_iter().chain(rust_files("loadtest")).chain(rust_files("benches"))
    {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap();
            let is_unsafe = ["unsafe {", "unsafe impl", "unsafe fn"].iter().any(|word| code.contains(word));
            if !is_unsafe {
                continue;
            }
            let may =
                UNSAFE.contains(&path.as_str()) || UNSAFE_IN.iter().any(|folder| path.starts_with(folder));
            assert!(may, "{path}:{}: unsafe code", index + 1);
            let argued = (index.saturating_sub(4)..index).any(|above| lines[above].contains("// SAFETY: "));
            assert!(argued || code.contains("unsafe fn"), "{path}:{}: no argument above it", index + 1);
            blocks += 1;
        }
    }
    assert!(blocks > 0, "the test looks for the wrong thing");
}

#[test]
fn nothing_unfinished_is_left_behind() {
    let mut seen = 0;
    for (path, text) in ["src", "tests", "benches", "loadtest"].iter().flat_map(|folder| rust_files(folder)) {
        seen += 1;
        // Spelt apart, so that this list does not find itself.
        for word in [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["#[ign", "ore"], ["db", "g!("]]
            .map(|parts| parts.concat())
        {
            assert!(!text.contains(&word), "{path}: {word}");
        }
    }
    assert!(seen > 20);
}

#[test]
fn every_file_says_what_it_is_in_its_first_line() {
    for (path, text) in rust_files("src") {
        assert!(text.starts_with("//! "), "{path} does not begin with a sentence about itself");
    }
}

#[test]
fn the_architecture_names_every_file_of_the_tree() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (path, _) in rust_files("src") {
        let own = module(&path);
        let named =
            architecture.contains(&format!("src/{own}.rs")) || architecture.contains(&format!("src/{own}/"));
        assert!(named, "ARCHITECTURE.md does not name {path}");
    }
}
