// SPDX-License-Identifier: GPL-2.0

//! The root's table of bridges: who may create, open, map and close what, and what follows.
//!
//! It is private to the root, behind one lock of its adeos_core, and never reads what is
//! published. This file is about what vnodes ask for; births and deaths are in [`super::lives`],
//! moves in [`super::moving`], and what follows from a call, outside the table, comes out of
//! [`super::effects`].
//!
//! Who asks is a life that the caller has from the message's mailbox and never from its content.

use super::account::{Counters, Quota, Usage};
use super::entry::Entry;
use super::slot::{Bridge, Slot, Stage};
use super::{Access, Error, Follow, Id, Key, Phase, Rights, Scope, Vnodes};
use crate::id::{Generation, Life, PhysRange, VnodeId, MAX_VNODES};
use crate::layout::GRANULE;

/// What a new bridge is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create {
    /// What it is called.
    pub key: Key,
    /// Bytes, whole granules.
    pub size: u64,
    /// Who may use it.
    pub rights: Rights,
    /// Whether it may ever be moved; if so, its creator follows.
    pub follow: Follow,
}

/// What a user maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which bridge.
    pub id: Id,
    /// How it may be mapped.
    pub access: Access,
    /// Where it is.
    pub range: PhysRange,
    /// Counts its moves.
    pub place: u32,
}

/// The table, with room for `N` bridges.
///
/// # Invariants
///
/// No two bridges that are reserved or live have the same key. Memory of one is not memory of
/// another. Every user, and every owner of what is no orphan, is a life that is not over.
#[derive(Debug)]
pub struct Table<const N: usize> {
    pub(super) slots: [Slot; N],
    quotas: [Quota; MAX_VNODES],
    pub(super) generations: [Generation; MAX_VNODES],
    pub(super) alive: Vnodes,
    pub(super) changes: u64,
    pub(super) counters: Counters,
}

impl<const N: usize> Table<N> {
    /// A table without bridges, in which nobody lives yet.
    pub const fn new() -> Self {
        let mut quotas = [Quota::DEFAULT; MAX_VNODES];
        if let Some((root, _)) = quotas.split_first_mut() {
            *root = Quota::UNBOUNDED;
        }
        Self {
            slots: [Slot::FREE; N],
            quotas,
            generations: [Generation(0); MAX_VNODES],
            alive: Vnodes::NONE,
            changes: 0,
            counters: Counters {
                created: 0,
                destroyed: 0,
                moved: 0,
                refused: 0,
                timed_out: 0,
                longest_freeze_us: 0,
            },
        }
    }

    /// Says what a vnode may have; what it has already stays.
    pub fn set_quota(&mut self, vnode: VnodeId, quota: Quota) {
        if let Some(place) = self.quotas.get_mut(vnode.index()) {
            *place = quota;
        }
    }

    /// First half of creating: the name and the quota are taken, and whoever calls this finds
    /// `size` bytes of zeros, for as long as it takes, and calls `provide` or `cancel`.
    pub fn reserve(&mut self, from: Life, create: &Create) -> Result<Id, Error> {
        self.check_alive(from)?;
        check_size(create.size)?;
        if !create.rights.is_sound() {
            return Err(Error::Mode);
        }
        match create.key.scope {
            Scope::Local(vnode) if vnode != from.vnode && !from.vnode.is_root() => {
                return Err(Error::Denied);
            }
            Scope::Local(_) | Scope::Global => {}
        }
        if self.named(&create.key).is_some() {
            return Err(Error::Exists);
        }
        self.check_quota(from.vnode, 1, create.size)?;

        let (index, slot) = (0u16..)
            .zip(&mut self.slots)
            .find(|(_, slot)| slot.bridge.is_none() && slot.serial < u32::MAX)
            .ok_or(Error::Full)?;
        slot.serial = slot.serial.saturating_add(1);
        slot.bridge = Some(reserved(from, create));
        let serial = slot.serial;
        Ok(Id { index, serial })
    }

    /// Second half of creating: the bridge gets its memory, filled with zeros, and its creator is
    /// the first user. `Unknown` when the creator has died meanwhile: then the memory stays the
    /// caller's, as after every error.
    pub fn provide(&mut self, id: Id, range: PhysRange) -> Result<(), Error> {
        let bridge = self.slot(id)?.at(Stage::Reserved).ok_or(Error::Unknown)?;
        if !bridge.suits(range) {
            return Err(Error::Size);
        }
        self.check_overlap(range)?;
        self.slot_mut(id)?.change(|bridge| {
            bridge.stage = Stage::Live;
            bridge.range = Some(range);
            let access = bridge.rights.allowed(bridge.asker(bridge.owner));
            let access = access.ok_or(Error::Mode)?;
            bridge.admit(bridge.owner, access, follow_of(bridge.is_movable));
            Ok(((), Vnodes::NONE))
        })?;
        self.counters.created = self.counters.created.wrapping_add(1);
        Ok(())
    }

    /// There is no memory for a bridge that was reserved. `Unknown`.
    pub fn cancel(&mut self, id: Id) -> Result<(), Error> {
        let slot = self.slot_mut(id)?;
        slot.at(Stage::Reserved).ok_or(Error::Unknown)?;
        slot.bridge = None;
        Ok(())
    }

    /// Makes a life a user. To open again is no error: an answer may have been lost, access may
    /// grow, and a user may say anew whether it follows. `Unknown`, `Denied`.
    pub fn open(
        &mut self,
        from: Life,
        key: &Key,
        access: Access,
        follow: Follow,
    ) -> Result<Id, Error> {
        self.check_alive(from)?;
        let id = self.named(key).ok_or(Error::Unknown)?;
        self.live(id)?.change(|bridge| {
            if !bridge.rights.allow(bridge.asker(from), access) {
                return Err(Error::Denied);
            }
            bridge.admit(from, access, follow);
            Ok((id, Vnodes::NONE))
        })
    }

    /// A user is going to map the bridge, or has lost the answer. `NotUser`, `Moving`, or `Denied`
    /// when the rights have changed since it was opened.
    pub fn map(&mut self, from: Life, id: Id) -> Result<Grant, Error> {
        self.check_alive(from)?;
        self.live(id)?.change(|bridge| {
            let asker = bridge.asker(from);
            let rights = bridge.rights;
            let (phase, range, place) = (bridge.phase, bridge.range, bridge.place);
            let user = bridge.user(from)?;
            if phase != Phase::Settled {
                return Err(Error::Moving);
            }
            if !rights.allow(asker, user.access) {
                return Err(Error::Denied);
            }
            user.is_mapped = true;
            let grant = Grant {
                id,
                access: user.access,
                range: range.ok_or(Error::Unknown)?,
                place,
            };
            Ok((grant, Vnodes::NONE))
        })
    }

    /// A user has no mapping of the bridge left. `NotUser`.
    pub fn unmap(&mut self, from: Life, id: Id) -> Result<(), Error> {
        self.check_alive(from)?;
        self.live(id)?.change(|bridge| {
            bridge.user(from)?.is_mapped = false;
            bridge.let_go(from.vnode);
            Ok(((), Vnodes::NONE))
        })
    }

    /// A user has no mapping left and does not need the bridge. With the last user it goes.
    pub fn close(&mut self, from: Life, id: Id) -> Result<(), Error> {
        self.check_alive(from)?;
        self.live(id)?.change(|bridge| {
            bridge.user(from)?;
            bridge.dismiss(from.vnode);
            Ok(((), Vnodes::NONE))
        })
    }

    /// The owner or the root says anew who may use the bridge. What is mapped stays mapped.
    pub fn protect(&mut self, from: Life, id: Id, rights: Rights) -> Result<(), Error> {
        self.check_alive(from)?;
        self.live(id)?.change(|bridge| {
            if bridge.asker(from) != super::Asker::Owner && !from.vnode.is_root() {
                return Err(Error::Denied);
            }
            if !rights.is_sound() {
                return Err(Error::Mode);
            }
            bridge.rights = rights;
            Ok(((), Vnodes::NONE))
        })
    }

    /// The root, or a later life of the vnode that owned it, takes an orphan over, and with it
    /// what it counts for. It does not become a user by this. `Denied`, `Quota`.
    pub fn adopt(&mut self, from: Life, id: Id) -> Result<(), Error> {
        self.check_alive(from)?;
        let bridge = self.slot(id)?.at(Stage::Live).ok_or(Error::Unknown)?;
        let is_heir = bridge.owner.vnode == from.vnode;
        if !bridge.is_orphan || !(is_heir || from.vnode.is_root()) {
            return Err(Error::Denied);
        }
        if !is_heir {
            self.check_quota(from.vnode, 1, bridge.bytes())?;
        }
        self.live(id)?.change(|bridge| {
            bridge.owner = from;
            bridge.is_orphan = false;
            Ok(((), Vnodes::NONE))
        })
    }

    /// The live bridge that has a name.
    pub fn find(&self, key: &Key) -> Option<Id> {
        let id = self.named(key)?;
        self.slot(id).ok()?.at(Stage::Live).map(|_| id)
    }

    /// The live bridges as they are, published or not.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        (0u16..)
            .zip(&self.slots)
            .filter_map(|(index, slot)| slot.entry(index))
    }

    /// What a vnode has.
    pub fn usage(&self, vnode: VnodeId) -> Usage {
        let owned = self.slots.iter().filter_map(|slot| slot.bridge.as_ref());
        owned.filter(|bridge| bridge.owner.vnode == vnode).fold(
            Usage::default(),
            |usage, bridge| Usage {
                bridges: usage.bridges.saturating_add(1),
                bytes: usage.bytes.saturating_add(bridge.bytes()),
            },
        )
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub(super) fn check_alive(&self, life: Life) -> Result<(), Error> {
        self.is_alive(life).then_some(()).ok_or(Error::Dead)
    }

    pub(super) fn is_alive(&self, life: Life) -> bool {
        self.alive.has(life.vnode) && self.generation(life.vnode) == life.generation
    }

    pub(super) fn generation(&self, vnode: VnodeId) -> Generation {
        let found = self.generations.get(vnode.index());
        found.copied().unwrap_or(Generation(0))
    }

    /// Whether a vnode may have so many bridges and bytes more.
    pub(super) fn check_quota(
        &self,
        vnode: VnodeId,
        bridges: u16,
        bytes: u64,
    ) -> Result<(), Error> {
        let usage = self.usage(vnode);
        let quota = self.quotas.get(vnode.index()).ok_or(Error::Quota)?;
        let bridges = usage.bridges.saturating_add(bridges);
        let bytes = usage.bytes.checked_add(bytes).ok_or(Error::Quota)?;
        if bridges > quota.bridges || bytes > quota.bytes {
            return Err(Error::Quota);
        }
        Ok(())
    }

    pub(super) fn check_overlap(&self, range: PhysRange) -> Result<(), Error> {
        let bridges = self.slots.iter().filter_map(|slot| slot.bridge.as_ref());
        let mut memory = bridges.flat_map(Bridge::memory);
        if memory.any(|used| used.overlaps(range)) {
            return Err(Error::Overlap);
        }
        Ok(())
    }

    /// The bridge that has a name, or is about to.
    fn named(&self, key: &Key) -> Option<Id> {
        (0u16..).zip(&self.slots).find_map(|(index, slot)| {
            let bridge = slot.bridge.as_ref()?;
            let serial = slot.serial;
            (bridge.stage != Stage::Doomed && bridge.key == *key).then_some(Id { index, serial })
        })
    }

    pub(super) fn slot(&self, id: Id) -> Result<&Slot, Error> {
        self.slots
            .get(usize::from(id.index))
            .filter(|slot| slot.serial == id.serial)
            .ok_or(Error::Unknown)
    }

    pub(super) fn slot_mut(&mut self, id: Id) -> Result<&mut Slot, Error> {
        self.slots
            .get_mut(usize::from(id.index))
            .filter(|slot| slot.serial == id.serial)
            .ok_or(Error::Unknown)
    }

    /// The place of a live bridge.
    pub(super) fn live(&mut self, id: Id) -> Result<&mut Slot, Error> {
        let slot = self.slot_mut(id)?;
        slot.at(Stage::Live).ok_or(Error::Unknown)?;
        Ok(slot)
    }
}

impl<const N: usize> Default for Table<N> {
    fn default() -> Self {
        Self::new()
    }
}

const fn follow_of(is_movable: bool) -> Follow {
    if is_movable {
        Follow::Moves
    } else {
        Follow::Stays
    }
}

/// A bridge has whole granules.
pub(super) const fn check_size(size: u64) -> Result<(), Error> {
    if size == 0 || size % GRANULE != 0 {
        return Err(Error::Size);
    }
    Ok(())
}

/// A bridge without memory.
fn reserved(owner: Life, create: &Create) -> Bridge {
    Bridge {
        stage: Stage::Reserved,
        key: create.key,
        owner,
        is_orphan: false,
        rights: create.rights,
        size: create.size,
        resizing: None,
        range: None,
        left: None,
        users: [None; MAX_VNODES],
        is_movable: create.follow == Follow::Moves,
        pinned_by: Vnodes::NONE,
        place: 0,
        phase: Phase::Settled,
        freeze: 0,
        awaited: Vnodes::NONE,
        began_us: 0,
        deadline_us: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::BridgeName;
    use super::*;

    /// BR-12: a serial counts the bridges of its place, and a place that has used them all up is left.
    #[test]
    fn a_serial_does_not_come_again() {
        let creator = Life {
            vnode: VnodeId::ROOT,
            generation: Generation(1),
        };
        let create = Create {
            key: Key {
                scope: Scope::Global,
                name: BridgeName::new("wire").unwrap(),
            },
            size: GRANULE,
            rights: Rights::open_to(Vnodes::ALL),
            follow: Follow::Moves,
        };
        let mut table = Table::<2>::new();
        table.born(creator).unwrap();
        table.slots[0].serial = u32::MAX - 2;
        let mut next = || {
            let id = table.reserve(creator, &create)?;
            table.cancel(id)?;
            Ok::<_, Error>((id.index, id.serial))
        };
        assert_eq!(next(), Ok((0, u32::MAX - 1)));
        assert_eq!(next(), Ok((0, u32::MAX)));
        assert_eq!((next(), next()), (Ok((1, 1)), Ok((1, 2))));
        table.slots[1].serial = u32::MAX;
        assert_eq!(table.reserve(creator, &create), Err(Error::Full));
    }
}
