//! Any bytes as the first ones of a TLS client: an answer, and one that does not change with what follows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::routing::{Reading, read};

const MAX: usize = 16 << 10;

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes, MAX);
    for end in [bytes.len() / 4, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        let early = read(&bytes[..end], MAX);
        assert!(early == Reading::More || early == whole);
    }
    // The same message with a record for each byte, if the first record holds all of it.
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte));
    let Reading::Hello(_) = whole else { return };
    let (record, message) = (number(&bytes[3..5]), 4 + number(&bytes[6..9]));
    if message <= record {
        let cut: Vec<u8> = bytes[5..5 + message].iter().flat_map(|&byte| [22, 3, 1, 0, 1, byte]).collect();
        assert_eq!(read(&cut, MAX), whole);
    }
});
