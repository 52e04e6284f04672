//! Score: what a session would cost at a backend, by what is measured there. Smaller is better.
//!
//! Response time x (sessions + 1) / weight, in nanoseconds and never rounded to classes: on a LAN that would leave
//! nothing but the sessions to compare.

use super::{Choice, Member};
use crate::times::Figure;

/// Scores that differ by less than this factor are equal: the members take turns.
const NEARLY: f64 = 1.1;

/// The score of a member whose response time is `figure`; one that was never measured is taken to be as fast as `assumed`
/// (in nanoseconds).
#[inline(always)]
pub(super) fn score(choice: &Choice<'_>, member: &Member, figure: Figure, assumed: f64) -> f64 {
    let nanos = if figure.is_fresh() { figure.nanos() } else { odd(figure, assumed) };
    let sessions = f64::from(choice.active(member)) + 1.0;
    nanos * sessions * member.per_share
}

/// Of a member that was not measured lately, or never.
#[cold]
fn odd(figure: Figure, assumed: f64) -> f64 {
    if figure.is_unknown() { assumed.max(1.0) } else { figure.nanos() }
}

/// Whether one score is better than another by more than measuring is worth.
pub(super) fn is_clearly_less(one: f64, other: f64) -> bool {
    one * NEARLY < other
}
