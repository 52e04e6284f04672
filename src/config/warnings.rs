//! What is allowed but hardly meant.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use super::types::{Algorithm, Config, Listener, Pool};

/// Each in one line; none of them keeps ringway from running.
pub fn warnings(config: &Config) -> Vec<String> {
    let used: HashSet<usize> = config.listeners.iter().map(|listener| listener.pool).collect();
    let binds: HashMap<SocketAddr, &Listener> = config
        .listeners
        .iter()
        .flat_map(|listener| listener.bind.iter().map(move |bind| (*bind, listener)))
        .collect();
    let mut found = Vec::new();
    for listener in &config.listeners {
        found.extend(port_zero(listener));
    }
    for (index, pool) in config.pools.iter().enumerate() {
        found
            .extend((!used.contains(&index)).then(|| format!("pool \"{}\": no listener uses it", pool.name)));
        found.extend(unused_weights(pool));
        found.extend(single_backend(pool));
        found.extend(odd_addresses(pool, &binds));
    }
    found
}

fn port_zero(listener: &Listener) -> Option<String> {
    let bind = listener.bind.iter().find(|bind| bind.port() == 0)?;
    Some(format!(
        "listener \"{}\": {bind} accepts on a port that the kernel picks anew at each start",
        listener.name
    ))
}

fn unused_weights(pool: &Pool) -> Option<String> {
    let first = pool.backends.first()?.weight;
    let differ = pool.backends.iter().any(|backend| backend.weight != first);
    (differ && pool.algorithm == Algorithm::RoundRobin).then(|| {
        format!(
            "pool \"{}\": the weights differ, but round-robin does not use them; \
             write algorithm = \"weighted-round-robin\" or \"least-connections\"",
            pool.name
        )
    })
}

fn single_backend(pool: &Pool) -> Option<String> {
    (pool.backends.len() == 1).then(|| {
        format!("pool \"{}\": with a single backend there is nowhere to go when it fails", pool.name)
    })
}

fn odd_addresses(pool: &Pool, binds: &HashMap<SocketAddr, &Listener>) -> Vec<String> {
    let mut found = Vec::new();
    for backend in &pool.backends {
        let address = backend.address;
        if let Some(listener) = binds.get(&address) {
            found.push(format!(
                "pool \"{}\": the backend {address} is where listener \"{}\" accepts: sessions would go round in circles",
                pool.name, listener.name
            ));
        } else if address.ip().is_unspecified() {
            let this_machine = match address.ip() {
                IpAddr::V4(_) => format!("127.0.0.1:{}", address.port()),
                IpAddr::V6(_) => format!("[::1]:{}", address.port()),
            };
            found.push(format!(
                "pool \"{}\": the backend {address} means this machine; write {this_machine}",
                pool.name
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn of(listener: &str, pool: &str) -> Vec<String> {
        let text =
            format!("[[listener]]\nname=\"web\"\npool=\"api\"\n{listener}\n[[pool]]\nname=\"api\"\n{pool}");
        warnings(&parse("f", &text).unwrap())
    }

    const TWO: &str =
        "[[pool.backend]]\naddress=\"127.0.0.1:1\"\n[[pool.backend]]\naddress=\"127.0.0.1:2\"\n";

    #[test]
    fn a_sound_configuration_has_none() {
        assert_eq!(of("bind=\"127.0.0.1:8000\"", TWO), [""; 0]);
        let weighted = format!("algorithm=\"weighted-round-robin\"\n{TWO}weight=2");
        assert_eq!(of("bind=\"127.0.0.1:8000\"", &weighted), [""; 0]);
    }

    #[test]
    fn each_oddity_has_one() {
        let starts = |found: Vec<String>, start: &str| {
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(start), "{found:?}");
        };
        starts(of("bind=\"127.0.0.1:0\"", TWO), "listener \"web\": 127.0.0.1:0 accepts on a port");
        starts(of("bind=\"127.0.0.1:8000\"", &format!("{TWO}weight=2")), "pool \"api\": the weights differ");
        starts(
            of("bind=\"127.0.0.1:1\"", TWO),
            "pool \"api\": the backend 127.0.0.1:1 is where listener \"web\"",
        );
        let single = "[[pool.backend]]\naddress=\"127.0.0.1:1\"\n";
        starts(of("bind=\"127.0.0.1:8000\"", single), "pool \"api\": with a single backend");
        let anywhere = format!("{TWO}[[pool.backend]]\naddress=\"0.0.0.0:3\"\n");
        starts(
            of("bind=\"127.0.0.1:8000\"", &anywhere),
            "pool \"api\": the backend 0.0.0.0:3 means this machine",
        );
        let unused = format!("{TWO}[[pool]]\nname=\"spare\"\n{TWO}");
        starts(of("bind=\"127.0.0.1:8000\"", &unused), "pool \"spare\": no listener uses it");
    }
}
