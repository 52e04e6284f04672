//! The page at the admin address as people see it: a real browser, a real ringway.
//!
//! The pictures are kept in `target/tmp`, for whoever wants to look for himself.

#![allow(unreachable_pub, reason = "common is shared by several test binaries")]

#[path = "../loadtest/tests/browser/browser.rs"]
#[allow(dead_code, reason = "the tests of loadtest use the rest")]
mod browser;
#[path = "common/mod.rs"]
mod common;

use std::fs;

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
