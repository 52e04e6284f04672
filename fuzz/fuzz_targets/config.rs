//! Any bytes as a configuration: an answer, no panic, and an answer that can be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::config;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match config::parse("f", text) {
        Ok(config) => {
            assert!(!config.to_string().is_empty());
            config::warnings(&config);
        }
        Err(errors) => {
            let said = errors.to_string();
            assert!((1..=51).contains(&said.lines().count()));
            assert!(said.lines().all(|line| line.starts_with("f:")));
        }
    }
});
