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
    // The same message with a record for each byte.
    let length = bytes.get(3..5).map_or(0, |length| usize::from(u16::from_be_bytes([length[0], length[1]])));
    if let (Reading::Hello(_), Some(message)) = (&whole, bytes.get(5..5 + length)) {
        let cut: Vec<u8> = message.iter().flat_map(|&byte| [22, 3, 1, 0, 1, byte]).collect();
        assert_eq!(read(&cut, MAX), whole);
    }
});
