//! Setting: what a record keeps of the configuration, as a configuration: what choosing depends on.

use std::fmt::Write as _;

use crate::config::units::format_duration;
use crate::config::{Algorithm, Backend, Choice, Config, Pool};

/// Listeners with their pools, pools with their backends. Where clients were accepted is left out: the addresses are made up.
pub fn setting(config: &Config, workers: usize) -> String {
    let mut text = format!("server.workers = {workers}\n");
    for (index, listener) in config.listeners.iter().enumerate() {
        let (name, pool) = (&listener.name, &config.pools[listener.pool].name);
        let _ = write!(
            text,
            "[[listener]]\nname = \"{name}\"\nbind = \"127.0.0.1:{}\"\npool = \"{pool}\"\n",
            index + 1
        );
    }
    config.pools.iter().for_each(|one| pool(&mut text, one));
    text
}

fn pool(text: &mut String, pool: &Pool) {
    let times = &pool.response_time;
    let _ = write!(
        text,
        "[[pool]]\nname = \"{}\"\nalgorithm = \"{}\"\nqueue_max = {}\nqueue_timeout = \"{}\"\n\
         response_time = {{ signal = \"{}\", statistic = \"{}\", window = \"{}\" }}\n",
        pool.name,
        pool.algorithm.word(),
        pool.queue_max,
        format_duration(pool.queue_timeout),
        times.signal.word(),
        times.statistic.word(),
        format_duration(times.window)
    );
    if pool.algorithm == Algorithm::PowerOfTwo {
        let _ = writeln!(text, "power_of_two_by = \"{}\"", pool.power_of_two_by.word());
    }
    pool.backends.iter().for_each(|one| backend(text, one));
}

/// Only what is not as usual: there may be tens of thousands.
fn backend(text: &mut String, backend: &Backend) {
    let address = backend.address.to_string();
    let _ = write!(text, "[[pool.backend]]\naddress = \"{address}\"\n");
    if backend.name != address {
        let _ = writeln!(text, "name = \"{}\"", backend.name);
    }
    if backend.weight.get() != 1 {
        let _ = writeln!(text, "weight = {}", backend.weight);
    }
    if backend.backup {
        text.push_str("backup = true\n");
    }
    if let Some(max) = backend.max_connections {
        let _ = writeln!(text, "max_connections = {max}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn what_choosing_depends_on_is_kept() {
        let text = "[[listener]]\nname='a'\nbind=['0.0.0.0:80', '[::]:80']\npool='p'\n\
                    [[listener]]\nname='b'\nbind='0.0.0.0:81'\npool='q'\n\
                    [[pool]]\nname='p'\nalgorithm='peak-ewma'\nqueue_max=7\nqueue_timeout='1500ms'\n\
                    response_time={signal='session',window='1m'}\n\
                    [[pool.backend]]\naddress='10.0.0.1:80'\nweight=3\nname='one'\nmax_connections=9\n\
                    [[pool.backend]]\naddress='[::1]:80'\nbackup=true\n\
                    [[pool]]\nname='q'\nalgorithm='power-of-two'\npower_of_two_by='response-time'\n\
                    [[pool.backend]]\naddress='10.0.0.2:80'\n";
        let whole = config::parse("whole", text).unwrap();
        let kept = config::parse("kept", &setting(&whole, 3)).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(kept.server.workers, config::Workers::Count(3.try_into().unwrap()));
        assert_eq!(kept.pools, whole.pools);
        let listeners = |config: &Config| -> Vec<(String, usize)> {
            config.listeners.iter().map(|listener| (listener.name.clone(), listener.pool)).collect()
        };
        assert_eq!(listeners(&kept), listeners(&whole));
    }
}
