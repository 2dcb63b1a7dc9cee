// SPDX-License-Identifier: GPL-2.0

//! A CPU with its pipeline, and a book of where each single interrupt is.
//!
//! The book knows interrupts by number, where the pipeline knows bits. Each call is made to both,
//! and what the pipeline answers is held against the rules of docs/pipeline.md.

use adeos_proto::pipeline::{Delivery, Outcome, Pipeline, Routes, Stage, Step};
use std::collections::{BTreeMap, BTreeSet};

/// What can happen on the CPU. Stages are ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Arrive(u8),
    Trigger(usize, u8),
    Stall(usize),
    Unstall(usize),
    /// The innermost handler ends.
    Done(Outcome),
    Register(usize),
    Add(usize, u8),
    Remove(usize, u8),
    Unregister(usize),
    /// The CPU forgets an unregistered stage, which is then released.
    Retire(usize),
}

/// A handler that is running, and the interrupts that it runs for.
struct Frame {
    delivery: Delivery,
    interrupts: Vec<u32>,
}

/// All of a state that what happens next depends on.
pub(crate) type Key = (
    Vec<(usize, u8)>,
    BTreeSet<usize>,
    Vec<(usize, u8)>,
    BTreeSet<usize>,
    BTreeSet<(usize, u8)>,
);

#[derive(Default)]
pub(crate) struct World {
    pipeline: Pipeline,
    routes: Routes,
    /// Which stages the routes have, and for which vectors.
    registered: BTreeSet<usize>,
    leaving: BTreeSet<usize>,
    offered: BTreeSet<(usize, u8)>,

    logged: BTreeMap<(usize, u8), Vec<u32>>,
    stalled: BTreeSet<usize>,
    frames: Vec<Frame>,
    taken: usize,
    unclaimed: usize,
    comings: u32,
    pub(crate) runs: usize,
}

pub(crate) fn stage(rank: usize) -> Stage {
    Stage::new(rank).expect("ranks of the tests are below 8")
}

impl World {
    /// A CPU whose stages have these vectors.
    pub(crate) fn new(stages: &[(usize, &[u8])]) -> Self {
        let mut world = Self::default();
        for (rank, vectors) in stages {
            world.run(Event::Register(*rank));
            for vector in *vectors {
                world.run(Event::Add(*rank, *vector));
            }
        }
        world
    }

    /// Makes one thing happen; says no, and changes nothing, when it cannot happen now.
    pub(crate) fn run(&mut self, event: Event) -> bool {
        match event {
            Event::Arrive(vector) => {
                let interrupt = self.new_interrupt();
                self.forward(None, vector, vec![interrupt]);
                let step = self.pipeline.arrive(&self.routes, vector);
                self.follow(step);
            }
            Event::Trigger(rank, vector) => {
                let step = self.pipeline.trigger(&self.routes, stage(rank), vector);
                // PI-31: nothing is logged for a stage that is not there.
                assert_eq!(step.is_ok(), self.offered.contains(&(rank, vector)));
                let Ok(step) = step else {
                    return false;
                };
                let interrupt = self.new_interrupt();
                self.log(rank, vector, vec![interrupt]);
                self.follow(step);
            }
            // PI-30: a flag, and not a count.
            Event::Stall(rank) => {
                let was_stalled = !self.stalled.insert(rank);
                assert_eq!(self.pipeline.stall(stage(rank)), was_stalled);
            }
            Event::Unstall(rank) => {
                self.stalled.remove(&rank);
                let step = self.pipeline.unstall(&self.routes, stage(rank));
                self.follow(step);
            }
            Event::Done(outcome) => return self.finish(outcome),
            Event::Retire(rank) => return self.retire(rank),
            change => return self.change_routes(change),
        }
        true
    }

    fn new_interrupt(&mut self) -> u32 {
        self.comings += 1;
        self.comings
    }

    fn change_routes(&mut self, event: Event) -> bool {
        match event {
            Event::Register(rank) => {
                let is_free = !self.registered.contains(&rank) && !self.leaving.contains(&rank);
                assert_eq!(self.routes.register(stage(rank)).is_ok(), is_free);
                if is_free {
                    self.registered.insert(rank);
                }
                is_free
            }
            Event::Add(rank, vector) => {
                let is_there = self.registered.contains(&rank);
                assert_eq!(self.routes.add(stage(rank), vector).is_ok(), is_there);
                is_there && self.offered.insert((rank, vector))
            }
            Event::Remove(rank, vector) => {
                self.routes.remove(stage(rank), vector);
                self.offered.remove(&(rank, vector))
            }
            Event::Unregister(rank) => {
                let is_there = self.registered.remove(&rank);
                assert_eq!(self.routes.unregister(stage(rank)).is_ok(), is_there);
                if is_there {
                    self.leaving.insert(rank);
                    self.offered.retain(|(other, _)| *other != rank);
                }
                is_there
            }
            _ => unreachable!("the other events do not change the routes"),
        }
    }

    fn finish(&mut self, outcome: Outcome) -> bool {
        let Some(Frame {
            delivery,
            interrupts,
        }) = self.frames.pop()
        else {
            return false;
        };
        match outcome {
            Outcome::Taken => self.taken += interrupts.len(),
            Outcome::Passed => {
                self.forward(Some(delivery.stage().rank()), delivery.vector(), interrupts);
            }
        }
        let step = self.pipeline.done(&self.routes, delivery, outcome);
        self.follow(step);
        true
    }

    fn retire(&mut self, rank: usize) -> bool {
        if !self.leaving.contains(&rank) {
            return false;
        }
        let is_running = self.ranks().any(|running| running == rank);
        let step = self.pipeline.retire(&self.routes, stage(rank));
        assert_eq!(step.is_err(), is_running);
        let Ok(step) = step else {
            return false;
        };
        self.stalled.remove(&rank);
        let left: Vec<_> = self
            .logged
            .keys()
            .filter(|(at, _)| *at == rank)
            .copied()
            .collect();
        for (_, vector) in left {
            let interrupts = self.logged.remove(&(rank, vector)).unwrap_or_default();
            self.forward(Some(rank), vector, interrupts);
        }
        self.follow(step);
        // PI-42: nothing of the stage is left for whoever has it next.
        assert!(!self.logged.keys().any(|(at, _)| *at == rank));
        self.leaving.remove(&rank);
        assert!(self.routes.release(stage(rank)).is_ok());
        true
    }

    fn ranks(&self) -> impl Iterator<Item = usize> + '_ {
        let frames = self.frames.iter();
        frames.map(|frame| frame.delivery.stage().rank())
    }

    fn log(&mut self, rank: usize, vector: u8, mut interrupts: Vec<u32>) {
        let log = self.logged.entry((rank, vector)).or_default();
        log.append(&mut interrupts);
    }

    /// Moves interrupts to the first stage that is later than `from`, as the stages are registered now
    /// (PI-4, PI-44), or out of the pipeline.
    fn forward(&mut self, from: Option<usize>, vector: u8, interrupts: Vec<u32>) {
        let start = from.map_or(0, |rank| rank + 1);
        match (start..8).find(|rank| self.offered.contains(&(*rank, vector))) {
            Some(rank) => self.log(rank, vector, interrupts),
            None => self.unclaimed += interrupts.len(),
        }
    }

    /// What is logged where it could run now.
    fn ready(&self) -> Option<(usize, u8)> {
        let floor = self.ranks().last().unwrap_or(8);
        let places = self.logged.keys().copied();
        places
            .filter(|(rank, _)| *rank < floor && !self.stalled.contains(rank))
            // PI-20: the earliest stage, there the highest vector.
            .min_by_key(|(rank, vector)| (*rank, u8::MAX - *vector))
    }

    /// Holds an answer of the pipeline against the rules.
    fn follow(&mut self, step: Step) {
        while let Some(place) = self.ready().filter(|place| !self.offered.contains(place)) {
            // PI-43: a stage that is not there any more is no obstacle.
            let interrupts = self.logged.remove(&place).unwrap_or_default();
            self.forward(Some(place.0), place.1, interrupts);
        }
        match step {
            // PI-21: nothing rests that could run.
            Step::Rest => assert_eq!(self.ready(), None),
            Step::Run(delivery) => {
                let place = (delivery.stage().rank(), delivery.vector());
                assert_eq!(self.ready(), Some(place));
                // PI-13: a stalled stage is never run. PI-22: handlers are only interrupted by
                // those of earlier stages. PI-12: nor is one run that nothing has come for.
                assert!(!self.stalled.contains(&place.0));
                assert!(self.ranks().all(|running| place.0 < running));
                let interrupts = self.logged.remove(&place).unwrap_or_default();
                assert!(!interrupts.is_empty());
                self.runs += 1;
                self.frames.push(Frame {
                    delivery,
                    interrupts,
                });
            }
        }
    }

    /// Compares all that the pipeline shows with the book, for these vectors.
    pub(crate) fn check(&self, vectors: &[u8]) {
        for rank in 0..8 {
            assert_eq!(
                self.pipeline.is_stalled(stage(rank)),
                self.stalled.contains(&rank)
            );
            assert_eq!(
                self.pipeline.is_running(stage(rank)),
                self.ranks().any(|running| running == rank)
            );
            for vector in vectors {
                // PI-10: what is on its way is in the log, and only that.
                assert_eq!(
                    self.pipeline.is_logged(stage(rank), *vector),
                    self.logged.contains_key(&(rank, *vector))
                );
            }
        }
        let is_empty = self.logged.is_empty() && self.frames.is_empty();
        assert_eq!(self.pipeline.is_empty(), is_empty);
        self.count();
    }

    /// PI-11, PI-12: each single interrupt is in exactly one place.
    fn count(&self) {
        let logged: usize = self.logged.values().map(Vec::len).sum();
        let running: usize = self.frames.iter().map(|frame| frame.interrupts.len()).sum();
        let all = logged + running + self.taken + self.unclaimed;
        assert_eq!(all, self.comings as usize);
        let runs: u64 = Stage::all()
            .map(|stage| self.pipeline.counters(stage).runs)
            .sum();
        assert_eq!(runs, self.runs as u64);
    }

    /// PI-23: with no stage stalled and no new interrupt, all ends after at most a run per stage
    /// for each interrupt, though no stage ever takes one.
    pub(crate) fn drain(&mut self) {
        let on_the_way = self.logged.len() + self.frames.len();
        let before = self.runs;
        for rank in 0..8 {
            self.run(Event::Unstall(rank));
        }
        while self.run(Event::Done(Outcome::Passed)) {}
        assert!(self.pipeline.is_empty() && self.logged.is_empty());
        assert!(self.runs - before <= 8 * on_the_way);
        self.count();
    }

    pub(crate) fn key(&self) -> Key {
        let frames = self.frames.iter();
        (
            self.logged.keys().copied().collect(),
            self.stalled.clone(),
            frames
                .map(|frame| (frame.delivery.stage().rank(), frame.delivery.vector()))
                .collect(),
            self.registered.union(&self.leaving).copied().collect(),
            self.offered.clone(),
        )
    }

    /// Interrupts that a stage has taken, and those that none has.
    pub(crate) const fn ended(&self) -> (usize, usize) {
        (self.taken, self.unclaimed)
    }
}
