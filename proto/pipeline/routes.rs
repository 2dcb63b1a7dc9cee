// SPDX-License-Identifier: GPL-2.0

//! Which stages an interrupt passes, by vector.
//!
//! A stage is a rank in the pipeline, and a domain holds at most one: the lower the rank, the
//! earlier. So priorities are never equal, "the next stage" is the next bit of a set, and a
//! stage that comes while an interrupt is under way can neither repeat nor reverse its way.
//!
//! A table is a value without identity. All CPUs of a kernel read the one that is published; a
//! change is made to a copy, which is then published whole. The table does not know when nobody
//! uses its predecessor any more: that is for the kernel to know, and `release` to be told.

/// Stages of a pipeline, and so domains of a kernel.
pub const STAGES: usize = 8;

/// Interrupt vectors of a CPU.
pub const VECTORS: usize = 256;

/// Vectors below this one are never interrupts, for the CPU uses them for exceptions (SDM
/// volume 3, "Exception and Interrupt Vectors"): a domain can have them for synthetic
/// interrupts.
pub const FIRST_HARDWARE_VECTOR: u8 = 32;

/// A place in the pipeline: 0 is offered every interrupt first, 7 last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stage(u8);

impl Stage {
    /// Adeos's own stage, which takes portals and the DSP's interrupts (paper section 4.1).
    pub const ADEOS: Self = Self(0);

    /// Linux's stage. There is room before it for domains that are not to wait for Linux, and
    /// behind it for those that want what Linux has left.
    pub const LINUX: Self = Self(4);

    /// Takes a number; nothing when there is no such rank.
    pub const fn new(rank: usize) -> Option<Self> {
        if rank < STAGES {
            Some(Self(rank as u8))
        } else {
            None
        }
    }

    /// The number, below [`STAGES`].
    pub const fn rank(self) -> usize {
        self.0 as usize
    }

    /// All stages, the first one first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..STAGES as u8).map(Self)
    }
}

/// A set of stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct StageSet(u8);

const _: () = assert!(STAGES == u8::BITS as usize, "a set has a bit per stage");

impl StageSet {
    pub(super) const EMPTY: Self = Self(0);

    const fn bit(stage: Stage) -> u8 {
        1u8.wrapping_shl(stage.0 as u32)
    }

    pub(super) const fn has(self, stage: Stage) -> bool {
        self.0 & Self::bit(stage) != 0
    }

    pub(super) fn insert(&mut self, stage: Stage) {
        self.0 |= Self::bit(stage);
    }

    pub(super) fn remove(&mut self, stage: Stage) {
        self.0 &= !Self::bit(stage);
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The earliest stage of the set.
    pub(super) const fn first(self) -> Option<Stage> {
        if self.0 == 0 {
            None
        } else {
            Some(Stage(self.0.trailing_zeros() as u8))
        }
    }

    /// Those of the set that are earlier than all of `others`; all of it when there is none.
    pub(super) const fn before(self, others: Self) -> Self {
        let lowest = others.0 & others.0.wrapping_neg();
        Self(self.0 & lowest.wrapping_sub(1))
    }

    /// Those of the set that are later than `stage`.
    const fn after(self, stage: Stage) -> Self {
        let bit = Self::bit(stage);
        Self(self.0 & !(bit | bit.wrapping_sub(1)))
    }
}

/// Why a registration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another domain has the stage, or has left it and a CPU may not have noticed.
    Occupied,
    /// No domain has the stage.
    Unregistered,
    /// The domain has not left the stage.
    InUse,
}

/// Which stages are registered for which vectors, in one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    by_vector: [StageSet; VECTORS],
    registered: StageSet,
    /// Stages that were unregistered and not yet released.
    leaving: StageSet,
}

impl Routes {
    /// A table without stages.
    pub const fn new() -> Self {
        Self {
            by_vector: [StageSet::EMPTY; VECTORS],
            registered: StageSet::EMPTY,
            leaving: StageSet::EMPTY,
        }
    }

    /// Gives a stage to a domain, for no vector yet.
    pub fn register(&mut self, stage: Stage) -> Result<(), Refused> {
        if self.registered.has(stage) || self.leaving.has(stage) {
            return Err(Refused::Occupied);
        }
        self.registered.insert(stage);
        Ok(())
    }

    /// Has a vector offered to a registered stage; no change if it is already.
    pub fn add(&mut self, stage: Stage, vector: u8) -> Result<(), Refused> {
        if !self.registered.has(stage) {
            return Err(Refused::Unregistered);
        }
        if let Some(stages) = self.by_vector.get_mut(usize::from(vector)) {
            stages.insert(stage);
        }
        Ok(())
    }

    /// Has a vector no longer offered to a stage.
    pub fn remove(&mut self, stage: Stage, vector: u8) {
        if let Some(stages) = self.by_vector.get_mut(usize::from(vector)) {
            stages.remove(stage);
        }
    }

    /// Takes the domain off its stage and all its vectors. The stage stays occupied until
    /// [`Routes::release`].
    pub fn unregister(&mut self, stage: Stage) -> Result<(), Refused> {
        if !self.registered.has(stage) {
            return Err(Refused::Unregistered);
        }
        for stages in &mut self.by_vector {
            stages.remove(stage);
        }
        self.registered.remove(stage);
        self.leaving.insert(stage);
        Ok(())
    }

    /// Frees an unregistered stage for another domain. To be called once no CPU uses a table
    /// from before the unregistration and [`super::Pipeline::retire`] has been called on each.
    pub fn release(&mut self, stage: Stage) -> Result<(), Refused> {
        if self.registered.has(stage) {
            return Err(Refused::InUse);
        }
        self.leaving.remove(stage);
        Ok(())
    }

    /// Whether a vector is offered to a stage.
    pub fn has(&self, stage: Stage, vector: u8) -> bool {
        self.stages(vector).has(stage)
    }

    /// Whether a vector is offered to any stage.
    pub fn is_routed(&self, vector: u8) -> bool {
        self.first(vector).is_some()
    }

    /// The stage that a vector is offered to first.
    pub(super) fn first(&self, vector: u8) -> Option<Stage> {
        self.stages(vector).first()
    }

    /// The stage that a vector is offered to when `stage` has passed it on.
    pub(super) fn after(&self, stage: Stage, vector: u8) -> Option<Stage> {
        self.stages(vector).after(stage).first()
    }

    fn stages(&self, vector: u8) -> StageSet {
        let stages = self.by_vector.get(usize::from(vector));
        stages.copied().unwrap_or_default()
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(rank: usize) -> Stage {
        Stage::new(rank).unwrap()
    }

    fn set(ranks: &[usize]) -> StageSet {
        let mut set = StageSet::EMPTY;
        for rank in ranks {
            set.insert(stage(*rank));
        }
        set
    }

    #[test]
    fn sets_are_ordered_by_rank_at_both_ends() {
        let all = set(&[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(all.before(StageSet::EMPTY), all);
        assert_eq!(all.before(set(&[0, 7])), StageSet::EMPTY);
        assert_eq!(all.before(set(&[7])), all.without(set(&[7])));
        assert_eq!(all.after(stage(7)), StageSet::EMPTY);
        assert_eq!(all.after(stage(0)), all.without(set(&[0])));
        assert_eq!(set(&[3, 5]).first(), Some(stage(3)));
        assert_eq!((Stage::new(STAGES), set(&[]).first()), (None, None));
    }

    /// PI-2, PI-41: one domain per stage, and none while its predecessor may still be seen.
    #[test]
    fn a_stage_has_one_domain_at_a_time() {
        let mut routes = Routes::new();
        let linux = Stage::LINUX;
        assert_eq!(routes.add(linux, 7), Err(Refused::Unregistered));
        assert_eq!(routes.unregister(linux), Err(Refused::Unregistered));
        assert_eq!(routes.register(linux), Ok(()));
        assert_eq!(routes.register(linux), Err(Refused::Occupied));
        assert_eq!(routes.add(linux, 255), Ok(()));
        assert!(routes.is_routed(255) && !routes.is_routed(254));
        assert_eq!(routes.release(linux), Err(Refused::InUse));
        assert_eq!(routes.unregister(linux), Ok(()));
        assert!(!routes.has(linux, 255) && !routes.is_routed(255));
        assert_eq!(routes.register(linux), Err(Refused::Occupied));
        assert_eq!(routes.add(linux, 255), Err(Refused::Unregistered));
        assert_eq!(routes.release(linux), Ok(()));
        assert_eq!(routes.register(linux), Ok(()));
        assert!(!routes.has(linux, 255));
    }
}
