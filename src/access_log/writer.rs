//! Writer: makes lines of entries and has them taken; counts those that nobody takes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::vec;

use super::Unusable;
use super::activity::Activity;
use super::json::json;
use super::lines::Lines;
use super::names::Names;
use super::sink::Sink;
use super::text::text;
use crate::config::{AccessLog, LogFormat};
use crate::entries::{Counts, Entry, Inbox, List};
use crate::generation::Generation;
use crate::moment::Moment;

/// How often it says that lines are dropped, at most.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Configurations of which the names are kept.
const SCENES_MAX: usize = 4;

/// What is known of one configuration.
#[derive(Debug)]
struct Scene {
    number: u64,
    names: Names,
    activity: Activity,
}

impl Scene {
    fn new(generation: &Generation) -> Scene {
        let (config, stats) = (&generation.config, Arc::clone(&generation.stats));
        Scene {
            number: generation.number,
            names: Names::new(config),
            activity: Activity::new(stats, config.listeners.len(), config.pools.len()),
        }
    }
}

/// Makes lines and has them taken.
#[derive(Debug)]
pub struct Writer {
    sink: Sink,
    format: LogFormat,
    /// The configurations whose entries came last, the newest first.
    scenes: Vec<Scene>,
    /// What moments are told from.
    begun: Instant,
    inbox: Inbox,
    counts: Arc<Counts>,
    /// Arrived and not yet lines.
    list: vec::IntoIter<Entry>,
    lines: Lines,
    /// Those that were refused by what they go to. The others that were dropped have not come here.
    refused: u64,
    /// When drops were last told of, and how many there were for want of room.
    told: Option<Instant>,
    told_late: u64,
}

impl Writer {
    /// Opens what the lines are to go to.
    ///
    /// # Errors
    ///
    /// Why nothing can be written there.
    pub fn open(spec: &AccessLog, begun: Instant, inbox: Inbox) -> Result<Writer, Unusable> {
        Ok(Writer {
            sink: Sink::open(&spec.to)?,
            format: spec.format,
            scenes: Vec::new(),
            begun,
            counts: inbox.counts(),
            inbox,
            list: Vec::new().into_iter(),
            lines: Lines::default(),
            refused: 0,
            told: None,
            told_late: 0,
        })
    }

    /// Whether there is more to write than was taken the last time.
    pub(super) fn is_behind(&self) -> bool {
        !self.lines.is_empty() || self.list.len() > 0
    }

    /// Writes what has arrived, until `until` at the latest.
    pub fn write(&mut self, until: Instant) {
        loop {
            if self.lines.is_empty() && !self.make_lines() {
                break;
            }
            let before = self.lines.left();
            let result = self.sink.write(&mut self.lines, until);
            self.counts.add_written((before - self.lines.left()) as u64);
            if let Err(error) = result {
                // Whoever does not take these will not take those that came with them. What comes later gets a try.
                let refused = (self.lines.clear() + self.list.len()) as u64;
                self.list = Vec::new().into_iter();
                self.refused += refused;
                self.counts.add_dropped(refused);
                self.tell_of_refusal(&error);
            }
            if Instant::now() >= until {
                break;
            }
        }
        self.tell_of_lateness();
    }

    /// Makes some lines of what has arrived, if anything has.
    fn make_lines(&mut self) -> bool {
        self.lines.clear();
        self.scenes.iter_mut().for_each(|scene| scene.activity.forget());
        // Each time: a clock that is set shows in the log.
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
        let begun_us = now_us.saturating_sub(self.begun.elapsed().as_micros() as u64);
        while !self.lines.are_enough() {
            let Some(entry) = self.next_entry() else { break };
            let accepted = Moment(begun_us + entry.accepted_us);
            let ended = Moment(accepted.0 + entry.duration_us);
            let Scene { names, activity, .. } = &mut self.scenes[0];
            let (named, busy) = (names.of(&entry), activity.busy(&entry, names));
            let (sink, format) = (&self.sink, self.format);
            self.lines.add(|line| {
                sink.begin(line, ended);
                match format {
                    LogFormat::Text => text(line, &entry, &named, accepted, busy),
                    LogFormat::Json => json(line, &entry, &named, accepted, busy),
                }
                sink.end(line);
            });
        }
        !self.lines.is_empty()
    }

    fn next_entry(&mut self) -> Option<Entry> {
        if let Some(entry) = self.list.next() {
            return Some(entry);
        }
        let List { generation, entries } = self.inbox.take()?;
        self.set_scene(&generation);
        self.list = entries.into_iter();
        self.list.next()
    }

    /// What follows is of this configuration. After a reload lists of two take turns.
    fn set_scene(&mut self, generation: &Arc<Generation>) {
        match self.scenes.iter().position(|scene| scene.number == generation.number) {
            Some(place) => self.scenes[..=place].rotate_right(1),
            None => {
                self.scenes.truncate(SCENES_MAX - 1);
                self.scenes.insert(0, Scene::new(generation));
            }
        }
    }

    /// Closes the file and opens the one that has its name now.
    pub fn reopen(&mut self) {
        match self.sink.reopen() {
            Ok(true) => tracing::info!("the file of the access log is opened anew"),
            Ok(false) => {}
            Err(error) => tracing::error!(
                %error,
                "the file of the access log cannot be opened anew; lines go on to the one that is open; let the user who runs \
                 ringway write there and send the signal again (access_log.to)"
            ),
        }
    }

    /// Nobody will take what is left.
    pub fn give_up(&mut self) {
        let mut left = self.lines.clear() + self.list.len();
        while let Some(list) = self.inbox.take() {
            left += list.entries.len();
        }
        self.counts.add_dropped(left as u64);
    }

    fn tell_of_refusal(&mut self, error: &io::Error) {
        if self.may_tell() {
            tracing::warn!(
                %error,
                lines_dropped = self.counts.lines_dropped(),
                "the access log cannot be written: lines are dropped, sessions go on; make room there, or start what takes \
                 them (access_log.to)"
            );
        }
    }

    fn tell_of_lateness(&mut self) {
        let late = self.counts.lines_dropped().saturating_sub(self.refused);
        if late > self.told_late && self.may_tell() {
            self.told_late = late;
            tracing::warn!(
                lines_dropped = self.counts.lines_dropped(),
                "the access log is not taken as fast as sessions end: lines are dropped, sessions go on; read it faster, or \
                 log a part of them (access_log.sample)"
            );
        }
    }

    /// Whether nothing was told for a while; from now on something was.
    fn may_tell(&mut self) -> bool {
        let now = Instant::now();
        let may = self.told.is_none_or(|told| now - told >= REPORT_INTERVAL);
        if may {
            self.told = Some(now);
        }
        may
    }
}
