//! View: what is on the screen, and what keys do to it. Pure.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::figures::{Figures, Rates};
use super::news::{News, Order};
use crate::admin::shapes::{Backend, Mode};
use crate::operate::target::Target;

/// The heaviest that a backend can be.
const WEIGHT_MAX: u32 = 256;

/// How late figures may be before it is told.
const SILENCE: Duration = Duration::from_millis(900);

/// What is on the screen.
#[derive(Debug)]
pub(super) struct View {
    pub(super) address: String,
    pub(super) figures: Option<Figures>,
    pub(super) rates: Rates,
    /// Why there are no newer figures.
    pub(super) lost: Option<String>,
    /// For so many seconds nothing has come, no refusal either.
    pub(super) silent: Option<u64>,
    /// The pool that is shown; all of them unless there is one.
    pub(super) pool: Option<String>,
    pub(super) selected: Option<Target>,
    /// The first line that is shown.
    pub(super) first: usize,
    /// Lines that there is room for, since it was drawn last.
    pub(super) room: usize,
    pub(super) prompt: Option<Prompt>,
    pub(super) message: Option<Message>,
    pub(super) shows_help: bool,
}

/// What an operator is asked before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) target: Target,
    pub(super) wanted: Wanted,
    /// Sessions that are there.
    pub(super) sessions: u64,
}

/// What is wanted of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Mode(Mode),
    Weight { now: u32, next: u32 },
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Done(String),
    Refused(String),
}

/// What a key leads to.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Stay,
    Order(Order),
    Quit,
}

impl View {
    /// Before the first figures.
    pub(super) fn new(address: String, pool: Option<String>) -> View {
        View {
            address,
            figures: None,
            rates: Rates::default(),
            lost: None,
            silent: None,
            pool,
            selected: None,
            first: 0,
            room: 1,
            prompt: None,
            message: None,
            shows_help: false,
        }
    }

    /// The backends that are shown, each with its pool.
    pub(super) fn rows(&self) -> Vec<(&str, &Backend)> {
        let pools = self.figures.iter().flat_map(|figures| &figures.pools);
        let shown = pools.filter(|pool| self.pool.as_ref().is_none_or(|only| *only == pool.name));
        shown.flat_map(|pool| pool.backends.iter().map(|backend| (pool.name.as_str(), backend))).collect()
    }

    /// The line that is selected.
    pub(super) fn place(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.rows()
            .iter()
            .position(|(pool, backend)| *pool == selected.pool && backend.name == selected.backend)
    }

    /// Takes what has come; `apart` from the figures before.
    pub(super) fn take(&mut self, news: News, apart: Duration) {
        match news {
            News::Figures(figures) => {
                self.rates = match &self.figures {
                    Some(before) => Rates::between(before, &figures, apart),
                    None => Rates::default(),
                };
                self.figures = Some(*figures);
                // That nobody answered is over.
                if self.lost.take().is_some() && matches!(self.message, Some(Message::Refused(_))) {
                    self.message = None;
                }
                self.stay_in_bounds();
            }
            News::Lost(why) => self.lost = Some(why),
            News::Done(words) => self.message = Some(Message::Done(words)),
            News::Refused(words) => self.message = Some(Message::Refused(words)),
        }
    }

    /// Takes that nothing has come for so long, where something should in this interval. Whether that is another picture.
    pub(super) fn wait(&mut self, silent: Duration, interval: Duration) -> bool {
        let late = (silent > interval + SILENCE).then_some(silent.as_secs());
        std::mem::replace(&mut self.silent, late) != late
    }

    /// What is gone cannot stay selected, or asked about.
    fn stay_in_bounds(&mut self) {
        let pools = self.figures.iter().flat_map(|figures| &figures.pools);
        if self.pool.as_ref().is_some_and(|only| !pools.clone().any(|pool| pool.name == *only)) {
            self.pool = None;
        }
        if self.place().is_none() {
            self.select(self.first);
        }
    }

    /// What a key does.
    pub(super) fn on_key(&mut self, key: KeyEvent) -> Step {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if matches!(key.code, KeyCode::Char('c')) { Step::Quit } else { Step::Stay };
        }
        if let Some(prompt) = self.prompt.take() {
            return self.on_answer(prompt, key.code);
        }
        if std::mem::take(&mut self.shows_help) {
            return if key.code == KeyCode::Char('q') { Step::Quit } else { Step::Stay };
        }
        self.message = None;
        let page = self.room.max(2) as isize - 1;
        match key.code {
            KeyCode::Char('q') => return Step::Quit,
            KeyCode::Char('?' | 'h') => self.shows_help = true,
            KeyCode::Up | KeyCode::Char('k') => self.move_by(-1),
            KeyCode::Down | KeyCode::Char('j') => self.move_by(1),
            KeyCode::PageUp => self.move_by(-page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.move_by(page),
            KeyCode::Home | KeyCode::Char('g') => self.move_by(isize::MIN / 2),
            KeyCode::End | KeyCode::Char('G') => self.move_by(isize::MAX / 2),
            KeyCode::Char('p') => self.next_pool(),
            KeyCode::Char('d') => self.ask(|_| Wanted::Mode(Mode::Drain)),
            KeyCode::Char('r') => self.ask(|_| Wanted::Mode(Mode::Ready)),
            KeyCode::Char('m') => self.ask(|_| Wanted::Mode(Mode::Maintenance)),
            KeyCode::Char('+' | '=') => {
                self.ask(|now| Wanted::Weight { now, next: (now + 1).min(WEIGHT_MAX) })
            }
            KeyCode::Char('-') => self.ask(|now| Wanted::Weight { now, next: now.saturating_sub(1) }),
            _ => {}
        }
        Step::Stay
    }

    /// `y` or Enter do what is asked; + and - go on changing a weight; all other keys leave things as they are.
    fn on_answer(&mut self, mut prompt: Prompt, key: KeyCode) -> Step {
        match (key, &mut prompt.wanted) {
            (KeyCode::Char('y') | KeyCode::Enter, wanted) => {
                let (mode, weight) = match *wanted {
                    Wanted::Mode(mode) => (Some(mode), None),
                    Wanted::Weight { next, .. } => (None, Some(next)),
                };
                return Step::Order(Order { target: prompt.target, mode, weight });
            }
            (KeyCode::Char('+' | '=') | KeyCode::Up, Wanted::Weight { next, .. }) => {
                *next = (*next + 1).min(WEIGHT_MAX);
                self.prompt = Some(prompt);
            }
            (KeyCode::Char('-') | KeyCode::Down, Wanted::Weight { next, .. }) => {
                *next = next.saturating_sub(1);
                self.prompt = Some(prompt);
            }
            _ => self.message = Some(Message::Done("nothing was changed".into())),
        }
        Step::Stay
    }

    fn ask(&mut self, wanted: impl FnOnce(u32) -> Wanted) {
        let Some((pool, backend)) = self.place().and_then(|place| self.rows().get(place).copied()) else {
            return;
        };
        let target = Target { pool: pool.to_owned(), backend: backend.name.clone() };
        self.prompt = Some(Prompt { target, wanted: wanted(backend.weight), sessions: backend.active });
    }

    fn move_by(&mut self, lines: isize) {
        let place = self.place().unwrap_or(0);
        self.select(place.saturating_add_signed(lines));
    }

    /// The line at this place, or the last one.
    fn select(&mut self, place: usize) {
        let rows = self.rows();
        let row = rows.get(place).or(rows.last());
        self.selected =
            row.map(|(pool, backend)| Target { pool: (*pool).to_owned(), backend: backend.name.clone() });
    }

    /// All pools, then each alone.
    fn next_pool(&mut self) {
        let names: Vec<&String> =
            self.figures.iter().flat_map(|figures| &figures.pools).map(|pool| &pool.name).collect();
        let next = match &self.pool {
            None => 0,
            Some(pool) => names.iter().position(|name| *name == pool).map_or(0, |place| place + 1),
        };
        self.pool = names.get(next).map(|name| (*name).clone());
        if self.place().is_none() {
            self.select(0);
        }
    }

    /// Scrolls so that the selected line is in so many lines.
    pub(super) fn scroll(&mut self, room: usize) {
        self.room = room;
        let place = self.place().unwrap_or(0);
        let last = self.rows().len().saturating_sub(room);
        self.first = self.first.clamp(place.saturating_sub(room.saturating_sub(1)), place).min(last);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    fn view(pools: &[(&str, &[&str])]) -> View {
        let mut view = View::new("127.0.0.1:8404".into(), None);
        let figures = Figures {
            info: sample::info(),
            listeners: vec![sample::listener()],
            pools: pools.iter().map(|(pool, backends)| sample::pool(pool, backends)).collect(),
        };
        view.take(News::Figures(Box::new(figures)), Duration::ZERO);
        view
    }

    fn press(view: &mut View, keys: &str) -> Step {
        let mut step = Step::Stay;
        for key in keys.chars() {
            let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
            step = view.on_key(KeyEvent::new(code, KeyModifiers::NONE));
        }
        step
    }

    fn selected(view: &View) -> String {
        view.selected.as_ref().unwrap().shown()
    }

    #[test]
    fn keys_select_and_stop_at_the_ends() {
        let mut view = view(&[("web", &["a", "b"]), ("db", &["c"])]);
        assert_eq!(selected(&view), "web/a");
        press(&mut view, "k");
        assert_eq!(selected(&view), "web/a");
        press(&mut view, "jj");
        assert_eq!(selected(&view), "db/c");
        press(&mut view, "jjj");
        assert_eq!(selected(&view), "db/c");
        press(&mut view, "g");
        assert_eq!(selected(&view), "web/a");
    }

    #[test]
    fn nothing_is_done_before_it_is_confirmed() {
        let mut view = view(&[("web", &["a", "b"])]);
        assert_eq!(press(&mut view, "jd"), Step::Stay);
        assert_eq!(view.prompt.as_ref().unwrap().wanted, Wanted::Mode(Mode::Drain));
        assert_eq!(press(&mut view, "n"), Step::Stay);
        assert_eq!((view.prompt.is_none(), view.message.is_some()), (true, true));
        let Step::Order(order) = press(&mut view, "dy") else { panic!("no order") };
        assert_eq!((order.target.shown(), order.mode), ("web/b".into(), Some(Mode::Drain)));
        let Step::Order(order) = press(&mut view, "r\n") else { panic!("no order") };
        assert_eq!(order.mode, Some(Mode::Ready));
        // An answer is no command: q does not leave here, it says no.
        assert_eq!(press(&mut view, "mq"), Step::Stay);
        assert_eq!(press(&mut view, "q"), Step::Quit);
    }

    #[test]
    fn what_nobody_answered_is_forgotten_when_somebody_does() {
        let mut view = view(&[("web", &["a"])]);
        let figures = view.figures.clone().unwrap();
        let seen = || News::Figures(Box::new(figures.clone()));
        view.take(News::Refused("no ringway answers".into()), Duration::ZERO);
        view.take(News::Lost("no ringway answers".into()), Duration::ZERO);
        view.take(seen(), Duration::from_secs(1));
        assert_eq!((&view.message, &view.lost), (&None, &None));
        // Another refusal is read until a key.
        view.take(News::Refused("there is no such backend".into()), Duration::ZERO);
        view.take(seen(), Duration::from_secs(1));
        assert!(view.message.is_some());
    }

    #[test]
    fn silence_is_told_second_by_second() {
        let mut view = view(&[("web", &["a"])]);
        let interval = Duration::from_secs(1);
        let mut told = |millis| (view.wait(Duration::from_millis(millis), interval), view.silent);
        assert_eq!(told(1_500), (false, None));
        assert_eq!(told(2_100), (true, Some(2)));
        assert_eq!(told(2_200), (false, Some(2)));
        assert_eq!(told(3_000), (true, Some(3)));
        assert_eq!(told(0), (true, None));
    }

    #[test]
    fn a_weight_is_changed_step_by_step_and_stays_in_its_bounds() {
        let mut view = view(&[("web", &["a"])]);
        let Step::Order(order) = press(&mut view, "+++-y") else { panic!("no order") };
        assert_eq!(order.weight, Some(3));
        let Step::Order(order) = press(&mut view, "----y") else { panic!("no order") };
        assert_eq!(order.weight, Some(0));
        let Step::Order(order) = press(&mut view, &format!("{}y", "+".repeat(300))) else {
            panic!("no order")
        };
        assert_eq!(order.weight, Some(256));
    }

    #[test]
    fn pools_are_shown_one_after_the_other_and_then_all() {
        let mut view = view(&[("web", &["a", "b"]), ("db", &["c"])]);
        press(&mut view, "jp");
        assert_eq!(
            (view.pool.as_deref(), view.rows().len(), selected(&view)),
            (Some("web"), 2, "web/b".into())
        );
        press(&mut view, "p");
        assert_eq!(
            (view.pool.as_deref(), view.rows().len(), selected(&view)),
            (Some("db"), 1, "db/c".into())
        );
        press(&mut view, "p");
        assert_eq!((view.pool.as_deref(), view.rows().len()), (None, 3));
    }

    #[test]
    fn the_selection_follows_its_backend_and_gives_way_when_that_is_gone() {
        let mut view = view(&[("web", &["a", "b", "c"])]);
        press(&mut view, "j");
        let mut next = view.figures.clone().unwrap();
        next.pools[0].backends.remove(0);
        view.take(News::Figures(Box::new(next.clone())), Duration::from_secs(1));
        assert_eq!((selected(&view), view.place()), ("web/b".into(), Some(0)));
        next.pools[0].backends.remove(0);
        view.take(News::Figures(Box::new(next.clone())), Duration::from_secs(1));
        assert_eq!(selected(&view), "web/c");
        next.pools[0].backends.clear();
        view.take(News::Figures(Box::new(next)), Duration::from_secs(1));
        assert_eq!(view.selected, None);
        assert_eq!(press(&mut view, "jdy"), Step::Stay, "there is nothing to drain");
    }

    #[test]
    fn the_selected_line_is_always_in_view() {
        let names: Vec<String> = (0..100).map(|n| format!("b{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut view = view(&[("web", &names)]);
        view.scroll(10);
        assert_eq!(view.first, 0);
        press(&mut view, "G");
        view.scroll(10);
        assert_eq!(view.first, 90);
        press(&mut view, "kkkk");
        view.scroll(10);
        assert_eq!(view.first, 90);
        press(&mut view, "g");
        view.scroll(10);
        assert_eq!(view.first, 0);
        view.scroll(0);
        view.scroll(1_000);
        assert_eq!(view.first, 0);
    }

    #[test]
    fn the_interrupt_key_leaves_from_everywhere() {
        let mut view = view(&[("web", &["a"])]);
        for before in ["", "?", "d", "+"] {
            press(&mut view, before);
            let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
            assert_eq!(view.on_key(key), Step::Quit);
        }
    }
}
