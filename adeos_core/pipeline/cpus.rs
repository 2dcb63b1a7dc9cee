// SPDX-License-Identifier: GPL-2.0

//! The pipelines of this kernel's CPUs: each is called by its own CPU only, with interrupts off
//! (PI-1).
//!
//! Each call is one call of proto/pipeline.rs, in which no handler runs.

use super::stage::InStage;
use super::SYNTHETIC;
use adeos_proto::pipeline::{
    Delivery,
    Error,
    Outcome,
    Pipeline,
    Routes,
    Stage,
    Step,
    STAGES, //
};
use core::cell::UnsafeCell;
use kernel::prelude::*;
#[cfg(CONFIG_ADEOS)]
use kernel::sync::atomic::Acquire;
use kernel::sync::atomic::{
    Atomic,
    Full,
    Relaxed, //
};

/// What one CPU has.
struct Place {
    pipeline: UnsafeCell<Pipeline>,
    /// Not 0 while the CPU leaves this kernel or is away.
    is_leaving: Atomic<u32>,
    /// Stages that other CPUs have triggered something for here, as bits by rank.
    asked: Atomic<u64>,
    /// What they have triggered, as bits by vector.
    triggered: [Atomic<u64>; STAGES],
}

// SAFETY: `pipeline` is accessed by `own` only, which says why that is exclusive. The rest is
// atomic.
unsafe impl Sync for Place {}

impl Place {
    fn new() -> Self {
        Self {
            pipeline: UnsafeCell::new(Pipeline::new()),
            is_leaving: Atomic::new(0),
            asked: Atomic::new(0),
            triggered: [const { Atomic::new(0) }; STAGES],
        }
    }
}

/// All CPUs that this kernel can have, by number.
pub(super) struct Cpus(KVec<Place>);

impl Cpus {
    /// ENOMEM.
    pub(super) fn new() -> Result<Self> {
        let mut places = KVec::new();
        for _ in 0..kernel::cpu::nr_cpu_ids() {
            places.push(Place::new(), GFP_KERNEL)?;
        }
        Ok(Self(places))
    }

    fn place(&self, cpu: u32) -> Option<&Place> {
        self.0.get(cpu as usize)
    }

    /// Calls `with`, which calls nothing of this file, on the pipeline of this CPU.
    fn own<R>(&self, stage: &InStage<'_>, with: impl FnOnce(&mut Pipeline) -> R) -> Option<R> {
        let place = self.place(stage.cpu())?;
        // SAFETY: By the invariant of `InStage` interrupts are off, so that this thread stays on its
        // CPU and no interrupt comes in between; no other CPU accesses this place; and the calls of
        // this function, all of them below, do not nest.
        Some(with(unsafe { &mut *place.pipeline.get() }))
    }

    #[cfg(CONFIG_ADEOS)]
    pub(super) fn arrive(&self, stage: &InStage<'_>, routes: &Routes, vector: u8) -> Step {
        self.own(stage, |pipeline| pipeline.arrive(routes, vector))
            .unwrap_or(Step::Rest)
    }

    pub(super) fn done(
        &self,
        stage: &InStage<'_>,
        routes: &Routes,
        delivery: Delivery,
        outcome: Outcome,
    ) -> Step {
        self.own(stage, |pipeline| pipeline.done(routes, delivery, outcome))
            .unwrap_or(Step::Rest)
    }

    pub(super) fn trigger(
        &self,
        stage: &InStage<'_>,
        routes: &Routes,
        to: Stage,
        vector: u8,
    ) -> Result<Step, Error> {
        self.own(stage, |pipeline| pipeline.trigger(routes, to, vector))
            .unwrap_or(Ok(Step::Rest))
    }

    /// ENODEV when this CPU is about to leave: what is logged then would never be replayed (PI-54).
    pub(super) fn stall(&self, stage: &InStage<'_>, which: Stage) -> Result<bool> {
        let place = self.place(stage.cpu()).ok_or(ENODEV)?;
        if place.is_leaving.load(Relaxed) != 0 {
            return Err(ENODEV);
        }
        self.own(stage, |pipeline| pipeline.stall(which))
            .ok_or(ENODEV)
    }

    pub(super) fn unstall(&self, stage: &InStage<'_>, routes: &Routes, which: Stage) -> Step {
        self.own(stage, |pipeline| pipeline.unstall(routes, which))
            .unwrap_or(Step::Rest)
    }

    pub(super) fn retire(
        &self,
        stage: &InStage<'_>,
        routes: &Routes,
        which: Stage,
    ) -> Result<Step, Error> {
        let place = self.place(stage.cpu());
        if let Some(word) = place.and_then(|place| place.triggered.get(which.rank())) {
            // Whoever has the stage next is not asked for it.
            word.xchg(0, Full);
        }
        self.own(stage, |pipeline| pipeline.retire(routes, which))
            .unwrap_or(Ok(Step::Rest))
    }

    /// A copy of this CPU's pipeline, to be looked at.
    pub(super) fn copy(&self, stage: &InStage<'_>) -> Option<Pipeline> {
        self.own(stage, |pipeline| pipeline.clone())
    }

    /// Says whether stages can be stalled on this CPU from now on.
    pub(super) fn set_leaving(&self, stage: &InStage<'_>, is_leaving: bool) {
        if let Some(place) = self.place(stage.cpu()) {
            place.is_leaving.store(u32::from(is_leaving), Relaxed);
        }
    }

    /// Notes a synthetic interrupt, of a vector below [`SYNTHETIC`], for a stage of another CPU, which
    /// [`Self::triggered`] finds there once that CPU was interrupted. Any CPU.
    pub(super) fn ask(&self, cpu: u32, to: Stage, vector: u8) {
        let place = self.place(cpu);
        let word = place.and_then(|place| place.triggered.get(to.rank()));
        if let (Some(place), Some(word), true) = (place, word, vector < SYNTHETIC) {
            insert(word, 1 << vector);
            insert(&place.asked, 1 << to.rank());
        }
    }

    /// Takes one of those that other CPUs have noted for this one.
    #[cfg(CONFIG_ADEOS)]
    pub(super) fn triggered(&self, stage: &InStage<'_>) -> Option<(Stage, u8)> {
        let place = self.place(stage.cpu())?;
        loop {
            let asked = place.asked.load(Acquire);
            let to = Stage::new(asked.trailing_zeros() as usize)?;
            let word = place.triggered.get(to.rank())?;
            // The stage's bit goes first: who notes something after this sets it again.
            remove(&place.asked, 1 << to.rank());
            let vectors = word.xchg(0, Full);
            if let Some(top) = vectors.checked_ilog2() {
                let rest = vectors & !(1 << top);
                if rest != 0 {
                    insert(word, rest);
                    insert(&place.asked, 1 << to.rank());
                }
                return Some((to, top as u8));
            }
        }
    }
}

fn insert(word: &Atomic<u64>, bits: u64) {
    change(word, |seen| seen | bits);
}

#[cfg(CONFIG_ADEOS)]
fn remove(word: &Atomic<u64>, bits: u64) {
    change(word, |seen| seen & !bits);
}

fn change(word: &Atomic<u64>, to: impl Fn(u64) -> u64) {
    let mut seen = word.load(Relaxed);
    while let Err(now) = word.cmpxchg(seen, to(seen), Full) {
        seen = now;
    }
}
