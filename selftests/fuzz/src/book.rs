// SPDX-License-Identifier: GPL-2.0

//! What all threads know together: the vnodes that they have started, how those went, and what the
//! run has come to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A vnode's number and its life.
pub(crate) type Life = (u32, u32);

/// What was seen: answers by device, request and error; 0 is success.
pub(crate) type Answers = BTreeMap<(&'static str, u32, i32), u64>;

/// How often things were reached that a run is for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reached {
    /// Starts whose image was found good, whatever became of them.
    pub(crate) past_image: u64,
    /// Starts that succeeded.
    pub(crate) started: u64,
    /// Starts that failed with EFAULT where no answer could be written: some of them were undone.
    pub(crate) untold: u64,
    /// Kills that named a life and succeeded.
    pub(crate) killed: u64,
    /// Kills without a life that succeeded.
    pub(crate) killed_any: u64,
    /// Stops that succeeded.
    pub(crate) stopped: u64,
    /// Requests for a life that had ended, and were refused.
    pub(crate) stale: u64,
}

/// The record that all threads keep.
#[derive(Default)]
pub(crate) struct Book {
    living: Vec<(Life, Instant)>,
    started: BTreeSet<Life>,
    killed: BTreeSet<Life>,
    /// Kills that may hit any life: how many were begun, and how many were answered.
    loose: (u64, u64),
    /// What the run has come to.
    pub(crate) reached: Reached,
    /// All answers.
    pub(crate) answers: Answers,
    /// What went wrong.
    pub(crate) wrong: Vec<String>,
}

/// The book, for all threads.
#[derive(Default)]
pub(crate) struct Shared(Mutex<Book>);

impl Shared {
    /// The book, for a moment.
    pub(crate) fn open(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// One of the vnodes that live, or of those of them that have lived long enough.
    pub(crate) fn living(&self, place: u64, any: bool) -> Option<Life> {
        let now = Instant::now();
        let ripe = self.living.iter().filter(|(_, from)| any || *from <= now);
        let count = ripe.clone().count() as u64;
        let (life, _) = ripe.clone().nth((place % count.max(1)) as usize)?;
        Some(*life)
    }

    /// A life that was ended.
    pub(crate) fn gone(&self, place: u64) -> Option<Life> {
        let count = self.killed.len() as u64;
        let place = (place % count.max(1)) as usize;
        self.killed.iter().nth(place).copied()
    }

    /// Whether this life was ended by now.
    pub(crate) fn is_gone(&self, life: Life) -> bool {
        self.killed.contains(&life)
    }

    /// Whether this is a life that was told to us.
    pub(crate) fn is_ours(&self, life: Life) -> bool {
        self.started.contains(&life)
    }

    /// A kill is about to be sent that may hit any life.
    pub(crate) fn begin_loose(&mut self) {
        self.loose.0 += 1;
    }

    /// Such a kill was answered.
    pub(crate) fn end_loose(&mut self) {
        self.loose.1 += 1;
    }

    /// How many such kills are over.
    pub(crate) fn loose_over(&self) -> u64 {
        self.loose.1
    }

    /// Whether there was none since that many were over.
    pub(crate) fn no_loose_since(&self, over: u64) -> bool {
        self.loose.0 == over
    }

    /// A start has succeeded. An error if that life was told before.
    pub(crate) fn note_start(&mut self, life: Life, dwell_ms: u64) -> Result<(), String> {
        self.reached.started += 1;
        if !self.started.insert(life) {
            return Err(format!("life {life:?} was given twice"));
        }
        let ripe = Instant::now() + Duration::from_millis(dwell_ms);
        self.living.push((life, ripe));
        Ok(())
    }

    /// A kill of this life has succeeded. An error if it had succeeded before.
    pub(crate) fn note_kill(&mut self, life: Life) -> Result<(), String> {
        let (_, generation) = life;
        if generation == 0 {
            self.reached.killed_any += 1;
            return Ok(());
        }
        self.reached.killed += 1;
        self.forget(life);
        if !self.killed.insert(life) {
            return Err(format!("life {life:?} was ended twice"));
        }
        Ok(())
    }

    /// A life is not there any more, whoever has ended it.
    pub(crate) fn forget(&mut self, gone: Life) {
        self.living.retain(|(life, _)| *life != gone);
    }

    /// Each start was ended once: by a kill that we know of, or, if it was not told of, by itself.
    pub(crate) fn balance(&self) -> Result<(), String> {
        let Reached {
            started,
            untold,
            killed,
            killed_any,
            ..
        } = self.reached;
        if (started..=started + untold).contains(&(killed + killed_any)) {
            return Ok(());
        }
        Err(format!(
            "{started} starts (and up to {untold} that were undone), but {} ends",
            killed + killed_any
        ))
    }
}
