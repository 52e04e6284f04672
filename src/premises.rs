//! Premises: whether this machine has what a configuration wants to be there: users, groups, interfaces, folders, files.
//!
//! What is missing would end the start anyway, one at a time and after much else was done. Here it is told with its line, with all
//! other mistakes of the file. What this process may not see is passed over: whoever starts ringway may be somebody else.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User};
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

use crate::admin;
use crate::config::{self, Config, Errors, Need, Needed};
use crate::lists;

/// Where a service manager makes folders and files for a service when it starts it.
const MADE_AT_START: &str = "/run";

/// Reads a file that this process is to run with now. What alone may still come is told as a doubt: whoever opens the socket there
/// ends the start if it has not, with the exit status at which a service manager tries again, and a socket that is passed
/// needs no folder.
///
/// # Errors
///
/// Every mistake in it, and everything that it wants and the machine does not have.
pub fn load(path: &Path) -> Result<(Config, Vec<String>), Errors> {
    // Who mends the file is to hear of all.
    read(path, comes_by_itself).or_else(|_| read(path, |_| false))
}

/// Reads the file of a process that runs. What it would only take up at a restart is left to that.
///
/// # Errors
///
/// Every mistake in it, and everything that it wants now and the machine does not have.
pub fn load_again(path: &Path) -> Result<Config, Errors> {
    let mut premises = Premises::default();
    config::load_here(path, |need| {
        // The tables without a name hold for the process: `[server]`, `[access_log]`, `[admin]`.
        if need.owner.is_empty() || comes_by_itself(need) { Vec::new() } else { premises.look(need) }
    })
}

/// Reads a file that a process of this machine may run with later. A folder that is not there is told as a doubt: a service
/// manager may make it at the start.
///
/// # Errors
///
/// The same, but for the doubts.
pub fn check(path: &Path) -> Result<(Config, Vec<String>), Errors> {
    read(path, |need| may_come(&need.what))
}

/// Reads a file. What is missing is a mistake, or a doubt where that is said of it.
fn read(path: &Path, is_doubt: impl Fn(&Need) -> bool) -> Result<(Config, Vec<String>), Errors> {
    let (mut premises, mut doubts) = (Premises::default(), Vec::new());
    let config = config::load_here(path, |need| {
        let found = premises.look(need);
        if !is_doubt(need) {
            return found;
        }
        doubts.extend(found.into_iter().map(|words| format!("{need}: {words}")));
        Vec::new()
    })?;
    Ok((config, doubts))
}

/// Whether others make it, at their own time: a tunnel its interface, another service the folder of a socket.
fn comes_by_itself(need: &Need) -> bool {
    match need.what {
        Needed::Device(_) => true,
        Needed::FolderOf(_) => need.key.ends_with(".bind"),
        _ => false,
    }
}

/// Whether it may be missing now and be there at the start.
fn may_come(what: &Needed) -> bool {
    match what {
        Needed::FolderOf(_) => true,
        Needed::Token(path) => path.starts_with(MADE_AT_START) && !path.exists(),
        Needed::User(_) | Needed::Group(_) | Needed::Device(_) | Needed::Networks(_) => false,
    }
}

/// What has been looked at.
#[derive(Default)]
struct Premises {
    /// A list of networks is read, and told of, once.
    lists: HashSet<PathBuf>,
}

impl Premises {
    fn look(&mut self, need: &Need) -> Vec<String> {
        let found = match &need.what {
            Needed::Networks(path) => {
                let is_new = self.lists.insert(path.clone());
                return if is_new { lists::mistakes(path) } else { Vec::new() };
            }
            Needed::User(name) => user(name, is_own(need)),
            Needed::Group(name) => group(name),
            Needed::Device(name) => device(name),
            Needed::FolderOf(path) => folder_of(path),
            Needed::Token(path) => token(path),
        };
        found.into_iter().collect()
    }
}

/// Whether it is whom the process is to become.
fn is_own(need: &Need) -> bool {
    need.key == "server.user"
}

fn user(name: &str, is_own: bool) -> Option<String> {
    // A number needs no entry. A database that cannot be read is told of when it is needed.
    if name.parse::<u32>().is_ok() || !matches!(User::from_name(name), Ok(None)) {
        return None;
    }
    let cure = if is_own {
        format!("make it: useradd --system --user-group {name}")
    } else {
        "getent passwd shows those that there are".to_owned()
    };
    Some(format!("there is no user \"{name}\"; {cure}"))
}

fn group(name: &str) -> Option<String> {
    let is_missing = name.parse::<u32>().is_err() && matches!(Group::from_name(name), Ok(None));
    is_missing.then(|| {
        format!(
            "there is no group \"{name}\"; getent group shows those that there are, groupadd --system {name} makes it"
        )
    })
}

fn device(name: &str) -> Option<String> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    match netdevice::name_to_index(any, name) {
        Err(rustix::io::Errno::NODEV) => {
            Some(format!("there is no interface \"{name}\"; ip link shows those that there are"))
        }
        _ => None,
    }
}

fn folder_of(path: &Path) -> Option<String> {
    let folder = path.parent()?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let shown = folder.display();
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => None,
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
        Err(error) if error.kind() == ErrorKind::NotFound => Some(format!(
            "there is no folder {shown} for {}; make it for the user of ringway (RuntimeDirectory=ringway in a systemd unit makes \
             /run/ringway at the start, LogsDirectory=ringway /var/log/ringway)",
            path.display()
        )),
        _ => Some(format!("{shown} is no folder, and {} is to be in it; give another path", path.display())),
    }
}

fn token(path: &Path) -> Option<String> {
    let error = admin::read_token(path).err()?;
    let why = match error.kind() {
        ErrorKind::PermissionDenied => return None,
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    };
    Some(format!(
        "the token cannot be had from {}: {why}; make one: openssl rand -hex 32 > {}",
        path.display(),
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a file with these keys; `{}` is a folder of its own.
    fn told(server: &str, listener: &str) -> (tempfile::TempDir, String, Result<Vec<String>, String>) {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display().to_string();
        fs::write(folder.path().join("short"), "secret\n").unwrap();
        fs::write(folder.path().join("long"), "0123456789abcdef\n").unwrap();
        fs::write(folder.path().join("list"), "10.0.0.0/8\nnonsense\n10.0.0.0/33\n").unwrap();
        let text = format!(
            "{server}\n[[listener]]\nname='a'\nbind='127.0.0.1:1'\npool='p'\n{listener}\n[[pool]]\nname='p'\n\
             [[pool.backend]]\naddress='127.0.0.1:2'\n"
        );
        let path = folder.path().join("f");
        fs::write(&path, text.replace("{}", &at)).unwrap();
        let plain = |text: String| text.replace(&format!("{at}/"), "").replace(&at, ".");
        let started = load(&path).err().map(|errors| plain(errors.to_string())).unwrap_or_default();
        let checked = check(&path).map(|(_, doubts)| doubts.into_iter().map(plain).collect());
        (folder, started, checked.map_err(|errors| plain(errors.to_string())))
    }

    #[test]
    fn everything_that_is_missing_is_told_at_once_with_its_line() {
        let (_folder, started, checked) = told(
            "[server]\nuser='nobody-here'\ngroup='none-here'\nrecord='{}/no/record'\n[access_log]\nto='{}/no/log'\n\
             [admin]\ntoken_file='{}/short'",
            "weight=1\naccess={deny_files=['{}/list', '{}/none', '{}']}\nsocket={device='no-such-0'}",
        );
        let starts = [
            "f:2: server.user: there is no user \"nobody-here\"; make it: useradd",
            "f:3: server.group: there is no group \"none-here\"",
            "f:4: server.record: there is no folder no for no/record",
            "f:6: access_log.to: there is no folder no for no/log",
            "f:8: admin.token_file: the token cannot be had from short: its first line has 6 bytes; at least 16 needed",
            "f:13: listener.weight in listener \"a\": there is no such key",
            "f:14: listener.access.deny_files in listener \"a\": list:2: \"nonsense\" is no network",
            "f:14: listener.access.deny_files in listener \"a\": list:3: \"10.0.0.0/33\" has more than 32 bits",
            "f:14: listener.access.deny_files in listener \"a\": none: there is no such list of networks",
            "f:14: listener.access.deny_files in listener \"a\": .: it is a folder",
            "f:15: listener.socket.device in listener \"a\": there is no interface \"no-such-0\"",
        ];
        let lines: Vec<&str> = started.lines().collect();
        assert_eq!(lines.len(), starts.len(), "{started}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}\n{start}");
        }
        let lines: Vec<String> =
            lines.iter().filter(|line| !line.contains("no folder")).map(|line| line.to_string()).collect();
        assert_eq!(checked.unwrap_err().lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn folders_may_come_until_the_start() {
        let bind = "bind='unix:{}/no/sock'\nname='b'\npool='p'\n[listener.socket]\nuser='nobody-here'";
        let listener = format!("[[listener]]\n{bind}");
        let (_folder, started, checked) =
            told("[admin]\nbind='{}/long/sock'\ntoken_file='{}/long'", &listener);
        assert_eq!(started.lines().count(), 3, "{started}");
        assert!(
            started.contains("f:2: admin.bind: long is no folder, and long/sock is to be in it"),
            "{started}"
        );
        assert!(
            started.contains("f:9: listener.bind in listener \"b\": there is no folder no for"),
            "{started}"
        );
        let checked = checked.unwrap_err();
        assert!(
            checked.starts_with("f:13: listener.socket.user in listener \"b\": there is no user"),
            "{checked}"
        );
        assert_eq!(checked.lines().count(), 1, "{checked}");
    }

    #[test]
    fn what_comes_by_itself_ends_no_start_and_no_reload_here() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let text = |token: &str| {
            format!(
                "[admin]\ntoken_file='{0}/{token}'\n[[listener]]\nname='a'\nbind='unix:{0}/no/sock'\npool='p'\n\
                 [[pool]]\nname='p'\nsocket.device='no-such-0'\n[[pool.backend]]\naddress='127.0.0.1:2'\n",
                folder.path().display()
            )
        };
        fs::write(folder.path().join("token"), "0123456789abcdef\n").unwrap();
        fs::write(&path, text("token")).unwrap();
        let (_, doubts) = load(&path).unwrap();
        let [device, bind] = &doubts[..] else { panic!("{doubts:?}") };
        assert!(bind.starts_with("line 5: listener.bind in listener \"a\": there is no folder"), "{bind}");
        assert!(
            device.starts_with("line 9: pool.socket.device in pool \"p\": there is no interface"),
            "{device}"
        );
        load_again(&path).unwrap();
        // A token is read at the start; and whoever mends it hears of all.
        fs::write(&path, text("none")).unwrap();
        load_again(&path).unwrap();
        assert_eq!(load(&path).unwrap_err().to_string().lines().count(), 3);
    }

    #[test]
    fn what_is_there_is_not_told_of() {
        let (_folder, started, checked) = told(
            "[server]\nuser='root'\ngroup='0'\n[access_log]\nto='{}/log'\n[admin]\ntoken_file='{}/long'",
            "socket={device='lo'}",
        );
        assert_eq!((started.as_str(), checked), ("", Ok(Vec::new())));
        let (_folder, _, checked) = told("[admin]\ntoken_file='/run/no-such-service/token'", "");
        assert!(
            matches!(&checked.unwrap()[..], [only] if only.starts_with("line 2: admin.token_file: the token"))
        );
    }
}
