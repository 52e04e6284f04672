//! What the system does not give: descriptors, memory, calls.

use super::*;

const SETUP: i64 = 425;
const ENTER: i64 = 426;

#[test]
fn without_descriptors_accepting_pauses_and_nobody_is_lost() {
    let backend = TestBackend::echo();
    let process = run(&[backend.address], &["--workers", "1", "--sessions-max", "1000"]);
    let mut running = process.connect();
    assert_echo(&mut running, b"before");
    // Room for some of those to come, and not for all.
    limit(&process, &format!("--nofile={0}:20000", process.descriptors() + 20));
    let mut clients: Vec<TcpStream> = (0..100).map(|_| process.connect()).collect();
    for client in &mut clients {
        client.write_all(b"please").unwrap();
    }
    await_that("it says so", || process.errors().contains("accepting pauses"));
    let (before, begun) = (process.ticks(), Instant::now());
    while begun.elapsed() < Duration::from_secs(1) {
        assert_echo(&mut running, b"running sessions go on");
        thread::sleep(Duration::from_millis(20));
    }
    let used = process.ticks() - before;
    assert!(used < 50, "{used} of 100 ticks were burnt while waiting: it spins");
    assert!(process.errors().matches("accepting pauses").count() < 10, "the log is flooded");
    limit(&process, "--nofile=20000:20000");
    for client in &mut clients {
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"please");
    }
    assert_echo(&mut process.connect(), b"after");
    drop((running, clients));
    process.stop();
}

#[test]
fn more_sessions_than_descriptors_are_refused_with_the_bound() {
    let mut command = Command::new("prlimit");
    command.arg("--nofile=500:500").arg(env!("CARGO_BIN_EXE_ringway"));
    add_run(&mut command, "127.0.0.1:0", &["127.0.0.1:9".parse().unwrap()], &["--sessions-max", "1000"]);
    let (status, errors, _) = outcome(command);
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("the limit on open files is too low: 500"), "{errors}");
    assert!(errors.contains("--sessions-max) to at most"), "{errors}");
}

/// Runs ringway where these calls are refused.
fn outcome_without(calls: &'static [i64], errno: i32) -> (ExitStatus, String, Duration) {
    // A filter can not be taken off again: it goes with a thread of its own, and what that starts inherits it.
    let confined = move || {
        refuse(calls, errno);
        let mut command = ringway();
        add_run(&mut command, "127.0.0.1:0", &["127.0.0.1:9".parse().unwrap()], &[]);
        outcome(command)
    };
    thread::spawn(confined).join().unwrap()
}

#[test]
fn without_io_uring_it_says_why_and_how_to_allow_it() {
    for (calls, errno, call) in [
        (&[SETUP, ENTER, REGISTER][..], libc::EPERM, "io_uring_setup"),
        (&[SETUP, ENTER, REGISTER][..], libc::ENOSYS, "io_uring_setup"),
        (&[ENTER][..], libc::EPERM, "io_uring_enter"),
    ] {
        let calls: &'static [i64] = calls.to_vec().leak();
        let (status, errors, _) = outcome_without(calls, errno);
        assert_eq!(status.code(), Some(3), "{errors}");
        assert!(errors.contains(&format!("io_uring is not available ({call}: ")), "{errors}");
        assert!(errors.contains("seccomp"), "{errors}");
        assert_eq!(errors.lines().count(), 1, "one clear sentence: {errors}");
    }
}

#[test]
fn without_registration_plain_buffers_serve() {
    let backend = TestBackend::echo();
    let address = backend.address;
    let process = thread::spawn(move || {
        refuse(&[REGISTER], libc::EPERM);
        run(&[address], &[])
    });
    let process = process.join().unwrap();
    assert!(process.errors().contains("no buffers could be registered"), "{}", process.errors());
    assert_echo(&mut process.connect(), &Noise::new(11).bytes(300_000));
    assert!(process.stop().contains("1 complete"));
}

#[test]
fn with_little_locked_memory_fewer_buffers_are_registered() {
    // Root may lock what it likes, and so could this test: it becomes another user for the command, from a place that
    // everybody can read. Who is not root already lives under the limit.
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("ringway");
    fs::copy(env!("CARGO_BIN_EXE_ringway"), &binary).unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let is_root =
        fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0).unwrap();
    for (memory, expected) in
        [(65_536, "no buffers could be registered"), (8_388_608, "of 1024 buffers of 16384 bytes and ")]
    {
        let mut command = Command::new("prlimit");
        command.arg(format!("--memlock={memory}:{memory}"));
        if is_root {
            // Nobody else in these tests: what a user locks is counted for all its processes together.
            command.args(["setpriv", "--reuid=61236", "--regid=61236", "--clear-groups"]);
        }
        command.arg(&binary);
        let backend = TestBackend::echo();
        add_run(&mut command, "127.0.0.1:0", &[backend.address], &["--workers", "1"]);
        let process = Process::start(command);
        assert!(process.errors().contains(expected), "{memory}: {}", process.errors());
        assert_echo(&mut process.connect(), &Noise::new(12).bytes(300_000));
        process.stop();
    }
}
