// SPDX-License-Identifier: GPL-2.0

//! Moving a bridge to another place (paper section 4.3, "defragmenting physical memory").
//!
//! The root's mover freezes a bridge: whoever has it mapped is told, and agrees or refuses. Once
//! nobody touches it, the mover copies it and says where it is now, or thaws it where it was. A
//! user that refuses, or does not answer in time, pins the bridge and the freeze is over: nobody
//! is frozen for longer than the time-out and one copy (BR-70 to BR-78).

use super::slot::Stage;
use super::table::Table;
use super::{Error, Id, Phase, Vnodes};
use crate::id::{Life, PhysRange};

impl<const N: usize> Table<N> {
    /// Mover: asks the users to let go of a bridge. Time is the caller's, in microseconds.
    /// `Frozen` at once when nobody has it mapped. `Pinned`, or `Moving` when it is being moved
    /// already or the memory that it left is not yet reclaimed.
    pub fn freeze(&mut self, id: Id, now_us: u64, timeout_us: u64) -> Result<Phase, Error> {
        self.live(id)?.change(|bridge| {
            bridge.check_movable()?;
            let told = bridge.begin_freeze(now_us, timeout_us);
            Ok((bridge.phase, told))
        })
    }

    /// A user has let go of the bridge until it is settled again, in answer to the freeze of this
    /// number. To say so twice is no error. `Stale` when that freeze is over, `NotUser`.
    pub fn agree(&mut self, from: Life, id: Id, freeze: u32) -> Result<(), Error> {
        self.check_alive(from)?;
        self.live(id)?.change(|bridge| {
            bridge.user(from)?;
            if bridge.phase == Phase::Settled || bridge.freeze != freeze {
                return Err(Error::Stale);
            }
            bridge.let_go(from.vnode);
            Ok(((), Vnodes::NONE))
        })
    }

    /// A user cannot let go of the bridge: it stays where it is, and pinned until this user is
    /// gone or opens it again as one that moves. `Stale` when the freeze is over, or has this
    /// user's agreement; `NotUser`.
    pub fn refuse(&mut self, from: Life, id: Id, freeze: u32) -> Result<(), Error> {
        self.check_alive(from)?;
        self.live(id)?.change(|bridge| {
            bridge.user(from)?;
            if bridge.freeze != freeze || !bridge.awaited.has(from.vnode) {
                return Err(Error::Stale);
            }
            bridge.pinned_by = bridge.pinned_by.with(from.vnode);
            Ok(((), bridge.settle()))
        })?;
        self.counters.refused = self.counters.refused.wrapping_add(1);
        Ok(())
    }

    /// Mover: gives up every freeze whose time is over. Who has not answered pins the bridge.
    pub fn expire(&mut self, now_us: u64) {
        for slot in &mut self.slots {
            let is_late = slot.at(Stage::Live).is_some_and(|bridge| {
                bridge.phase == Phase::Freezing && bridge.deadline_us <= now_us
            });
            if !is_late {
                continue;
            }
            // Cannot fail: the closure does not.
            let began_us = slot.change(|bridge| {
                bridge.pinned_by = bridge.pinned_by.and(bridge.awaited);
                Ok((bridge.began_us, bridge.settle()))
            });
            self.counters.timed_out = self.counters.timed_out.wrapping_add(1);
            self.counters
                .note_freeze(began_us.unwrap_or(now_us), now_us);
        }
    }

    /// Mover: a frozen bridge has been copied to `to`, and is there now; where it was comes out
    /// of `reclaim`. After an error `to` stays the caller's: `Unknown` when the last user has gone
    /// meanwhile, `Stale` when it is not frozen, `Size`, `Overlap`.
    pub fn moved(&mut self, id: Id, to: PhysRange, now_us: u64) -> Result<(), Error> {
        self.bury_doomed(id)?;
        let bridge = self.slot(id)?.at(Stage::Live).ok_or(Error::Unknown)?;
        if bridge.phase != Phase::Frozen || bridge.resizing.is_some() {
            return Err(Error::Stale);
        }
        self.replace(id, to, now_us)
    }

    /// A frozen bridge is somewhere else now.
    pub(super) fn replace(&mut self, id: Id, to: PhysRange, now_us: u64) -> Result<(), Error> {
        let bridge = self.slot(id)?.at(Stage::Live).ok_or(Error::Unknown)?;
        if !bridge.suits(to) {
            return Err(Error::Size);
        }
        self.check_overlap(to)?;
        let began_us = self.live(id)?.change(|bridge| {
            bridge.left = bridge.range.replace(to);
            bridge.size = to.size();
            bridge.place = bridge.place.wrapping_add(1);
            Ok((bridge.began_us, bridge.settle()))
        })?;
        self.counters.moved = self.counters.moved.wrapping_add(1);
        self.counters.note_freeze(began_us, now_us);
        Ok(())
    }

    /// Mover: a bridge is not going to be moved after all. `Unknown` when the last user has gone
    /// meanwhile, `Stale` when it is settled.
    pub fn thaw(&mut self, id: Id, now_us: u64) -> Result<(), Error> {
        self.bury_doomed(id)?;
        let began_us = self.live(id)?.change(|bridge| {
            if bridge.phase == Phase::Settled {
                return Err(Error::Stale);
            }
            Ok((bridge.began_us, bridge.settle()))
        })?;
        self.counters.note_freeze(began_us, now_us);
        Ok(())
    }

    /// The bridge that is at this range.
    pub fn at(&self, range: PhysRange) -> Option<Id> {
        (0u16..).zip(&self.slots).find_map(|(index, slot)| {
            let bridge = slot.at(Stage::Live)?;
            let serial = slot.serial;
            (bridge.range == Some(range)).then_some(Id { index, serial })
        })
    }

    /// Whether a freeze of this bridge would be begun now.
    pub fn can_move(&self, id: Id) -> bool {
        let slot = self.slot(id).ok();
        let bridge = slot.and_then(|slot| slot.at(Stage::Live));
        bridge.is_some_and(|bridge| bridge.check_movable().is_ok())
    }

    /// How far a move has come: what the mover polls. `Unknown` when the last user has gone; if
    /// the bridge was frozen, its memory waits for `thaw` or `moved`.
    pub fn phase(&self, id: Id) -> Result<Phase, Error> {
        let bridge = self.slot(id)?.at(Stage::Live).ok_or(Error::Unknown)?;
        Ok(bridge.phase)
    }

    /// Lets go of a bridge whose last user went while it was frozen: nobody copies from it now.
    pub(super) fn bury_doomed(&mut self, id: Id) -> Result<(), Error> {
        let slot = self.slot_mut(id)?;
        match slot.bridge.as_mut() {
            Some(bridge) if bridge.stage == Stage::Doomed => {
                bridge.phase = Phase::Settled;
                Err(Error::Unknown)
            }
            Some(_) => Ok(()),
            None => Err(Error::Unknown),
        }
    }
}
