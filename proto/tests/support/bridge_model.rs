// SPDX-License-Identifier: GPL-2.0

//! What the table of bridges is to do, in plain lists, without a thought of speed or room.

#[path = "bridge_model_moves.rs"]
mod moves;

use super::{range, vnode_id, Pool, Who, GRANULE, SLOTS, VNODES};
use adeos_proto::bridge::account::{Quota, Usage};
use adeos_proto::bridge::entry::Entry;
use adeos_proto::bridge::table::{Create, Grant};
use adeos_proto::bridge::{Access, Error, Follow, Id, Key, Phase, Rights, Vnodes};
use adeos_proto::id::{Generation, Life, PhysRange, VnodeId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Reserved,
    Live,
    Doomed,
}

#[derive(Clone, Copy)]
struct User {
    generation: u32,
    may_write: bool,
    is_mapped: bool,
}

struct Bridge {
    id: Id,
    stage: Stage,
    owner: Life,
    is_orphan: bool,
    create: Create,
    rights: Rights,
    memory: Option<PhysRange>,
    left: Option<PhysRange>,
    resizing: Option<u64>,
    users: BTreeMap<usize, User>,
    pins: BTreeSet<usize>,
    place: u32,
    phase: Phase,
    freeze: u32,
    awaited: BTreeSet<usize>,
    deadline: u64,
    untold: BTreeSet<usize>,
}

pub(crate) struct Model {
    bridges: Vec<Bridge>,
    lives: [(u32, bool); VNODES],
    pub(crate) quotas: [Quota; VNODES],
    pub(crate) now: u64,
    last_gone: Id,
}

fn set(vnodes: &BTreeSet<usize>) -> Vnodes {
    vnodes
        .iter()
        .fold(Vnodes::NONE, |all, vnode| all.with(vnode_id(*vnode)))
}

impl Bridge {
    fn may(&self, life: Life, access: Access) -> bool {
        let bit = 1u16 << life.vnode.index();
        let (read, write) = if self.owner == life && !self.is_orphan {
            (self.rights.mode & 1 != 0, self.rights.mode & 2 != 0)
        } else {
            let rights = self.rights;
            (
                rights.mode & 4 != 0 && rights.readers.0 & bit != 0,
                rights.mode & 8 != 0 && rights.writers.0 & bit != 0,
            )
        };
        read && (write || access == Access::Read)
    }

    fn mapped(&self) -> BTreeSet<usize> {
        let users = self.users.iter().filter(|(_, user)| user.is_mapped);
        users.map(|(vnode, _)| *vnode).collect()
    }

    fn bytes(&self) -> u64 {
        self.create.size.max(self.resizing.unwrap_or(0))
    }

    fn settle(&mut self) {
        self.resizing = None;
        self.phase = Phase::Settled;
        self.awaited.clear();
        self.untold.extend(self.mapped());
    }

    fn let_go(&mut self, vnode: usize) {
        self.awaited.remove(&vnode);
        if self.phase == Phase::Freezing && self.awaited.is_empty() {
            self.phase = Phase::Frozen;
        }
    }

    fn leave(&mut self, vnode: usize) {
        let was_frozen = self.phase == Phase::Frozen;
        self.users.remove(&vnode);
        self.pins.remove(&vnode);
        self.untold.remove(&vnode);
        self.let_go(vnode);
        if self.users.is_empty() {
            self.stage = Stage::Doomed;
            self.phase = if was_frozen {
                Phase::Frozen
            } else {
                Phase::Settled
            };
        }
    }
}

impl Model {
    pub(crate) fn new() -> Self {
        let mut quotas = [Quota::DEFAULT; VNODES];
        quotas[0] = Quota::UNBOUNDED;
        Self {
            bridges: Vec::new(),
            lives: [(0, false); VNODES],
            quotas,
            now: 0,
            last_gone: Id {
                index: 0,
                serial: 0,
            },
        }
    }

    pub(crate) fn life(&self, who: Who) -> Life {
        let generation = self.lives[who.vnode].0;
        Life {
            vnode: vnode_id(who.vnode),
            generation: Generation(if who.is_stale {
                generation - 1
            } else {
                generation
            }),
        }
    }

    pub(crate) fn current(&self, vnode: usize) -> Option<Life> {
        let life = self.life(Who {
            vnode,
            is_stale: false,
        });
        self.is_alive(life).then_some(life)
    }

    fn is_alive(&self, life: Life) -> bool {
        self.lives[life.vnode.index()] == (life.generation.0, true)
    }

    fn alive(&self, life: Life) -> Result<(), Error> {
        self.is_alive(life).then_some(()).ok_or(Error::Dead)
    }

    /// A bridge, or an id that is nobody's: of a place that was never used, or of a bridge that
    /// is gone.
    pub(crate) fn id(&self, which: usize) -> Id {
        match self.bridges.get(which % self.bridges.len().max(1)) {
            Some(bridge) if which < SLOTS => bridge.id,
            _ if which == SLOTS => self.last_gone,
            _ => Id {
                index: which as u16,
                serial: 99,
            },
        }
    }

    /// A bridge that waits for its memory, or what `id` says.
    pub(crate) fn reserved(&self, which: usize) -> Id {
        let mut reserved = self
            .bridges
            .iter()
            .filter(|bridge| bridge.stage == Stage::Reserved);
        reserved.next().map_or(self.id(which), |bridge| bridge.id)
    }

    pub(crate) fn ids(&self) -> Vec<Id> {
        self.bridges.iter().map(|bridge| bridge.id).collect()
    }

    fn find(&mut self, id: Id, stage: Stage) -> Result<&mut Bridge, Error> {
        let mut bridges = self.bridges.iter_mut();
        bridges
            .find(|bridge| bridge.id == id && bridge.stage == stage)
            .ok_or(Error::Unknown)
    }

    fn live(&mut self, life: Life, id: Id) -> Result<&mut Bridge, Error> {
        self.alive(life)?;
        self.find(id, Stage::Live)
    }

    fn used(&mut self, life: Life, id: Id) -> Result<&mut Bridge, Error> {
        let bridge = self.live(life, id)?;
        let user = bridge.users.get(&life.vnode.index());
        if user.is_none_or(|user| user.generation != life.generation.0) {
            return Err(Error::NotUser);
        }
        Ok(bridge)
    }

    pub(crate) fn size(&self, id: Id) -> u64 {
        let found = self.bridges.iter().find(|bridge| bridge.id == id);
        found.map_or(GRANULE, |bridge| {
            bridge.resizing.unwrap_or(bridge.create.size)
        })
    }

    pub(crate) fn freeze_number(&self, id: Id) -> u32 {
        let found = self.bridges.iter().find(|bridge| bridge.id == id);
        found.map_or(0, |bridge| bridge.freeze)
    }

    fn fits_quota(&self, vnode: VnodeId, size: u64) -> Result<(), Error> {
        let (usage, quota) = (self.usage(vnode.index()), self.quotas[vnode.index()]);
        let fits = usage.bridges < quota.bridges && usage.bytes + size <= quota.bytes;
        fits.then_some(()).ok_or(Error::Quota)
    }

    pub(crate) fn open(
        &mut self,
        life: Life,
        key: Key,
        access: Access,
        follow: Follow,
    ) -> Result<Id, Error> {
        self.alive(life)?;
        let mut bridges = self.bridges.iter_mut();
        let named = bridges
            .find(|bridge| bridge.stage != Stage::Doomed && bridge.create.key == key)
            .filter(|bridge| bridge.stage == Stage::Live);
        let bridge = named.ok_or(Error::Unknown)?;
        if !bridge.may(life, access) {
            return Err(Error::Denied);
        }
        let vnode = life.vnode.index();
        let user = bridge.users.entry(vnode).or_insert(User {
            generation: life.generation.0,
            may_write: false,
            is_mapped: false,
        });
        user.may_write |= access == Access::Write;
        match follow {
            Follow::Moves => bridge.pins.remove(&vnode),
            Follow::Stays => bridge.pins.insert(vnode),
        };
        Ok(bridge.id)
    }

    pub(crate) fn map(&mut self, life: Life, id: Id) -> Result<Grant, Error> {
        let bridge = self.used(life, id)?;
        if bridge.phase != Phase::Settled {
            return Err(Error::Moving);
        }
        let vnode = life.vnode.index();
        let access = if bridge.users[&vnode].may_write {
            Access::Write
        } else {
            Access::Read
        };
        if !bridge.may(life, access) {
            return Err(Error::Denied);
        }
        bridge.users.get_mut(&vnode).unwrap().is_mapped = true;
        Ok(Grant {
            id,
            access,
            range: bridge.memory.unwrap(),
            place: bridge.place,
        })
    }

    pub(crate) fn unmap(&mut self, life: Life, id: Id) -> Result<(), Error> {
        let bridge = self.used(life, id)?;
        let vnode = life.vnode.index();
        bridge.users.get_mut(&vnode).unwrap().is_mapped = false;
        bridge.let_go(vnode);
        Ok(())
    }

    pub(crate) fn close(&mut self, life: Life, id: Id) -> Result<(), Error> {
        self.used(life, id)?.leave(life.vnode.index());
        Ok(())
    }

    pub(crate) fn protect(&mut self, life: Life, id: Id, rights: Rights) -> Result<(), Error> {
        let bridge = self.live(life, id)?;
        let is_owner = bridge.owner == life && !bridge.is_orphan;
        if !is_owner && !life.vnode.is_root() {
            return Err(Error::Denied);
        }
        if rights.mode > 15 || rights.mode % 2 == 0 {
            return Err(Error::Mode);
        }
        bridge.rights = rights;
        Ok(())
    }

    pub(crate) fn adopt(&mut self, life: Life, id: Id) -> Result<(), Error> {
        let bridge = self.live(life, id)?;
        let is_heir = bridge.owner.vnode == life.vnode;
        if !bridge.is_orphan || !(is_heir || life.vnode.is_root()) {
            return Err(Error::Denied);
        }
        let size = bridge.bytes();
        if !is_heir {
            self.fits_quota(life.vnode, size)?;
        }
        let bridge = self.live(life, id)?;
        bridge.owner = life;
        bridge.is_orphan = false;
        Ok(())
    }

    pub(crate) fn usage(&self, vnode: usize) -> Usage {
        let owned = || {
            self.bridges
                .iter()
                .filter(|bridge| bridge.owner.vnode.index() == vnode)
        };
        Usage {
            bridges: owned().count() as u16,
            bytes: owned().map(Bridge::bytes).sum(),
        }
    }

    /// What the table and the registry must show, by place.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let live = self
            .bridges
            .iter()
            .filter(|bridge| bridge.stage == Stage::Live);
        let mut entries: Vec<_> = live.map(Self::entry).collect();
        entries.sort_by_key(|entry| entry.id.index);
        entries
    }

    fn entry(bridge: &Bridge) -> Entry {
        let mut users = [0; 16];
        for (vnode, user) in &bridge.users {
            users[*vnode] = user.generation;
        }
        Entry {
            id: bridge.id,
            key: bridge.create.key,
            owner: bridge.owner,
            is_orphan: bridge.is_orphan,
            rights: bridge.rights,
            range: bridge.memory.unwrap(),
            place: bridge.place,
            phase: bridge.phase,
            freeze: bridge.freeze,
            is_movable: bridge.create.follow == Follow::Moves,
            mapped: set(&bridge.mapped()),
            pinned_by: set(&bridge.pins),
            users,
        }
    }

    /// What holds whatever happens: the model itself is held to it, and the table to the model.
    pub(crate) fn check_invariants(&self, pool: &Pool) {
        let memory = || {
            self.bridges
                .iter()
                .flat_map(|b| [b.memory, b.left])
                .flatten()
        };
        let bytes: u64 = memory().map(PhysRange::size).sum();
        assert_eq!(bytes, pool.used(), "bytes are conserved");
        for (at, one) in memory().enumerate() {
            assert!(memory().skip(at + 1).all(|other| !one.overlaps(other)));
            assert!(range(0, 24).contains(one));
        }
        let named = || {
            self.bridges
                .iter()
                .filter(|bridge| bridge.stage != Stage::Doomed)
        };
        for (at, one) in named().enumerate() {
            let mut others = named().skip(at + 1);
            assert!(
                others.all(|other| other.create.key != one.create.key),
                "one name, one bridge"
            );
            assert!(one.is_orphan || self.is_alive(one.owner));
            for (vnode, user) in &one.users {
                assert_eq!(self.lives[*vnode], (user.generation, true), "a dead user");
            }
            assert_eq!(one.stage == Stage::Live, !one.users.is_empty());
            assert_eq!(one.phase == Phase::Freezing, !one.awaited.is_empty());
        }
    }
}
