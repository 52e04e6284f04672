//! The first message of a TLS client (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2), as far as it says where it wants to
//! go. Nothing is decrypted: the message is sent in the clear.
//!
//! It may come in pieces, and may be spread over several records. What is looked at is bounded, copied only if records cut it,
//! and never trusted: each length is checked against what holds it.

use std::borrow::Cow;

/// What a client that speaks TLS wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hello {
    /// The name of the server (SNI, RFC 6066), in lower case and without a dot at its end.
    pub server_name: Option<Box<str>>,
    /// The protocols that it would speak, its favourite first (ALPN, RFC 7301).
    pub alpn: Box<[Box<[u8]>]>,
}

/// What the first bytes of a client turn out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// So far a hello, but not all of it.
    More,
    /// A hello.
    Hello(Hello),
    /// No TLS, or an SSL from before it.
    NotTls,
    /// It begins as a hello and breaks its rules.
    Malformed(Malformed),
}

/// Which rule a hello breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A record that is empty, too long, or of another kind in the middle of the message.
    Record,
    /// The first message is none of a client's.
    Message,
    /// The message is longer than may be looked at.
    TooLong,
    /// A part is longer than what holds it, or something is left over.
    Length,
    /// An extension that we read is there twice.
    Twice,
    /// The name of the server is none.
    Name,
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// The longest content of a record (RFC 8446, section 5.1).
const RECORD_MAX: usize = 1 << 14;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// What the headers of records may take beside a message: a client may cut it into as many as this has room for.
pub const RECORD_HEADERS_MAX: usize = 64 * RECORD_HEADER;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const HOST_NAME: u8 = 0;
/// The longest name that DNS knows.
pub const NAME_MAX: usize = 253;

/// Reads what has come, from the first byte on. A message of more than `bytes_max` is not waited for.
pub fn read(bytes: &[u8], bytes_max: usize) -> Reading {
    match bytes {
        [] => return Reading::More,
        [HANDSHAKE] | [HANDSHAKE, 3, ..] => {}
        _ => return Reading::NotTls,
    }
    match message(bytes, bytes_max) {
        Ok(Some(message)) => hello(&message).map_or_else(Reading::Malformed, Reading::Hello),
        Ok(None) => Reading::More,
        Err(malformed) => Reading::Malformed(malformed),
    }
}

/// Puts the message together that the records hold; without its header. `None` if there is more to come.
fn message(mut bytes: &[u8], bytes_max: usize) -> Result<Option<Cow<'_, [u8]>>, Malformed> {
    let mut message = Cow::Borrowed(&[][..]);
    loop {
        let Some((header, rest)) = bytes.split_at_checked(RECORD_HEADER) else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if header[0] != HANDSHAKE || header[1] != 3 || length == 0 || length > RECORD_MAX {
            return Err(Malformed::Record);
        }
        let fragment = &rest[..length.min(rest.len())];
        if message.is_empty() {
            message = Cow::Borrowed(fragment);
        } else {
            message.to_mut().extend_from_slice(fragment);
        }
        if message.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
            return Err(Malformed::Message);
        }
        if let Some(header) = message.first_chunk::<MESSAGE_HEADER>() {
            let length = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
            if MESSAGE_HEADER + length > bytes_max {
                return Err(Malformed::TooLong);
            }
            if message.len() >= MESSAGE_HEADER + length {
                let body = MESSAGE_HEADER..MESSAGE_HEADER + length;
                return Ok(Some(match message {
                    Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[body]),
                    Cow::Owned(bytes) => Cow::Owned(bytes[body].to_vec()),
                }));
            }
        }
        if fragment.len() < length {
            return Ok(None);
        }
        bytes = &rest[length..];
    }
}

fn hello(message: &[u8]) -> Result<Hello, Malformed> {
    let mut message = Parts(message);
    // The version that it speaks at most, and its random bytes.
    message.take(2 + 32)?;
    let session_id = message.part(1)?;
    let cipher_suites = message.part(2)?;
    let compressions = message.part(1)?;
    if session_id.len() > 32
        || cipher_suites.is_empty()
        || cipher_suites.len() % 2 != 0
        || compressions.is_empty()
    {
        return Err(Malformed::Length);
    }
    // An old client may leave them out altogether.
    if message.is_empty() {
        return Ok(Hello::default());
    }
    let mut extensions = Parts(message.part(2)?);
    if !message.is_empty() {
        return Err(Malformed::Length);
    }
    let (mut server_name, mut alpn) = (None, None);
    while !extensions.is_empty() {
        let kind = extensions.number(2)?;
        let data = extensions.part(2)?;
        let is_second = match kind as u16 {
            SERVER_NAME => server_name.replace(read_server_name(data)?).is_some(),
            ALPN => alpn.replace(read_alpn(data)?).is_some(),
            _ => false,
        };
        if is_second {
            return Err(Malformed::Twice);
        }
    }
    Ok(Hello { server_name: server_name.flatten(), alpn: alpn.unwrap_or_default() })
}

fn read_server_name(data: &[u8]) -> Result<Option<Box<str>>, Malformed> {
    let mut data = Parts(data);
    let mut names = Parts(data.part(2)?);
    if !data.is_empty() || names.is_empty() {
        return Err(Malformed::Length);
    }
    let mut found = None;
    while !names.is_empty() {
        let kind = names.number(1)?;
        let name = names.part(2)?;
        // There is no other kind; but one of each may come.
        if kind == usize::from(HOST_NAME) && found.replace(host_name(name)?).is_some() {
            return Err(Malformed::Twice);
        }
    }
    Ok(found)
}

fn host_name(name: &[u8]) -> Result<Box<str>, Malformed> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    if name.is_empty() || name.len() > NAME_MAX || !name.iter().all(is_allowed) {
        return Err(Malformed::Name);
    }
    let name = std::str::from_utf8(name).map_err(|_| Malformed::Name)?;
    Ok(name.to_ascii_lowercase().into())
}

fn read_alpn(data: &[u8]) -> Result<Box<[Box<[u8]>]>, Malformed> {
    let mut data = Parts(data);
    let mut names = Parts(data.part(2)?);
    if !data.is_empty() || names.is_empty() {
        return Err(Malformed::Length);
    }
    let mut found = Vec::new();
    while !names.is_empty() {
        let name = names.part(1)?;
        if name.is_empty() {
            return Err(Malformed::Length);
        }
        found.push(name.into());
    }
    Ok(found.into())
}

/// What is left of some bytes.
struct Parts<'b>(&'b [u8]);

impl<'b> Parts<'b> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of so many bytes.
    fn number(&mut self, size: usize) -> Result<usize, Malformed> {
        Ok(self.take(size)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// A part, behind its length of so many bytes.
    fn part(&mut self, size: usize) -> Result<&'b [u8], Malformed> {
        let length = self.number(size)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio_rustls::rustls::server::Acceptor;
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

    const MAX: usize = 16 << 10;

    /// What a real client sends first.
    fn real(name: &str, alpn: &[&str]) -> Vec<u8> {
        let mut config =
            ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = name.to_owned().try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    fn expected(name: &str, alpn: &[&str]) -> Reading {
        let alpn = alpn.iter().map(|name| name.as_bytes().into()).collect();
        Reading::Hello(Hello { server_name: Some(name.into()), alpn })
    }

    /// The same message in records of so many bytes.
    fn cut(bytes: &[u8], size: usize) -> Vec<u8> {
        let record =
            |part: &[u8]| [&[HANDSHAKE, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
        bytes[RECORD_HEADER..].chunks(size).flat_map(record).collect()
    }

    /// A hello of our own making: these extensions behind an old client's beginning.
    fn made(extensions: &[u8]) -> Vec<u8> {
        let mut body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 0x01, 1, 0]].concat();
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        framed(&body)
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        let length = body.len() as u32;
        let message = [&[CLIENT_HELLO][..], &length.to_be_bytes()[1..], body].concat();
        [&[HANDSHAKE, 3, 1][..], &(message.len() as u16).to_be_bytes(), &message].concat()
    }

    fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
    }

    fn named(names: &[(u8, &str)]) -> Vec<u8> {
        let list = names.iter().flat_map(|(kind, name)| {
            [&[*kind][..], &(name.len() as u16).to_be_bytes(), name.as_bytes()].concat()
        });
        let list: Vec<u8> = list.collect();
        extension(SERVER_NAME, &[&(list.len() as u16).to_be_bytes()[..], &list].concat())
    }

    #[test]
    fn a_real_hello_is_read_at_its_last_byte_and_not_before() {
        let bytes = real("www.example.com", &["h2", "http/1.1"]);
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end], MAX), Reading::More, "{end} of {}", bytes.len());
        }
        let hello = expected("www.example.com", &["h2", "http/1.1"]);
        assert_eq!(read(&bytes, MAX), hello);
        let more = [&bytes[..], b"early data"].concat();
        assert_eq!(read(&more, MAX), hello);
    }

    #[test]
    fn records_may_cut_it_anywhere() {
        let bytes = real("www.example.com", &["h2"]);
        for size in [1, 2, 3, 4, 5, 17, 100, bytes.len()] {
            let cut = cut(&bytes, size);
            assert_eq!(read(&cut, MAX), expected("www.example.com", &["h2"]), "{size}");
            assert_eq!(read(&cut[..cut.len() - 1], MAX), Reading::More, "{size}");
        }
    }

    #[test]
    fn names_are_compared_in_lower_case_and_without_the_last_dot() {
        let read = |name: &str| read(&made(&named(&[(HOST_NAME, name)])), MAX);
        assert_eq!(read("WWW.Example.COM."), expected("www.example.com", &[]));
        for wrong in ["", ".", "a b", "a\0b", "bücher.example", &"a".repeat(254), "a/b"] {
            let wanted = Reading::Malformed(Malformed::Name);
            assert_eq!(read(wrong), wanted, "{wrong:?}");
        }
    }

    #[test]
    fn who_asks_for_nothing_is_heard_too() {
        let nothing = Reading::Hello(Hello::default());
        assert_eq!(read(&made(&[]), MAX), nothing);
        // Without extensions at all, as from before TLS 1.2; and with one that nobody knows.
        let old = [&[3, 1][..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
        assert_eq!(read(&framed(&old), MAX), nothing);
        assert_eq!(read(&made(&extension(0xfe0d, &[1, 2, 3])), MAX), nothing);
        // A kind of name that is none of a host.
        assert_eq!(read(&made(&named(&[(9, "x")])), MAX), nothing);
    }

    #[test]
    fn what_is_no_tls_is_told_at_the_first_byte_that_shows_it() {
        for other in
            [&b"GET / HTTP/1.1\r\n"[..], b"S", b"\x16\x02", b"\x15\x03\x01", b"\x80\x2e\x01\x00\x02", &[0]]
        {
            assert_eq!(read(other, MAX), Reading::NotTls, "{other:?}");
        }
        assert_eq!(read(&[HANDSHAKE], MAX), Reading::More);
    }

    #[test]
    fn each_broken_rule_is_named() {
        let sni = named(&[(HOST_NAME, "a.org")]);
        let alpn = |data: &[u8]| extension(ALPN, data);
        let cases: [(Vec<u8>, Malformed); 17] = [
            (vec![HANDSHAKE, 3, 1, 0, 0], Malformed::Record),
            (vec![HANDSHAKE, 3, 1, 0x40, 1], Malformed::Record),
            ([&cut(&made(&sni), 10)[..15], &[23, 3, 1, 0, 5]].concat(), Malformed::Record),
            (vec![HANDSHAKE, 3, 1, 0, 4, 2], Malformed::Message),
            (vec![HANDSHAKE, 3, 1, 0, 4, CLIENT_HELLO, 0, 0x40, 0], Malformed::TooLong),
            (framed(&[3, 3]), Malformed::Length),
            (framed(&[&[3, 3][..], &[7; 32], &[33; 34], &[0, 2, 1, 1, 1, 0]].concat()), Malformed::Length),
            (framed(&[&[3, 3][..], &[7; 32], &[0, 0, 0, 1, 0]].concat()), Malformed::Length),
            (framed(&[&[3, 3][..], &[7; 32], &[0, 0, 3, 1, 2, 3, 1, 0]].concat()), Malformed::Length),
            (framed(&[&[3, 3][..], &[7; 32], &[0, 0, 2, 1, 2, 1, 0, 0, 0, 9]].concat()), Malformed::Length),
            (made(&sni[..sni.len() - 1]), Malformed::Length),
            (made(&[&sni[..], &sni].concat()), Malformed::Twice),
            (made(&named(&[(HOST_NAME, "a.org"), (HOST_NAME, "b.org")])), Malformed::Twice),
            (made(&extension(SERVER_NAME, &[0, 0])), Malformed::Length),
            (made(&alpn(&[0, 0])), Malformed::Length),
            (made(&alpn(&[0, 2, 0, 0])), Malformed::Length),
            (made(&alpn(&[0, 4, 2, b'h', b'2'])), Malformed::Length),
        ];
        for (bytes, malformed) in cases {
            assert_eq!(read(&bytes, MAX), Reading::Malformed(malformed), "{bytes:x?}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_not_waited_for() {
        let bytes = real("www.example.com", &[]);
        let length = bytes.len() - RECORD_HEADER;
        assert_eq!(read(&bytes, length), expected("www.example.com", &[]));
        assert_eq!(read(&bytes[..9], length - 1), Reading::Malformed(Malformed::TooLong));
    }

    proptest! {
        /// Any damage is answered, and what was decided stays decided whatever follows.
        #[test]
        fn damage_is_never_worse_than_an_answer(
            at in any::<prop::sample::Index>(), byte: u8, size in 1_usize..600, end in any::<prop::sample::Index>(),
        ) {
            let mut bytes = cut(&real("www.example.com", &["h2", "http/1.1"]), size);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let whole = read(&bytes, MAX);
            let early = read(&bytes[..end.index(bytes.len())], MAX);
            prop_assert!(early == Reading::More || early == whole, "{early:?} {whole:?}");
        }

        /// What another reader takes as well says the same there. That one forgives more: it does not look into every length.
        #[test]
        fn it_agrees_with_another_reader(at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = real("www.example.com", &["h2"]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let mut acceptor = Acceptor::default();
            let mut rest = &bytes[..];
            while !rest.is_empty() && acceptor.read_tls(&mut rest).is_ok() {}
            if let Ok(Some(accepted)) = acceptor.accept() {
                let hello = accepted.client_hello();
                let Reading::Hello(ours) = read(&bytes, MAX) else { return Ok(()) };
                let name = hello.server_name().map(str::to_ascii_lowercase);
                prop_assert_eq!(ours.server_name.as_deref(), name.as_deref());
                let alpn: Option<Vec<&[u8]>> = hello.alpn().map(Iterator::collect);
                prop_assert_eq!(ours.alpn.iter().map(|name| &**name).collect::<Vec<_>>(), alpn.unwrap_or_default());
            }
        }
    }
}
