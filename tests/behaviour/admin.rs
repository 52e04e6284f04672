//! The admin API as a client sees it: what it tells, what it changes, what it refuses, and what it does to sessions: nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use ringway::admin::{self, metrics};
use ringway::config::{Admin, AdminAddress, Algorithm, Choice, Config};
use ringway::end::End;
use ringway::server::{self, Server};

use crate::common::*;

/// One listener and one pool of these backends, with an admin API on a free port.
fn administered(backends: &[SocketAddr]) -> Config {
    let mut config = config(backends);
    config.admin = Some(Admin { bind: AdminAddress::Address(any_port()), token_file: None, quorum: 1 });
    for (place, backend) in config.pools[0].backends.iter_mut().enumerate() {
        backend.name = ["a", "b", "c"][place].into();
    }
    config
}

/// What came back.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn ask_with(ringway: &Ringway, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let stream = connect(ringway.server().admin_address().unwrap());
    exchange(stream, &request(method, path, headers, body))
}

fn ask(ringway: &Ringway, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    ask_with(ringway, method, path, "", &body)
}

fn get(ringway: &Ringway, path: &str) -> Value {
    let answer = ask(ringway, "GET", path, &Value::Null);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

#[test]
fn it_tells_what_runs_and_what_is_counted() {
    let backend = TestBackend::echo();
    let ringway = Ringway::start(administered(&[backend.address]));
    let mut client = ringway.connect();
    assert_echo(&mut client, b"hello");
    let info = get(&ringway, "/api/v1/info");
    assert_eq!(
        (&info["workers"], &info["generation"], &info["state"]),
        (&json!(2), &json!(1), &json!("running"))
    );
    let listeners = get(&ringway, "/api/v1/listeners");
    assert_eq!(listeners[0]["protocol"], "tcp");
    assert_eq!((&listeners[0]["accepted"], &listeners[0]["active"]), (&json!(1), &json!(1)));
    assert_eq!(listeners[0]["addresses"][0], ringway.address().to_string());
    let pool = get(&ringway, "/api/v1/pools/test");
    let one = &pool["backends"][0];
    assert_eq!((&one["state"], &one["active"], &one["picked"]), (&json!("up"), &json!(1), &json!(1)));
    let decisions = get(&ringway, "/api/v1/decisions");
    assert_eq!(
        (&decisions[0]["chosen"], &decisions[0]["candidates"][0]["verdict"]),
        (&json!("a"), &json!("eligible"))
    );
    let sections = get(&ringway, "/api/v1/config");
    let titles: Vec<&str> =
        sections.as_array().unwrap().iter().map(|one| one["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["server", "admin", "listener test", "pool test"]);
    drop(client);
    ringway.finish();
}

#[test]
fn a_session_can_be_found_and_ended() {
    let backend = TestBackend::echo();
    let ringway = Ringway::start(administered(&[backend.address]));
    let (mut client, mut other) = (ringway.connect(), ringway.connect());
    assert_echo(&mut client, b"hello");
    assert_echo(&mut other, b"hello, too");
    let address = client.local_addr().unwrap().to_string();
    let sessions = get(&ringway, "/api/v1/sessions?pool=test&backend=a");
    assert_eq!(sessions.as_array().unwrap().len(), 2);
    let session = sessions.as_array().unwrap().iter().find(|one| one["client"] == address.as_str()).unwrap();
    assert_eq!((&session["stage"], &session["bytes_to_backend"]), (&json!("relaying"), &json!(5)));
    for (query, words) in [
        ("pool=nowhere", "there is no pool \"nowhere\"; the only one is test"),
        ("backend=nobody", "no pool has a backend \"nobody\"; there are test/a"),
        ("pool=test&backend=nobody", "pool test has no backend \"nobody\"; it has a"),
    ] {
        let answer = ask(&ringway, "GET", &format!("/api/v1/sessions?{query}"), &Value::Null);
        assert_eq!((answer.status, answer.json()["detail"].as_str()), (404, Some(words)), "{query}");
    }

    let path = format!("/api/v1/sessions/{}", session["id"].as_str().unwrap());
    assert_eq!(ask_with(&ringway, "DELETE", &path, "X-Ringway-User: ada\r\n", "").status, 204);
    let error = client.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    ringway.await_end(End::Killed, 1);
    assert_eq!(ask(&ringway, "DELETE", &path, &Value::Null).status, 404, "it is gone");
    let changes = get(&ringway, "/api/v1/changes?limit=1");
    assert_eq!(changes[0]["to"], "killed");
    assert!(changes[0]["who"].as_str().unwrap().starts_with("ada (127.0.0.1:"), "{changes}");
    assert_echo(&mut other, b"still there");
    drop(other);
    ringway.finish();
}

#[test]
fn mode_weight_and_algorithm_change_and_are_told_with_who_did_it() {
    let (a, b) = (TestBackend::echo(), TestBackend::echo());
    let ringway = Ringway::start(administered(&[a.address, b.address]));
    let answer =
        ask(&ringway, "PATCH", "/api/v1/pools/test/backends/a", &json!({"mode": "drain", "weight": 7}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!((&answer.json()["mode"], &answer.json()["weight"]), (&json!("drain"), &json!(7)));
    for _ in 0..4 {
        assert_echo(&mut ringway.connect(), b"elsewhere");
    }
    assert_eq!((a.accepted(), b.accepted()), (0, 4));
    let answer = ask(&ringway, "PATCH", "/api/v1/pools/test", &json!({"algorithm": "maglev"}));
    assert_eq!((answer.status, &answer.json()["algorithm"]), (200, &json!("maglev")));
    assert_eq!(get(&ringway, "/api/v1/info")["generation"], 2);
    assert_eq!(
        get(&ringway, "/api/v1/pools/test")["backends"][0]["mode"],
        "drain",
        "it outlives the other change"
    );
    let changes = get(&ringway, "/api/v1/changes");
    let told: Vec<(&str, &str)> = changes
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["what"].as_str().unwrap(), one["to"].as_str().unwrap()))
        .collect();
    let backend = "pool test, backend a";
    assert_eq!(told, [("pool test", "maglev"), (backend, "drain"), (backend, "weight 7")]);
    ringway.finish();
}

#[test]
fn a_backend_is_added_and_removed_while_sessions_run() {
    let (a, b) = (TestBackend::echo(), TestBackend::echo());
    let ringway = Ringway::start(administered(&[a.address]));
    let mut old = ringway.connect();
    assert_echo(&mut old, b"before");
    let new = json!({"name": "b", "address": b.address.to_string(), "weight": 3});
    let answer = ask(&ringway, "POST", "/api/v1/pools/test/backends", &new);
    assert_eq!((answer.status, &answer.json()["weight"]), (201, &json!(3)), "{}", answer.body);
    assert_eq!(ask(&ringway, "POST", "/api/v1/pools/test/backends", &new).status, 409, "it is there");
    for _ in 0..4 {
        assert_echo(&mut ringway.connect(), b"after");
    }
    assert!(b.accepted() >= 1);
    assert_eq!(ask(&ringway, "DELETE", "/api/v1/pools/test/backends/a", &Value::Null).status, 204);
    assert_echo(&mut old, b"still there");
    let last = ask(&ringway, "DELETE", "/api/v1/pools/test/backends/b", &Value::Null);
    assert_eq!(last.status, 409, "nobody would be left: {}", last.body);
    let before = b.accepted();
    for _ in 0..2 {
        assert_echo(&mut ringway.connect(), b"only b");
    }
    assert_eq!(b.accepted(), before + 2);
    drop(old);
    ringway.finish();
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason_and_changes_nothing() {
    let backend = TestBackend::echo();
    let ringway = Ringway::start(administered(&[backend.address]));
    let before = get(&ringway, "/api/v1/pools");
    let one = "/api/v1/pools/test/backends/a";
    let backends = "/api/v1/pools/test/backends";
    for (method, path, body, status, words) in [
        ("GET", "/api/v1/pools/nowhere", Value::Null, 404, "the only one is test"),
        ("PATCH", "/api/v1/pools/test/backends/z", json!({"weight": 1}), 404, "it has a"),
        ("PATCH", one, json!({"weight": 257}), 422, "at most 256"),
        ("PATCH", one, json!({"mode": "asleep"}), 400, "asleep"),
        ("PATCH", one, json!({"wieght": 1}), 400, "unknown field"),
        ("PATCH", "/api/v1/pools/test", json!({"algorithm": "best"}), 422, "least-response-time"),
        ("POST", backends, json!({"address": "10.0.0.1"}), 422, "port"),
        ("POST", backends, json!({"address": "10.0.0.1:1", "name": "a b"}), 422, "letters"),
        ("POST", backends, json!({"address": "10.0.0.1:1,weight=2"}), 422, "commas"),
        ("POST", "/api/v1/reload", Value::Null, 409, "--config FILE"),
        ("GET", "/api/v1/sessions?limit=0", Value::Null, 400, "from 1 to 1000"),
        ("GET", "/api/v1/changes?limit=x", Value::Null, 400, "limit"),
        ("GET", "/api/v1/changes?limits=1", Value::Null, 400, "unknown field `limits`"),
        ("GET", "/api/v1/sessions?foo=1", Value::Null, 400, "unknown field `foo`"),
        ("POST", "/api/v1/reload?dryrun=true", Value::Null, 400, "unknown field `dryrun`"),
        ("GET", "/api/v1/info?foo=1", Value::Null, 400, "no parameter \"foo\" here"),
        ("GET", "/api/v1/pools/test?foo", Value::Null, 400, "no parameter \"foo\" here"),
        ("GET", "/api/v1/events?x=1&y=2", Value::Null, 400, "no parameter \"x\" here"),
        ("DELETE", "/api/v1/sessions/xx", Value::Null, 404, "an id is worker and number, such as 0-17"),
        ("DELETE", "/api/v1/sessions/0-999999999999999999", Value::Null, 404, "no session"),
        ("PUT", one, Value::Null, 405, "method"),
        ("GET", "/api/v2/pools", Value::Null, 404, "openapi.json"),
    ] {
        let answer = ask(&ringway, method, path, &body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
        assert_eq!(answer.json()["status"], status);
        assert!(
            answer.json()["detail"].as_str().unwrap().contains(words),
            "{method} {path}: {}",
            answer.body
        );
    }
    let large = "x".repeat(64 * 1024 + 1);
    assert_eq!(ask_with(&ringway, "PATCH", one, "", &large).status, 413);
    let after = get(&ringway, "/api/v1/pools");
    for key in ["mode", "weight", "state", "name"] {
        assert_eq!(before[0]["backends"][0][key], after[0]["backends"][0][key]);
    }
    assert_eq!(get(&ringway, "/api/v1/changes"), json!([]));
    ringway.finish();
}

#[test]
fn pages_of_other_sites_are_refused() {
    let ringway = Ringway::start(administered(&[TestBackend::echo().address]));
    let patch = ask_with(
        &ringway,
        "PATCH",
        "/api/v1/pools/test/backends/a",
        "Origin: http://evil.example\r\n",
        "{\"weight\":0}",
    );
    assert_eq!(patch.status, 403, "{}", patch.body);
    let stream = connect(ringway.server().admin_address().unwrap());
    let rebound =
        exchange(stream, "GET /api/v1/pools HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(rebound.status, 403, "{}", rebound.body);
    ringway.finish();
}

#[test]
fn without_the_token_nothing_is_told_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "correct-horse-battery\n").unwrap();
    let mut config = administered(&[TestBackend::echo().address]);
    config.admin.as_mut().unwrap().token_file = Some(path);
    let ringway = Ringway::start(config);
    for path in ["/api/v1/pools", "/metrics", "/api/v1/events", "/api/v1/openapi.json", "/api/v1/config"] {
        for header in ["", "Authorization: Bearer correct-horse-batterz\r\n", "Authorization: Basic eDp5\r\n"]
        {
            let answer = ask_with(&ringway, "GET", path, header, "");
            assert_eq!(answer.status, 401, "{path} {header}: {}", answer.body);
            assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        }
    }
    let one = "/api/v1/pools/test/backends/a";
    assert_eq!(ask(&ringway, "PATCH", one, &json!({"weight": 9})).status, 401);
    let token = "Authorization: Bearer correct-horse-battery\r\n";
    assert_eq!(
        ask_with(&ringway, "GET", one.rsplit_once("/backends").unwrap().0, token, "").json()["backends"][0]["weight"],
        1
    );
    assert_eq!(ask_with(&ringway, "PATCH", one, token, "{\"weight\":9}").json()["weight"], 9);
    // What a machine asks whether to send clients here has no token.
    assert_eq!(ask(&ringway, "GET", "/healthz", &Value::Null).body, "ok\n");
    assert_eq!(get(&ringway, "/readyz")["ready"], true);
    ringway.finish();
}

#[test]
fn a_token_that_is_not_there_and_an_address_that_is_taken_are_errors_at_the_start() {
    let mut spec = administered(&[any_port()]);
    spec.admin.as_mut().unwrap().token_file = Some("/nonexistent/token".into());
    let error = Server::start(spec, 0).err().unwrap();
    assert!(matches!(error, server::Error::Admin(admin::Unusable::Token(..))), "{error}");
    assert!(error.to_string().contains("openssl rand"), "{error}");
    let taken = TcpListener::bind(any_port()).unwrap();
    let mut spec = administered(&[any_port()]);
    spec.admin.as_mut().unwrap().bind = AdminAddress::Address(taken.local_addr().unwrap());
    let error = Server::start(spec, 0).err().unwrap().to_string();
    assert!(error.contains("admin.bind") && error.contains("--admin"), "{error}");
}

#[test]
fn over_a_socket_the_kernel_says_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let mut config = administered(&[TestBackend::echo().address]);
    config.admin.as_mut().unwrap().bind = AdminAddress::Socket(path.clone());
    let ringway = Ringway::start(config);
    let ask = |method: &str, target: &str, body: &str| {
        exchange(UnixStream::connect(&path).unwrap(), &request(method, target, "", body))
    };
    assert_eq!(ask("PATCH", "/api/v1/pools/test/backends/a", "{\"mode\":\"maintenance\"}").status, 200);
    let who = ask("GET", "/api/v1/changes", "").json()[0]["who"].as_str().unwrap().to_owned();
    assert_eq!(who, format!("uid {} pid {}", rustix::process::geteuid().as_raw(), std::process::id()));
    ringway.finish();
    assert!(!path.exists(), "it goes with the process");
}

#[test]
fn it_is_not_ready_below_its_quorum_nor_while_it_drains() {
    let backend = TestBackend::echo();
    let mut config = administered(&[backend.address]);
    config.server.drain_timeout = DEADLINE;
    let ringway = Ringway::start(config);
    assert_eq!(get(&ringway, "/readyz"), json!({"ready": true, "reasons": []}));
    ask(&ringway, "PATCH", "/api/v1/pools/test/backends/a", &json!({"mode": "drain"}));
    let answer = ask(&ringway, "GET", "/readyz", &Value::Null);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["reasons"][0], "pool test: 0 of 1 backends are up; at least 1 needed");
    ask(&ringway, "PATCH", "/api/v1/pools/test/backends/a", &json!({"mode": "ready"}));

    let mut client = ringway.connect();
    assert_echo(&mut client, b"runs");
    let address = ringway.server().admin_address().unwrap();
    let asking = thread::spawn(move || {
        await_that("it says that it drains", || {
            let answer = exchange(connect(address), &request("GET", "/readyz", "", ""));
            answer.status == 503 && answer.body.contains("draining")
        });
        drop(client);
    });
    ringway.finish();
    asking.join().unwrap();
}

#[test]
fn metrics_can_be_read_and_say_what_happened() {
    let (a, b) = (TestBackend::echo(), TestBackend::echo());
    let ringway = Ringway::start(administered(&[a.address, b.address]));
    for _ in 0..10 {
        assert_echo(&mut ringway.connect(), b"hello");
    }
    ringway.await_end(End::Complete, 10);
    let scrape = || ask(&ringway, "GET", "/metrics", &Value::Null);
    let sum = |text: &str, series: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(series));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    await_that("all of it is counted", || {
        let text = scrape().body;
        sum(&text, "ringway_backend_session_seconds_count{") == 10.0
            && sum(&text, "ringway_backend_connect_seconds_count{pool=\"test\",backend=\"a\"}") >= 1.0
            && sum(&text, "ringway_worker_carried_bytes_total{") == 100.0
    });
    let answer = scrape();
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    let text = &answer.body;
    assert_eq!(sum(text, "ringway_listener_accepted_total{"), 10.0);
    assert_eq!(sum(text, "ringway_listener_session_ends_total{"), 10.0);
    assert_eq!(sum(text, "ringway_backend_picked_total{"), 10.0);
    assert_eq!(sum(text, "ringway_worker_carried_bytes_total{"), 100.0);
    for metric in metrics::ALL {
        let kind = format!("# TYPE {} {}\n", metric.name, metric.kind.as_str());
        assert_eq!(text.matches(&kind).count(), 1, "{kind}");
        assert_eq!(text.matches(&format!("# HELP {} ", metric.name)).count(), 1, "{}", metric.name);
    }
    // Every other line is a series of the metric before it.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(metrics::ALL.iter().any(|metric| name.starts_with(metric.name)), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    let open = ask_with(&ringway, "GET", "/metrics", "Accept: application/openmetrics-text\r\n", "");
    assert!(
        open.body.ends_with("# EOF\n") && open.head.contains("application/openmetrics-text"),
        "{}",
        open.head
    );
    ringway.finish();
}

#[test]
fn the_document_tells_of_every_route_and_every_algorithm() {
    let ringway = Ringway::start(administered(&[TestBackend::echo().address]));
    let document = get(&ringway, "/api/v1/openapi.json");
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths.len(), 16, "{paths:?}");
    let words: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.word()).collect();
    let pattern = &document["components"]["schemas"]["PoolPatch"]["properties"]["algorithm"]["pattern"];
    assert_eq!(*pattern, format!("^({})$", words.join("|")));
    ringway.finish();
}

#[test]
fn events_are_sent_each_second_to_so_many_and_no_more() {
    let ringway = Ringway::start(administered(&[TestBackend::echo().address]));
    let listen = || {
        let mut stream = connect(ringway.server().admin_address().unwrap());
        stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    let read_until = |stream: &mut TcpStream, words: &str| {
        let (mut text, mut buffer) = (String::new(), [0; 4096]);
        while !text.contains(words) {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{text}");
            text += &String::from_utf8_lossy(&buffer[..count]);
        }
        text
    };
    let mut streams: Vec<TcpStream> = (0..32).map(|_| listen()).collect();
    let text = read_until(&mut streams[0], "event: snapshot");
    assert!(text.find("event: history") < text.find("event: snapshot"), "{text}");
    assert!(text.contains("text/event-stream"), "{text}");
    streams.iter_mut().skip(1).for_each(|stream| drop(read_until(stream, "200 OK")));
    assert!(read_until(&mut listen(), "busy").contains("503"));
    drop(streams);
    await_that("a place is free again", || read_until(&mut listen(), "\r\n\r\n").contains("200 OK"));
    ringway.finish();
}

#[test]
fn whoever_abuses_it_harms_no_session() {
    let backend = TestBackend::echo();
    let ringway = Ringway::start(administered(&[backend.address]));
    let address = ringway.server().admin_address().unwrap();
    let mut client = ringway.connect();
    // Bytes that are no request.
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\r\n\r\n\r\n", &[0xff; 70_000]] {
        let mut stream = connect(address);
        let _ = stream.write_all(bytes);
        assert_echo(&mut client, b"unharmed");
    }
    // A thousand who say nothing, or a part of something.
    let mut silent: Vec<TcpStream> = Vec::new();
    let mut refused = 0;
    for place in 0..1_000 {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        if place % 2 == 0 {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: lo");
        }
        silent.push(stream);
    }
    for stream in silent.iter_mut().skip(300) {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut answer = [0; 12];
        refused += usize::from(matches!(stream.read(&mut answer), Ok(12)) && &answer == b"HTTP/1.1 503");
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0, "those who are too many are told so");
    assert_echo(&mut client, b"unharmed");
    for _ in 0..4 {
        assert_echo(&mut ringway.connect(), b"and new ones come");
    }
    drop(silent);
    let answers = || {
        let mut stream = connect(address);
        let _ = stream.write_all(request("GET", "/healthz", "", "").as_bytes());
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text.ends_with("ok\n")
    };
    await_that("it answers again", answers);
    // One who asks for very much and takes nothing of it.
    let mut greedy = connect(address);
    for _ in 0..2_000 {
        greedy.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        if greedy.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").is_err() {
            break;
        }
    }
    // Those who were silent may not all have their places given back yet.
    await_that("it answers others", answers);
    assert_echo(&mut client, b"unharmed");
    drop((greedy, client));
    ringway.finish();
}
