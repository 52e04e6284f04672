//! What shadows chose beside what serves, as text.

use std::fmt::Write;

use super::nanos;
use crate::config::{Choice, Config, Pool};
use crate::stats::{Chosen, Counter, PoolShadows, SERVING, ShadowStats, Stats};

const HEADINGS: [&str; 7] = ["POOL", "BACKEND", "ALGORITHM", "CHOSEN", "SHARE", "NOW", "MOST"];

/// A line for each shadow, and a table of what each would have given to each backend; nothing when no pool has shadows.
///
/// CHOSEN are the sessions ever, SHARE their part of all, NOW those that are running. MOST are the most at once: each
/// worker's, added up, although they need not have been at the same moment.
pub fn shadows(config: &Config, stats: &Stats) -> String {
    let pools = config.pools.iter().enumerate().filter(|(_, pool)| !pool.shadow.is_empty());
    let mut text = String::new();
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    for (index, pool) in pools {
        let sums = Sums::new(stats, index, pool);
        for (shadow, algorithm) in pool.shadow.iter().enumerate() {
            agreement(&mut text, pool, algorithm.word(), &sums, shadow);
        }
        (0..pool.backends.len()).for_each(|place| backend(&mut rows, pool, &sums, place));
    }
    if rows.len() > 1 {
        table(&mut text, &rows);
    }
    text
}

/// One pool's counters, added up over the workers.
struct Sums<'a> {
    stats: &'a Stats,
    pool: usize,
    /// Those for which all have chosen. Summed up once, and not for each of perhaps tens of thousands of rows.
    sessions: u64,
}

impl Sums<'_> {
    fn new<'a>(stats: &'a Stats, index: usize, pool: &Pool) -> Sums<'a> {
        let sums = Sums { stats, pool: index, sessions: 0 };
        let places = 0..pool.backends.len();
        let sessions = places.map(|place| sums.chosen(place, SERVING, |chosen| &chosen.total)).sum();
        Sums { sessions, ..sums }
    }

    fn workers(&self) -> impl Iterator<Item = &PoolShadows> {
        self.stats.workers.iter().filter_map(|worker| worker.shadows.get(self.pool)?.as_ref())
    }

    fn shadow(&self, shadow: usize, counter: fn(&ShadowStats) -> &Counter) -> u64 {
        self.workers().map(|worker| counter(&worker.shadows[shadow]).get()).sum()
    }

    fn chosen(&self, place: usize, chooser: usize, counter: fn(&Chosen) -> &Counter) -> u64 {
        self.workers().map(|worker| counter(&worker.backends[place].0[chooser]).get()).sum()
    }
}

fn agreement(text: &mut String, pool: &Pool, word: &str, sums: &Sums<'_>, shadow: usize) {
    let (agreed, sessions) = (sums.shadow(shadow, |stats| &stats.agreed), sums.sessions);
    let (name, serving) = (&pool.name, pool.algorithm.word());
    let _ = write!(
        text,
        "shadow: pool {name}, {word} agrees with {serving} on {agreed} of {sessions} sessions ({})",
        percent(agreed, sessions)
    );
    let timed = sums.shadow(shadow, |stats| &stats.timed);
    let mean =
        |counter: fn(&ShadowStats) -> &Counter| sums.shadow(shadow, counter).checked_div(timed).map(nanos);
    if let (Some(own), Some(served)) = (mean(|stats| &stats.nanos), mean(|stats| &stats.nanos_served)) {
        let _ = write!(text, "; time {own} where {serving} has {served}, over {timed} of them");
    }
    let nobody = sums.shadow(shadow, |stats| &stats.nobody);
    if nobody > 0 {
        let _ = write!(text, "; finds no room for {nobody}");
    }
    text.push('\n');
}

/// A row for what serves, and one for each shadow.
fn backend(rows: &mut Vec<[String; 7]>, pool: &Pool, sums: &Sums<'_>, place: usize) {
    let serving = format!("{} (serves)", pool.algorithm.word());
    let shadows = pool.shadow.iter().map(|algorithm| algorithm.word().to_owned());
    for (chooser, algorithm) in std::iter::once(serving).chain(shadows).enumerate() {
        let chosen = sums.chosen(place, chooser, |chosen| &chosen.total);
        rows.push([
            pool.name.clone(),
            pool.backends[place].name.clone(),
            algorithm,
            chosen.to_string(),
            percent(chosen, sums.sessions),
            sums.chosen(place, chooser, |chosen| &chosen.active).to_string(),
            sums.chosen(place, chooser, |chosen| &chosen.most).to_string(),
        ]);
    }
}

/// Words to the left, numbers to the right.
fn table(text: &mut String, rows: &[[String; 7]]) {
    let mut widths = [0; 7];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let [pool, backend, algorithm, chosen, share, now, most] = widths;
    for [a, b, c, d, e, f, g] in rows {
        let _ = writeln!(
            text,
            "{a:<pool$}  {b:<backend$}  {c:<algorithm$}  {d:>chosen$}  {e:>share$}  {f:>now$}  {g:>most$}"
        );
    }
}

fn percent(part: u64, all: u64) -> String {
    if all == 0 { "-".to_owned() } else { format!("{:.1}%", 100.0 * part as f64 / all as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(shadow: &str) -> Config {
        let text = format!(
            "[[listener]]\nname = 'a'\nbind = '127.0.0.1:1'\npool = 'web'\n[[pool]]\nname = 'web'\nalgorithm = 'first'\n\
             {shadow}\n[[pool.backend]]\naddress = '127.0.0.1:8080'\nname = 'one'\n\
             [[pool.backend]]\naddress = '[::1]:8081'\n"
        );
        crate::config::parse("test", &text).unwrap()
    }

    #[test]
    fn what_shadows_chose_is_added_up_over_the_workers_and_set_beside_what_serves() {
        let config = config("shadow = ['round-robin', 'random']");
        let stats = Stats::new(2, 1, 2).with_shadows(&config.pools);
        for worker in &stats.workers {
            let pool = worker.shadows[0].as_ref().unwrap();
            // By place: for each session what serves, what goes by turns and what draws.
            for [first, turns, drawn] in [[0, 0, 1], [0, 1, 1], [0, 0, 1], [0, 1, 1]] {
                pool.backends[first].0[0].begin();
                pool.backends[turns].0[1].begin();
                pool.backends[drawn].0[2].begin();
                pool.backends[turns].0[1].end();
            }
            pool.shadows[0].agreed.add(2);
            pool.shadows[0].timed.add(4);
            pool.shadows[0].nanos.add(4_800_000);
            pool.shadows[0].nanos_served.add(8_000);
            pool.shadows[1].nobody.add(3);
        }
        let expected = "\
shadow: pool web, round-robin agrees with first on 4 of 8 sessions (50.0%); time 1.20ms where first has 2.00us, over 8 of them
shadow: pool web, random agrees with first on 0 of 8 sessions (0.0%); finds no room for 6
POOL  BACKEND     ALGORITHM       CHOSEN   SHARE  NOW  MOST
web   one         first (serves)       8  100.0%    8     8
web   one         round-robin          4   50.0%    0     2
web   one         random               0    0.0%    0     0
web   [::1]:8081  first (serves)       0    0.0%    0     0
web   [::1]:8081  round-robin          4   50.0%    0     2
web   [::1]:8081  random               8  100.0%    8     8
";
        assert_eq!(shadows(&config, &stats), expected);
    }

    #[test]
    fn nothing_is_told_without_shadows_and_no_share_before_the_first_session() {
        let config_without = config("");
        let stats = Stats::new(2, 1, 2).with_shadows(&config_without.pools);
        assert_eq!(shadows(&config_without, &stats), "");
        let config = config("shadow = 'maglev'");
        let stats = Stats::new(1, 1, 2).with_shadows(&config.pools);
        let text = shadows(&config, &stats);
        let expected = "shadow: pool web, maglev agrees with first on 0 of 0 sessions (-)";
        assert_eq!(text.lines().next(), Some(expected));
        assert_eq!(text.lines().count(), 6);
    }
}
