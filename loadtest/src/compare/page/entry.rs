//! An algorithm as the page shows it: its figures, its colour and its place.

use maud::{Markup, html};

use super::number;
use crate::compare::result::{Comparison, Measured};

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) measured: &'a Measured,
    /// Where it was in what was asked for: with it goes the colour, whoever wins.
    index: usize,
}

impl<'a> Entry<'a> {
    /// All of them, the one with the lowest p99 first; those that answered nothing are last.
    pub(super) fn ranked(comparison: &'a Comparison) -> Vec<Self> {
        let all = comparison.algorithms.iter().enumerate();
        let mut entries: Vec<Self> = all.map(|(index, measured)| Self { measured, index }).collect();
        let p99 = |entry: &Self| entry.p99().unwrap_or(f64::INFINITY);
        entries.sort_by(|a, b| p99(a).total_cmp(&p99(b)));
        entries
    }

    pub(super) fn name(&self) -> &'a str {
        &self.measured.algorithm
    }

    /// Over the repeats, or of all sessions together.
    pub(super) fn p99(&self) -> Option<f64> {
        if self.measured.session.count == 0 {
            return None;
        }
        number::known(self.measured.p99.middle).or_else(|| number::known(self.measured.session.p99))
    }

    /// From the lowest to the highest that p99 may be.
    pub(super) fn interval(&self) -> Option<(f64, f64)> {
        let low = self.measured.p99.low.and_then(number::known)?;
        let high = self.measured.p99.high.and_then(number::known)?;
        (self.p99().is_some() && low <= high).then_some((low, high))
    }

    /// Whether too much of the times is the generator's own.
    pub(super) fn is_generator_late(&self) -> bool {
        self.p99().is_some_and(|p99| self.measured.late_p99_us > p99 / 10.0)
    }

    /// The class that has its colour and its dashes.
    pub(super) fn look(&self) -> String {
        format!("a{}", self.index % LOOKS)
    }

    /// Its name behind a piece of its line.
    pub(super) fn label(&self) -> Markup {
        html! {
            span.label {
                svg class={ "swatch " (self.look()) } viewBox="0 0 30 10" aria-hidden="true" {
                    path class="line" d="M1 5H29" {}
                }
                span.name { (self.name()) }
            }
        }
    }
}

/// How many the style sheet has.
const LOOKS: usize = 10;
