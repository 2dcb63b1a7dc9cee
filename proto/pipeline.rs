// SPDX-License-Identifier: GPL-2.0

//! The interrupt pipeline of one CPU (paper section 4.1 and its reference 26): an interrupt is
//! offered to one stage after the other until one takes it.
//!
//! Everything that is on its way is in the log, which has a bit per stage and vector; a bit
//! leaves the log when the stage's handler is to run, and comes back at a later stage when the
//! handler passes the interrupt on. So there is one rule for interrupts that come, that are
//! replayed and that one stage triggers for another: the earliest stage that may run runs, and
//! there the highest vector. docs/pipeline.md is the specification.
//!
//! Running a handler is for the caller, who reports how it ended:
//!
//! ```
//! use adeos_proto::pipeline::{Outcome, Pipeline, Routes, Stage, Step};
//!
//! let mut routes = Routes::new();
//! for stage in [Stage::ADEOS, Stage::LINUX] {
//!     routes.register(stage).unwrap();
//!     routes.add(stage, 0xf7).unwrap();
//! }
//! let mut pipeline = Pipeline::new();
//! let mut offered = Vec::new();
//! let mut step = pipeline.arrive(&routes, 0xf7);
//! while let Step::Run(delivery) = step {
//!     // The handler runs here. The pipeline is not borrowed, so the handler can use it too.
//!     offered.push(delivery.stage());
//!     step = pipeline.done(&routes, delivery, Outcome::Passed);
//! }
//! assert_eq!(offered, [Stage::ADEOS, Stage::LINUX]);
//! ```
//!
//! It does not acknowledge interrupts, and knows neither the local APIC nor what a domain is. A
//! pipeline belongs to its CPU, which calls it with interrupts off, so it needs no lock and no
//! atomic; it never waits. Each call takes the table of routes that is published at that time.

mod routes;

pub use routes::{Refused, Routes, Stage, FIRST_HARDWARE_VECTOR, STAGES, VECTORS};

use routes::StageSet;

/// What the caller is to do next.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an interrupt that is to be handled and is not has been lost"]
pub enum Step {
    /// Run a stage's handler, then call [`Pipeline::done`].
    Run(Delivery),
    /// Nothing; go back to what was interrupted.
    Rest,
}

/// One run of one stage's handler. It is neither copied nor made by others: it is reported once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the stage stays occupied until the outcome is reported"]
pub struct Delivery {
    stage: Stage,
    vector: u8,
}

impl Delivery {
    /// Whose handler is to run.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// For which vector.
    pub const fn vector(&self) -> u8 {
        self.vector
    }
}

/// How a handler has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The interrupt was the stage's: no later one sees it.
    Taken,
    /// It goes on to the next stage.
    Passed,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The stage is not registered for the vector.
    Unregistered,
    /// A handler of the stage is running on this CPU.
    Running,
}

/// What one stage has seen on one CPU; the numbers wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Runs of its handler.
    pub runs: u64,
    /// Interrupts that became one with another that was logged for the stage already.
    pub merged: u64,
}

/// Words of a stage's log.
const WORDS: usize = VECTORS / u64::BITS as usize;

/// The word of the log, and the bit in it, of a vector.
const fn place(vector: u8) -> (usize, u64) {
    let bit = 1u64.wrapping_shl(vector as u32 % u64::BITS);
    (vector as usize / u64::BITS as usize, bit)
}

/// What is logged for one stage: a bit per vector.
#[derive(Clone, Copy, Debug)]
struct Log([u64; WORDS]);

impl Log {
    const EMPTY: Self = Self([0; WORDS]);

    fn has(&self, vector: u8) -> bool {
        let (word, bit) = place(vector);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Sets a bit; says whether it was clear.
    fn insert(&mut self, vector: u8) -> bool {
        let (word, bit) = place(vector);
        let Some(bits) = self.0.get_mut(word) else {
            return false;
        };
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }

    /// Takes out the highest vector.
    fn pop(&mut self) -> Option<u8> {
        for (word, bits) in self.0.iter_mut().enumerate().rev() {
            if let Some(top) = bits.checked_ilog2() {
                *bits &= !1u64.wrapping_shl(top);
                let base = word.wrapping_mul(u64::BITS as usize);
                return Some(base.wrapping_add(top as usize) as u8);
            }
        }
        None
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|bits| *bits == 0)
    }
}

/// The state of one CPU. A clone is for looking at.
#[derive(Clone, Debug)]
pub struct Pipeline {
    logs: [Log; STAGES],
    /// Stages whose log has something.
    logged: StageSet,
    stalled: StageSet,
    /// Stages whose handler is running: the earlier ones have interrupted the later ones.
    running: StageSet,
    counters: [Counters; STAGES],
    unclaimed: u64,
}

impl Pipeline {
    /// A pipeline with no stage stalled and nothing logged.
    pub const fn new() -> Self {
        Self {
            logs: [Log::EMPTY; STAGES],
            logged: StageSet::EMPTY,
            stalled: StageSet::EMPTY,
            running: StageSet::EMPTY,
            counters: [Counters { runs: 0, merged: 0 }; STAGES],
            unclaimed: 0,
        }
    }

    /// An interrupt has come to this CPU.
    pub fn arrive(&mut self, routes: &Routes, vector: u8) -> Step {
        let is_at_rest = self.is_empty() && self.stalled == StageSet::EMPTY;
        if let (true, Some(stage)) = (is_at_rest, routes.first(vector)) {
            // It would come out of the log at once.
            return self.run(stage, vector);
        }
        self.send(routes.first(vector), vector);
        self.next(routes)
    }

    /// Triggers a synthetic interrupt for a stage, as if all earlier ones had passed it on.
    pub fn trigger(&mut self, routes: &Routes, stage: Stage, vector: u8) -> Result<Step, Error> {
        if !routes.has(stage, vector) {
            return Err(Error::Unregistered);
        }
        self.send(Some(stage), vector);
        Ok(self.next(routes))
    }

    /// A handler has ended. Handlers that have interrupted each other end in the reverse order.
    pub fn done(&mut self, routes: &Routes, delivery: Delivery, outcome: Outcome) -> Step {
        let Delivery { stage, vector } = delivery;
        self.running.remove(stage);
        match outcome {
            Outcome::Taken => {}
            Outcome::Passed => self.send(routes.after(stage, vector), vector),
        }
        self.next(routes)
    }

    /// Stalls a stage on this CPU: what comes to it is logged. Says whether it was stalled
    /// already, for callers that nest.
    pub fn stall(&mut self, stage: Stage) -> bool {
        let was_stalled = self.stalled.has(stage);
        self.stalled.insert(stage);
        was_stalled
    }

    /// Ends a stall: what is logged is replayed, now or, when a handler of this stage or of an
    /// earlier one is running, once that has ended.
    pub fn unstall(&mut self, routes: &Routes, stage: Stage) -> Step {
        self.stalled.remove(stage);
        self.next(routes)
    }

    /// Forgets a stage that `routes` no longer has: what is logged for it goes on to later
    /// stages, and it is not stalled. Refused while its handler is running on this CPU.
    pub fn retire(&mut self, routes: &Routes, stage: Stage) -> Result<Step, Error> {
        if self.running.has(stage) {
            return Err(Error::Running);
        }
        self.stalled.remove(stage);
        while let Some(vector) = self.pop(stage) {
            self.send(routes.after(stage, vector), vector);
        }
        Ok(self.next(routes))
    }

    /// Whether a stage is stalled.
    pub const fn is_stalled(&self, stage: Stage) -> bool {
        self.stalled.has(stage)
    }

    /// Whether a handler of a stage is running.
    pub const fn is_running(&self, stage: Stage) -> bool {
        self.running.has(stage)
    }

    /// Whether a vector is logged for a stage.
    pub fn is_logged(&self, stage: Stage, vector: u8) -> bool {
        let log = self.logs.get(stage.rank());
        log.is_some_and(|log| log.has(vector))
    }

    /// Whether nothing is logged and no handler is running: the CPU may leave its kernel.
    pub fn is_empty(&self) -> bool {
        self.logged == StageSet::EMPTY && self.running == StageSet::EMPTY
    }

    /// What a stage has seen.
    pub fn counters(&self, stage: Stage) -> Counters {
        let counters = self.counters.get(stage.rank());
        counters.copied().unwrap_or_default()
    }

    /// Interrupts that no stage has taken; the number wraps.
    pub const fn unclaimed(&self) -> u64 {
        self.unclaimed
    }

    /// Finds out which handler is to run now. Each turn but the last moves a bit of the log to a
    /// later stage or out of the pipeline, so there is an end to it.
    fn next(&mut self, routes: &Routes) -> Step {
        while let Some(stage) = self.first_ready() {
            let Some(vector) = self.pop(stage) else {
                continue;
            };
            if routes.has(stage, vector) {
                return self.run(stage, vector);
            }
            // The stage was taken off the vector while the interrupt was in its log.
            self.send(routes.after(stage, vector), vector);
        }
        Step::Rest
    }

    fn run(&mut self, stage: Stage, vector: u8) -> Step {
        self.running.insert(stage);
        self.count(stage, |counters| &mut counters.runs);
        Step::Run(Delivery { stage, vector })
    }

    /// The earliest stage that has something logged, is not stalled, and may interrupt what is
    /// running.
    fn first_ready(&self) -> Option<Stage> {
        let ready = self.logged.without(self.stalled);
        ready.before(self.running).first()
    }

    /// Logs an interrupt for a stage, or drops it when there is none left.
    fn send(&mut self, stage: Option<Stage>, vector: u8) {
        let Some(stage) = stage else {
            self.unclaimed = self.unclaimed.wrapping_add(1);
            return;
        };
        let log = self.logs.get_mut(stage.rank());
        let is_new = log.is_some_and(|log| log.insert(vector));
        if !is_new {
            self.count(stage, |counters| &mut counters.merged);
        }
        self.logged.insert(stage);
    }

    /// Takes the highest vector out of a stage's log.
    fn pop(&mut self, stage: Stage) -> Option<u8> {
        let log = self.logs.get_mut(stage.rank())?;
        let vector = log.pop();
        if log.is_empty() {
            self.logged.remove(stage);
        }
        vector
    }

    fn count(&mut self, stage: Stage, which: impl Fn(&mut Counters) -> &mut u64) {
        if let Some(counters) = self.counters.get_mut(stage.rank()) {
            let counter = which(counters);
            *counter = counter.wrapping_add(1);
        }
    }
}

impl Default for Pipeline {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gives_each_vector_once_and_the_highest_first() {
        let mut log = Log::EMPTY;
        let vectors = [0, 63, 64, 128, 255];
        assert!(vectors.iter().all(|vector| log.insert(*vector)));
        assert!(vectors.iter().all(|vector| !log.insert(*vector)));
        assert!(!log.has(1) && !log.has(127) && log.has(128));
        for vector in vectors.iter().rev() {
            assert_eq!(log.pop(), Some(*vector));
        }
        assert!(log.is_empty() && log.pop().is_none());
    }

    #[test]
    fn a_pipeline_fits_into_eight_cache_lines() {
        assert!(core::mem::size_of::<Pipeline>() <= 512);
    }
}
