//! What is allowed but hardly meant.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use super::types::{
    Address, Algorithm, Backend, Check, Choice, Config, Engine, Exchange, Listener, Pool, Protocol, Server,
};
use super::units::format_duration;

/// Each in one line; none of them keeps ringway from running.
pub fn warnings(config: &Config) -> Vec<String> {
    let used: HashSet<usize> = config.listeners.iter().flat_map(Listener::pools).collect();
    let binds: HashMap<Address, &Listener> = config
        .listeners
        .iter()
        .flat_map(|listener| listener.bind.iter().map(move |bind| (*bind, listener)))
        .collect();
    let mut found = Vec::new();
    found.extend(unused_busy_poll(&config.server));
    found.extend(unused_access_log(config));
    for listener in &config.listeners {
        found.extend(port_zero(listener));
        found.extend(everybody_is_a_proxy(listener));
        found.extend(clients_all_alike(listener, &config.pools[listener.pool]));
    }
    for (index, pool) in config.pools.iter().enumerate() {
        found
            .extend((!used.contains(&index)).then(|| format!("pool \"{}\": no listener uses it", pool.name)));
        found.extend(unused_weights(pool));
        found.extend(unused_slow_start(pool));
        found.extend(uncounted_late_bytes(pool));
        found.extend(slow_fast_interval(pool));
        found.extend(trusted_silence(pool));
        found.extend(unix_by_datagrams(pool));
        found.extend(no_source_of_family(pool));
        found.extend(check_by_connections(config, index));
        found.extend(single_backend(pool));
        found.extend(odd_addresses(pool, &binds));
    }
    found
}

fn unused_busy_poll(server: &Server) -> Option<String> {
    (server.engine == Engine::Fixed && !server.busy_poll.is_zero()).then(|| {
        "server: busy_poll_us has no effect with engine = \"fixed\"; write engine = \"auto\"".to_owned()
    })
}

fn unused_access_log(config: &Config) -> Option<String> {
    let is_unused =
        config.access_log.is_some() && config.listeners.iter().all(|listener| !listener.access_log);
    is_unused.then(|| {
        "access_log: no session is logged, because every listener has access_log = false; \
         remove that from those that are to be logged, or write to = \"off\""
            .to_owned()
    })
}

fn port_zero(listener: &Listener) -> Option<String> {
    let bind = listener.bind.iter().find(|bind| bind.is_any_port())?;
    Some(format!(
        "listener \"{}\": {bind} accepts on a port that the kernel picks anew at each start",
        listener.name
    ))
}

/// What a header says is believed.
fn everybody_is_a_proxy(listener: &Listener) -> Option<String> {
    let accepted = listener.proxy_protocol.as_ref()?;
    let all = accepted.accept_from.iter().find(|network| network.prefix_len() == 0)?;
    Some(format!(
        "listener \"{}\": accept_from has {all} in it, so that whoever comes can say that he is any client, one that \
         listener.access lets in too; write the addresses of the proxies alone",
        listener.name
    ))
}

/// Clients of a Unix socket have no address to tell them apart by.
fn clients_all_alike(listener: &Listener, pool: &Pool) -> Option<String> {
    let bind = listener.bind.iter().find(|bind| bind.is_unix())?;
    let hashes = matches!(pool.algorithm, Algorithm::SourceHash | Algorithm::Maglev);
    hashes.then(|| {
        format!(
            "listener \"{}\": clients of {bind} have no IP address, so that {} sends all of them to one backend of pool \"{}\"; \
             give the pool another algorithm",
            listener.name,
            pool.algorithm.word(),
            pool.name
        )
    })
}

fn unused_weights(pool: &Pool) -> Option<String> {
    let first = pool.backends.first()?.weight;
    let differ = pool.backends.iter().any(|backend| backend.weight != first);
    (differ && !uses_weights(pool.algorithm)).then(|| {
        format!(
            "pool \"{}\": the weights differ, but {} does not use them; \
             write algorithm = \"weighted-round-robin\" or \"least-connections\"",
            pool.name,
            pool.algorithm.word()
        )
    })
}

fn unused_slow_start(pool: &Pool) -> Option<String> {
    // Maglev's table goes by the weights of the file.
    let has_none = !uses_weights(pool.algorithm) || pool.algorithm == Algorithm::Maglev;
    (pool.slow_start.is_some() && has_none).then(|| {
        format!(
            "pool \"{}\": slow_start lets the share of a backend grow, but {} gives no shares that grow; \
             write algorithm = \"weighted-round-robin\" or \"least-connections\", or remove slow_start",
            pool.name,
            pool.algorithm.word()
        )
    })
}

fn uncounted_late_bytes(pool: &Pool) -> Option<String> {
    (pool.ejection.first_byte_timeout.is_some() && pool.ejection.failures.is_none()).then(|| {
        format!(
            "pool \"{}\": no backend is ejected for late first bytes, because ejection.failures is off; \
             give failures a number or remove first_byte_timeout",
            pool.name
        )
    })
}

fn slow_fast_interval(pool: &Pool) -> Option<String> {
    let (fast, interval) = (pool.health.fast_interval, pool.health.interval);
    (fast > interval).then(|| {
        format!(
            "pool \"{}\": a fast_interval of {} is slower than the interval of {}; lower it or remove it",
            pool.name,
            format_duration(fast),
            format_duration(interval)
        )
    })
}

/// A backend that serves datagrams alone refuses every connection, and would be down for ever.
fn check_by_connections(config: &Config, index: usize) -> Option<String> {
    let pool = &config.pools[index];
    let uses = |listener: &&Listener| listener.pools().any(|pool| pool == index);
    let mut users = config.listeners.iter().filter(uses).peekable();
    let is_of_datagrams = users.peek().is_some() && users.all(|listener| listener.protocol == Protocol::Udp);
    (is_of_datagrams
        && matches!(&pool.health.check, Check::Tcp(exchange) if *exchange == Exchange::default()))
    .then(|| {
        format!(
            "pool \"{}\": its listeners are over UDP, but its check connects by TCP; \
             write health.check = \"udp\", or \"none\", where its backends do not accept connections",
            pool.name
        )
    })
}

/// Nothing of what `source.addresses` was written for holds for such a backend.
fn no_source_of_family(pool: &Pool) -> Option<String> {
    let sources = &pool.source.addresses;
    let has_none = |to: SocketAddr| !sources.iter().any(|source| source.is_ipv4() == to.is_ipv4());
    let backend = pool.backends.iter().find(|backend| backend.address.as_ip().is_some_and(has_none))?;
    (!sources.is_empty()).then(|| {
        format!(
            "pool \"{}\": source.addresses has none of the family of the backend {}, which is connected to from whatever \
             address the kernel chooses; add one",
            pool.name, backend.address
        )
    })
}

fn unix_by_datagrams(pool: &Pool) -> Option<String> {
    let is_checked_there = |backend: &&Backend| backend.check_address.is_none() && backend.address.is_unix();
    let backend = pool.backends.iter().find(is_checked_there)?;
    matches!(pool.health.check, Check::Udp(_)).then(|| {
        format!(
            "pool \"{}\": the backend {} is a Unix socket, which no check over UDP passes; give it a check_address",
            pool.name, backend.address
        )
    })
}

fn trusted_silence(pool: &Pool) -> Option<String> {
    let Check::Udp(datagrams) = &pool.health.check else { return None };
    datagrams.expect.is_none().then(|| {
        format!(
            "pool \"{}\": its check over UDP expects nothing, so that a backend whose machine is off passes; \
             write expect, expect_hex or expect_regex",
            pool.name
        )
    })
}

/// Whether a backend of twice the weight gets more sessions.
fn uses_weights(algorithm: Algorithm) -> bool {
    !matches!(algorithm, Algorithm::RoundRobin | Algorithm::First)
}

fn single_backend(pool: &Pool) -> Option<String> {
    (pool.backends.len() == 1).then(|| {
        format!("pool \"{}\": with a single backend there is nowhere to go when it fails", pool.name)
    })
}

fn odd_addresses(pool: &Pool, binds: &HashMap<Address, &Listener>) -> Vec<String> {
    let mut found = Vec::new();
    for backend in &pool.backends {
        let address = backend.address;
        if let Some(listener) = binds.get(&address) {
            found.push(format!(
                "pool \"{}\": the backend {address} is where listener \"{}\" accepts: sessions would go round in circles",
                pool.name, listener.name
            ));
        } else if let Address::Ip(ip) = address
            && ip.ip().is_unspecified()
        {
            let this_machine = match ip.ip() {
                IpAddr::V4(_) => format!("127.0.0.1:{}", ip.port()),
                IpAddr::V6(_) => format!("[::1]:{}", ip.port()),
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

    #[test]
    fn looking_for_bytes_is_for_one_engine_only() {
        let text = |engine: &str| {
            format!(
                "[server]\nengine=\"{engine}\"\nbusy_poll_us=50\n[[listener]]\nname=\"web\"\nbind=\"127.0.0.1:1\"\n\
                 pool=\"api\"\n[[pool]]\nname=\"api\"\n[[pool.backend]]\naddress=\"127.0.0.1:2\"\n\
                 [[pool.backend]]\naddress=\"127.0.0.1:3\"\n"
            )
        };
        let found = |engine| warnings(&parse("f", &text(engine)).unwrap());
        assert_eq!(found("auto"), [""; 0]);
        assert!(matches!(&found("fixed")[..], [only] if only.contains("busy_poll_us has no effect")));
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
    fn addresses_of_the_other_family_are_odd() {
        let found = |addresses: &str| {
            of("bind=\"127.0.0.1:8000\"", &format!("[pool.source]\naddresses={addresses}\n{TWO}"))
        };
        assert_eq!(found("[\"::1\", \"127.0.0.1\"]"), [""; 0]);
        assert!(
            matches!(&found("\"::1\"")[..], [only] if only.contains("none of the family of the backend 127.0.0.1:1"))
        );
    }

    #[test]
    fn a_log_of_nobody_is_odd() {
        let found = |keys: &str| {
            let text = format!(
                "[access_log]\nto=\"stdout\"\n[[listener]]\nname=\"web\"\npool=\"api\"\nbind=\"127.0.0.1:9\"\n{keys}\n\
                 [[pool]]\nname=\"api\"\n{TWO}"
            );
            warnings(&parse("f", &text).unwrap())
        };
        assert_eq!(found(""), [""; 0]);
        assert!(matches!(&found("access_log=false")[..], [only] if only.contains("no session is logged")));
    }

    #[test]
    fn each_oddity_has_one() {
        let starts = |found: Vec<String>, start: &str| {
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(start), "{found:?}");
        };
        starts(
            of("bind=\"127.0.0.1:9\"\nproxy_protocol={accept_from=[\"10.0.0.0/8\",\"::/0\"]}", TWO),
            "listener \"web\": accept_from has ::/0 in it",
        );
        starts(of("bind=\"127.0.0.1:0\"", TWO), "listener \"web\": 127.0.0.1:0 accepts on a port");
        starts(of("bind=\"127.0.0.1:8000\"", &format!("{TWO}weight=2")), "pool \"api\": the weights differ");
        let first = format!("algorithm=\"first\"\n{TWO}weight=2");
        starts(
            of("bind=\"127.0.0.1:8000\"", &first),
            "pool \"api\": the weights differ, but first does not use them",
        );
        for algorithm in Algorithm::ALL {
            let slow = format!("algorithm=\"{}\"\nslow_start=\"30s\"\n{TWO}", algorithm.word());
            let found = of("bind=\"127.0.0.1:8000\"", &slow);
            match algorithm {
                Algorithm::RoundRobin | Algorithm::First | Algorithm::Maglev => {
                    starts(found, "pool \"api\": slow_start lets");
                }
                _ => assert_eq!(found, [""; 0]),
            }
        }
        let slow = format!("health.fast_interval=\"3s\"\n{TWO}");
        starts(of("bind=\"127.0.0.1:8000\"", &slow), "pool \"api\": a fast_interval of 3s is slower");
        let check = |keys: &str| format!("health={{check=\"udp\",send=\"?\"{keys}}}\n{TWO}");
        starts(of("bind=\"127.0.0.1:8000\"", &check("")), "pool \"api\": its check over UDP expects nothing");
        assert_eq!(of("bind=\"127.0.0.1:8000\"", &check(",expect=\"!\"")), [""; 0]);
        let unix = format!("{}[[pool.backend]]\naddress=\"unix:/run/app.sock\"\n", check(",expect=\"!\""));
        starts(
            of("bind=\"127.0.0.1:8000\"", &unix),
            "pool \"api\": the backend unix:/run/app.sock is a Unix",
        );
        let late = format!("ejection={{failures=\"off\",first_byte_timeout=\"1s\"}}\n{TWO}");
        starts(
            of("bind=\"127.0.0.1:8000\"", &late),
            "pool \"api\": no backend is ejected for late first bytes",
        );
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
