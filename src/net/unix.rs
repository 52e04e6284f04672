//! Unix: listening at a Unix socket, which all workers share, and connecting to one.
//!
//! A path outlives the process that listened there. What a dead one left is replaced; what somebody listens on is not. The
//! kernel has no word for "bind if nobody is there", so two processes that start at once could each take the other's new
//! socket for an old one: whoever looks locks the folder meanwhile.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd::{Group, User};
use socket2::{Domain, SockAddr, Type};

use super::Socket;
use crate::config::{Address, Listener, ListeningSocket, UnixName};

/// The place of a Unix socket that listens, one for all descriptors of it.
#[derive(Debug)]
pub(super) struct Door {
    /// Its file, as long as it is ours to remove.
    file: Option<SocketFile>,
    is_ours: AtomicBool,
    is_shut: AtomicBool,
}

/// The file of a socket, told from another one that may have its path later.
#[derive(Debug)]
struct SocketFile {
    path: &'static str,
    device: u64,
    inode: u64,
}

impl Door {
    /// The one of a socket that listens there already. It is somebody else's until [`Door::take`].
    pub(super) fn of(name: UnixName) -> Door {
        let file = name.path().and_then(SocketFile::at);
        Door { file, is_ours: AtomicBool::new(false), is_shut: AtomicBool::new(false) }
    }

    /// From now on its file goes with us.
    pub(super) fn take(&self) {
        self.is_ours.store(true, Ordering::Relaxed);
    }

    /// From now on its file is somebody else's to remove.
    pub(super) fn leave(&self) {
        self.is_ours.store(false, Ordering::Relaxed);
    }

    /// Nobody is let in from now on: the name is free for others.
    pub(super) fn shut(&self) {
        self.is_shut.store(true, Ordering::Relaxed);
        self.remove();
    }

    /// Whether it has been shut.
    pub(super) fn is_shut(&self) -> bool {
        self.is_shut.load(Ordering::Relaxed)
    }

    /// Gives the file the mode and the owner that the configuration wants.
    pub(super) fn set_access(&self, wanted: &ListeningSocket) -> io::Result<()> {
        match &self.file {
            Some(file) if self.is_ours.load(Ordering::Relaxed) && file.is_there() => {
                set_access(file.path, wanted)
            }
            _ => Ok(()),
        }
    }

    fn remove(&self) {
        let Some(file) = &self.file else { return };
        if self.is_ours.swap(false, Ordering::Relaxed) && file.is_there() {
            let _ = fs::remove_file(file.path);
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.remove();
    }
}

impl SocketFile {
    fn at(path: &'static str) -> Option<SocketFile> {
        let found = fs::symlink_metadata(path).ok().filter(|found| found.file_type().is_socket())?;
        Some(SocketFile { path, device: found.dev(), inode: found.ino() })
    }

    /// Whether the path still leads to it, and not to what another process has made there meanwhile.
    fn is_there(&self) -> bool {
        let found = SocketFile::at(self.path);
        found.is_some_and(|found| (found.device, found.inode) == (self.device, self.inode))
    }
}

/// A socket that listens at this name.
pub(super) fn listen(name: UnixName, listener: &Listener) -> io::Result<(socket2::Socket, Door)> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let Some(path) = name.path() else {
        socket.bind(&sock_addr(name)?)?;
        socket.listen(listener.backlog as i32)?;
        return Ok((socket, Door::of(name)));
    };
    let _lock = lock_folder(path);
    clear(path, name)?;
    socket.bind(&sock_addr(name)?)?;
    let door = Door::of(name);
    door.take();
    // Before it listens: until then the kernel refuses whoever connects, so that nobody gets in who may not.
    set_access(path, &listener.socket)?;
    socket.listen(listener.backlog as i32)?;
    Ok((socket, door))
}

/// Two that look at one path at once must not both replace what is there. Where the folder cannot be opened the look goes on
/// without: the folder is then hardly one to make sockets in.
fn lock_folder(path: &str) -> Option<File> {
    let folder = File::open(Path::new(path).parent()?).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

/// Removes what a dead process left.
fn clear(path: &str, name: UnixName) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else than a socket has that path"))
        }
        Ok(_) => match is_listening(name)? {
            true => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
            false => fs::remove_file(path),
        },
    }
}

/// Whether somebody listens there. A full queue (EAGAIN) is somebody's, too.
fn is_listening(name: UnixName) -> io::Result<bool> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&sock_addr(name)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // Whoever may not connect cannot know. Better to refuse than to take away what serves.
        Ok(()) | Err(_) => Ok(true),
    }
}

fn set_access(path: &str, wanted: &ListeningSocket) -> io::Result<()> {
    let (user, group) = (owner(wanted.user.as_deref())?, owning_group(wanted.group.as_deref())?);
    if user.is_some() || group.is_some() {
        let refused = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!(
                    "its file cannot be given to listener.socket.user and group: {error}; that takes root, or a group that this user is in"
                ),
            )
        };
        chown(path, user, group).map_err(refused)?;
    }
    fs::set_permissions(path, Permissions::from_mode(wanted.mode))
}

fn owner(user: Option<&str>) -> io::Result<Option<u32>> {
    let Some(user) = user else { return Ok(None) };
    if let Ok(number) = user.parse() {
        return Ok(Some(number));
    }
    let found = User::from_name(user)?.map(|found| found.uid.as_raw());
    found.map(Some).ok_or_else(|| {
        unknown(format!(
            "there is no user {user:?} (listener.socket.user): getent passwd shows those that there are"
        ))
    })
}

fn owning_group(group: Option<&str>) -> io::Result<Option<u32>> {
    let Some(group) = group else { return Ok(None) };
    if let Ok(number) = group.parse() {
        return Ok(Some(number));
    }
    let found = Group::from_name(group)?.map(|found| found.gid.as_raw());
    found.map(Some).ok_or_else(|| {
        unknown(format!(
            "there is no group {group:?} (listener.socket.group): getent group shows those that there are"
        ))
    })
}

fn unknown(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Connects at once, or says why not: `WouldBlock` while the queue of who listens there is full.
///
/// Not on the ring: a blocking connect to a full queue waits on a thread of the kernel's, from which nothing but time gets it
/// back; the rest is over before the call returns.
pub fn connect_now(socket: &Socket, name: UnixName) -> io::Result<()> {
    let own = socket2::SockRef::from(socket);
    own.set_nonblocking(true)?;
    own.connect(&sock_addr(name)?)?;
    // The relay decides by itself which of its sockets do not wait.
    own.set_nonblocking(false)
}

/// The kernel's form of a name.
pub(super) fn sock_addr(name: UnixName) -> io::Result<SockAddr> {
    match name.abstract_name() {
        Some(text) => SockAddr::unix(OsStr::from_bytes(&[b"\0", text.as_bytes()].concat())),
        None => SockAddr::unix(name.path().unwrap_or_default()),
    }
}

/// Where a socket is. A Unix socket whose name no configuration could have counts as one without a name.
pub(super) fn address_of(address: &SockAddr) -> Option<Address> {
    if let Some(ip) = address.as_socket() {
        return Some(Address::Ip(ip));
    }
    if !address.is_unix() {
        return None;
    }
    let name = match (address.as_pathname(), address.as_abstract_namespace()) {
        (Some(path), _) => path.to_str().map(str::to_owned),
        (None, Some(name)) => str::from_utf8(name).ok().map(|name| format!("@{name}")),
        (None, None) => None,
    };
    let name = name.and_then(|name| UnixName::new(&name).ok());
    Some(name.map_or(Address::NAMELESS, Address::Unix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Listening, accept, listen as listen_at};
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    fn listener(socket: &str) -> Listener {
        let text = format!(
            "[[listener]]\nname='a'\nbind='unix:/x'\npool='p'\n{socket}\n[[pool]]\nname='p'\n[[pool.backend]]\naddress='unix:@y'\n"
        );
        crate::config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}")).listeners.remove(0)
    }

    fn listen_in(folder: &Path, socket: &str) -> io::Result<Listening> {
        let address: Address = format!("unix:{}/a.sock", folder.display()).parse().unwrap();
        listen_at(address, 1, &listener(socket)).map(|mut group| group.remove(0))
    }

    #[test]
    fn a_socket_is_for_whom_it_is_meant_and_its_file_goes_with_the_last_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let socket = listen_in(folder.path(), "socket={mode='0600'}").unwrap();
        assert_eq!(mode(), 0o600);
        let another = socket.another().unwrap();
        socket.adjust(&listener("socket={mode='0666'}")).unwrap();
        assert_eq!(mode(), 0o666);
        drop(socket);
        assert!(path.exists(), "another descriptor listens");
        assert!(UnixStream::connect(&path).is_ok());
        drop(another);
        assert!(!path.exists());
    }

    #[test]
    fn who_listens_keeps_the_path_and_what_a_dead_process_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let rival = UnixListener::bind(&path).unwrap();
        let error = listen_in(folder.path(), "").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
        assert!(UnixStream::connect(&path).is_ok(), "it still serves");
        drop(rival);
        assert!(path.exists());
        let socket = listen_in(folder.path(), "").unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"x").unwrap();
        let (accepted, address) = accept(&socket).unwrap().unwrap();
        assert_eq!(address, Address::NAMELESS);
        let mut byte = [0];
        UnixStream::from(accepted).read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        drop(socket);
        fs::write(&path, "notes").unwrap();
        let error = listen_in(folder.path(), "").unwrap_err();
        assert!(error.to_string().contains("something else than a socket"), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn a_file_that_another_process_has_made_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let socket = listen_in(folder.path(), "").unwrap();
        fs::remove_file(&path).unwrap();
        let _rival = UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
    }

    #[test]
    fn who_waits_is_let_in_after_the_door_is_shut_and_nobody_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let socket = listen_in(folder.path(), "").unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        socket.shut();
        assert!(!path.exists());
        assert!(accept(&socket).unwrap().is_some());
        assert!(accept(&socket).unwrap().is_none());
    }

    #[test]
    fn an_unknown_owner_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = listen_in(folder.path(), "socket={user='nobody-of-this-name'}").unwrap_err();
        assert!(error.to_string().contains("no user \"nobody-of-this-name\""), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_full_queue_says_so_at_once() {
        let name = UnixName::new("@ringway-test-full-queue").unwrap();
        let rival = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        rival.bind(&sock_addr(name).unwrap()).unwrap();
        rival.listen(0).unwrap();
        let connect = || {
            let socket = Socket::from(std::os::fd::OwnedFd::from(
                socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap(),
            ));
            connect_now(&socket, name).map(|()| socket)
        };
        let _first = connect().unwrap();
        let full = connect().unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }
}
