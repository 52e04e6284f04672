//! Binding: the address or the path at which the admin API listens, or why it cannot.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{fs, process};

use crate::config::AdminAddress;

/// Who may write to the socket: its user and its group.
const SOCKET_MODE: u32 = 0o660;

/// Why there is no admin API.
#[derive(Debug)]
pub enum Unusable {
    /// The address cannot be had.
    Address(SocketAddr, io::Error),
    /// The socket cannot be made.
    Socket(PathBuf, io::Error),
    /// Another process listens there.
    Taken(PathBuf),
    /// Something else has that path.
    InTheWay(PathBuf),
    /// There is no token to be read.
    Token(PathBuf, io::Error),
    /// The thread cannot be started.
    Thread(io::Error),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Address(address, error) => {
                write!(f, "admin.bind: cannot listen on {address}: {error}; ")?;
                match error.raw_os_error() {
                    Some(libc::EADDRINUSE) => write!(
                        f,
                        "another process, perhaps a second ringway, has it (ss -ltnp 'sport = :{}' shows which): choose another \
                         address (--admin), or off",
                        address.port()
                    ),
                    _ => write!(f, "choose another address with admin.bind (--admin)"),
                }
            }
            Unusable::Socket(path, error) => write!(
                f,
                "admin.bind: cannot make the socket {}: {error}; its folder must be there and be writable for the user of ringway \
                 (RuntimeDirectory=ringway in a systemd unit makes /run/ringway)",
                path.display()
            ),
            Unusable::Taken(path) => write!(
                f,
                "admin.bind: another process, perhaps a second ringway, listens on {}; stop that one or choose another path",
                path.display()
            ),
            Unusable::InTheWay(path) => {
                write!(
                    f,
                    "admin.bind: {} is there and is no socket; remove it or choose another path",
                    path.display()
                )
            }
            Unusable::Token(path, error) => write!(
                f,
                "admin.token_file: no token can be read from {}: {error}; openssl rand -hex 32 > {} makes one",
                path.display(),
                path.display()
            ),
            Unusable::Thread(error) => write!(f, "thread admin could not be started: {error}"),
        }
    }
}

impl std::error::Error for Unusable {}

/// Where it listens.
pub(super) enum Bound {
    /// At an address.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener, SocketFile),
}

/// The file of a socket; removed by drop.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens there.
pub(super) fn bind(address: &AdminAddress) -> Result<Bound, Unusable> {
    match address {
        AdminAddress::Address(address) => {
            let listen = || {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            };
            listen().map(Bound::Tcp).map_err(|error| Unusable::Address(*address, error))
        }
        AdminAddress::Socket(path) => socket(path),
    }
}

/// The socket gets its mode before it gets its name, so that there is no moment at which others could connect. One that a
/// process left behind is replaced; one that somebody listens on is not.
fn socket(path: &Path) -> Result<Bound, Unusable> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(Unusable::InTheWay(path.to_owned())),
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(Unusable::Taken(path.to_owned())),
        Ok(_) | Err(_) => {}
    }
    let made = PathBuf::from(format!("{}.{}", path.display(), process::id()));
    let make = || {
        let _ = fs::remove_file(&made);
        let listener = UnixListener::bind(&made)?;
        fs::set_permissions(&made, fs::Permissions::from_mode(SOCKET_MODE))?;
        fs::rename(&made, path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    match make() {
        Ok(listener) => Ok(Bound::Unix(listener, SocketFile(path.to_owned()))),
        Err(error) => {
            let _ = fs::remove_file(&made);
            Err(Unusable::Socket(path.to_owned(), error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_for_user_and_group_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let bound = socket(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        assert!(matches!(socket(&path), Err(Unusable::Taken(_))), "somebody listens there");
        drop(bound);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_dead_process_left_is_replaced_and_what_is_no_socket_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(socket(&path).is_ok());
        fs::write(&path, "notes").unwrap();
        let error = socket(&path).err().unwrap().to_string();
        assert!(error.contains("is no socket"), "{error}");
        let error = socket(&folder.path().join("nowhere/admin.sock")).err().unwrap().to_string();
        assert!(error.contains("RuntimeDirectory"), "{error}");
    }
}
