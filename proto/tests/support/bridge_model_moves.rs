// SPDX-License-Identifier: GPL-2.0

//! The model of the table of bridges: how they come, move, lose their vnodes, and go.

use super::{Bridge, Model, Stage, User};
use crate::bridges::{GRANULE, SLOTS};
use adeos_proto::bridge::table::Create;
use adeos_proto::bridge::{Access, Error, Follow, Id, Phase, Scope};
use adeos_proto::id::{Life, PhysRange, VnodeId};
use std::collections::{BTreeMap, BTreeSet};

impl Model {
    pub(crate) fn may_create(&self, life: Life, create: &Create) -> Result<(), Error> {
        self.alive(life)?;
        let is_named =
            |bridge: &Bridge| bridge.stage != Stage::Doomed && bridge.create.key == create.key;
        if create.size == 0 {
            return Err(Error::Size);
        }
        if create.rights.mode > 15 || create.rights.mode % 2 == 0 {
            return Err(Error::Mode);
        }
        let is_foreign = matches!(create.key.scope, Scope::Local(vnode) if vnode != life.vnode);
        if is_foreign && !life.vnode.is_root() {
            return Err(Error::Denied);
        }
        if self.bridges.iter().any(is_named) {
            return Err(Error::Exists);
        }
        self.fits_quota(life.vnode, create.size)?;
        if self.bridges.len() == SLOTS {
            return Err(Error::Full);
        }
        Ok(())
    }

    pub(crate) fn reserve(&mut self, id: Id, owner: Life, create: &Create) {
        assert!(self
            .bridges
            .iter()
            .all(|bridge| bridge.id.index != id.index));
        assert!(id != self.last_gone && usize::from(id.index) < SLOTS);
        self.bridges.push(Bridge {
            id,
            stage: Stage::Reserved,
            owner,
            is_orphan: false,
            create: *create,
            rights: create.rights,
            memory: None,
            left: None,
            resizing: None,
            users: BTreeMap::new(),
            pins: BTreeSet::new(),
            place: 0,
            phase: Phase::Settled,
            freeze: 0,
            awaited: BTreeSet::new(),
            deadline: 0,
            untold: BTreeSet::new(),
        });
    }

    pub(crate) fn provide(&mut self, id: Id, memory: PhysRange) -> Result<(), Error> {
        let bridge = self.find(id, Stage::Reserved)?;
        let owner = bridge.owner;
        bridge.stage = Stage::Live;
        bridge.memory = Some(memory);
        let user = User {
            generation: owner.generation.0,
            may_write: bridge.may(owner, Access::Write),
            is_mapped: false,
        };
        bridge.users.insert(owner.vnode.index(), user);
        if bridge.create.follow == Follow::Stays {
            bridge.pins.insert(owner.vnode.index());
        }
        Ok(())
    }

    pub(crate) fn cancel(&mut self, id: Id) -> Result<(), Error> {
        self.find(id, Stage::Reserved)?;
        self.remove(id);
        Ok(())
    }

    fn remove(&mut self, id: Id) {
        self.last_gone = id;
        self.bridges.retain(|bridge| bridge.id != id);
    }

    pub(crate) fn freeze(&mut self, id: Id, timeout: u64) -> Result<Phase, Error> {
        let deadline = self.now + timeout;
        let bridge = self.find(id, Stage::Live)?;
        if bridge.phase != Phase::Settled || bridge.left.is_some() {
            return Err(Error::Moving);
        }
        if bridge.create.follow == Follow::Stays || !bridge.pins.is_empty() {
            return Err(Error::Pinned);
        }
        bridge.freeze += 1;
        bridge.deadline = deadline;
        bridge.awaited = bridge.mapped();
        bridge.untold.extend(bridge.mapped());
        bridge.phase = if bridge.awaited.is_empty() {
            Phase::Frozen
        } else {
            Phase::Freezing
        };
        Ok(bridge.phase)
    }

    pub(crate) fn agree(&mut self, life: Life, id: Id, freeze: u32) -> Result<(), Error> {
        let bridge = self.used(life, id)?;
        if bridge.phase == Phase::Settled || bridge.freeze != freeze {
            return Err(Error::Stale);
        }
        bridge.let_go(life.vnode.index());
        Ok(())
    }

    pub(crate) fn refuse(&mut self, life: Life, id: Id, freeze: u32) -> Result<(), Error> {
        let bridge = self.used(life, id)?;
        if bridge.freeze != freeze || !bridge.awaited.contains(&life.vnode.index()) {
            return Err(Error::Stale);
        }
        bridge.pins.insert(life.vnode.index());
        bridge.settle();
        Ok(())
    }

    pub(crate) fn pass(&mut self, time: u64) {
        self.now += time;
        for bridge in &mut self.bridges {
            let is_freezing = bridge.stage == Stage::Live && bridge.phase == Phase::Freezing;
            if is_freezing && bridge.deadline <= self.now {
                bridge.pins.extend(bridge.awaited.clone());
                bridge.settle();
            }
        }
    }

    fn stop_copying(&mut self, id: Id) {
        if let Ok(doomed) = self.find(id, Stage::Doomed) {
            doomed.phase = Phase::Settled;
        }
    }

    pub(crate) fn begin_resizing(
        &mut self,
        life: Life,
        id: Id,
        size: u64,
    ) -> Result<PhysRange, Error> {
        let bridge = self.live(life, id)?;
        let is_owner = bridge.owner == life && !bridge.is_orphan;
        if !is_owner && !life.vnode.is_root() {
            return Err(Error::Denied);
        }
        if size == 0 || size % GRANULE != 0 {
            return Err(Error::Size);
        }
        if bridge.phase != Phase::Settled || bridge.left.is_some() {
            return Err(Error::Moving);
        }
        let is_used = !bridge.mapped().is_empty();
        if bridge.create.follow == Follow::Stays || !bridge.pins.is_empty() || is_used {
            return Err(Error::Pinned);
        }
        let (before, owner) = (bridge.create.size, bridge.owner.vnode.index());
        let (usage, quota) = (self.usage(owner), self.quotas[owner]);
        let is_much = usage.bridges > quota.bridges || usage.bytes - before + size > quota.bytes;
        if size > before && is_much {
            return Err(Error::Quota);
        }
        let bridge = self.live(life, id)?;
        bridge.freeze += 1;
        bridge.phase = Phase::Frozen;
        bridge.resizing = Some(size);
        Ok(bridge.memory.unwrap())
    }

    pub(crate) fn moved(&mut self, id: Id, to: PhysRange) -> Result<(), Error> {
        self.stop_copying(id);
        let bridge = self.find(id, Stage::Live)?;
        if bridge.phase != Phase::Frozen || bridge.resizing.is_some() {
            return Err(Error::Stale);
        }
        self.replace(id, to)
    }

    pub(crate) fn resized(&mut self, id: Id, to: PhysRange) -> Result<(), Error> {
        self.stop_copying(id);
        if self.find(id, Stage::Live)?.resizing.is_none() {
            return Err(Error::Stale);
        }
        self.replace(id, to)
    }

    fn replace(&mut self, id: Id, to: PhysRange) -> Result<(), Error> {
        let bridge = self.find(id, Stage::Live)?;
        bridge.create.size = to.size();
        bridge.left = bridge.memory.replace(to);
        bridge.place += 1;
        bridge.settle();
        Ok(())
    }

    pub(crate) fn thaw(&mut self, id: Id) -> Result<(), Error> {
        self.stop_copying(id);
        let bridge = self.find(id, Stage::Live)?;
        if bridge.phase == Phase::Settled {
            return Err(Error::Stale);
        }
        bridge.settle();
        Ok(())
    }

    pub(crate) fn born(&mut self, vnode: usize) -> Life {
        self.die(vnode);
        self.lives[vnode] = (self.lives[vnode].0 + 1, true);
        self.current(vnode).unwrap()
    }

    pub(crate) fn die(&mut self, vnode: usize) {
        let Some(life) = self.current(vnode) else {
            return;
        };
        self.lives[vnode].1 = false;
        self.bridges
            .retain(|bridge| bridge.stage != Stage::Reserved || bridge.owner != life);
        let live = self
            .bridges
            .iter_mut()
            .filter(|bridge| bridge.stage == Stage::Live);
        for bridge in live {
            if bridge.users.contains_key(&vnode) {
                bridge.leave(vnode);
            }
            if bridge.owner == life {
                bridge.is_orphan = true;
                bridge.untold.extend(bridge.users.keys());
            }
        }
    }

    pub(crate) fn told(&mut self, id: Id, to: VnodeId) {
        let bridge = self.find(id, Stage::Live).unwrap();
        assert!(bridge.untold.remove(&to.index()), "told for nothing");
    }

    pub(crate) fn all_are_told(&self) -> bool {
        self.bridges.iter().all(|bridge| bridge.untold.is_empty())
    }

    pub(crate) fn reclaimed(&mut self, range: PhysRange) {
        let was_left = |bridge: &&mut Bridge| bridge.left == Some(range);
        if let Some(bridge) = self.bridges.iter_mut().find(was_left) {
            bridge.left = None;
            return;
        }
        let doomed = |bridge: &&Bridge| bridge.memory == Some(range) && bridge.left.is_none();
        let bridge = self.bridges.iter().find(doomed).unwrap();
        assert!(bridge.stage == Stage::Doomed && bridge.phase != Phase::Frozen);
        self.remove(bridge.id);
    }
}
