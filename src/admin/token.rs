//! Token: what whoever asks has to know, where it is asked for.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The longest token.
const TOKEN_BYTES_MAX: u64 = 1_024;
/// The shortest: what is shorter can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// The token. Never printed.
#[derive(Clone)]
pub(super) struct Token(Vec<u8>);

impl Token {
    /// The first line of a file.
    pub(super) fn read(path: &Path) -> io::Result<Token> {
        let mut text = Vec::new();
        File::open(path)?.take(TOKEN_BYTES_MAX + 1).read_to_end(&mut text)?;
        let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii();
        let fault = if line.len() as u64 > TOKEN_BYTES_MAX {
            Some(format!("its first line is longer than {TOKEN_BYTES_MAX} bytes"))
        } else if line.len() < TOKEN_BYTES_MIN {
            Some(format!("its first line has {} bytes; at least {TOKEN_BYTES_MIN} needed", line.len()))
        } else if !line.iter().all(u8::is_ascii_graphic) {
            Some("its first line has spaces or other bytes that cannot stand in a header".to_owned())
        } else {
            None
        };
        match fault {
            Some(fault) => Err(io::Error::new(io::ErrorKind::InvalidData, fault)),
            None => Ok(Token(line.to_vec())),
        }
    }

    /// Whether the value of an Authorization header knows it. Takes the same time for every wrong one of a length: how far a
    /// guess was right must not show.
    pub(super) fn is_known_to(&self, header: &[u8]) -> bool {
        let Some((scheme, guess)) = header.split_at_checked(7) else { return false };
        if !scheme.eq_ignore_ascii_case(b"bearer ") || guess.len() != self.0.len() {
            return false;
        }
        let differences = self.0.iter().zip(guess).fold(0, |sum, (one, other)| sum | (one ^ other));
        std::hint::black_box(differences) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn of(text: &[u8]) -> io::Result<Token> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        Token::read(file.path())
    }

    #[test]
    fn who_knows_it_knows_all_of_it() {
        let token = of(b"0123456789abcdef\nand a remark\n").unwrap();
        assert!(
            token.is_known_to(b"Bearer 0123456789abcdef") && token.is_known_to(b"bearer 0123456789abcdef")
        );
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcde",
            "Basic 0123456789abcdef",
        ] {
            assert!(!token.is_known_to(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_with_the_reason() {
        let why = |text: &[u8]| of(text).err().unwrap().to_string();
        assert!(why(b"short\n").contains("at least 16"));
        assert!(why(b"").contains("has 0 bytes"));
        assert!(why(b"a passphrase of words\n").contains("spaces"));
        assert!(why(&[b'a'; 2_000]).contains("longer than 1024"));
    }
}
