//! The page at the admin address as people see it: a real browser, a real ringway.
//!
//! The pictures are kept in `target/tmp`, for whoever wants to look for himself.

#![allow(unreachable_pub, reason = "common is shared by several test binaries")]

#[path = "../loadtest/tests/browser/browser.rs"]
#[allow(dead_code, reason = "the tests of loadtest use the rest")]
mod browser;
#[path = "common/mod.rs"]
mod common;

use std::{collections::HashSet, fs};

use serde_json::json;

use browser::Browser;
use common::*;
use ringway::config::{Admin, AdminAddress, Config};
use ringway::table::Mode;

fn administered(backends: &[&TestBackend]) -> Config {
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let mut config = config(&addresses);
    config.admin = Some(Admin { bind: AdminAddress::Address(any_port()), token_file: None, quorum: 1 });
    for (backend, name) in config.pools[0].backends.iter_mut().zip(["one", "two", "three"]) {
        backend.name = name.into();
    }
    config
}

fn visit(browser: &Browser, ringway: &Ringway) {
    browser.visit(&format!("http://{}/", ringway.server().admin_address().unwrap()));
}

fn await_page(browser: &Browser, what: &str, condition: &str) {
    await_that(what, || browser.run(&format!("return Boolean({condition})")) == json!(true));
}

const LIVE: &str = "document.getElementById('link').dataset.state === 'live'";

#[test]
fn it_is_live_and_loads_nothing_from_elsewhere() {
    let backends = [TestBackend::echo(), TestBackend::echo()];
    let ringway = Ringway::start(administered(&backends.each_ref()));
    let browser = Browser::start();
    visit(&browser, &ringway);
    await_page(&browser, "the page is live", LIVE);
    assert_eq!(browser.run("return document.querySelectorAll('tr[data-backend]').length"), 2);
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let mut client = ringway.connect();
            assert_echo(&mut client, b"hello");
            client
        })
        .collect();
    await_page(&browser, "sessions are shown", "document.getElementById('sessions').textContent === '3'");
    await_page(&browser, "decisions are shown", "document.querySelector('#decisions li:not(.nothing)')");
    drop(clients);
    await_page(&browser, "and that they are gone", "document.getElementById('sessions').textContent === '0'");
    let elsewhere = "return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(location.origin) && !n.startsWith('data:'))";
    assert_eq!(browser.run(elsewhere), json!([]));
    let complaints: Vec<String> =
        browser.console().into_iter().filter(|line| !line.contains("[DOM]")).collect();
    assert_eq!(complaints, Vec::<String>::new());
    ringway.finish();
}

#[test]
fn a_click_drains_a_backend_and_a_number_is_its_weight() {
    let backends = [TestBackend::echo(), TestBackend::echo()];
    let ringway = Ringway::start(administered(&backends.each_ref()));
    let browser = Browser::start();
    visit(&browser, &ringway);
    await_page(&browser, "the page is live", LIVE);
    // With the keyboard: the button is reached and pressed as any other.
    browser.run(
        "const b = document.querySelector('[data-backend=one] [data-mode=drain]'); b.focus(); b.click()",
    );
    await_that("the backend drains", || ringway.server().table().backends[0].mode == Mode::Drain);
    await_page(
        &browser,
        "the page says so",
        "document.querySelector('[data-backend=one] [data-mode=drain]').getAttribute('aria-pressed') === 'true'",
    );
    await_page(
        &browser,
        "and who did it",
        "document.getElementById('changes').textContent.includes('ready → drain')",
    );
    for _ in 0..4 {
        assert_echo(&mut ringway.connect(), b"elsewhere");
    }
    assert_eq!((backends[0].accepted(), backends[1].accepted()), (0, 4));
    browser.run(
        "const w = document.querySelector('[data-backend=two] .weight'); w.focus(); w.value = 9; w.dispatchEvent(new Event('change'))",
    );
    await_that("the weight is another", || ringway.server().table().backends[1].weight == 9);
    // Every control has a name, and can be reached with the keyboard.
    let nameless = "return [...document.querySelectorAll('button, input:not([hidden]), a')].filter(e => e.tabIndex < 0 || \
                    !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).length";
    assert_eq!(browser.run(nameless), 0);
    ringway.finish();
}

#[test]
fn it_fits_a_desk_and_a_telephone_in_light_and_in_dark() {
    let backends = [TestBackend::echo(), TestBackend::echo(), TestBackend::echo()];
    let ringway = Ringway::start(administered(&backends.each_ref()));
    let browser = Browser::start();
    for (scheme, width) in [("light", 1200), ("dark", 1200), ("light", 360), ("dark", 360)] {
        browser.set_width(width);
        browser.prefer(scheme);
        visit(&browser, &ringway);
        await_page(&browser, "the page is live", LIVE);
        for _ in 0..5 {
            assert_echo(&mut ringway.connect(), b"hello");
        }
        await_page(&browser, "a line is drawn", "document.querySelector('svg.line path').getAttribute('d')");
        browser.keep_picture(&format!("admin-{scheme}-{width}"));
        let too_wide = "return document.documentElement.scrollWidth - innerWidth";
        assert_eq!(browser.run(too_wide), 0, "{scheme} {width}");
        let found = browser.run(include_str!("../loadtest/tests/browser/contrast.js"));
        assert_eq!(found["faint"], json!([]), "{scheme} {width}");
    }
    ringway.finish();
}

/// `tests/page/hard.js` shows long names, IPv6 and Unix addresses, large numbers, long times, reasons, backups, and looks at where
/// everything is.
#[test]
fn nothing_is_cut_wrapped_or_beyond_the_window_whatever_is_shown() {
    let backend = TestBackend::echo();
    let ringway = Ringway::start(administered(&[&backend]));
    let browser = Browser::start();
    for width in [320, 390, 768, 1280, 1600, 2560] {
        for scheme in ["light", "dark"] {
            browser.set_width(width);
            browser.prefer(scheme);
            visit(&browser, &ringway);
            await_page(&browser, "the page is live", LIVE);
            let found = browser.run(&hard(false));
            let good = json!({
                "sideways": 0, "outside": [], "spilt": [], "wrapped": [], "torn": [], "small": [], "faint": [], "backwards": [], "unlike": 1,
            });
            assert_eq!(found, good, "{scheme} {width}");
            browser.keep_picture(&format!("admin-hard-{scheme}-{width}"));
        }
    }
    ringway.finish();
}

#[test]
fn with_many_backends_the_head_stays_and_no_number_moves_a_column() {
    let backend = TestBackend::echo();
    let ringway = Ringway::start(administered(&[&backend]));
    let browser = Browser::start();
    browser.set_width(1280);
    visit(&browser, &ringway);
    await_page(&browser, "the page is live", LIVE);
    browser.run(&hard(true));
    assert_eq!(
        browser.run("return document.querySelectorAll('[aria-label=\"Pool many\"] tbody tr').length"),
        200
    );
    let columns = "[...document.querySelectorAll('tbody tr:first-child > *')].map(c => c.getBoundingClientRect().left).join()";
    let moved = format!(
        "const before = {columns}; for (const c of document.querySelectorAll('td.active, td.picked')) c.textContent = '1,234,567'; \
         return before !== {columns}"
    );
    assert_eq!(browser.run(&moved), false);
    let head = "const rows = document.querySelectorAll('[aria-label=\"Pool many\"] tr'); rows[150].scrollIntoView(); \
                return rows[0].firstChild.getBoundingClientRect().top";
    assert_eq!(browser.run(head), 0);
    // Only the connection and what is refused are told unasked, and the first says the same each second.
    let told =
        "return [...document.querySelectorAll('[role=status], [role=alert], [aria-live]')].map(e => e.id)";
    assert_eq!(browser.run(told), json!(["link", "trouble-words"]));
    // To those who hear it every row is a row, and every button says whose it is.
    let names = "return [...document.querySelectorAll('tbody button, tbody input')].map(e => e.getAttribute('aria-label'))";
    let names = browser.run(names);
    let names: Vec<_> = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    assert!(names.contains(&"Drain 10.0.0.2:443 in pool many"), "{names:?}");
    ringway.finish();
}

#[test]
fn what_is_old_is_said_to_be_and_what_fails_is_told_where_one_is() {
    let backend = TestBackend::echo();
    let ringway = Ringway::start(administered(&[&backend]));
    let browser = Browser::start();
    browser.set_width(390);
    visit(&browser, &ringway);
    await_page(&browser, "the page is live", LIVE);
    ringway.finish();
    await_page(
        &browser,
        "the page says from when it is",
        "/^connection lost.*; this is from .*[0-9]/.test(document.getElementById('link').textContent)",
    );
    browser
        .run("scrollTo(0, 1e6); const b = document.querySelector('[data-mode=drain]'); b.focus(); b.click()");
    await_page(&browser, "the failure is told", "document.getElementById('trouble-words').textContent");
    let told = "const box = document.getElementById('trouble').getBoundingClientRect(); \
                return [box.top >= 0 && box.bottom <= innerHeight, document.activeElement.dataset.mode]";
    assert_eq!(browser.run(told), json!([true, "drain"]));
    let closed = "const close = document.getElementById('trouble-seen'); close.focus(); close.click(); \
                  return [document.getElementById('trouble').hidden, document.activeElement.dataset.mode]";
    assert_eq!(browser.run(closed), json!([true, "drain"]));
}

#[test]
fn times_have_three_digits_and_the_unit_that_fits() {
    let backend = TestBackend::echo();
    let ringway = Ringway::start(administered(&[&backend]));
    let browser = Browser::start();
    visit(&browser, &ringway);
    let times = "return [null, 0, 0.4, 12.4, 999.4, 999.9, 2540, 64_700, 999_950, 59.99e6, 60e6, 693e6, 3 * 86400e6].map(micros) \
                 .map(text => text.replaceAll('\\u00a0', ' '))";
    let words = json!([
        "–", "0 µs", "< 1 µs", "12 µs", "999 µs", "1.00 ms", "2.54 ms", "64.7 ms", "1.00 s", "1.00 min",
        "1.00 min", "11.6 min", "3.00 d",
    ]);
    assert_eq!(browser.run(times), words);
    ringway.finish();
}

/// With 200 backends in one of the pools, or with few.
fn hard(is_many: bool) -> String {
    format!("const IS_MANY = {is_many};\n{}", include_str!("page/hard.js"))
}

#[test]
fn it_asks_for_the_token_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "correct-horse-battery\n").unwrap();
    let backend = TestBackend::echo();
    let mut config = administered(&[&backend]);
    config.admin.as_mut().unwrap().token_file = Some(path);
    let ringway = Ringway::start(config);
    let browser = Browser::start();
    visit(&browser, &ringway);
    let answer = |token: &str| {
        await_page(&browser, "it asks", "!document.getElementById('ask').hidden");
        browser.run(&format!(
            "document.getElementById('token').value = '{token}'; document.querySelector('#ask button').click()"
        ));
    };
    answer("guess");
    await_page(
        &browser,
        "it says so",
        "document.getElementById('link').textContent === 'that is not the token'",
    );
    answer("correct-horse-battery");
    await_page(&browser, "the page is live", LIVE);
    ringway.finish();
}
