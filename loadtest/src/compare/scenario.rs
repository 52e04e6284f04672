//! A scenario: backends, what is asked of them and what happens to them. A TOML file.

use std::{fs, path::Path, time::Duration};

use bytesize::ByteSize;
use include_dir::{Dir, include_dir};
use serde::Deserialize;

use super::service::{Service, Trouble, What};
use crate::{
    frame::{DELAY_MAX, HEAD_LEN, LENGTH_MAX},
    schedule::Arrivals,
};

/// The scenarios that come with this program.
static OWN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/scenarios");

/// A scenario as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The name of its file.
    #[serde(skip)]
    pub(crate) name: String,
    /// What it is about, in a sentence or two.
    pub(crate) description: String,
    /// Sessions a second.
    pub(crate) rate: f64,
    /// How they are spread over time.
    #[serde(default)]
    pub(crate) arrivals: Arrivals,
    /// How long it is measured each time; troubles lie within it.
    #[serde(default = "duration", with = "humantime_serde")]
    pub(crate) duration: Duration,
    /// What goes before, unmeasured.
    #[serde(default = "warm_up", with = "humantime_serde")]
    pub(crate) warm_up: Duration,
    /// From how many addresses the sessions come.
    #[serde(default = "clients")]
    pub(crate) clients: u32,
    /// Bytes of a request.
    #[serde(default = "request")]
    pub(crate) request: ByteSize,
    /// What is asked for, each in its share of the sessions.
    #[serde(default = "replies")]
    pub(crate) reply: Vec<Reply>,
    /// Keys for the pool in ringway's configuration.
    #[serde(default)]
    pub(crate) pool: toml::Table,
    /// Those who answer.
    pub(crate) backend: Vec<Profile>,
}

/// One kind of reply.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    /// How many of the sessions ask for it, in any unit.
    #[serde(default = "one")]
    pub(crate) share: f64,
    /// How long it is.
    pub(crate) size: ByteSize,
    /// What it takes on top of the backend's own service time.
    #[serde(default, with = "humantime_serde")]
    pub(crate) work: Duration,
}

/// One backend, or several alike.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// What it is called; several get numbers.
    pub(crate) name: String,
    /// How many of them there are.
    #[serde(default = "single")]
    pub(crate) count: usize,
    /// What ringway is told of its strength.
    #[serde(default = "weight")]
    pub(crate) weight: u32,
    /// Sessions that it serves at the same time; more wait their turn.
    #[serde(default = "concurrency")]
    pub(crate) concurrency: usize,
    /// How long it takes.
    pub(crate) service: Service,
    /// What happens to it.
    #[serde(default)]
    pub(crate) trouble: Vec<Trouble>,
}

impl Scenario {
    /// Names and descriptions of the scenarios that come with this program.
    pub(crate) fn all() -> Vec<Self> {
        let mut all: Vec<_> = OWN
            .files()
            .map(|file| {
                let name = stem(file.path());
                let text = file.contents_utf8().unwrap_or_default();
                read(&name, text).unwrap_or_else(|errors| panic!("{}", errors.join("\n")))
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// By the name of one that comes with this program, or by the path of a file.
    pub(crate) fn find(asked: &str) -> Result<Self, Vec<String>> {
        let is_path = asked.contains('/') || Path::new(asked).extension().is_some_and(|end| end == "toml");
        if is_path {
            let text = fs::read_to_string(asked)
                .map_err(|error| vec![format!("--scenario: cannot read {asked}: {error}")])?;
            return read(&stem(Path::new(asked)), &text).map_err(|errors| {
                errors.into_iter().map(|error| format!("--scenario: {asked}: {error}")).collect()
            });
        }
        Self::all().into_iter().find(|scenario| scenario.name == asked).ok_or_else(|| {
            let names: Vec<_> = Self::all().into_iter().map(|scenario| scenario.name).collect();
            vec![format!(
                "--scenario: there is no {asked}; there are {}, or give the path of a file (with a slash or .toml)",
                names.join(", ")
            )]
        })
    }

    /// Every backend by itself.
    pub(crate) fn backends(&self) -> Vec<Profile> {
        let each = self.backend.iter().flat_map(|profile| {
            (1..=profile.count).map(move |number| {
                let name = match profile.count {
                    1 => profile.name.clone(),
                    _ => format!("{}-{number}", profile.name),
                };
                Profile { name, count: 1, ..profile.clone() }
            })
        });
        each.collect()
    }

    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut add = |what: String| mistakes.push(what);
        if !(self.rate > 0.0 && self.rate <= RATE_MAX) {
            add(format!(
                "rate: {}: more than 0 and at most {RATE_MAX} sessions a second are allowed",
                self.rate
            ));
        }
        if self.duration.is_zero() || self.duration > DURATION_MAX {
            add("duration: more than 0s and at most 1h is allowed".to_owned());
        }
        if self.warm_up > DURATION_MAX {
            add("warm_up: at most 1h is allowed".to_owned());
        }
        if !(1..=CLIENTS_MAX).contains(&self.clients) {
            add(format!("clients: {}: 1 to {CLIENTS_MAX} are allowed", self.clients));
        }
        if !(HEAD_LEN as u64..=LENGTH_MAX).contains(&self.request.as_u64()) {
            add(format!("request: {HEAD_LEN}B to 1GiB is allowed"));
        }
        if self.reply.is_empty() {
            add("reply: at least one is needed; or leave it out for 1KiB".to_owned());
        }
        for (number, reply) in (1..).zip(&self.reply) {
            if !(1..=LENGTH_MAX).contains(&reply.size.as_u64()) {
                add(format!("reply {number}: size: 1B to 1GiB is allowed"));
            }
            if !(reply.share > 0.0 && reply.share.is_finite()) {
                add(format!("reply {number}: share: {}: more than 0 is needed", reply.share));
            }
            if reply.work > DELAY_MAX {
                add(format!("reply {number}: work: at most 60s is allowed"));
            }
        }
        for key in ["name", "algorithm", "backend", "shadow"] {
            if self.pool.contains_key(key) {
                add(format!("pool.{key}: it is set by the comparison"));
            }
        }
        // Before they are made one by one.
        let count = self.backend.iter().fold(0usize, |sum, profile| sum.saturating_add(profile.count));
        if !(1..=BACKENDS_MAX).contains(&count) {
            add(format!("backend: there are {count}, 1 to {BACKENDS_MAX} are allowed"));
            return mistakes;
        }
        let backends = self.backends();
        for (index, backend) in backends.iter().enumerate() {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if !(1..=64).contains(&backend.name.len()) || !backend.name.bytes().all(is_plain) {
                add(format!(
                    "backend {:?}: names are 1 to 64 letters, digits, dots, dashes and underscores",
                    backend.name
                ));
            }
            if backends[..index].iter().any(|other| other.name == backend.name) {
                add(format!("backend {}: there are two of this name", backend.name));
            }
        }
        for profile in &self.backend {
            let name = &profile.name;
            if profile.weight == 0 || profile.weight > 256 {
                add(format!("backend {name}: weight: {}: 1 to 256 is allowed", profile.weight));
            }
            if !(1..=CONCURRENCY_MAX).contains(&profile.concurrency) {
                add(format!(
                    "backend {name}: concurrency: {}: 1 to {CONCURRENCY_MAX} is allowed",
                    profile.concurrency
                ));
            }
            for (key, what) in profile.service.mistakes() {
                add(format!("backend {name}: service.{key}: {what}"));
            }
            for trouble in &profile.trouble {
                if trouble.to > DURATION_MAX {
                    add(format!("backend {name}: trouble: to: at most 1h is allowed"));
                }
                if trouble.to <= trouble.from {
                    add(format!("backend {name}: trouble: 'to' must be later than 'from'"));
                }
                if trouble.what == What::Slow && !(trouble.factor > 0.0 && trouble.factor <= 1000.0) {
                    add(format!(
                        "backend {name}: trouble: factor: {}: more than 0 and at most 1000 is allowed",
                        trouble.factor
                    ));
                }
            }
        }
        mistakes.extend(self.troubles_after(self.duration));
        mistakes
    }

    /// Those that would not be seen in a measured time of this length.
    pub(crate) fn troubles_after(&self, duration: Duration) -> Vec<String> {
        let troubles =
            self.backend.iter().flat_map(|one| one.trouble.iter().map(|trouble| (&one.name, trouble)));
        let late = troubles.filter(|(_, trouble)| trouble.from >= duration);
        let told = late.map(|(name, trouble)| {
            format!(
                "backend {name}: trouble: it begins at {}, after the measured time of {}",
                humantime::format_duration(trouble.from),
                humantime::format_duration(duration)
            )
        });
        told.collect()
    }
}

fn read(name: &str, text: &str) -> Result<Scenario, Vec<String>> {
    let mut scenario: Scenario = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
    name.clone_into(&mut scenario.name);
    let mistakes = scenario.mistakes();
    if mistakes.is_empty() { Ok(scenario) } else { Err(mistakes) }
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn duration() -> Duration {
    Duration::from_millis(2500)
}

fn warm_up() -> Duration {
    Duration::from_millis(1200)
}

fn clients() -> u32 {
    64
}

fn request() -> ByteSize {
    ByteSize::b(100)
}

fn replies() -> Vec<Reply> {
    vec![Reply { share: 1.0, size: ByteSize::kib(1), work: Duration::ZERO }]
}

fn one() -> f64 {
    1.0
}

fn single() -> usize {
    1
}

fn weight() -> u32 {
    1
}

fn concurrency() -> usize {
    64
}

const RATE_MAX: f64 = 100_000.0;
const DURATION_MAX: Duration = Duration::from_secs(3600);
const CLIENTS_MAX: u32 = 60_000;
const BACKENDS_MAX: usize = 64;
const CONCURRENCY_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_come_with_the_program_are_all_that_are_promised_and_right() {
        let names: Vec<_> = Scenario::all().into_iter().map(|scenario| scenario.name).collect();
        assert_eq!(
            names,
            [
                "backend-dies-and-returns",
                "bimodal",
                "equal",
                "heavy-tail",
                "mixed-sizes",
                "noisy-neighbour",
                "one-slow",
                "one-stalls"
            ]
        );
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place_and_bound() {
        let text = "description = 'x'\nrate = 0\nclients = 0\n[pool]\nalgorithm = 'random'\n\
                    [[backend]]\nname = 'a'\nconcurrency = 0\nservice = { spread = 'pareto', mean = '2s', shape = 1, max = '1s' }\n\
                    [[backend.trouble]]\nwhat = 'stall'\nfrom = '3s'\nto = '2s'\n\
                    [[backend]]\nname = 'a'\nservice = { spread = 'constant', mean = '2min' }\n";
        assert_eq!(
            read("x", text).unwrap_err(),
            [
                "rate: 0: more than 0 and at most 100000 sessions a second are allowed",
                "clients: 0: 1 to 60000 are allowed",
                "pool.algorithm: it is set by the comparison",
                "backend a: there are two of this name",
                "backend a: concurrency: 0: 1 to 10000 is allowed",
                "backend a: service.shape: 1: more than 1 (below there is no mean) and at most 100 is allowed",
                "backend a: service.max: it must not be below the mean",
                "backend a: trouble: 'to' must be later than 'from'",
                "backend a: service.mean: 2m: at most 60s is allowed",
                "backend a: trouble: it begins at 3s, after the measured time of 2s 500ms",
            ]
        );
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line() {
        let error = read("x", "description = 'x'\nrate = 10\nspeed = 3\nbackend = []\n").unwrap_err();
        assert!(error[0].contains("line 3") && error[0].contains("speed"), "{error:?}");
    }

    #[test]
    fn several_alike_get_numbers() {
        let text = "description = 'x'\nrate = 10\n\
                    [[backend]]\nname = 'fast'\ncount = 2\nservice = { spread = 'constant', mean = '2ms' }\n\
                    [[backend]]\nname = 'slow'\nservice = { spread = 'constant', mean = '20ms' }\n";
        let names: Vec<_> = read("x", text).unwrap().backends().into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["fast-1", "fast-2", "slow"]);
    }
}
