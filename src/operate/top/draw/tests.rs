//! What is on the screen, cell by cell.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Modifier;

use super::super::figures::Figures;
use super::super::news::News;
use super::*;
use crate::operate::sample;

fn figures(pools: &[(&str, &[&str])]) -> Figures {
    Figures {
        info: sample::info(),
        listeners: vec![sample::listener()],
        pools: pools.iter().map(|(pool, backends)| sample::pool(pool, backends)).collect(),
    }
}

fn view(figures: Figures) -> View {
    let mut view = View::new("127.0.0.1:8404".into(), None);
    view.take(News::Figures(Box::new(figures)), Duration::ZERO);
    view
}

fn press(view: &mut View, key: char) {
    view.on_key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE));
}

/// The lines of a screen of this size.
fn screen(view: &mut View, columns: u16, lines: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| draw(frame, view)).unwrap();
    let buffer = terminal.backend().buffer();
    let line =
        |y: u16| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..lines).map(line).collect()
}

#[test]
fn backends_stand_below_the_sums() {
    let mut seen = figures(&[("web", &["a", "b"]), ("db", &["c"])]);
    seen.pools[0].backends[1].state = "down".into();
    seen.pools[0].backends[1].reason = "Connection refused".into();
    let mut view = view(seen);
    let expected = "\
ringway 127.0.0.1:8404: running, up 3h12m, configuration 3, version 0.1.0
7 sessions, 0 new/s, 0 waiting; serving: web 1/2, db 1/1
POOL  BACKEND  STATE  SINCE  WEIGHT  SESSIONS  NEW/s  FAIL/s    TIME     P99  REASON
web   a        up       75s       1         3      0       0  1.23ms  9.88ms  3 checks passed
web   b        down     75s       1         3      0       0  1.23ms  9.88ms  Connection refused
db    c        up       75s       1         3      0       0  1.23ms  9.88ms  3 checks passed

q quit  ? help  d drain  r ready  m maint  +- weight  p pool";
    assert_eq!(screen(&mut view, 100, 8).join("\n"), expected);
}

#[test]
fn eighty_columns_have_all_but_the_reason() {
    let mut view = view(figures(&[("web", &["backend-1.example", "backend-2.example"])]));
    let shown = screen(&mut view, 80, 24);
    assert_eq!(shown[2], "POOL  BACKEND            STATE  SINCE  WEIGHT  SESSIONS  NEW/s  FAIL/s    TIME");
    assert_eq!(shown[3], "web   backend-1.example  up       75s       1         3      0       0  1.23ms");
}

#[test]
fn a_narrow_screen_keeps_who_how_and_how_many() {
    let mut view = view(figures(&[("web", &["a-backend-with-a-name-that-is-long-1"])]));
    let shown = screen(&mut view, 30, 5);
    assert_eq!(shown[2], "BACKEND        STATE  SESSIONS");
    for columns in 1..100 {
        for lines in 1..12 {
            view.shows_help = lines % 2 == 0;
            screen(&mut view, columns, lines);
        }
    }
}

#[test]
fn what_is_selected_is_reversed_over_the_whole_width() {
    let mut view = view(figures(&[("web", &["a", "b"])]));
    press(&mut view, 'j');
    let mut terminal = Terminal::new(TestBackend::new(60, 6)).unwrap();
    terminal.draw(|frame| draw(frame, &mut view)).unwrap();
    let buffer = terminal.backend().buffer();
    let reversed = |y: u16| (0..60).all(|x| buffer[(x, y)].modifier.contains(Modifier::REVERSED));
    assert_eq!((reversed(3), reversed(4)), (false, true));
}

#[test]
fn of_a_thousand_those_around_the_selected_one_are_shown() {
    let names: Vec<String> = (0..1000).map(|n| format!("b{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut view = view(figures(&[("web", &names)]));
    press(&mut view, 'G');
    let shown = screen(&mut view, 100, 24);
    assert!(shown[22].starts_with("web   b999 "), "{shown:?}");
    assert!(shown[23].ends_with("p pool  981-1000 of 1000"), "{shown:?}");
}

#[test]
fn what_is_asked_stands_in_the_last_line() {
    let mut view = view(figures(&[("web", &["a"])]));
    press(&mut view, 'd');
    assert_eq!(screen(&mut view, 80, 6)[5], "drain web/a? 3 sessions may go on (y/n)");
    press(&mut view, 'n');
    assert_eq!(screen(&mut view, 80, 6)[5], "nothing was changed");
    press(&mut view, '+');
    press(&mut view, '+');
    assert_eq!(screen(&mut view, 80, 6)[5], "weight of web/a: 1 -> 3? (+/- changes it, y/n)");
}

const LONG: &str = "a-pool-with-a-long-name-for-payments-and-invoices";

#[test]
fn in_a_question_the_pool_gives_way_and_never_the_backend() {
    let mut view = view(figures(&[(LONG, &["127.0.0.1:8094"])]));
    press(&mut view, 'd');
    assert_eq!(
        screen(&mut view, 80, 6)[5],
        "drain a-pool-with-a-long-n…d-invoices/127.0.0.1:8094? 3 sessions may go on (y/n)"
    );
    let shown = screen(&mut view, 40, 8);
    assert_eq!(shown[6..], ["drain a-p…s/127.0.0.1:8094? 3 sessions", "may go on (y/n)"]);
}

#[test]
fn what_was_refused_has_the_lines_that_it_needs() {
    let mut view = view(figures(&[("web", &["a"])]));
    view.take(
        News::Refused("weight: value is too large (300), at most 256 is allowed".into()),
        Duration::ZERO,
    );
    assert_eq!(
        screen(&mut view, 40, 6)[4..],
        ["weight: value is too large (300), at", "most 256 is allowed"]
    );
}

#[test]
fn the_lines_above_are_cut_at_words_and_keep_the_counts() {
    let mut view = view(figures(&[(LONG, &["a"]), ("web", &["b", "c"])]));
    assert_eq!(
        screen(&mut view, 80, 6)[1],
        "7 sessions, 0 new/s, 0 waiting; serving: a-pool-with-a-lon…invoices 1/1, web 2/2"
    );
    let shown = screen(&mut view, 40, 6);
    assert_eq!(shown[0], "ringway 127.0.0.1:8404: running");
    assert_eq!(shown[1], "7 sessions; a-pool-wit…ices 1/1, web 2/2");
    assert_eq!(shown[5], "q quit  ? help  d drain  1-2 of 3");
    assert_eq!(screen(&mut view, 40, 9)[8], "q quit  ? help  d drain  r ready");
    press(&mut view, 'p');
    assert_eq!(screen(&mut view, 40, 6)[1], "pool a-pool…ces: serving 1/1; 3 sessions");
    assert_eq!(
        screen(&mut view, 80, 6)[1],
        "pool a-pool-with-a-long-n…-invoices: serving 1/1; 3 sessions, 0 new/s, 0 waiting"
    );
    press(&mut view, 'p');
    assert_eq!(screen(&mut view, 40, 6)[1], "pool web: serving 2/2; 6 sessions");
    assert_eq!(screen(&mut view, 80, 6)[1], "pool web: serving 2/2; 6 sessions, 0 new/s, 0 waiting");
}

#[test]
fn of_too_many_pools_the_sum_is_told() {
    let names: Vec<String> = (0..20).map(|n| format!("pool-{n}")).collect();
    let pools: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &["a", "b"][..])).collect();
    let mut view = view(figures(&pools));
    assert_eq!(screen(&mut view, 80, 6)[1], "7 sessions, 0 new/s, 0 waiting; serving: 40/40 of 20 pools");
    assert_eq!(screen(&mut view, 40, 6)[1], "7 sessions; serving: 40/40 of 20 pools");
}

#[test]
fn a_process_that_says_nothing_does_not_look_alive() {
    let mut view = view(figures(&[("web", &["a"])]));
    assert!(view.wait(Duration::from_secs(2), Duration::from_secs(1)));
    assert_eq!(screen(&mut view, 80, 6)[1], "old figures: no answer for 2s");
}

#[test]
fn when_nobody_answers_the_last_figures_stay_and_the_reason_is_told() {
    let mut view = view(figures(&[("web", &["a"])]));
    view.take(News::Lost("no ringway answers at 127.0.0.1:8404: Connection refused".into()), Duration::ZERO);
    let shown = screen(&mut view, 100, 6);
    assert_eq!(shown[1], "old figures: no ringway answers at 127.0.0.1:8404: Connection refused");
    assert!(shown[3].starts_with("web   a "), "{shown:?}");
}

#[test]
fn help_lies_over_the_table_until_a_key() {
    let mut view = view(figures(&[("web", &["a"])]));
    press(&mut view, '?');
    assert!(screen(&mut view, 80, 24).iter().any(|line| line.contains("drain: no new sessions")));
    press(&mut view, 'x');
    assert!(!screen(&mut view, 80, 24).iter().any(|line| line.contains("drain: no new sessions")));
}
