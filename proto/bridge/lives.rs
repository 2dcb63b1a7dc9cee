// SPDX-License-Identifier: GPL-2.0

//! What births and deaths of vnodes do to bridges.
//!
//! A bridge outlives every user but the last, and its owner too: then it is an orphan, and the
//! users are told (paper section 3, "fault containment").

use super::slot::{Bridge, Stage};
use super::table::Table;
use super::{Error, Vnodes};
use crate::id::{Life, VnodeId};

impl<const N: usize> Table<N> {
    /// Takes over who lives: whoever is not among `life_of` any more has died, and whoever is
    /// there anew was born. So no birth or death is missed, however many came at once.
    pub fn live_now(&mut self, life_of: impl Fn(VnodeId) -> Option<Life>) {
        for vnode in VnodeId::all() {
            let before = Life {
                vnode,
                generation: self.generation(vnode),
            };
            match life_of(vnode) {
                Some(life) if life == before => {}
                // Cannot fail but for a life that is over: then nobody has been born.
                Some(life) => _ = self.born(life),
                None => self.died(before),
            }
        }
    }

    /// A life has begun, the root's own among them. `Dead` if it is not later than all before.
    pub fn born(&mut self, life: Life) -> Result<(), Error> {
        let last = self.generation(life.vnode);
        if life.generation <= last {
            return Err(Error::Dead);
        }
        self.died(Life {
            vnode: life.vnode,
            generation: last,
        });
        if let Some(place) = self.generations.get_mut(life.vnode.index()) {
            *place = life.generation;
        }
        self.alive = self.alive.with(life.vnode);
        Ok(())
    }

    /// A life is over, and none of its CPUs executes anything: it is no user any more, what it had
    /// asked for is forgotten, and what it owned is an orphan (BR-60 to BR-64). Once only.
    pub fn died(&mut self, life: Life) {
        if !self.is_alive(life) {
            return;
        }
        self.alive = self.alive.without(life.vnode);
        for slot in &mut self.slots {
            slot.notify = slot.notify.without(life.vnode);
            let Some(bridge) = slot.bridge.as_mut() else {
                continue;
            };
            if bridge.stage == Stage::Reserved && bridge.owner == life {
                slot.bridge = None;
            } else if bridge.stage == Stage::Live {
                let is_owner = bridge.owner == life && !bridge.is_orphan;
                if is_owner || bridge.user(life).is_ok() {
                    // Cannot fail: the closure does not.
                    let _ = slot.change(|bridge| Ok(((), bury(bridge, life, is_owner))));
                }
            }
        }
    }
}

/// What a death does to a live bridge; returns whom to tell.
fn bury(bridge: &mut Bridge, life: Life, is_owner: bool) -> Vnodes {
    if bridge.user(life).is_ok() {
        bridge.dismiss(life.vnode);
    }
    if is_owner {
        bridge.is_orphan = true;
        bridge.everybody()
    } else {
        Vnodes::NONE
    }
}
