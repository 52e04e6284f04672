//! Doors: what is let in, what waits, what is refused, and that all of it comes back.

use super::*;
use crate::config;

const MS: u64 = 1_000_000;

fn config(listener: &str) -> Config {
    let text = format!(
        "[[listener]]\nname='a'\nbind='127.0.0.1:1'\npool='p'\n{listener}\n[[pool]]\nname='p'\n\
         [[pool.backend]]\naddress='127.0.0.1:2'\n"
    );
    config::parse("f", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn rules(config: &Config) -> Vec<Rules> {
    config
        .listeners
        .iter()
        .map(|one| Rules::new(one.access.default, &one.access.allow, &one.access.deny))
        .collect()
}

fn door(listener: &str) -> Door {
    let config = config(listener);
    doors(&config, rules(&config), None).into_iter().next().unwrap()
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

/// One comes, as an accept loop lets it.
fn come(door: &Door, address: &str, now: u64) -> Result<Result<Pass, Refused>, Wait> {
    door.turn(now).map(|turn| turn.enter(ip(address), now))
}

#[test]
fn without_a_table_everybody_comes_in_and_nothing_is_counted() {
    let door = door("");
    let pass = come(&door, "192.0.2.1", 1).unwrap().unwrap();
    assert!(!pass.is_counted());
    assert_eq!(door.sessions(), 0);
}

#[test]
fn who_is_denied_is_refused_and_who_has_no_address_is_not() {
    let door = door("access = { default = 'deny', allow = ['10.0.0.0/8'] }");
    assert_eq!(come(&door, "11.0.0.1", 1).unwrap().unwrap_err(), Refused::Denied);
    come(&door, "10.0.0.1", 1).unwrap().unwrap();
    door.turn(1).unwrap().enter(None, 1).unwrap();
}

#[test]
fn sessions_over_the_limit_wait_or_are_refused_and_a_place_comes_back_by_drop() {
    let (waits, refuses) =
        (door("limits = { sessions_max = 2 }"), door("limits = { sessions_max = 2, over = 'refuse' }"));
    for door in [&waits, &refuses] {
        let passes: Vec<Pass> = (0..2).map(|_| come(door, "10.0.0.1", 1).unwrap().unwrap()).collect();
        let third = come(door, "10.0.0.2", 1);
        match door.over {
            Over::Wait => assert_eq!(third.unwrap_err(), Wait::Full),
            Over::Refuse => assert_eq!(third.unwrap().unwrap_err(), Refused::Full),
        }
        assert_eq!(door.sessions(), 2);
        drop(passes);
        assert_eq!(door.sessions(), 0);
        // A turn that nobody takes gives its place back too.
        drop(door.turn(1).unwrap());
        assert_eq!(door.sessions(), 0);
    }
}

#[test]
fn over_the_rate_clients_wait_for_as_long_as_it_takes_or_are_refused() {
    let waits = door("limits = { rate = '100/s', rate_burst = 1 }");
    come(&waits, "10.0.0.1", MS).unwrap().unwrap();
    assert_eq!(come(&waits, "10.0.0.2", 3 * MS).unwrap_err(), Wait::Rate(Duration::from_millis(8)));
    come(&waits, "10.0.0.2", 11 * MS).unwrap().unwrap();
    let refuses = door("limits = { rate = '100/s', rate_burst = 1, over = 'refuse' }");
    come(&refuses, "10.0.0.1", MS).unwrap().unwrap();
    assert_eq!(come(&refuses, "10.0.0.2", 3 * MS).unwrap().unwrap_err(), Refused::Rate);
}

#[test]
fn who_is_refused_takes_nothing_of_the_rate_from_others() {
    let door = door(
        "access = { deny = ['10.0.0.0/8'] }\nlimits = { rate = '1/h', rate_burst = 1, sessions_per_source = 1 }",
    );
    for _ in 0..100 {
        come(&door, "10.0.0.1", MS).unwrap().unwrap_err();
    }
    // Nor does a turn that nobody takes.
    drop(door.turn(MS).unwrap());
    come(&door, "11.0.0.1", MS).unwrap().unwrap();
    assert!(matches!(come(&door, "11.0.0.2", MS), Err(Wait::Rate(_))));
}

#[test]
fn the_rate_of_the_process_is_one_for_all_listeners() {
    let text = "[server]\nrate_max='10/s'\n[[listener]]\nname='a'\nbind='127.0.0.1:1'\npool='p'\n\
                [[listener]]\nname='b'\nbind='127.0.0.1:2'\npool='p'\n\
                [[pool]]\nname='p'\n[[pool.backend]]\naddress='127.0.0.1:3'\n";
    let config = config::parse("f", text).unwrap();
    let doors = doors(&config, rules(&config), None);
    let all = (0..20).map(|number| come(&doors[number % 2], "10.0.0.1", MS)).filter(|one| one.is_ok());
    assert_eq!(all.count(), 10);
}

#[test]
fn who_is_refused_takes_nothing_of_the_rate_of_the_process_either() {
    let text = "[server]\nrate_max='1/h'\n[[listener]]\nname='a'\nbind='127.0.0.1:1'\npool='p'\n\
                access={deny=['10.0.0.0/8']}\n[[pool]]\nname='p'\n[[pool.backend]]\naddress='127.0.0.1:3'\n";
    let config = config::parse("f", text).unwrap();
    let doors = doors(&config, rules(&config), None);
    for _ in 0..100 {
        come(&doors[0], "10.0.0.1", MS).unwrap().unwrap_err();
    }
    drop(doors[0].turn(MS).unwrap());
    come(&doors[0], "11.0.0.1", MS).unwrap().unwrap();
    assert!(matches!(come(&doors[0], "11.0.0.2", MS), Err(Wait::Rate(_))));
}

#[test]
fn a_source_has_so_many_sessions_and_its_neighbour_has_its_own() {
    let door = door("limits = { sessions_per_source = 2, source_prefix_v4 = 24 }");
    let passes: Vec<Pass> =
        ["10.0.0.1", "10.0.0.2"].map(|address| come(&door, address, 1).unwrap().unwrap()).into();
    assert_eq!(come(&door, "10.0.0.3", 1).unwrap().unwrap_err(), Refused::SourceSessions);
    let other = come(&door, "10.0.1.3", 1).unwrap().unwrap();
    assert!(other.is_counted());
    drop(passes);
    come(&door, "10.0.0.3", 1).unwrap().unwrap();
}

#[test]
fn a_client_that_turns_out_to_be_another_counts_as_that_one() {
    let door = door("access = { deny = ['10.9.0.0/16'] }\nlimits = { sessions_per_source = 1 }");
    let mut pass = come(&door, "10.0.0.1", 1).unwrap().unwrap();
    door.ask_again(&mut pass, "10.0.0.2".parse().unwrap(), 1).unwrap();
    let other = come(&door, "10.0.0.1", 1).unwrap().unwrap();
    assert_eq!(come(&door, "10.0.0.2", 1).unwrap().unwrap_err(), Refused::SourceSessions);
    assert_eq!(door.ask_again(&mut pass, "10.9.0.1".parse().unwrap(), 1), Err(Refused::Denied));
    drop((pass, other));
    come(&door, "10.0.0.2", 1).unwrap().unwrap();
}

#[test]
fn a_reload_counts_on_what_both_configurations_have() {
    let limits = "limits = { sessions_max = 2, sessions_per_source = 1, rate = '10/h' }";
    let (before, next) = (config(limits), config(&limits.replace("10/h", "20/h")));
    let first = doors(&before, rules(&before), None);
    let pass = come(&first[0], "10.0.0.1", MS).unwrap().unwrap();
    let lineage = Lineage::between(&before, &next);
    let second = doors(&next, rules(&next), Some((&first, &lineage)));
    assert_eq!(second[0].sessions(), 1);
    assert_eq!(come(&second[0], "10.0.0.1", MS).unwrap().unwrap_err(), Refused::SourceSessions);
    drop(first);
    drop(pass);
    assert_eq!(second[0].sessions(), 0);
    come(&second[0], "10.0.0.1", MS).unwrap().unwrap();
}

#[test]
fn a_reload_forgets_nobody_who_came_lately() {
    let limits = "limits = { rate = '2/h', rate_burst = 2 }";
    let config = config(limits);
    let first = doors(&config, rules(&config), None);
    come(&first[0], "10.0.0.1", MS).unwrap().unwrap();
    let second = doors(&config, rules(&config), Some((&first, &Lineage::between(&config, &config))));
    come(&second[0], "10.0.0.2", MS).unwrap().unwrap();
    assert!(matches!(come(&second[0], "10.0.0.3", MS), Err(Wait::Rate(_))));
}
