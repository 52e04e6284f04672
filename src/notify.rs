//! Notify: what the service manager is told, in datagrams to the socket that it names (sd_notify(3)).
//!
//! Eight kinds of message and one system call: a crate would be larger than this file, and would not know of a send that
//! must not wait for ever. Without a manager every message goes nowhere.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long one message may wait for a manager that does not read.
const SEND_TIMEOUT: Duration = Duration::from_millis(200);

/// Variables by which a manager speaks to us. Programs that we start are not us: they must not have them.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says. A manager that cannot be reached is a line in the log: serving does not hang on it.
    pub fn from_environment() -> Notifier {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Notifier::default() };
        let variable = |name| env::var(name).ok();
        let watchdog = watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), process::id());
        match Notifier::to(&name) {
            Ok(notifier) => Notifier { watchdog, ..notifier },
            Err(error) => {
                tracing::warn!(socket = ?name, %error, "the service manager cannot be told anything");
                Notifier::default()
            }
        }
    }

    /// To a socket: a path, or with `@` a name that is not in the file system.
    ///
    /// # Errors
    ///
    /// When the name is neither, or too long, or no socket can be made.
    pub fn to(name: &OsStr) -> io::Result<Notifier> {
        let address = address(name)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Notifier { manager: Some((socket, address)), watchdog: None })
    }

    /// Within which time the manager wants a sign of life, again and again; `None` if it does not.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Serves from now on: after the start, and after each reload.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// A reload has begun; [`Notifier::ready`] ends it, whether it came to something or not. The manager compares the
    /// moment with that of its own signal.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reloading"));
    }

    /// The end has begun, and may take this long, whatever the manager's own limit says.
    pub fn stopping(&self, at_most: Duration, status: &str) {
        let microseconds = at_most.as_micros();
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={microseconds}\nSTATUS={}", one_line(status)));
    }

    /// What a person may see of us (`systemctl status`).
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// A sign of life.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// Another process serves in our place.
    pub fn main_process(&self, id: u32) {
        self.send(&format!("MAINPID={id}"));
    }

    /// To an address and not over a connection: a manager that begins anew has the same name and another socket.
    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.manager else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            let what = message.lines().next().unwrap_or_default();
            tracing::warn!(%error, what, "the service manager could not be told");
        }
    }
}

/// A line break would begin another message.
fn one_line(text: &str) -> String {
    text.trim().replace('\n', "; ")
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "NOTIFY_SOCKET is neither an absolute path nor a name with @ before it",
        )),
    }
}

/// The time of the watchdog, if it is meant for this process.
fn watchdog(microseconds: Option<String>, process: Option<String>, own: u32) -> Option<Duration> {
    if process.is_some_and(|process| process.parse() != Ok(own)) {
        return None;
    }
    let time = Duration::from_micros(microseconds?.parse().ok()?);
    (!time.is_zero()).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_heeded_by_whom_it_is_meant_for() {
        let of = |time: &str, process: Option<&str>| watchdog(Some(time.into()), process.map(Into::into), 7);
        assert_eq!(of("2000000", None), Some(Duration::from_secs(2)));
        assert_eq!(of("2000000", Some("7")), Some(Duration::from_secs(2)));
        assert_eq!(of("2000000", Some("8")), None);
        assert_eq!(of("0", None), None);
        assert_eq!(of("soon", None), None);
        assert_eq!(watchdog(None, Some("7".into()), 7), None);
    }

    #[test]
    fn a_name_is_a_path_or_has_an_at_before_it() {
        assert!(address(OsStr::new("/run/manager")).unwrap().as_pathname().is_some());
        assert_eq!(address(OsStr::new("@manager")).unwrap().as_abstract_name(), Some(&b"manager"[..]));
        for wrong in ["", "@", "manager", "vsock:2:1234"] {
            assert!(address(OsStr::new(wrong)).is_err(), "{wrong}");
        }
        assert!(address(OsStr::new(&format!("/{}", "x".repeat(200)))).is_err());
    }

    #[test]
    fn what_is_told_is_one_message_whatever_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manager");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let told = || {
            let mut buffer = [0; 512];
            let count = manager.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..count].to_vec()).unwrap()
        };
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        notifier.ready("two\nSTOPPING=1\n");
        assert_eq!(told(), "READY=1\nSTATUS=two; STOPPING=1");
        let clock = || {
            let now = clock_gettime(ClockId::Monotonic);
            now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
        };
        let before = clock();
        notifier.reloading();
        let text = told();
        let moment = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().lines().next().unwrap();
        assert!((before..=clock()).contains(&moment.parse().unwrap()), "{text}");
        notifier.stopping(Duration::from_secs(40), "draining");
        assert_eq!(told(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000\nSTATUS=draining");
        notifier.alive();
        assert_eq!(told(), "WATCHDOG=1");
        notifier.main_process(42);
        assert_eq!(told(), "MAINPID=42");
        // It is gone, and nothing comes of that; it comes back under the same name, and is told again.
        drop(manager);
        std::fs::remove_file(&path).unwrap();
        notifier.alive();
        let manager = UnixDatagram::bind(&path).unwrap();
        notifier.status("again");
        let mut buffer = [0; 512];
        let count = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"STATUS=again");
    }
}
