//! Values as they are typed, and their bounds.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

use bytesize::ByteSize;
use clap::ValueEnum;

pub(super) const CONNECTIONS_MAX: u64 = 1_000_000;
pub(super) const THREADS_MAX: u64 = 64;
pub(super) const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
pub(super) const DEADLINE_MAX: Duration = Duration::from_secs(1800);
const RATE_MIN: f64 = 0.001;
const RATE_MAX: f64 = 10_000_000.0;

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for example 10s, 500ms or 250us"))
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    let size = text
        .parse::<ByteSize>()
        .map_err(|error| format!("{error}; write for example 100, 64KiB or 10MiB"))?;
    Ok(size.as_u64())
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text
        .strip_suffix("/s")
        .unwrap_or(text)
        .parse()
        .map_err(|_| "not a rate; write for example 2000 or 2000/s".to_owned())?;
    if rate.is_finite() && (RATE_MIN..=RATE_MAX).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("from {RATE_MIN} to {RATE_MAX} requests a second are allowed"))
    }
}

pub(super) fn target(text: &str) -> Result<SocketAddr, String> {
    let mut addresses =
        text.to_socket_addrs().map_err(|error| format!("{error}; write for example 127.0.0.1:9000"))?;
    addresses.next().ok_or_else(|| "the name has no address".to_owned())
}

pub(super) fn value_name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
