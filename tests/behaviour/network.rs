//! Network: a network namespace for a test, which has every address and port to itself.
//!
//! It belongs to a thread, and is gone with it and with what was opened in it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, gettid};

use crate::common::DEADLINE;

type Work = Box<dyn FnOnce() + Send>;

/// A network of its own, and the thread that is in it.
pub struct Network {
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    pub fn new() -> Network {
        let (work, works) = mpsc::channel::<Work>();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("a network of its own takes root, or see `is_root_here`");
            works.into_iter().for_each(|work| work());
        });
        let network = Network { work: Some(work), thread: Some(thread) };
        network.ip("link set lo up");
        network
    }

    /// Does it there. Sockets and threads that it makes stay there.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let work = Box::new(move || drop(done.send(work())));
        self.work.as_ref().unwrap().send(work).unwrap();
        result.recv_timeout(DEADLINE).expect("the work in another network failed")
    }

    /// Changes addresses, links or routes there.
    pub fn ip(&self, words: &str) {
        self.command("ip", words);
    }

    /// Changes how what leaves by a link waits there, or tells of it.
    pub fn tc(&self, words: &str) -> String {
        self.command("tc", words)
    }

    /// What the command says.
    fn command(&self, name: &'static str, words: &str) -> String {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        self.run(move || {
            let path = std::env::var("PATH").unwrap_or_default();
            let mut command = Command::new(name);
            command.env("PATH", format!("{path}:/usr/sbin")).args(&words).stderr(Stdio::inherit());
            let output = command.output().unwrap();
            assert!(output.status.success(), "{name} {}", words.join(" "));
            String::from_utf8(output.stdout).unwrap()
        })
    }

    /// Segments of TCP that were sent there more than once.
    pub fn sent_again(&self) -> u64 {
        self.run(|| {
            let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
            let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
            let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
            let place = names.split_whitespace().position(|name| name == "RetransSegs").unwrap();
            values.split_whitespace().nth(place).unwrap().parse().unwrap()
        })
    }

    /// Gives it rules.
    pub fn nft(&self, rules: impl Into<String>) {
        let rules = rules.into();
        self.run(move || {
            let path = std::env::var("PATH").unwrap_or_default();
            let mut nft = Command::new("nft");
            nft.env("PATH", format!("{path}:/usr/sbin")).args(["-f", "-"]).stdin(Stdio::piped());
            let mut child = nft.spawn().unwrap();
            child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success(), "nft does not take the rules");
        });
    }

    /// A cable to another one, with these names and addresses at its ends.
    pub fn connect(&self, other: &Network, names: [&str; 2], addresses: [[&str; 2]; 2]) {
        let thread = other.run(gettid);
        self.ip(&format!("link add {} type veth peer name {} netns {thread}", names[0], names[1]));
        for (network, name, addresses) in [(self, names[0], addresses[0]), (other, names[1], addresses[1])] {
            for address in addresses {
                let nodad = if address.contains(':') { "nodad" } else { "" };
                network.ip(&format!("address add {address} dev {name} {nodad}"));
            }
            network.ip(&format!("link set {name} up"));
        }
    }
}

/// Clients, ringway and servers, one behind the other: 10.0.1.2, then 10.0.1.1 and 10.0.2.1, then 10.0.2.2, and the same with
/// `fd00:1::` and `fd00:2::`. The links are `c0` to `m0` and `m1` to `s0`.
pub fn three_in_a_row() -> [Network; 3] {
    let [clients, middle, servers] = [(); 3].map(|()| Network::new());
    let addresses = [["10.0.1.2/24", "fd00:1::2/64"], ["10.0.1.1/24", "fd00:1::1/64"]];
    clients.connect(&middle, ["c0", "m0"], addresses);
    let addresses = [["10.0.2.2/24", "fd00:2::2/64"], ["10.0.2.1/24", "fd00:2::1/64"]];
    servers.connect(&middle, ["s0", "m1"], addresses);
    [clients, middle, servers]
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.work.take());
        if self.thread.take().unwrap().join().is_err() && !thread::panicking() {
            panic!("the thread of a network panicked");
        }
    }
}

/// Whether this process may do here what takes root. Who is not root runs the test once more in namespaces in which it is: true is
/// there, and false is here, where nothing is left to do.
pub fn is_root_here(test: &str) -> bool {
    Uid::effective().is_root() || {
        run_once_more(test, &["--user", "--map-root-user"], "exec");
        false
    }
}

/// The same for a test that becomes other users as well.
pub fn is_root_here_with_users(test: &str) -> bool {
    Uid::effective().is_root() || {
        // Takes what newuidmap and /etc/subuid give to users; util-linux says which of them is missing.
        run_once_more(test, &["--user", "--map-root-user", "--map-auto"], "exec");
        false
    }
}

/// The same for a test that changes the settings of its network, which it has to itself.
pub fn is_in_a_network_of_its_own(test: &str) -> bool {
    const THERE: &str = "RINGWAY_TEST_NETWORK";
    std::env::var_os(THERE).is_some() || {
        let as_root: &[&str] = if Uid::effective().is_root() { &[] } else { &["--user", "--map-root-user"] };
        let flags = [as_root, &["--net"]].concat();
        run_once_more(test, &flags, &format!("ip link set lo up && {THERE}=yes exec"));
        false
    }
}

/// Runs a test of this program in new namespaces; fails if it does, or if they cannot be had.
fn run_once_more(test: &str, flags: &[&str], how: &str) {
    let script = format!("{how} \"$0\" --exact \"$1\" --nocapture");
    let mut run = Command::new("unshare");
    run.args(flags).args(["sh", "-c", &script]).arg(std::env::current_exe().unwrap()).arg(test);
    let path = std::env::var("PATH").unwrap_or_default();
    let run = run.env("PATH", format!("{path}:/usr/sbin")).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "this test takes root, or namespaces of its own (unshare {}):\n{said}{}",
        flags.join(" "),
        String::from_utf8_lossy(&run.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");
}
