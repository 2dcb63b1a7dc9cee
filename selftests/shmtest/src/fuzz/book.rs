// SPDX-License-Identifier: GPL-2.0

//! What all threads have come to together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often things were reached that a run is for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reached {
    /// Regions that were made.
    pub(super) made: u64,
    /// Regions that were opened.
    pub(super) opened: u64,
    /// Mappings that were made.
    pub(super) mapped: u64,
    /// Numbers of a region that only its thread knows, which were found as they are to be.
    pub(super) kept: u64,
    /// The same of numbers that were never written.
    pub(super) zeros: u64,
    /// Numbers in regions of all that somebody has written there.
    pub(super) shared: u64,
    /// Loads and stores that were refused because nothing is mapped so.
    pub(super) faults: u64,
    /// Waits that have slept until their time was over.
    pub(super) slept: u64,
    /// Waits that were woken, or found something.
    pub(super) woken: u64,
    /// Deaths that calls have told.
    pub(super) deaths: u64,
    /// Children that have ended by themselves.
    pub(super) children: u64,
    /// Children that were killed.
    pub(super) killed: u64,
    /// Locks that were freed for a file, in regions that only its thread knows.
    pub(super) freed: u64,
    /// Regions that were moved while their thread had them open, as they told.
    pub(super) moved: u64,
}

impl fmt::Display for Reached {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("made", self.made),
            ("opened", self.opened),
            ("mapped", self.mapped),
            ("kept", self.kept),
            ("zeros", self.zeros),
            ("shared", self.shared),
            ("faults", self.faults),
            ("slept", self.slept),
            ("woken", self.woken),
            ("deaths", self.deaths),
            ("children", self.children),
            ("killed", self.killed),
            ("freed", self.freed),
            ("moved", self.moved),
        ];
        write!(to, "reached:")?;
        all.iter()
            .try_for_each(|(name, count)| write!(to, " {name}={count}"))
    }
}

/// The record that all threads keep.
#[derive(Default)]
pub(super) struct Book {
    /// Answers by call and error; 0 is success.
    pub(super) answers: BTreeMap<(&'static str, i32), u64>,
    pub(super) reached: Reached,
    /// What went wrong.
    pub(super) wrong: Vec<String>,
}

impl Book {
    /// Notes an answer.
    pub(super) fn note(&mut self, call: &'static str, errno: i32) {
        *self.answers.entry((call, errno)).or_default() += 1;
    }
}

impl fmt::Display for Book {
    /// A line for each call with its answers, then what was reached.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = "";
        for ((call, errno), times) in &self.answers {
            if *call != last {
                let end = if last.is_empty() { "" } else { "\n" };
                write!(to, "{end}{call}:")?;
                last = call;
            }
            write!(to, " {times}x{errno}")?;
        }
        write!(to, "\n{}", self.reached)
    }
}

/// The book, for all threads.
#[derive(Default)]
pub(super) struct Shared(Mutex<Book>);

impl Shared {
    /// The book, for a moment.
    pub(super) fn open(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
