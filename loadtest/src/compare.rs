//! Runs ringway once with each balancing algorithm, and compares what was measured.

mod page;
mod result;

pub(crate) use self::page::draw_anew;
