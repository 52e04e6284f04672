//! Meaning of `[listener.limits]`: how many clients, at once and in a time.

use std::num::NonZeroU32;

use super::{count, to_u32};
use crate::config::errors::{Place, Reason};
use crate::config::keys;
use crate::config::read::Reader;
use crate::config::typed::Table;
use crate::config::types::{ListenerLimits, Rate};
use crate::config::values;

pub(super) fn limits(
    outer: &Reader<'_, '_>,
    owner: &str,
    (table, place): (&Table<'_>, Place),
) -> Option<ListenerLimits> {
    let reader = outer.inner(&keys::LIMITS, table, place, owner);
    let number = |name| reader.get(name, values::number).map(|number| number.and_then(positive));
    let sessions_max = number("sessions_max");
    let sessions_per_source = number("sessions_per_source");
    let rate = rate(&reader, "rate", "rate_burst");
    let rate_per_source = self::rate(&reader, "rate_per_source", "rate_per_source_burst");
    let over = reader.get("over", values::choice);
    let [prefix_v4, prefix_v6, sources_max] =
        ["source_prefix_v4", "source_prefix_v6", "sources_max"].map(|name| count(&reader, name));
    if let (Some(None), Some(None)) = (sessions_per_source, rate_per_source) {
        for name in ["source_prefix_v4", "source_prefix_v6", "sources_max"] {
            let words = "it is never used, because nothing is limited by source; set sessions_per_source or \
                         rate_per_source, or remove it";
            refuse_unused(&reader, name, words);
        }
    }
    if let (Some(None), Some(None)) = (sessions_max, rate) {
        let words =
            "it is never used, because neither sessions_max nor rate is set; set one of them or remove it";
        refuse_unused(&reader, "over", words);
    }
    Some(ListenerLimits {
        sessions_max: sessions_max?,
        rate: rate?,
        over: over?,
        sessions_per_source: sessions_per_source?,
        rate_per_source: rate_per_source?,
        source_prefix_v4: prefix_v4? as u8, // Bounds in the table of keys keep both below 129.
        source_prefix_v6: prefix_v6? as u8,
        sources_max: to_u32(sources_max?),
    })
}

/// A rate and its burst, which is its number unless it is given.
fn rate(reader: &Reader<'_, '_>, name: &str, burst_name: &str) -> Option<Option<Rate>> {
    let rate: Option<Option<Rate>> = reader.get(name, values::rate);
    let burst = reader.get_if_given(burst_name, values::number)?.flatten().and_then(positive);
    let Some(rate) = rate? else {
        let words = format!("it is never used, because {name} is off; set {name} or remove it");
        refuse_unused(reader, burst_name, &words);
        return Some(None);
    };
    Some(Some(Rate { burst: burst.unwrap_or(rate.burst), ..rate }))
}

fn refuse_unused(reader: &Reader<'_, '_>, name: &str, words: &str) {
    if reader.is_given(name) {
        reader.report(&reader.place_of(name), name, Reason::Conflict(words.to_owned()));
    }
}

fn positive(number: u64) -> Option<NonZeroU32> {
    NonZeroU32::new(to_u32(number))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use crate::config::types::{Bandwidth, Listener, ListenerLimits, Over, Pace, Rate, RateUnit};

    fn listener(keys: &str) -> Listener {
        let text = format!(
            "[[listener]]\nname='a'\nbind='127.0.0.1:1'\npool='p'\n{keys}\n[[pool]]\nname='p'\n\
             [[pool.backend]]\naddress='127.0.0.1:2'\n"
        );
        let config = crate::config::parse("f", &text).unwrap_or_else(|errors| panic!("{errors}"));
        config.listeners.into_iter().next().unwrap()
    }

    #[test]
    fn every_key_of_limits_reaches_its_setting() {
        assert_eq!(listener("").limits, ListenerLimits::default());
        let number = |number| NonZeroU32::new(number).unwrap();
        let rate = |count, unit, burst| Some(Rate { count: number(count), unit, burst: number(burst) });
        let limits = ListenerLimits {
            sessions_max: Some(number(7)),
            rate: rate(100, RateUnit::Second, 100),
            over: Over::Refuse,
            sessions_per_source: Some(number(2)),
            rate_per_source: rate(60, RateUnit::Minute, 3),
            source_prefix_v4: 24,
            source_prefix_v6: 56,
            sources_max: 1_000,
        };
        let keys = "sessions_max=7, rate='100/s', over='refuse', sessions_per_source=2, rate_per_source='60/m', \
                    rate_per_source_burst=3, source_prefix_v4=24, source_prefix_v6=56, sources_max=1000";
        assert_eq!(listener(&format!("limits={{{keys}}}")).limits, limits);
        assert_eq!(limits.rate.unwrap().interval(), Duration::from_millis(10));
        assert_eq!(limits.rate_per_source.unwrap().interval(), Duration::from_secs(1));
    }

    #[test]
    fn a_burst_that_is_not_given_is_a_tenth_of_a_second_or_a_buffer() {
        let pace = |rate, burst| Some(Pace { rate, burst });
        let bandwidth = |keys: &str| listener(&format!("bandwidth={{{keys}}}")).bandwidth;
        assert_eq!(bandwidth(""), Bandwidth::default());
        let found = bandwidth("to_backend='10MiB', to_client='8KiB'");
        assert_eq!(
            found,
            Bandwidth { to_backend: pace(10 << 20, 1 << 20), to_client: pace(8 << 10, 16 << 10) }
        );
        let found = bandwidth("to_client='1MiB', to_client_burst='1KiB'");
        assert_eq!(found, Bandwidth { to_backend: None, to_client: pace(1 << 20, 1 << 10) });
    }
}
