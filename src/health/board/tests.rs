//! What the board logs and publishes, without threads and sockets.

use super::*;
use std::io::{self, Write};
use std::sync::Mutex;

use crate::config::Exchange;
use crate::epoch;
use crate::gate::Progress;
use tracing_subscriber::fmt::MakeWriter;

/// What was logged, line by line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Runs it and returns the lines that it logged.
    fn of(run: impl FnOnce()) -> Vec<String> {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        tracing::subscriber::with_default(subscriber, run);
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

/// A board over so many backends of one pool, which are checked.
fn board(backends: usize, alter: impl FnOnce(&mut config::Pool)) -> (Board, Arc<Stats>, Instant) {
    let backend = |index| format!("[[pool.backend]]\naddress = '127.0.0.1:{}'\n", index + 1);
    let backends_text: String = (0..backends).map(backend).collect();
    let text = format!(
        "[[listener]]\nname = 'a'\nbind = '127.0.0.1:9999'\npool = 'p'\n[[pool]]\nname = 'p'\n{backends_text}"
    );
    let mut config = crate::config::parse("test", &text).unwrap();
    config.pools[0].health.check = Check::Tcp(Exchange::default());
    config.pools[0].health.fall = 3.try_into().unwrap();
    config.pools[0].health.rise = 2.try_into().unwrap();
    alter(&mut config.pools[0]);
    let now = Instant::now();
    let (publisher, _) = epoch::channel(BackendTable::first(&config.pools, now));
    let stats = Arc::new(Stats::new(1, 0, backends));
    (Board::new(Arc::new(config), Arc::clone(&stats), publisher, now), stats, now)
}

const FIRST: fn() -> BackendId = || BackendId::new(0);

fn observe(board: &mut Board, results: &[bool], now: Instant) {
    for &passed in results {
        let why = if passed { "check passed" } else { "check failed: refused" };
        board.observe(FIRST(), passed, || why.into(), now);
    }
}

#[test]
fn each_change_of_state_is_logged_once_with_its_reason() {
    let (mut board, _, now) = board(1, |_| {});
    let lines = Log::of(|| {
        observe(&mut board, &[true, true], now);
        observe(&mut board, &[false; 20], now);
        observe(&mut board, &[true, false, true, true, true, true], now);
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("backend is down") && lines[0].contains("check failed: refused"), "{lines:#?}");
    assert!(lines[1].contains("backend is up") && lines[1].contains("check passed"), "{lines:#?}");
}

#[test]
fn an_ejection_its_trials_and_the_return_are_logged_once_each() {
    let (mut board, stats, mut now) = board(2, |pool| {
        pool.ejection.failures = 2.try_into().ok();
        pool.ejection.time = Duration::from_secs(10);
        pool.health.passive = false;
    });
    let step = |board: &mut Board, now: &mut Instant| {
        *now += Duration::from_secs(30);
        (0..5).for_each(|_| board.look(*now));
    };
    let lines = Log::of(|| {
        for _ in 0..3 {
            let counters = &stats.workers[0].backends[0];
            counters.unanswered.add(1);
            counters.unanswered_in_row.add(1);
            stats.workers[0].core.failures.add(1);
            board.look(now);
        }
        for end in [Progress::Failed, Progress::Served] {
            step(&mut board, &mut now);
            let gate = Arc::clone(&board.backend(FIRST()).gate);
            gate.take_trial().expect("a session may try").tell(end);
            (0..5).for_each(|_| board.look(now));
        }
    });
    let reasons = [
        "2 sessions failed in a row (reset before the first byte); ejected for 10s, 1st time",
        "its time is over; the next session decides",
        "trial session failed; ejected for 20s, 2nd time",
        "its time is over; the next session decides",
        "trial session was answered",
    ];
    assert_eq!(lines.len(), reasons.len(), "{lines:#?}");
    for (line, reason) in lines.iter().zip(reasons) {
        assert!(line.contains(reason), "{lines:#?}");
    }
    assert_eq!(board.backend(FIRST()).health.state, State::Up);
}

#[test]
fn what_is_down_by_checks_is_not_ejected_and_comes_back_with_its_past() {
    let (mut board, stats, now) = board(2, |pool| pool.ejection.failures = 1.try_into().ok());
    let fail = |board: &mut Board| {
        let counters = &stats.workers[0].backends[0];
        counters.unanswered.add(1);
        counters.unanswered_in_row.add(1);
        stats.workers[0].core.failures.add(1);
        board.look(now);
        board.backend(FIRST()).health.clone()
    };
    observe(&mut board, &[true], now);
    assert!(fail(&mut board).reason.contains("1st time"));
    observe(&mut board, &[false; 3], now);
    assert_eq!(fail(&mut board).state, State::Down);
    observe(&mut board, &[true; 2], now);
    assert_eq!(board.backend(FIRST()).health.state, State::Up);
    assert!(fail(&mut board).reason.contains("2nd time"));
}

#[test]
fn orders_are_logged_once_and_maintenance_means_no_checks_and_no_memory() {
    let (mut board, _, now) = board(1, |_| {});
    observe(&mut board, &[false], now);
    let set = |board: &mut Board, mode| {
        let order = Order::SetMode { backend: FIRST(), mode };
        Log::of(|| (0..3).for_each(|_| board.obey(order, now)))
    };
    let lines = set(&mut board, Mode::Maintenance);
    assert!(lines.len() == 1 && lines[0].contains("maintenance"), "{lines:#?}");
    assert_eq!(board.pace(FIRST()), Pace::Rest);
    observe(&mut board, &[true; 5], now);
    assert_eq!(board.backend(FIRST()).health.state, State::Down, "a late check was heeded");
    assert_eq!(set(&mut board, Mode::Ready).len(), 1);
    let health = &board.backend(FIRST()).health;
    assert_eq!((health.state, &*health.reason), (State::Up, "not checked since its maintenance"));
    let fast = board.spec(FIRST()).fast_interval;
    assert_eq!(board.pace(FIRST()), Pace::Every(fast));
    let order = Order::SetWeight { backend: FIRST(), weight: 7 };
    assert_eq!(Log::of(|| (0..3).for_each(|_| board.obey(order, now))).len(), 1);
    assert_eq!(board.backend(FIRST()).weight, 7);
}

#[test]
fn a_backend_that_comes_back_starts_slowly_and_one_that_begins_does_not() {
    let (mut board, _, now) = board(1, |pool| {
        pool.slow_start = Some(Duration::from_secs(20));
        pool.backends[0].max_connections = 50.try_into().ok();
    });
    let share = |board: &mut Board, seconds| {
        board.look(now + Duration::from_secs(seconds));
        let backend = board.backend(FIRST());
        (backend.ramp, backend.max_connections.unwrap().get())
    };
    observe(&mut board, &[true; 3], now);
    assert_eq!(share(&mut board, 0), (100, 50));
    observe(&mut board, &[false; 3], now);
    observe(&mut board, &[true; 2], now);
    assert_eq!(
        [0, 1, 10, 19, 20].map(|at| share(&mut board, at)),
        [(1, 1), (5, 2), (50, 25), (95, 47), (100, 50)]
    );
    // Down again on the way: whole in a panic, and from the beginning when it is back.
    observe(&mut board, &[false; 3], now);
    observe(&mut board, &[true; 2], now);
    assert_eq!(share(&mut board, 10), (50, 25));
    observe(&mut board, &[false; 3], now);
    assert_eq!(share(&mut board, 10), (100, 50));
}

#[test]
fn a_backend_that_is_down_until_its_first_check_does_not_start_slowly() {
    let (mut board, _, now) = board(1, |pool| {
        pool.slow_start = Some(Duration::from_secs(20));
        pool.health.initial_state = InitialState::Down;
    });
    assert_eq!(board.backend(FIRST()).health.state, State::Down);
    observe(&mut board, &[true], now);
    board.look(now);
    let backend = board.backend(FIRST());
    assert_eq!((backend.health.state, backend.ramp), (State::Up, 100));
}

#[test]
fn a_trial_that_takes_longer_than_an_ejection_still_brings_its_backend_back() {
    let time = Duration::from_secs(10);
    let (mut board, stats, mut now) = board(2, |pool| {
        pool.ejection.failures = 1.try_into().ok();
        pool.ejection.time = time;
        pool.health.passive = false;
    });
    let counters = &stats.workers[0].backends[0];
    counters.unanswered.add(1);
    counters.unanswered_in_row.add(1);
    stats.workers[0].core.failures.add(1);
    board.look(now);
    now += time;
    board.look(now);
    assert_eq!(board.backend(FIRST()).health.state, State::OnTrial);
    let gate = Arc::clone(&board.backend(FIRST()).gate);
    let slow = gate.take_trial().expect("a session may try");
    board.look(now);
    now += time;
    board.look(now);
    let company = gate.take_trial().expect("another may try: the first takes long");
    board.look(now);
    // It is answered in the end, and that counts.
    slow.tell(Progress::Served);
    board.look(now);
    assert_eq!(board.backend(FIRST()).health.state, State::Up);
    drop(company);
}
