// SPDX-License-Identifier: GPL-2.0

//! Which lives of vnodes one kernel knows to be alive or dead, as far as locks need it.
//!
//! Fed from the membership views in their order. What a kernel has not been told yet is neither:
//! only the root, which makes the views, knows that a life it has not heard of is invented.

use crate::id::{Generation, Life, VnodeId, MAX_VNODES};

/// What a kernel knows of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is a member.
    Alive,
    /// None of its CPUs executes any more, or it has never been.
    Dead,
    /// It is later than the latest life that this kernel has heard of.
    Unknown,
}

/// Who looks at the views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Viewer {
    Root,
    Vnode,
}

/// The lives that one kernel has heard of.
#[derive(Clone, Copy, Debug)]
pub struct Lives {
    viewer: Viewer,
    latest: [Generation; MAX_VNODES],
    alive: u16,
}

impl Lives {
    /// For the root: a life that has not joined does not exist (IL-32).
    pub const fn of_root() -> Self {
        Self::new(Viewer::Root)
    }

    /// For any other vnode.
    pub const fn of_vnode() -> Self {
        Self::new(Viewer::Vnode)
    }

    const fn new(viewer: Viewer) -> Self {
        Self {
            viewer,
            latest: [Generation(0); MAX_VNODES],
            alive: 0,
        }
    }

    /// A view has this life as a member. A life older than one heard of before changes nothing.
    pub fn joined(&mut self, life: Life) {
        if let Some(latest) = self.latest.get_mut(life.vnode.index()) {
            if life.generation > *latest {
                *latest = life.generation;
                self.alive |= bit(life.vnode);
            }
        }
    }

    /// A view has this life no more, and none of its CPUs executes (IL-30). Never undone.
    pub fn ended(&mut self, life: Life) {
        if let Some(latest) = self.latest.get_mut(life.vnode.index()) {
            if life.generation >= *latest {
                *latest = life.generation;
                self.alive &= !bit(life.vnode);
            }
        }
    }

    /// What is known of a life.
    pub fn standing(&self, life: Life) -> Standing {
        let latest = self.latest.get(life.vnode.index()).copied();
        let latest = latest.unwrap_or(Generation(0));
        if life.generation > latest {
            match self.viewer {
                Viewer::Root => Standing::Dead,
                Viewer::Vnode => Standing::Unknown,
            }
        } else if life.generation == latest && self.alive & bit(life.vnode) != 0 {
            Standing::Alive
        } else {
            Standing::Dead
        }
    }
}

fn bit(vnode: VnodeId) -> u16 {
    1u16.wrapping_shl(vnode.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(vnode: u32, generation: u32) -> Life {
        Life {
            vnode: VnodeId::new(vnode).unwrap(),
            generation: Generation(generation),
        }
    }

    /// IL-31, IL-32.
    #[test]
    fn a_life_is_never_taken_for_another_one_of_its_vnode() {
        let mut lives = Lives::of_vnode();
        assert_eq!(lives.standing(life(3, 1)), Standing::Unknown);
        lives.joined(life(3, 2));
        assert_eq!(lives.standing(life(3, 1)), Standing::Dead);
        assert_eq!(lives.standing(life(3, 2)), Standing::Alive);
        assert_eq!(lives.standing(life(3, 3)), Standing::Unknown);
        lives.ended(life(3, 2));
        lives.joined(life(3, 2));
        lives.ended(life(3, 1));
        assert_eq!(lives.standing(life(3, 2)), Standing::Dead);
        assert_eq!(Lives::of_root().standing(life(3, 9)), Standing::Dead);
    }
}
