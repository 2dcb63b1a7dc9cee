// SPDX-License-Identifier: GPL-2.0

//! One place of the root's table: a bridge, its users, and how far a move of it has come.
//!
//! No rights and no quotas here: the table checks them before it changes a place.

use super::entry::{Entry, EntryRecord};
use super::{Access, Asker, Error, Follow, Id, Key, Phase, Rights, Vnodes};
use crate::id::{Generation, Life, PhysRange, VnodeId, MAX_VNODES};
use crate::layout::GRANULE;

/// What the life of a bridge has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has a name, and waits for memory.
    Reserved,
    /// It can be used.
    Live,
    /// Its last user is gone: its memory waits to be taken back.
    Doomed,
}

/// A vnode that has opened a bridge.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    pub(super) generation: Generation,
    pub(super) access: Access,
    pub(super) is_mapped: bool,
}

/// A bridge as the root knows it.
///
/// # Invariants
///
/// `range` is `None` only while it is reserved. A live bridge has a user. `awaited` is empty
/// unless the phase is `Freezing`, and then it is not, and all of it has the bridge mapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bridge {
    pub(super) stage: Stage,
    pub(super) key: Key,
    pub(super) owner: Life,
    pub(super) is_orphan: bool,
    pub(super) rights: Rights,
    pub(super) size: u64,
    /// The size that it is about to get; only while it is frozen.
    pub(super) resizing: Option<u64>,
    pub(super) range: Option<PhysRange>,
    /// Where it was before a move, until that memory is taken back.
    pub(super) left: Option<PhysRange>,
    pub(super) users: [Option<User>; MAX_VNODES],
    pub(super) is_movable: bool,
    pub(super) pinned_by: Vnodes,
    pub(super) place: u32,
    pub(super) phase: Phase,
    pub(super) freeze: u32,
    pub(super) awaited: Vnodes,
    pub(super) began_us: u64,
    pub(super) deadline_us: u64,
}

/// A place of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Counts the bridges that had this place.
    pub(super) serial: u32,
    /// The even number that its published entry was left with.
    pub(super) sequence: u64,
    /// Whether what is published is not what is true.
    pub(super) is_dirty: bool,
    /// Users that are yet to be told that something has changed.
    pub(super) notify: Vnodes,
    pub(super) bridge: Option<Bridge>,
}

impl Slot {
    pub(super) const FREE: Self = Self {
        serial: 0,
        sequence: 0,
        is_dirty: false,
        notify: Vnodes::NONE,
        bridge: None,
    };

    /// The bridge, if it has come this far and no further.
    pub(super) fn at(&self, stage: Stage) -> Option<&Bridge> {
        self.bridge.as_ref().filter(|bridge| bridge.stage == stage)
    }

    /// What is published of the place: nothing but of a live bridge.
    pub(super) fn record(&self, index: u16) -> EntryRecord {
        match self.entry(index) {
            Some(entry) => entry.to_record(),
            None => EntryRecord {
                serial: self.serial,
                ..EntryRecord::default()
            },
        }
    }

    /// The live bridge as others see it.
    pub(super) fn entry(&self, index: u16) -> Option<Entry> {
        let bridge = self.at(Stage::Live)?;
        let serial = self.serial;
        let mut users = [0; MAX_VNODES];
        for (number, user) in users.iter_mut().zip(&bridge.users) {
            *number = user.map_or(0, |user| user.generation.0);
        }
        Some(Entry {
            id: Id { index, serial },
            key: bridge.key,
            owner: bridge.owner,
            is_orphan: bridge.is_orphan,
            rights: bridge.rights,
            range: bridge.range?,
            place: bridge.place,
            phase: bridge.phase,
            freeze: bridge.freeze,
            is_movable: bridge.is_movable,
            mapped: bridge.mapped(),
            pinned_by: bridge.pinned_by,
            users,
        })
    }

    /// Changes a bridge, and has the change published.
    ///
    /// A bridge that has no user after it is doomed.
    pub(super) fn change<T>(
        &mut self,
        by: impl FnOnce(&mut Bridge) -> Result<(T, Vnodes), Error>,
    ) -> Result<T, Error> {
        let bridge = self.bridge.as_mut().ok_or(Error::Unknown)?;
        let was_frozen = bridge.phase == Phase::Frozen;
        let (result, told) = by(bridge)?;
        // Who has just left is told nothing.
        self.notify = self.notify.and(told).among(bridge.everybody());
        self.is_dirty = true;
        if bridge.stage == Stage::Live && bridge.has_no_user() {
            bridge.stage = Stage::Doomed;
            if !was_frozen {
                // The mover has not begun to copy, so there is nothing to wait for.
                bridge.phase = Phase::Settled;
            }
        }
        Ok(result)
    }
}

impl Slot {
    /// Has a user told once more.
    pub(super) fn notify_again(&mut self, user: VnodeId) {
        let users = self.bridge.as_ref().map_or(Vnodes::NONE, Bridge::everybody);
        self.notify = self.notify.and(Vnodes::NONE.with(user).among(users));
    }
}

impl Bridge {
    fn has_no_user(&self) -> bool {
        self.users.iter().all(Option::is_none)
    }

    /// The user of a vnode, if it is this life of it.
    pub(super) fn user(&mut self, life: Life) -> Result<&mut User, Error> {
        self.users
            .get_mut(life.vnode.index())
            .and_then(Option::as_mut)
            .filter(|user| user.generation == life.generation)
            .ok_or(Error::NotUser)
    }

    fn users_that(&self, wanted: impl Fn(&User) -> bool) -> Vnodes {
        VnodeId::all()
            .zip(&self.users)
            .filter(|(_, user)| user.as_ref().is_some_and(&wanted))
            .fold(Vnodes::NONE, |all, (vnode, _)| all.with(vnode))
    }

    /// Users that have it mapped.
    pub(super) fn mapped(&self) -> Vnodes {
        self.users_that(|user| user.is_mapped)
    }

    /// All users.
    pub(super) fn everybody(&self) -> Vnodes {
        self.users_that(|_| true)
    }

    /// As whom a life asks: an owner whose life is over is nobody.
    pub(super) fn asker(&self, life: Life) -> Asker {
        if !self.is_orphan && self.owner == life {
            Asker::Owner
        } else {
            Asker::Other(life.vnode)
        }
    }

    /// Makes a life a user, or a user one that may do more; it says anew whether it follows.
    pub(super) fn admit(&mut self, life: Life, access: Access, follow: Follow) {
        let before = self.user(life).ok().copied();
        let keeps_writing = before.is_some_and(|user| user.access == Access::Write);
        if let Some(place) = self.users.get_mut(life.vnode.index()) {
            *place = Some(User {
                generation: life.generation,
                access: if keeps_writing { Access::Write } else { access },
                is_mapped: before.is_some_and(|user| user.is_mapped),
            });
        }
        self.pinned_by = match follow {
            Follow::Moves => self.pinned_by.without(life.vnode),
            Follow::Stays => self.pinned_by.with(life.vnode),
        };
    }

    /// A vnode is a user no more.
    pub(super) fn dismiss(&mut self, vnode: VnodeId) {
        if let Some(place) = self.users.get_mut(vnode.index()) {
            *place = None;
        }
        self.pinned_by = self.pinned_by.without(vnode);
        self.let_go(vnode);
    }

    /// A vnode does not touch the bridge any more, for now or for ever. Whoever was the last that
    /// a freeze waited for completes it.
    pub(super) fn let_go(&mut self, vnode: VnodeId) {
        self.awaited = self.awaited.without(vnode);
        if self.phase == Phase::Freezing && self.awaited.is_empty() {
            self.phase = Phase::Frozen;
        }
    }

    /// Sees that nothing keeps the bridge from being moved now (BR-70). `Moving`, `Pinned`.
    pub(super) fn check_movable(&self) -> Result<(), Error> {
        if self.phase != Phase::Settled || self.left.is_some() {
            return Err(Error::Moving);
        }
        if !self.is_movable || !self.pinned_by.is_empty() {
            return Err(Error::Pinned);
        }
        Ok(())
    }

    /// Asks whoever has it mapped to let go; returns whom to tell.
    pub(super) fn begin_freeze(&mut self, now_us: u64, timeout_us: u64) -> Vnodes {
        self.freeze = self.freeze.wrapping_add(1);
        self.began_us = now_us;
        self.deadline_us = now_us.saturating_add(timeout_us);
        self.awaited = self.mapped();
        self.phase = if self.awaited.is_empty() {
            Phase::Frozen
        } else {
            Phase::Freezing
        };
        self.awaited
    }

    /// Keeps everybody from mapping it until it has another size. Nobody has it mapped now.
    pub(super) fn begin_resizing(&mut self, size: u64, now_us: u64) {
        self.begin_freeze(now_us, 0);
        self.resizing = Some(size);
    }

    /// Ends a freeze, wherever the bridge is now; returns whom to tell.
    pub(super) fn settle(&mut self) -> Vnodes {
        self.resizing = None;
        self.phase = Phase::Settled;
        self.awaited = Vnodes::NONE;
        self.mapped()
    }

    /// All memory that is this bridge's: where it is and where it was.
    pub(super) fn memory(&self) -> impl Iterator<Item = PhysRange> + '_ {
        [self.range, self.left].into_iter().flatten()
    }

    /// Bytes that it has, or is about to have where that is more.
    pub(super) fn bytes(&self) -> u64 {
        self.size.max(self.resizing.unwrap_or(0))
    }

    /// Whether a range could be the bridge's next place.
    pub(super) fn suits(&self, range: PhysRange) -> bool {
        range.size() == self.resizing.unwrap_or(self.size) && range.base() % GRANULE == 0
    }
}
