//! Meaning of `[pool.health]`: how it is found out whether a backend can serve.

use std::num::NonZeroU32;
use std::time::Duration;

use super::check::check;
use super::proxy_protocol::checks_with_proxy;
use super::{count, time, time_if_given, to_u32};
use crate::config::errors::Reason;
use crate::config::keys::HEALTH_TIMEOUT;
use crate::config::read::Reader;
use crate::config::types::{Health, ProxyVersion};
use crate::config::units::format_duration;
use crate::config::values;

/// `sends` is the version of the PROXY protocol headers that the pool sends, if it is known whether it does.
pub(super) fn health(reader: &Reader<'_, '_>, sends: Option<Option<ProxyVersion>>) -> Option<Health> {
    let check = check(reader);
    let port = reader.get_if_given("port", values::number).map(Option::flatten);
    let times = times(reader);
    let rise = count(reader, "rise");
    let fall = count(reader, "fall");
    let initial_state = reader.get("initial_state", values::choice);
    let passive = reader.get("passive", values::switch);
    let proxy_protocol = checks_with_proxy(reader, check.as_ref(), sends);
    let times = times?;
    Some(Health {
        check: check?,
        port: port?.and_then(|port| u16::try_from(port).ok()),
        interval: times.interval,
        fast_interval: times.fast_interval,
        down_interval: times.down_interval,
        jitter: times.jitter,
        timeout: times.timeout,
        rise: NonZeroU32::new(to_u32(rise?))?,
        fall: NonZeroU32::new(to_u32(fall?))?,
        initial_state: initial_state?,
        passive: passive?,
        proxy_protocol: proxy_protocol?,
    })
}

/// When checks begin, and how long one may take.
struct Times {
    interval: Duration,
    fast_interval: Duration,
    down_interval: Duration,
    jitter: u32,
    timeout: Duration,
}

fn times(reader: &Reader<'_, '_>) -> Option<Times> {
    let interval = time(reader, "interval");
    let fast_interval = time_if_given(reader, "fast_interval");
    let down_interval = time_if_given(reader, "down_interval");
    let jitter = count(reader, "jitter");
    let timeout = time_if_given(reader, "timeout");
    let (interval, jitter) = (interval?, to_u32(jitter?));
    let (fast_interval, down_interval) =
        (fast_interval?.unwrap_or(interval), down_interval?.unwrap_or(interval));
    let intervals =
        [("interval", interval), ("fast_interval", fast_interval), ("down_interval", down_interval)];
    let timeout = timeout_within(reader, timeout?, intervals, jitter);
    Some(Times { interval, fast_interval, down_interval, jitter, timeout })
}

/// A check has to end before the next one starts, however early the jitter starts that.
fn timeout_within(
    reader: &Reader<'_, '_>,
    given: Option<Duration>,
    intervals: [(&str, Duration); 3],
    jitter: u32,
) -> Duration {
    let [interval, fast_interval, down_interval] = intervals;
    // Those that follow interval are as long as it is, and it is the one to name.
    let not_longer = |one: (_, Duration), other: (_, Duration)| if other.1 < one.1 { other } else { one };
    let (name, shortest) = [fast_interval, down_interval].into_iter().fold(interval, not_longer);
    let longest = shortest * (100 - jitter) / 100;
    let longest = longest - Duration::from_nanos(u64::from(longest.subsec_nanos() % 1_000_000));
    if let Some(timeout) = given.filter(|timeout| *timeout > longest) {
        let less = if jitter > 0 { format!(" less its jitter of {jitter} percent") } else { String::new() };
        let words = format!(
            "{} is longer than the {name} of {}{less}, and a check has to end before the next one starts; \
             lower this one or raise {name}",
            format_duration(timeout),
            format_duration(shortest)
        );
        reader.report(&reader.place_of("timeout"), "timeout", Reason::Conflict(words));
    }
    given.unwrap_or(HEALTH_TIMEOUT.min(longest))
}
