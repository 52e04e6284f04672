//! A real server and a real client: dnsmasq and dig, as Debian has them.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use ringway::end::End;

use super::config;
use crate::common::{Ringway, await_that};
use crate::peers::own_address;

struct Dnsmasq(Child);

impl Dnsmasq {
    /// Knows one name, and its own.
    fn start(address: SocketAddr, name: &str) -> Dnsmasq {
        let arguments = [
            "--keep-in-foreground".to_owned(),
            "--conf-file=/dev/null".to_owned(),
            "--no-resolv".to_owned(),
            "--no-hosts".to_owned(),
            "--bind-interfaces".to_owned(),
            "--user=".to_owned() + if rustix::process::getuid().is_root() { "root" } else { "" },
            "--pid-file=".to_owned(),
            format!("--listen-address={}", address.ip()),
            format!("--port={}", address.port()),
            "--address=/one.test/192.0.2.7".to_owned(),
            format!("--txt-record=who.test,{name}"),
        ];
        let start = |program: &str| {
            Command::new(program).args(&arguments).stdin(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        let child = start("dnsmasq").or_else(|_| start("/usr/sbin/dnsmasq"));
        Dnsmasq(child.expect("dnsmasq is missing: apt-get install dnsmasq-base"))
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What dig says in short.
fn dig(address: SocketAddr, question: &[&str]) -> String {
    let output = Command::new("dig")
        .args([&format!("@{}", address.ip()), "-p", &address.port().to_string()])
        .args(["+short", "+time=20", "+tries=1"])
        .args(question)
        .output()
        .expect("dig is missing: apt-get install bind9-dnsutils");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn dig_gets_its_answers_from_two_resolvers_in_turn() {
    let addresses = [own_address(5300), own_address(5300)];
    let _resolvers = [Dnsmasq::start(addresses[0], "first"), Dnsmasq::start(addresses[1], "second")];
    for address in addresses {
        await_that("the resolver answers", || dig(address, &["one.test"]) == "192.0.2.7");
    }
    let mut config = config(&addresses);
    config.listeners[0].udp.responses = Some(1);
    let ringway = Ringway::start(config);
    for _ in 0..4 {
        assert_eq!(dig(ringway.address(), &["one.test"]), "192.0.2.7");
    }
    let mut who: Vec<String> = (0..8).map(|_| dig(ringway.address(), &["who.test", "TXT"])).collect();
    who.sort();
    who.dedup();
    assert_eq!(who, ["\"first\"", "\"second\""]);
    let totals = ringway.finish();
    assert_eq!((totals.accepted, totals.ended(End::Complete)), (12, 12));
}
