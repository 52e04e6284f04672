//! Any bytes as a PROXY protocol header: an answer, no panic, no more taken than is there, the same however they come, and
//! what is told again is heard as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::proxy_protocol::{
    Announcement, Command, HEADER_BYTES_MAX, Parsed, Transport, Version, parse, parse_datagram, version_1, version_2,
};

const BOTH: &[Version] = &[Version::V1, Version::V2];

fuzz_target!(|bytes: &[u8]| {
    let found = parse(bytes, BOTH);
    // Half of it can only be the beginning of the same, or refused already.
    match (parse(&bytes[..bytes.len() / 2], BOTH), &found) {
        (Parsed::More, _) => {}
        (early, found) => assert_eq!(early, *found),
    }
    if let Parsed::Header(header) = found {
        assert!(header.length <= bytes.len().min(HEADER_BYTES_MAX));
        if let Command::Proxied(addresses) = header.command {
            let Parsed::Header(line) = parse(&version_1(&addresses), BOTH) else { panic!("no line") };
            assert_eq!(line.command, header.command);
            let told = Announcement {
                transport: Transport::Stream,
                addresses,
                alpn: Some(b"h2"),
                authority: None,
                unique_id: None,
                received: Some(&header.tlvs),
                custom: &[],
                checksum: true,
            };
            match parse(&version_2(&told), BOTH) {
                Parsed::Header(block) => assert_eq!(block.command, header.command),
                other => panic!("{other:?}"),
            }
        }
    }
    if let Ok(header) = parse_datagram(bytes) {
        assert!(header.length <= bytes.len());
    }
});
