//! Sockets from a parent that has opened them before, as a manager does.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::common::*;
use crate::peers::own_address;
use crate::process::{Process, outcome_between, write_file};
use crate::udp::{self, UdpBackend};

/// A shell that has them as its standard streams, and ringway in its place: from 3 on, and its number in LISTEN_PID. A child of
/// this process could not know that number.
const PARENT: &str = "exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ LISTEN_FDS=$1 LISTEN_FDNAMES=web:api exec \"$2\" run --config \"$3\"";

/// How a manager would start ringway with this many sockets. The file stands for as long as what is returned with it.
fn command(
    count: usize,
    workers: usize,
    bind: &str,
    backend: SocketAddr,
) -> (Command, tempfile::NamedTempFile) {
    let file = write_file(&format!("workers = {workers}"), bind, backend);
    let mut command = Command::new("sh");
    command.args(["-c", PARENT, "sh", &count.to_string(), env!("CARGO_BIN_EXE_ringway")]).arg(file.path());
    (command, file)
}

fn start(sockets: &[&TcpListener], workers: usize, backend: SocketAddr) -> Process {
    let address = sockets[0].local_addr().unwrap();
    let (command, _file) = command(sockets.len(), workers, &format!("'{address}'"), backend);
    let mut passed = sockets.iter().map(|socket| Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    let (input, output) = (passed.next().unwrap(), passed.next().unwrap_or_else(Stdio::null));
    Process::start_between(command, input, output)
}

/// What a start with this as the only socket says before it gives up.
fn refused(socket: impl Into<Stdio>, count: usize, bind: &str) -> String {
    let backend = TestBackend::echo();
    let (command, _file) = command(count, 1, bind, backend.address);
    let (status, errors, _) = outcome_between(command, socket.into());
    assert_eq!(status.code(), Some(1), "{errors}");
    errors
}

/// Two sockets with one address.
fn pair() -> [TcpListener; 2] {
    let first = reusing(any_port());
    let second = reusing(first.local_addr().unwrap());
    [first, second]
}

fn reusing(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(128).unwrap();
    socket.into()
}

#[test]
fn one_socket_serves_all_workers_and_who_comes_while_ringway_is_away_is_served_by_the_next() {
    let backend = TestBackend::echo();
    let socket = listen(any_port());
    let address = socket.local_addr().unwrap();
    let first = start(&[&socket], 2, backend.address);
    assert!(first.errors().contains("listens on what the service manager passed"), "{}", first.errors());
    for _ in 0..50 {
        assert_echo(&mut connect(address), b"by the first");
    }
    // Idle, so that every worker waits on the socket when the end comes.
    first.stop();
    // The socket is its owner's, and still there: this one waits in its queue.
    let mut between = connect(address);
    let second = start(&[&socket], 2, backend.address);
    assert_echo(&mut between, b"by the second");
    assert_echo(&mut connect(address), b"by the second, too");
    drop(between);
    second.stop();
}

#[test]
fn several_sockets_of_one_address_all_have_somebody_who_accepts() {
    for workers in [1, 2, 3] {
        let backend = TestBackend::echo();
        let [first, second] = pair();
        let address = first.local_addr().unwrap();
        let process = start(&[&first, &second], workers, backend.address);
        // The kernel puts about half of them on each socket: with one that nobody looks at some would wait in vain.
        let mut clients: Vec<_> = (0..40).map(|_| connect(address)).collect();
        for client in &mut clients {
            assert_echo(client, b"served");
        }
        drop(clients);
        process.stop();
    }
}

#[test]
fn a_socket_that_does_not_fit_is_refused_with_what_to_do() {
    let socket = listen(any_port());
    let address = socket.local_addr().unwrap();
    let error = refused(OwnedFd::from(socket), 1, "'127.0.0.1:0'");
    let expected = format!("socket web of the service manager: no listener has its address {address}");
    assert!(error.contains(&expected), "{error}");

    let datagrams = UdpSocket::bind(own_address(5300)).unwrap();
    let address = datagrams.local_addr().unwrap();
    // The listener with its address is over TCP.
    let error = refused(OwnedFd::from(datagrams), 1, &format!("'{address}'"));
    let expected = format!("socket web of the service manager: no listener has its address {address}");
    assert!(error.contains(&expected), "{error}");

    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let error = refused(OwnedFd::from(silent), 1, "'127.0.0.1:0'");
    assert!(error.contains("socket web of the service manager: it does not listen"), "{error}");

    let socket = listen(any_port());
    let address = socket.local_addr().unwrap();
    // One more than there is; nothing that ringway opens itself passes for it.
    let error = refused(OwnedFd::from(socket), 3, &format!("'{address}'"));
    assert!(error.contains("a descriptor that LISTEN_FDS promises is not open"), "{error}");

    let socket = listen(any_port());
    let address = socket.local_addr().unwrap();
    // The second is /dev/null.
    let error = refused(OwnedFd::from(socket), 2, &format!("'{address}'"));
    assert!(error.contains("socket api of the service manager: it is not a TCP socket"), "{error}");

    let dual = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    dual.set_only_v6(false).unwrap();
    dual.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).unwrap();
    dual.listen(1).unwrap();
    let port = dual.local_addr().unwrap().as_socket().unwrap().port();
    let error = refused(OwnedFd::from(dual), 1, &format!("['[::]:{port}', '0.0.0.0:{port}']"));
    assert!(error.contains("BindIPv6Only=ipv6-only"), "{error}");
}

#[test]
fn sockets_that_are_meant_for_another_process_are_left_alone() {
    let backend = TestBackend::echo();
    let mut command = crate::process::ringway();
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "2");
    let process = crate::process::run_file_as(command, "", backend.address);
    assert_echo(&mut process.connect(), b"served");
    assert_eq!(Ipv4Addr::LOCALHOST, process.connect().peer_addr().unwrap().ip());
    process.stop();
}

#[test]
fn the_real_systemd_socket_activate_can_start_it() {
    // A part of systemd; where it is not, the test above has done the same by hand.
    let activate = "/usr/bin/systemd-socket-activate";
    if !std::path::Path::new(activate).exists() {
        return;
    }
    let backend = TestBackend::echo();
    // It takes an address and not a port 0: one that is nobody else's.
    let address = own_address(8_000);
    let file = write_file("workers = 1", &format!("'{address}'"), backend.address);
    let mut command = Command::new(activate);
    command.args(["--listen", &address.to_string(), env!("CARGO_BIN_EXE_ringway"), "run", "--config"]);
    command.arg(file.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut client = None;
    await_that("it listens", || {
        client = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
        client.is_some()
    });
    // The first client is what it starts ringway for; nobody has accepted it until then.
    assert_echo(&mut with_deadline(client.unwrap()), b"served");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(crate::process::await_exit(&mut child).success());
}

#[test]
fn a_passed_socket_for_datagrams_serves_and_is_still_there_afterwards() {
    let backend = UdpBackend::echo();
    let socket = udp::socket_at(any_port());
    let address = socket.local_addr().unwrap();
    let (command, _file) = command(1, 2, &format!("'{address}'\nprotocol = 'udp'"), backend.address);
    let passed = Stdio::from(OwnedFd::from(socket.try_clone().unwrap()));
    let process = Process::start_between(command, passed, Stdio::null());
    let client = udp::client_of(address);
    udp::assert_echo(&client, b"through a passed socket");
    process.stop();
    client.send(b"while nobody is there").unwrap();
    // The options that ringway has set are those of the socket, and so is that it does not wait.
    socket.set_nonblocking(false).unwrap();
    assert_eq!(udp::receive(&socket), b"while nobody is there");
}
