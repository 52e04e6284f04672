//! Sample: answers of an API, for tests of what is made of them.

use serde_json::json;

use crate::admin::shapes::{Backend, Info, Listener, Pool};

pub(super) fn backend(name: &str) -> Backend {
    let backend = json!({
        "name": name, "address": "10.0.0.1:8080", "state": "up", "mode": "ready", "since_seconds": 75.5,
        "reason": "3 checks passed", "weight": 1, "ramp_percent": 100, "backup": false, "max_connections": null,
        "active": 3, "picked": 110, "connected": 100, "connect_failures": 1, "unanswered": 1,
        "response_time_us": 1234.5, "p50_us": 1200.0, "p99_us": 9876.0
    });
    serde_json::from_value(backend).unwrap()
}

pub(super) fn pool(name: &str, backends: &[&str]) -> Pool {
    Pool {
        name: name.into(),
        algorithm: "least-connections".into(),
        shadows: Vec::new(),
        queued: 0,
        backends: backends.iter().map(|name| backend(name)).collect(),
    }
}

pub(super) fn listener() -> Listener {
    let listener = json!({
        "name": "web", "protocol": "tcp", "addresses": ["127.0.0.1:8000", "[::1]:8000"], "pool": "web", "accepted": 1234, "active": 7,
        "ends": {"complete": 1220, "client-reset": 7}, "bytes_to_backend": 1_048_576, "bytes_to_client": 5_000_000
    });
    serde_json::from_value(listener).unwrap()
}

pub(super) fn info() -> Info {
    let info = json!({
        "version": "0.1.0", "kernel": "6.18.5", "pid": 4711, "uptime_seconds": 11_520.3,
        "started": "2026-11-26T09:12:03Z", "workers": 2, "engine": "multishot", "generation": 3, "epoch": 17,
        "state": "running", "config_file": "/etc/ringway/ringway.toml"
    });
    serde_json::from_value(info).unwrap()
}
