//! Unix sockets as listeners and as backends: what they carry, how they end, and whose their files are.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ringway::config::{Accept, Address, Check, Config, Exchange, OnDown};
use ringway::end::End;
use ringway::table::State;

use super::process::Process;
use crate::common::*;

/// A folder for the sockets of a test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn address(&self, name: &str) -> Address {
        format!("unix:{}", self.path(name).display()).parse().unwrap()
    }

    /// A server there; how many it has accepted.
    fn serve(&self, name: &str, serve: fn(UnixStream)) -> Arc<AtomicUsize> {
        serve_on(UnixListener::bind(self.path(name)).unwrap(), serve)
    }
}

fn serve_on(listener: UnixListener, serve: fn(UnixStream)) -> Arc<AtomicUsize> {
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let stream = with_unix_deadline(stream.unwrap());
            thread::spawn(move || serve(stream));
        }
    });
    accepted
}

/// Sends back what comes, up to the end of the stream.
fn unix_echo(mut stream: UnixStream) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 || stream.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// Says how much came, once the client has ended its stream.
fn count_them(mut stream: UnixStream) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    stream.write_all(format!("{} bytes", bytes.len()).as_bytes()).unwrap();
}

fn with_unix_deadline(stream: UnixStream) -> UnixStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn connect_to(path: &Path) -> UnixStream {
    with_unix_deadline(UnixStream::connect(path).unwrap())
}

fn assert_unix_echo(stream: &mut UnixStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == bytes, "the echo differs");
}

/// A listener at this address over these backends, beside one of TCP.
fn over(listener: Address, backends: &[Address]) -> Config {
    let mut config = config(&[any_port()]);
    let backend = config.pools[0].backends.remove(0);
    config.listeners[0].bind.push(listener);
    config.pools[0].backends = backends
        .iter()
        .map(|&address| ringway::config::Backend { name: address.to_string(), address, ..backend.clone() })
        .collect();
    config
}

#[test]
fn bytes_of_every_size_come_back_and_a_half_close_gets_its_reply() {
    let folder = Folder::new();
    folder.serve("echo", unix_echo);
    folder.serve("count", count_them);
    let ringway = Ringway::start(over(folder.address("in"), &[folder.address("echo")]));
    let mut noise = Noise::new(7);
    for size in [1, 100, 20_000, 300_000] {
        let mut client = connect_to(&folder.path("in"));
        for _ in 0..3 {
            let bytes = noise.bytes(size);
            let (mut sending, sent) = (client.try_clone().unwrap(), bytes.clone());
            let writer = thread::spawn(move || sending.write_all(&sent).unwrap());
            let mut back = vec![0; size];
            client.read_exact(&mut back).unwrap();
            writer.join().unwrap();
            assert!(back == bytes, "the echo of {size} bytes differs");
        }
    }
    // By TCP, too: the two kinds mix.
    assert_echo(&mut ringway.connect(), b"by TCP");
    ringway.await_end(End::Complete, 5);
    ringway.finish();

    let ringway = Ringway::start(over(folder.address("in"), &[folder.address("count")]));
    let mut client = connect_to(&folder.path("in"));
    client.write_all(&[1; 70_000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "70000 bytes");
    assert_eq!(ringway.finish().ended(End::Complete), 1);
}

#[test]
fn long_streams_are_spliced_between_unix_sockets() {
    const SIZE: usize = 96 << 20;
    let folder = Folder::new();
    folder.serve("count", count_them);
    let ringway = Ringway::start(over(folder.address("in"), &[folder.address("count")]));
    let mut client = connect_to(&folder.path("in"));
    let chunk = vec![7; 1 << 20];
    for _ in 0..SIZE >> 20 {
        client.write_all(&chunk).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, format!("{SIZE} bytes"));
    await_that("it is counted", || ringway.carried().bytes() > SIZE as u64);
    assert_eq!(ringway.finish().ended(End::Complete), 1);
}

#[test]
fn abstract_names_serve_on_both_sides() {
    let name = format!("ringway-test-{}", std::process::id());
    let backend = UnixAddr::from_abstract_name(format!("{name}-backend")).unwrap();
    serve_on(UnixListener::bind_addr(&backend).unwrap(), unix_echo);
    let [listen, serve] = [format!("unix:@{name}-in"), format!("unix:@{name}-backend")];
    let ringway = Ringway::start(over(listen.parse().unwrap(), &[serve.parse().unwrap()]));
    let address = UnixAddr::from_abstract_name(format!("{name}-in")).unwrap();
    let mut client = with_unix_deadline(UnixStream::connect_addr(&address).unwrap());
    assert_unix_echo(&mut client, b"in no folder");
    drop(client);
    assert_eq!(ringway.finish().ended(End::Complete), 1);
    assert!(UnixStream::connect_addr(&address).is_err(), "nobody listens any more");
}

#[test]
fn every_worker_accepts_at_the_one_socket_and_balanced_spreads_them() {
    let folder = Folder::new();
    folder.serve("echo", unix_echo);
    let mut config = over(folder.address("in"), &[folder.address("echo")]);
    config.listeners[0].accept = Accept::Balanced;
    let ringway = Ringway::start(config);
    let mut clients: Vec<_> = (0..10).map(|_| connect_to(&folder.path("in"))).collect();
    clients.iter_mut().for_each(|client| assert_unix_echo(client, b"x"));
    let stats = ringway.server().stats();
    let spread: Vec<u64> = stats.workers.iter().map(|worker| worker.core.active.get()).collect();
    assert_eq!(spread.iter().sum::<u64>(), 10);
    assert!(spread.iter().all(|&active| active >= 4), "{spread:?}");
    drop(clients);
    assert_eq!(ringway.finish().ended(End::Complete), 10);
}

#[test]
fn a_backend_that_is_not_there_or_whose_queue_is_full_is_passed_over() {
    let folder = Folder::new();
    let accepted = folder.serve("echo", unix_echo);
    // Bound and dead, and one whose queue takes one more.
    drop(UnixListener::bind(folder.path("dead")).unwrap());
    let full = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    full.bind(&socket2::SockAddr::unix(folder.path("full")).unwrap()).unwrap();
    full.listen(0).unwrap();
    let _only = UnixStream::connect(folder.path("full")).unwrap();
    let backends = ["missing", "dead", "full", "echo"].map(|name| folder.address(name));
    let mut config = over(folder.address("in"), &backends);
    config.pools[0].algorithm = ringway::config::Algorithm::First;
    config.pools[0].connect_timeout = Duration::from_millis(100);
    let ringway = Ringway::start(config);
    for _ in 0..3 {
        let mut client = connect_to(&folder.path("in"));
        assert_unix_echo(&mut client, b"with the last one");
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 3);
    ringway.await_end(End::Complete, 3);
    ringway.finish();
}

#[test]
fn a_reset_on_either_side_ends_the_other_and_nobody_hangs() {
    let folder = Folder::new();
    // It has something to send for ever, until it cannot.
    folder.serve("talker", |mut stream| while stream.write_all(&[1; 1000]).is_ok() {});
    let ringway = Ringway::start(over(folder.address("in"), &[folder.address("talker")]));
    let mut client = ringway.connect();
    client.read_exact(&mut [0; 100]).unwrap();
    reset(client);
    ringway.await_end(End::ClientReset, 1);
    // A Unix client that leaves with bytes unread is a reset, too.
    let mut client = connect_to(&folder.path("in"));
    client.read_exact(&mut [0; 100]).unwrap();
    drop(client);
    ringway.await_end(End::ClientReset, 2);
    ringway.finish();

    // The backend leaves with bytes unread: its client sees an end or an error, and cannot write.
    folder.serve("leaver", |mut stream| {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
    });
    let ringway = Ringway::start(over(folder.address("in"), &[folder.address("leaver")]));
    let mut client = connect_to(&folder.path("in"));
    client.read_exact(&mut [0; 1]).unwrap();
    client.write_all(&[2; 100]).unwrap();
    let ended = client.read(&mut [0; 10]);
    assert!(matches!(&ended, Ok(0)) || ended.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset));
    await_that("it cannot write", || client.write_all(&[2; 100]).is_err());
    ringway.await_end(End::BackendReset, 1);
    ringway.finish();
}

#[test]
fn a_session_that_is_cut_shows_its_client_an_end() {
    let folder = Folder::new();
    folder.serve("echo", unix_echo);
    let mut config = over(folder.address("in"), &[folder.address("echo")]);
    config.listeners[0].idle_timeout = Some(Duration::from_secs(2));
    let ringway = Ringway::start(config);
    let mut client = connect_to(&folder.path("in"));
    assert_unix_echo(&mut client, b"last words");
    let ended = client.read(&mut [0; 10]);
    assert!(matches!(&ended, Ok(0)) || ended.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset));
    ringway.await_end(End::IdleTimeout, 1);
    ringway.finish();
}

#[test]
fn checks_see_a_unix_backend_go_and_come_back() {
    let folder = Folder::new();
    folder.serve("other", unix_echo);
    let mut config = over(folder.address("in"), &[folder.address("echo"), folder.address("other")]);
    config.pools[0].health.check = Check::Tcp(Exchange::default());
    config.pools[0].on_down = OnDown::Keep;
    let ringway = Ringway::start(config);
    let state = |index: usize| ringway.server().table().backends[index].health.state;
    await_that("the one that is missing is down", || state(0) == State::Down);
    assert_eq!(state(1), State::Up);
    folder.serve("echo", unix_echo);
    await_that("it is back", || state(0) == State::Up);
    assert_unix_echo(&mut connect_to(&folder.path("in")), b"x");
    ringway.await_end(End::Complete, 1);
    ringway.finish();
}

#[test]
fn a_reload_keeps_a_socket_takes_another_away_and_loses_nobody_in_its_queue() {
    let folder = Folder::new();
    folder.serve("echo", unix_echo);
    let mut first = over(folder.address("kept"), &[folder.address("echo")]);
    first.listeners[0].bind.push(folder.address("removed"));
    // All that come now wait in the queue.
    first.server.sessions_max = std::num::NonZeroUsize::new(1);
    let ringway = Ringway::start(first.clone());
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(folder.path("kept")).unwrap());
    let before = inode();
    let mut holder = connect_to(&folder.path("kept"));
    assert_unix_echo(&mut holder, b"the only place");
    let mut waiting = connect_to(&folder.path("removed"));
    waiting.write_all(b"wait").unwrap();

    let mut next = first;
    next.listeners[0].bind.pop();
    next.listeners[0].bind.push(folder.address("added"));
    next.listeners[0].socket.mode = 0o600;
    ringway.server().control().adopt(next).unwrap_or_else(|refused| panic!("{refused}"));
    await_that("the file is gone", || !folder.path("removed").exists());
    assert_eq!(inode(), before, "the one that is kept is the same");
    let mode = |name| fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("kept"), mode("added")), (0o600, 0o600));
    drop(holder);
    let mut back = [0; 4];
    waiting.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"wait", "it came before the reload");
    drop(waiting);
    assert_unix_echo(&mut connect_to(&folder.path("added")), b"x");
    ringway.await_end(End::Complete, 3);
    ringway.finish();
    assert!(!folder.path("kept").exists() && !folder.path("added").exists());
}

/// A file with this listener beside one of TCP, and this backend.
fn file(folder: &Folder, tables: &str, bind: &str, backend: &str) -> PathBuf {
    let text = format!(
        "[server]\nworkers = 2\nsessions_max = 1000\n{tables}\n[[listener]]\nname = 'a'\nbind = ['127.0.0.1:0', '{bind}']\n\
         pool = 'p'\n[[pool]]\nname = 'p'\n[pool.health]\ncheck = 'none'\n[[pool.backend]]\naddress = '{backend}'\n"
    );
    let path = folder.path("ringway.toml");
    fs::write(&path, text).unwrap();
    path
}

fn run(file: &Path) -> std::process::Command {
    let mut command = super::process::ringway();
    command.args(["run", "--config"]).arg(file);
    command
}

#[test]
fn a_second_process_is_refused_and_what_a_killed_one_left_is_replaced() {
    let folder = Folder::new();
    folder.serve("echo", unix_echo);
    let (bind, backend) = (folder.address("in").to_string(), folder.address("echo").to_string());
    let path = file(&folder, "[access_log]\nto = 'stdout'", &bind, &backend);
    let mut first = Process::start(run(&path));
    let mode = fs::metadata(folder.path("in")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o660);
    let second = run(&path).output().unwrap();
    let errors = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&format!("cannot listen on {bind}")) && errors.contains("ss -lxp"), "{errors}");
    assert_unix_echo(&mut connect_to(&folder.path("in")), b"the first still serves");

    first.signal("KILL");
    first.await_exit();
    assert!(folder.path("in").exists(), "nobody has removed it");
    let third = Process::start(run(&path));
    assert_unix_echo(&mut connect_to(&folder.path("in")), b"the third serves");
    let listing = "unix:0 [";
    await_that("it is logged", || third.output().contains(listing));
    third.stop();
    assert!(!folder.path("in").exists(), "it went with its process");
}

#[test]
fn a_socket_of_a_service_manager_serves_and_its_file_stays() {
    let folder = Folder::new();
    folder.serve("echo", unix_echo);
    let (bind, backend) = (folder.address("in").to_string(), folder.address("echo").to_string());
    let path = file(&folder, "", &bind, &backend);
    let socket = UnixListener::bind(folder.path("in")).unwrap();
    let mut command = std::process::Command::new("sh");
    let parent = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$1\" run --config \"$2\"";
    command.args(["-c", parent, "sh", env!("CARGO_BIN_EXE_ringway")]).arg(&path);
    let input = OwnedFd::from(socket.try_clone().unwrap());
    let process = Process::start_between(command, input.into(), std::process::Stdio::null());
    for _ in 0..10 {
        assert_unix_echo(&mut connect_to(&folder.path("in")), b"x");
    }
    process.stop();
    assert!(folder.path("in").exists(), "the manager has it");
    let _waiting = UnixStream::connect(folder.path("in")).expect("it still listens");
}
