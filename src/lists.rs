//! Lists: the files of networks that access rules name, read whole at the start and at each reload.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use ipnet::IpNet;

use crate::access::Rules;
use crate::config::{self, Config};

/// At most this many networks in one file.
pub const NETWORKS_MAX: usize = 100_000;
/// The largest file that is read: networks in their longest form, and a word of comment for each.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// So many mistakes are shown; the rest is counted.
const SHOWN_MAX: usize = 50;
/// So much of a line that is wrong is shown.
const LINE_SHOWN_MAX: usize = 64;

/// What is wrong with the files, all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unusable {
    shown: Vec<String>,
    total: usize,
}

impl Unusable {
    fn add(&mut self, mistake: impl FnOnce() -> String) {
        self.total += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(mistake());
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown.join("\n"))?;
        match self.total - self.shown.len() {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for Unusable {}

/// The rules of each listener, with what its files say.
///
/// # Errors
///
/// Every mistake in every file.
pub fn read(config: &Config) -> Result<Vec<Rules>, Unusable> {
    let (mut known, mut wrong) = (HashMap::new(), Unusable::default());
    let accesses = || config.listeners.iter().map(|listener| &listener.access);
    for path in accesses().flat_map(|access| access.allow_files.iter().chain(&access.deny_files)) {
        known.entry(path.as_path()).or_insert_with(|| networks(path, read_bounded(path), &mut wrong));
    }
    if wrong.total > 0 {
        return Err(wrong);
    }
    let with_files = |own: &[IpNet], files: &[std::path::PathBuf]| -> Vec<IpNet> {
        let listed = files.iter().flat_map(|path| known.get(path.as_path()).into_iter().flatten());
        own.iter().chain(listed).copied().collect()
    };
    let rules = accesses().map(|access| {
        let allow = with_files(&access.allow, &access.allow_files);
        let deny = with_files(&access.deny, &access.deny_files);
        Rules::new(access.default, &allow, &deny)
    });
    Ok(rules.collect())
}

/// What is wrong with one file, a line for each mistake, without the rules that are made of it.
pub fn mistakes(path: &Path) -> Vec<String> {
    let mut wrong = Unusable::default();
    match read_bounded(path) {
        // Who checks may be somebody else than who is to read it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        read => drop(networks(path, read, &mut wrong)),
    }
    if wrong.total == 0 { Vec::new() } else { wrong.to_string().lines().map(str::to_owned).collect() }
}

fn networks(path: &Path, read: io::Result<Vec<u8>>, wrong: &mut Unusable) -> Vec<IpNet> {
    match read {
        Ok(bytes) => networks_of(path, &bytes, wrong),
        Err(error) => {
            let why = match error.kind() {
                io::ErrorKind::NotFound => "there is no such list of networks; check the path".to_owned(),
                io::ErrorKind::IsADirectory => "it is a folder; give the file of networks in it".to_owned(),
                io::ErrorKind::PermissionDenied => {
                    "the list of networks cannot be read: permission denied; let the user that ringway becomes (server.user) read it, \
                     and enter every folder above it"
                        .to_owned()
                }
                _ => format!("the list of networks cannot be read: {error}"),
            };
            wrong.add(|| format!("{}: {why}", path.display()));
            Vec::new()
        }
    }
}

/// One in each line; what follows a `#` is for people.
fn networks_of(path: &Path, bytes: &[u8], wrong: &mut Unusable) -> Vec<IpNet> {
    let mut found = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let text = line.trim();
        if text.is_empty() {
            continue;
        }
        match config::network(text) {
            Ok(network) => found.push(network),
            Err(why) => wrong.add(|| {
                let shown: String = text.chars().take(LINE_SHOWN_MAX).collect();
                format!("{}:{}: {shown:?} {why}", path.display(), index + 1)
            }),
        }
    }
    if found.len() > NETWORKS_MAX {
        wrong.add(|| {
            format!(
                "{}: {} networks; at most {NETWORKS_MAX} are allowed in one file; split it, or join networks that touch",
                path.display(),
                found.len()
            )
        });
    }
    found
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it is larger than {FILE_BYTES_MAX} bytes, the most that is read"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Standing;
    use std::fs;

    fn config(access: &str) -> Config {
        let text = format!(
            "[[listener]]\nname='a'\nbind='127.0.0.1:1'\npool='p'\naccess={{{access}}}\n[[pool]]\nname='p'\n\
             [[pool.backend]]\naddress='127.0.0.1:2'\n"
        );
        config::parse("f", &text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn files_and_the_configuration_are_one_list() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad");
        fs::write(&path, "# who\n\n10.0.0.0/8 # all of it\n  192.0.2.1\t\r\n2001:db8::/32").unwrap();
        let rules =
            read(&config(&format!("deny=['172.16.0.0/12'], deny_files='{}'", path.display()))).unwrap();
        for (address, standing) in [
            ("10.1.2.3", Standing::Deny),
            ("172.31.0.1", Standing::Deny),
            ("192.0.2.1", Standing::Deny),
            ("192.0.2.2", Standing::Allow),
            ("2001:db8::1", Standing::Deny),
        ] {
            assert_eq!(rules[0].verdict(address.parse().unwrap()), standing, "{address}");
        }
    }

    #[test]
    fn every_bad_line_of_every_file_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("a"), "10.0.0.1/8\nnonsense\n10.0.0.0/33\n10.0.0.0/\n10.0.0.0/+8\n1.2.3.4\n").unwrap();
        fs::write(path("b"), b"\xff\xfe\n::/0\nfe80::1/10 # no\n").unwrap();
        let error = read(&config(&format!(
            "allow_files=['{}', '{}'], deny_files=['{}', '{}']",
            path("a"),
            path("b"),
            path("a"),
            path("none")
        )))
        .unwrap_err();
        let told: Vec<String> = error.to_string().lines().map(|line| line.replace(&path(""), "")).collect();
        let starts = [
            "a:1: \"10.0.0.1/8\" has bits behind the first 8; write \"10.0.0.0/8\"",
            "a:2: \"nonsense\" is no network; write",
            "a:3: \"10.0.0.0/33\" has more than 32 bits behind the slash; write 0 to 32",
            "a:4: \"10.0.0.0/\" has no number",
            "a:5: \"10.0.0.0/+8\" has no number",
            "b:1: \"\u{fffd}\u{fffd}\" is no network",
            "b:3: \"fe80::1/10\" has bits behind the first 10; write \"fe80::/10\"",
            "none: there is no such list of networks; check the path",
        ];
        assert_eq!(told.len(), starts.len(), "{told:#?}");
        for (told, start) in told.iter().zip(starts) {
            assert!(told.starts_with(start), "{told}");
        }
    }

    #[test]
    fn of_very_many_mistakes_the_first_are_shown_and_the_rest_is_counted() {
        let mut wrong = Unusable::default();
        let found = networks_of(Path::new("f"), "x\n".repeat(70).as_bytes(), &mut wrong);
        assert_eq!(found, []);
        assert!(wrong.to_string().ends_with("\nand 20 more"), "{wrong}");
        assert_eq!(wrong.to_string().lines().count(), 51);
    }

    #[test]
    fn more_than_are_allowed_are_refused() {
        let text: String = (0..=NETWORKS_MAX as u32)
            .map(|number| format!("{}\n", std::net::Ipv4Addr::from(0x0a00_0000 + number)))
            .collect();
        let mut wrong = Unusable::default();
        networks_of(Path::new("f"), text.as_bytes(), &mut wrong);
        assert_eq!(wrong.total, 1);
        assert!(wrong.to_string().starts_with("f: 100001 networks; at most 100000"), "{wrong}");
    }
}
