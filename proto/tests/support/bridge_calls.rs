// SPDX-License-Identifier: GPL-2.0

//! Random calls of the table of bridges, each held to what the model does.

use crate::bridges::*;
use adeos_proto::bridge::effects::Event;
use adeos_proto::bridge::request::{Answer, GrantRecord, Request, RequestRecord};
use adeos_proto::bridge::table::{Create, Grant};
use adeos_proto::bridge::{entry, Access, Error, Follow, Id, Key, Rights, Vnodes};
use adeos_proto::id::Life;
use proptest::prelude::*;

/// What the tests try. Vnodes, bridges and names are few, so that they meet.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Create(Who, Key, u64, Rights, Follow),
    Provide(usize),
    Cancel(usize),
    Open(Who, Key, Access, Follow),
    Map(Who, usize),
    Unmap(Who, usize),
    Close(Who, usize),
    Protect(Who, usize, Rights),
    Adopt(Who, usize),
    Agree(Who, usize, u32),
    Refuse(Who, usize, u32),
    Freeze(usize, u64),
    Moved(usize),
    Thaw(usize),
    Resize(Who, usize, u64),
    Resized(usize),
    Pass(u64),
    Die(usize),
    Born(usize),
    Quota(usize, u16, u64),
    Publish,
    /// While the mailboxes of these vnodes are full.
    Drain(u16),
}

pub(crate) fn any_call() -> impl Strategy<Value = Call> {
    let bridge = || 0..SLOTS + 2;
    prop_oneof![
        8 => (any_who(), any_key(), 0..4u64, any_rights(), any_follow())
            .prop_map(|(w, k, s, r, f)| Call::Create(w, k, s, r, f)),
        12 => bridge().prop_map(Call::Provide),
        1 => bridge().prop_map(Call::Cancel),
        10 => (any_who(), any_key(), any_access(), any_follow())
            .prop_map(|(w, k, a, f)| Call::Open(w, k, a, f)),
        10 => (any_who(), bridge()).prop_map(|(w, b)| Call::Map(w, b)),
        3 => (any_who(), bridge()).prop_map(|(w, b)| Call::Unmap(w, b)),
        4 => (any_who(), bridge()).prop_map(|(w, b)| Call::Close(w, b)),
        2 => (any_who(), bridge(), any_rights()).prop_map(|(w, b, r)| Call::Protect(w, b, r)),
        2 => (any_who(), bridge()).prop_map(|(w, b)| Call::Adopt(w, b)),
        16 => (any_who(), bridge(), any_back()).prop_map(|(w, b, f)| Call::Agree(w, b, f)),
        3 => (any_who(), bridge(), any_back()).prop_map(|(w, b, f)| Call::Refuse(w, b, f)),
        6 => (bridge(), 0..20u64).prop_map(|(b, t)| Call::Freeze(b, t)),
        6 => bridge().prop_map(Call::Moved),
        2 => bridge().prop_map(Call::Thaw),
        6 => (any_who(), bridge(), 0..5u64).prop_map(|(w, b, s)| Call::Resize(w, b, s)),
        6 => bridge().prop_map(Call::Resized),
        2 => (0..10u64).prop_map(Call::Pass),
        2 => (0..VNODES).prop_map(Call::Die),
        3 => (0..VNODES).prop_map(Call::Born),
        1 => (0..VNODES, 0..4u16, 0..6u64).prop_map(|(v, n, s)| Call::Quota(v, n, s)),
        4 => Just(Call::Publish),
        4 => prop_oneof![Just(0), any::<u16>()].prop_map(Call::Drain),
    ]
}

/// Which freeze is answered: the present one, or the one before.
fn any_back() -> impl Strategy<Value = u32> {
    prop_oneof![9 => Just(0u32), 1 => Just(1u32)]
}

impl World {
    pub(crate) fn run(&mut self, call: Call) {
        match call {
            Call::Create(who, key, granules, rights, follow) => {
                self.create(who, key, granules, rights, follow);
            }
            Call::Provide(which) => self.provide(which),
            Call::Cancel(which) => {
                let id = self.model.id(which);
                let right = self.model.cancel(id);
                assert_eq!(self.table.cancel(id), right);
            }
            Call::Open(who, key, access, follow) => {
                let life = self.model.life(who);
                let right = self.model.open(life, key, access, follow);
                self.ask(life, Request::Open(key, access, follow), right);
            }
            Call::Map(who, which) => self.map(who, which),
            Call::Die(vnode) => self.die(vnode),
            Call::Born(vnode) => self.born(vnode),
            Call::Quota(vnode, count, granules) => {
                let quota = quota(count, granules);
                self.model.quotas[vnode] = quota;
                self.table.set_quota(vnode_id(vnode), quota);
            }
            Call::Publish => self.table.publish(&self.memory),
            Call::Drain(full) => self.drain(Vnodes(full)),
            Call::Resize(who, which, granules) => self.resize(who, which, granules * GRANULE),
            Call::Freeze(..)
            | Call::Moved(_)
            | Call::Thaw(_)
            | Call::Resized(_)
            | Call::Pass(_) => self.relocate(call),
            other => self.ask_about(other),
        }
    }

    /// What the mover does, and the time that passes.
    fn relocate(&mut self, call: Call) {
        match call {
            Call::Freeze(which, timeout) => {
                let id = self.model.id(which);
                let right = self.model.freeze(id, timeout);
                let now = self.model.now;
                assert_eq!(self.table.freeze(id, now, timeout), right);
            }
            Call::Moved(which) => self.moved(which, false),
            Call::Resized(which) => self.moved(which, true),
            Call::Thaw(which) => {
                let id = self.model.id(which);
                let right = self.model.thaw(id);
                assert_eq!(self.table.thaw(id, self.model.now), right);
            }
            Call::Pass(time) => {
                self.model.pass(time);
                self.table.expire(self.model.now);
            }
            other => unreachable!("{other:?} is not the mover's"),
        }
    }

    /// The requests that name a bridge by its id and are done or refused.
    fn ask_about(&mut self, call: Call) {
        let (who, which) = match call {
            Call::Unmap(who, which) | Call::Close(who, which) | Call::Adopt(who, which) => {
                (who, which)
            }
            Call::Protect(who, which, _)
            | Call::Agree(who, which, _)
            | Call::Refuse(who, which, _) => (who, which),
            other => unreachable!("{other:?} is no such request"),
        };
        let (life, id) = (self.model.life(who), self.model.id(which));
        let number = |back: u32| self.model.freeze_number(id).wrapping_sub(back);
        let request = match call {
            Call::Unmap(..) => Request::Unmap(id),
            Call::Close(..) => Request::Close(id),
            Call::Adopt(..) => Request::Adopt(id),
            Call::Protect(_, _, rights) => Request::Protect(id, rights),
            Call::Agree(_, _, back) => Request::Agree(id, number(back)),
            Call::Refuse(_, _, back) => Request::Refuse(id, number(back)),
            other => unreachable!("{other:?} is no such request"),
        };
        let right = match request {
            Request::Unmap(id) => self.model.unmap(life, id),
            Request::Close(id) => self.model.close(life, id),
            Request::Adopt(id) => self.model.adopt(life, id),
            Request::Protect(id, rights) => self.model.protect(life, id, rights),
            Request::Agree(id, freeze) => self.model.agree(life, id, freeze),
            Request::Refuse(id, freeze) => self.model.refuse(life, id, freeze),
            other => unreachable!("{other:?} is no such request"),
        };
        self.ask(life, request, right.map(|()| id));
    }

    /// Asks by way of the message's bytes, as a vnode does.
    fn ask(&mut self, life: Life, request: Request, right: Result<Id, Error>) {
        let payload = request.to_record().to_bytes();
        let parsed = Request::from_record(&RequestRecord::from_bytes(&payload)).unwrap();
        assert_eq!(parsed, request);
        assert_eq!(self.table.serve(life, &parsed), right.map(Answer::Done));
    }

    fn create(&mut self, who: Who, key: Key, granules: u64, rights: Rights, follow: Follow) {
        let life = self.model.life(who);
        let create = Create {
            key,
            size: granules * GRANULE,
            rights,
            follow,
        };
        let right = self.model.may_create(life, &create);
        match self.table.serve(life, &Request::Create(create)) {
            Ok(Answer::NeedsMemory(id, size)) => {
                assert_eq!((right, size), (Ok(()), create.size));
                self.model.reserve(id, life, &create);
            }
            Ok(other) => unreachable!("{other:?} is no answer to this"),
            Err(error) => assert_eq!(right, Err(error)),
        }
    }

    /// BR-43: after an error the memory is still the caller's.
    fn provide(&mut self, which: usize) {
        let id = self.model.reserved(which);
        let size = self.model.size(id);
        let Some(range) = self.pool.allocate(size) else {
            return;
        };
        let right = self.model.provide(id, range);
        assert_eq!(self.table.provide(id, range), right);
        if right.is_err() {
            self.pool.free(range);
        }
    }

    fn map(&mut self, who: Who, which: usize) {
        let (life, id) = (self.model.life(who), self.model.id(which));
        let right = self.model.map(life, id);
        match self.table.serve(life, &Request::Map(id)) {
            Ok(Answer::Mapped(grant)) => {
                let payload = GrantRecord::from(&grant);
                assert_eq!(Grant::try_from(&payload), Ok(grant));
                assert_eq!(right, Ok(grant));
            }
            Ok(other) => unreachable!("{other:?} is no answer to this"),
            Err(error) => assert_eq!(right, Err(error)),
        }
    }

    /// BR-46 to BR-48: what may be asked is what may be begun.
    fn resize(&mut self, who: Who, which: usize, size: u64) {
        let (life, id) = (self.model.life(who), self.model.id(which));
        let request = Request::Resize(id, size);
        let payload = request.to_record().to_bytes();
        let parsed = Request::from_record(&RequestRecord::from_bytes(&payload)).unwrap();
        let asked = self.table.serve(life, &parsed);
        let is_so = self.model.size(id) == size;
        let right = self.model.begin_resizing(life, id, size);
        let answer = match is_so {
            true => Answer::Done(id),
            false => Answer::NeedsPlace(id, size),
        };
        assert_eq!(asked, right.map(|_| answer));
        let now = self.model.now;
        assert_eq!(self.table.begin_resizing(life, id, size, now), right);
    }

    fn moved(&mut self, which: usize, is_resized: bool) {
        let id = self.model.id(which);
        let Some(range) = self.pool.allocate(self.model.size(id)) else {
            return;
        };
        let now = self.model.now;
        let (right, result) = if is_resized {
            (
                self.model.resized(id, range),
                self.table.resized(id, range, now),
            )
        } else {
            (
                self.model.moved(id, range),
                self.table.moved(id, range, now),
            )
        };
        assert_eq!(result, right);
        if right.is_err() {
            self.pool.free(range);
        }
    }

    pub(crate) fn die(&mut self, vnode: usize) {
        if let Some(life) = self.model.current(vnode) {
            self.table.died(life);
            self.model.die(vnode);
            self.table.died(life);
        }
    }

    fn born(&mut self, vnode: usize) {
        let life = self.model.born(vnode);
        assert_eq!(self.table.born(life), Ok(()));
        assert_eq!(self.table.born(life), Err(Error::Dead));
    }

    pub(crate) fn born_again(&mut self, vnode: usize) -> Life {
        self.born(vnode);
        self.model.current(vnode).unwrap()
    }

    /// BR-53, BR-54: what comes out has been published before, whether or not all has been. Who
    /// cannot be told now is told later (BR-58).
    fn drain(&mut self, full: Vnodes) {
        let mut reached = Vnodes::ALL;
        while let Some(Event { to, id }) = self.table.next_event(reached) {
            if full.has(to) {
                self.table.untold(Event { to, id });
                reached = reached.without(to);
                continue;
            }
            let shown = entry::read(&self.memory, id.index).unwrap().unwrap();
            assert!(self.table.entries().any(|entry| entry == shown));
            assert_eq!((shown.id, shown.users[to.index()] != 0), (id, true));
            self.model.told(id, to);
        }
        while let Some(range) = self.table.reclaim() {
            for index in 0..SLOTS as u16 {
                let shown = entry::read(&self.memory, index).unwrap();
                assert!(!shown.is_some_and(|entry| entry.range.overlaps(range)));
            }
            self.model.reclaimed(range);
            self.pool.free(range);
        }
    }

    /// Everything that can be seen is as the model has it.
    pub(crate) fn check(&mut self) {
        self.model.check_invariants(&self.pool);
        let shown: Vec<_> = self.table.entries().collect();
        assert_eq!(shown, self.model.entries());
        for vnode in 0..VNODES {
            assert_eq!(self.table.usage(vnode_id(vnode)), self.model.usage(vnode));
        }
    }

    pub(crate) fn check_published(&mut self) {
        self.table.publish(&self.memory);
        for entry in self.table.entries() {
            assert_eq!(entry::read(&self.memory, entry.id.index), Ok(Some(entry)));
            assert_eq!(entry::find(&self.memory, &entry.key), Some(entry));
        }
        let all = (0..SLOTS as u16).filter_map(|at| entry::read(&self.memory, at).unwrap());
        assert_eq!(all.count(), self.table.entries().count());
        self.drain(Vnodes::NONE);
        assert!(self.model.all_are_told());
    }

    /// BR-45, BR-61: when all are dead and the mover has stopped, all memory is back.
    pub(crate) fn end(&mut self) {
        for vnode in 0..VNODES {
            self.die(vnode);
        }
        for id in self.model.ids() {
            let right = self.model.thaw(id);
            assert_eq!(self.table.thaw(id, self.model.now), right);
        }
        self.check();
        self.check_published();
        assert_eq!(self.table.entries().count(), 0);
        self.pool.check_is_whole();
    }
}
