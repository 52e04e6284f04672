//! Leaving root. As another user there is nothing to leave, and what is then refused is shown as root, too.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use nix::unistd::Uid;
use tempfile::TempDir;

use crate::common::*;
use crate::network::is_root_here_with_users;
use crate::process::{outcome, ringway, run_file_as, run_listening_as, write_file};

/// Nobody has it, here or elsewhere.
const USER: u32 = 61_234;
const GROUP: u32 = 61_235;
const CAP_SYS_RESOURCE: u64 = 1 << 24;
/// CAP_NET_BIND_SERVICE alone.
const BIND_ALONE: u64 = 1 << 10;

/// `ringway` as this user, from a copy that everybody may run: the folder in which it was built may be closed to others. The copy
/// lasts as long as its folder.
fn ringway_as(user: u32, folder: &TempDir) -> Command {
    let binary = folder.path().join("ringway");
    fs::copy(env!("CARGO_BIN_EXE_ringway"), &binary).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]);
    command.arg(binary);
    command
}

/// The values of one line of every thread.
fn of_each<'a>(statuses: &'a [String], name: &str) -> Vec<Vec<&'a str>> {
    let line = |status: &'a String| status.lines().find(|line| line.starts_with(name)).unwrap();
    statuses.iter().map(|status| line(status).split_whitespace().skip(1).collect()).collect()
}

#[test]
fn every_thread_is_the_user_and_what_only_root_may_is_over() {
    if !is_root_here_with_users("service::user::every_thread_is_the_user_and_what_only_root_may_is_over") {
        return;
    }
    let backend = TestBackend::echo();
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), Some(USER), Some(GROUP)).unwrap();
    let record = folder.path().join("record");
    let server = format!("user = '{USER}'\ngroup = '{GROUP}'\nrecord = '{}'", record.display());
    // A port that only root can have; the address is of the loopback.
    let process = run_listening_as(ringway(), &server, "'127.99.98.97:81'", backend.address);
    let statuses = process.thread_statuses();
    assert!(statuses.len() >= 6, "{} threads", statuses.len());
    for (name, value) in [("Uid:", USER.to_string()), ("Gid:", GROUP.to_string())] {
        // Real, effective, saved, of the file system.
        assert!(of_each(&statuses, name).iter().all(|values| *values == [value.as_str(); 4]), "{name}");
    }
    let groups = of_each(&statuses, "Groups:");
    assert!(groups.iter().all(|values| *values == [GROUP.to_string()]), "{groups:?}");
    for name in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
        for values in of_each(&statuses, name) {
            let set = u64::from_str_radix(values[0], 16).unwrap();
            assert_eq!(set & !BIND_ALONE, 0, "{name} {set:x}");
        }
    }
    assert!(of_each(&statuses, "CapEff:").iter().any(|values| values[0].ends_with("400")));
    // What root could lock can still be locked, if root may raise limits here, which in a container it may not.
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    let may_raise_limits = u64::from_str_radix(own.trim(), 16).unwrap() & CAP_SYS_RESOURCE != 0;
    let is_short = process.errors().contains("the limit on locked memory");
    assert!(!(may_raise_limits && is_short), "{}", process.errors());
    assert_echo(&mut process.connect(), &Noise::new(3).bytes(300_000));
    process.stop();
    let owner = fs::metadata(&record).map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).unwrap();
    assert_eq!(owner, USER);
}

#[test]
fn what_is_to_be_transparent_still_can_be_and_only_for_that_more_is_kept() {
    const BIND_AND_RAW: u64 = 1 << 10 | 1 << 13;
    if !is_root_here_with_users(
        "service::user::what_is_to_be_transparent_still_can_be_and_only_for_that_more_is_kept",
    ) {
        return;
    }
    let (seen, sessions) = std::sync::mpsc::channel();
    let backend = TestBackend::new(move |stream| {
        let _ = seen.send(stream.peer_addr().unwrap().ip());
        echo(stream);
    });
    let server = format!(
        "user = '{USER}'\ngroup = '{GROUP}'\n[[listener]]\nname = 't'\nbind = '127.99.98.96:82'\npool = 't'\n\
         [[pool]]\nname = 't'\n[pool.source]\ntransparent = true\n[pool.health]\ncheck = 'none'\n\
         [[pool.backend]]\naddress = '{}'",
        backend.address
    );
    let process = run_file_as(ringway(), &server, backend.address);
    for values in of_each(&process.thread_statuses(), "CapEff:") {
        let set = u64::from_str_radix(values[0], 16).unwrap();
        assert_eq!(set & !BIND_AND_RAW, 0, "{set:x}");
    }
    let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let own = std::net::Ipv4Addr::new(127, 99, 98, 95);
    client.bind(&std::net::SocketAddr::from((own, 0)).into()).unwrap();
    client.connect(&std::net::SocketAddr::from(([127, 99, 98, 96], 82)).into()).unwrap();
    assert_echo(&mut with_deadline(client.into()), b"as itself");
    assert_eq!(sessions.recv_timeout(DEADLINE).unwrap(), own);
    process.stop();
}

#[test]
fn a_user_with_a_name_has_the_groups_of_the_system() {
    if !is_root_here_with_users("service::user::a_user_with_a_name_has_the_groups_of_the_system") {
        return;
    }
    let backend = TestBackend::echo();
    let process = run_file_as(ringway(), "user = 'nobody'", backend.address);
    let statuses = process.thread_statuses();
    let id = |flag: &str| {
        let output = Command::new("id").args([flag, "nobody"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(of_each(&statuses, "Uid:")[0][0], id("-u"));
    assert_eq!(of_each(&statuses, "Gid:")[0][0], id("-g"));
    assert_eq!(of_each(&statuses, "Groups:")[0].join(" "), id("-G"));
    assert_echo(&mut process.connect(), b"served");
    process.stop();
}

#[test]
fn what_cannot_be_is_refused_before_anybody_is_served() {
    let backend = TestBackend::echo();
    let is_root = Uid::effective().is_root();
    let copy = tempfile::tempdir().unwrap();
    let as_other = || if is_root { ringway_as(USER, &copy) } else { ringway() };
    let mut cases = vec![
        (ringway(), "user = 'nobody-of-this-name'".to_owned(), "there is no user \"nobody-of-this-name\""),
        (as_other(), "user = 'root'".to_owned(), "only root can become \"root\", and this process is user"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let record = format!("user = '{USER}'\ngroup = '{GROUP}'\nrecord = '{}/record'", folder.path().display());
    if is_root {
        // Not later, when the first file is full and another is to be begun.
        cases.push((ringway(), record, "record"));
    }
    for (mut command, server, expected) in cases {
        let file = write_file(&server, "'127.0.0.1:0'", backend.address);
        command.args(["run", "--config"]).arg(file.path());
        let (status, errors, _) = outcome(command);
        assert_eq!(status.code(), Some(2), "{errors}");
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn who_is_that_user_already_has_nothing_to_leave() {
    if !is_root_here_with_users("service::user::who_is_that_user_already_has_nothing_to_leave") {
        return;
    }
    let backend = TestBackend::echo();
    let copy = tempfile::tempdir().unwrap();
    let process =
        run_file_as(ringway_as(USER, &copy), &format!("user = '{USER}'\ngroup = '{USER}'"), backend.address);
    assert!(!process.errors().contains("root is left"), "{}", process.errors());
    assert_echo(&mut process.connect(), b"served");
    process.stop();
}
