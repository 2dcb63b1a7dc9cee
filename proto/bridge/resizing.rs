// SPDX-License-Identifier: GPL-2.0

//! Giving a bridge another size (BR-46 to BR-48).
//!
//! It is a move to a place of another size, of a bridge that nobody has mapped: nobody has to be asked, and nobody can
//! map it until it is over. Memory is found before that, so it is frozen for no longer than one copy.

use super::slot::Stage;
use super::table::{check_size, Table};
use super::{Asker, Error, Id, Vnodes};
use crate::id::{Life, PhysRange};

impl<const N: usize> Table<N> {
    /// Whether the owner or the root may give a bridge another size now. `Unknown`, `Denied`, `Size`, `Quota`, `Moving`; `Pinned`
    /// when it can never be moved, or not now, or when somebody has it mapped.
    pub fn check_resize(&self, from: Life, id: Id, size: u64) -> Result<(), Error> {
        self.check_alive(from)?;
        let bridge = self.slot(id)?.at(Stage::Live).ok_or(Error::Unknown)?;
        if bridge.asker(from) != Asker::Owner && !from.vnode.is_root() {
            return Err(Error::Denied);
        }
        check_size(size)?;
        bridge.check_movable()?;
        if !bridge.mapped().is_empty() {
            return Err(Error::Pinned);
        }
        match size.checked_sub(bridge.size) {
            Some(more @ 1..) => self.check_quota(bridge.owner.vnode, 0, more),
            // A lower quota takes nothing away.
            _ => Ok(()),
        }
    }

    /// Bytes of a bridge. `Unknown`.
    pub(super) fn size(&self, id: Id) -> Result<u64, Error> {
        let bridge = self.slot(id)?.at(Stage::Live).ok_or(Error::Unknown)?;
        Ok(bridge.size)
    }

    /// Keeps everybody from mapping a bridge: whoever calls this has memory for the other size, has it be a copy with zeros behind
    /// it, and calls [`resized`](Self::resized) or [`thaw`](Self::thaw). Where the bridge is now; the errors are those of
    /// [`check_resize`](Self::check_resize).
    pub fn begin_resizing(
        &mut self,
        from: Life,
        id: Id,
        size: u64,
        now_us: u64,
    ) -> Result<PhysRange, Error> {
        self.check_resize(from, id, size)?;
        self.live(id)?.change(|bridge| {
            let range = bridge.range.ok_or(Error::Unknown)?;
            bridge.begin_resizing(size, now_us);
            Ok((range, Vnodes::NONE))
        })
    }

    /// What a bridge had has been copied to `to`, with zeros behind it, and it is there now; where it was comes out of
    /// [`reclaim`](Self::reclaim). After an error `to` stays the caller's: `Unknown` when the last user has gone meanwhile, `Stale` when it
    /// is not being resized, `Size`, `Overlap`.
    pub fn resized(&mut self, id: Id, to: PhysRange, now_us: u64) -> Result<(), Error> {
        self.bury_doomed(id)?;
        let bridge = self.slot(id)?.at(Stage::Live).ok_or(Error::Unknown)?;
        if bridge.resizing.is_none() {
            return Err(Error::Stale);
        }
        self.replace(id, to, now_us)
    }
}
