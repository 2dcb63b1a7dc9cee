// SPDX-License-Identifier: GPL-2.0

//! The world that the tests of bridges run in: a table, its registry, a pool, and random calls.

#[path = "bridge_model.rs"]
mod bridge_model;

use crate::cells::Cells;
use adeos_proto::bridge::account::Quota;
use adeos_proto::bridge::entry::{self, Entry, ENTRIES, ENTRY_SIZE};
use adeos_proto::bridge::request::RequestRecord;
use adeos_proto::bridge::table::{Create, Table};
use adeos_proto::bridge::{
    mode, Access, BridgeName, Follow, Id, Key, Label, Phase, Rights, Scope, Vnodes,
};
use adeos_proto::id::{Generation, Life, PhysRange, VnodeId};
use adeos_proto::window::Window;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};

pub(crate) use adeos_proto::layout::GRANULE;
use bridge_model::Model;

/// Places of the table, so few that it is full now and then.
pub(crate) const SLOTS: usize = 5;
/// Vnodes that take part.
pub(crate) const VNODES: usize = 4;
const GRANULES: usize = 24;

pub(crate) fn vnode_id(vnode: usize) -> VnodeId {
    VnodeId::new(vnode as u32).unwrap()
}

pub(crate) fn range(first: u64, count: u64) -> PhysRange {
    PhysRange::new(first * GRANULE, count * GRANULE).unwrap()
}

pub(crate) fn quota(bridges: u16, granules: u64) -> Quota {
    Quota {
        bridges,
        bytes: granules * GRANULE,
    }
}

/// Who asks: a vnode, or what an earlier life of it has left in a mailbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) vnode: usize,
    pub(crate) is_stale: bool,
}

pub(crate) fn any_who() -> impl Strategy<Value = Who> {
    (0..VNODES, prop::bool::weighted(0.05)).prop_map(|(vnode, is_stale)| Who { vnode, is_stale })
}

pub(crate) fn any_key() -> impl Strategy<Value = Key> {
    let scope = prop_oneof![
        3 => Just(Scope::Global),
        2 => (0..VNODES).prop_map(|vnode| Scope::Local(vnode_id(vnode))),
    ];
    (scope, prop::sample::select(vec!["wire", "x.1"])).prop_map(|(scope, name)| Key {
        scope,
        name: BridgeName::new(name).unwrap(),
    })
}

pub(crate) fn any_rights() -> impl Strategy<Value = Rights> {
    let modes = prop_oneof![4 => Just(mode::ALL), 1 => 0..mode::ALL * 2 + 1];
    let set = || prop_oneof![2 => Just(Vnodes::ALL), 1 => any::<u16>().prop_map(Vnodes)];
    (modes, set(), set(), any::<Label>()).prop_map(|(mode, readers, writers, label)| Rights {
        mode,
        readers,
        writers,
        label,
    })
}

pub(crate) fn any_access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::Read), Just(Access::Write)]
}

pub(crate) fn any_follow() -> impl Strategy<Value = Follow> {
    prop_oneof![6 => Just(Follow::Moves), 1 => Just(Follow::Stays)]
}

/// The payload of a message: any bytes, or some that are nearly right.
pub(crate) fn any_payload() -> impl Strategy<Value = [u8; 96]> {
    let near = (
        any_key(),
        0..12u16,
        0..4u16,
        0..4u16,
        0..7u16,
        0..4u32,
        0..4u32,
        0..4u64,
    );
    let near = near.prop_map(
        |(key, operation, access, follow, index, serial, freeze, size)| {
            let record = RequestRecord {
                version: adeos_proto::bridge::request::VERSION,
                operation,
                access,
                follow,
                mode: mode::ALL,
                readers: u16::MAX,
                writers: u16::MAX,
                index,
                serial,
                freeze,
                scope: if key.scope == Scope::Global { 1 } else { 2 },
                vnode: serial,
                size: size * GRANULE,
                name: key.name.field(),
                label: [size, 1],
                reserved: 0,
            };
            record.to_bytes()
        },
    );
    prop_oneof![8 => near, 1 => any::<[u8; 96]>()]
}

/// The memory that bridges get: who has which granule.
pub(crate) struct Pool([bool; GRANULES]);

impl Pool {
    pub(crate) fn allocate(&mut self, size: u64) -> Option<PhysRange> {
        let count = (size / GRANULE) as usize;
        let is_free = |first: &usize| self.0[*first..first + count].iter().all(|used| !used);
        let first = (0..=GRANULES - count).find(is_free).filter(|_| count > 0)?;
        self.0[first..first + count].fill(true);
        Some(range(first as u64, count as u64))
    }

    /// BR-45: what is given back was given out, and comes back once.
    pub(crate) fn free(&mut self, range: PhysRange) {
        let part = (range.base() / GRANULE) as usize..(range.end() / GRANULE) as usize;
        assert!(self.0[part.clone()].iter().all(|used| *used), "freed twice");
        self.0[part].fill(false);
    }

    pub(crate) fn used(&self) -> u64 {
        self.0.iter().filter(|used| **used).count() as u64 * GRANULE
    }

    pub(crate) fn check_is_whole(&self) {
        assert_eq!(self.used(), 0, "memory is lost");
    }
}

/// A root with its table, what it has published, and the model of it all.
pub(crate) struct World {
    pub(crate) table: Table<SLOTS>,
    pub(crate) memory: Cells,
    pub(crate) pool: Pool,
    pub(crate) model: Model,
}

impl World {
    /// A world in which every vnode lives its first life.
    pub(crate) fn new() -> Self {
        let mut world = Self {
            table: Table::new(),
            memory: Cells::new(entry::SIZE),
            pool: Pool([false; GRANULES]),
            model: Model::new(),
        };
        entry::format(&world.memory);
        for vnode in 0..VNODES {
            let life = world.model.born(vnode);
            world.table.born(life).unwrap();
        }
        world
    }

    /// A movable bridge in the first granule that vnodes 1, its owner, and 2 have mapped.
    pub(crate) fn shared(&mut self) -> (Id, Life, Life) {
        let [owner, user] = [1, 2].map(|vnode| self.model.current(vnode).unwrap());
        let create = Create {
            key: uniform_entry(1).key,
            size: GRANULE,
            rights: uniform_entry(1).rights,
            follow: Follow::Moves,
        };
        let id = self.table.reserve(owner, &create).unwrap();
        self.table.provide(id, range(0, 1)).unwrap();
        let opened = self
            .table
            .open(user, &create.key, Access::Write, Follow::Moves);
        assert_eq!(opened, Ok(id));
        self.table.map(owner, id).unwrap();
        self.table.map(user, id).unwrap();
        (id, owner, user)
    }
}

/// An entry in which every field that can be tells the number, so that a mixture shows.
pub(crate) fn uniform_entry(number: u32) -> Entry {
    let name = BridgeName::new(&format!("n{number}")).unwrap();
    Entry {
        id: Id {
            index: 3,
            serial: number,
        },
        key: Key {
            scope: Scope::Global,
            name,
        },
        owner: Life {
            vnode: vnode_id(number as usize % 16),
            generation: Generation(number),
        },
        is_orphan: number % 2 == 0,
        rights: Rights {
            mode: mode::ALL,
            readers: Vnodes::ALL,
            writers: Vnodes::ALL,
            label: [u64::from(number), 1],
        },
        range: range(u64::from(number), u64::from(number)),
        place: number,
        phase: Phase::Settled,
        freeze: number,
        is_movable: number % 2 == 0,
        mapped: Vnodes(number as u16),
        pinned_by: Vnodes(number as u16),
        users: [number; 16],
    }
}

fn word(index: usize, at: usize) -> usize {
    ENTRIES + index * ENTRY_SIZE + at * 8
}

/// Writes a number all over an entry, as a vnode might that has gone mad.
pub(crate) fn scribble_over(memory: &Cells, index: usize, number: u64) {
    scribble_all(memory, index, &[number; 32]);
}

/// Writes words over an entry, the sequence number among them.
pub(crate) fn scribble_all(memory: &Cells, index: usize, words: &[u64]) {
    for (at, number) in words.iter().enumerate() {
        memory.store_release64(word(index, at), *number);
    }
}

/// A window that writes down what is stored, instead of storing it.
pub(crate) struct Recorder<'a> {
    memory: &'a Cells,
    stores: RefCell<Vec<(usize, u64)>>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(memory: &'a Cells) -> Self {
        let stores = RefCell::new(Vec::new());
        Self { memory, stores }
    }

    pub(crate) fn stores(self) -> Vec<(usize, u64)> {
        self.stores.into_inner()
    }
}

/// A reader's window in which a writer does some of its stores before each load.
pub(crate) struct Interleaved<'a> {
    memory: &'a Cells,
    stores: RefCell<std::vec::IntoIter<(usize, u64)>>,
    schedule: Vec<usize>,
    loads: Cell<usize>,
}

impl<'a> Interleaved<'a> {
    pub(crate) fn new(memory: &'a Cells, stores: Vec<(usize, u64)>, schedule: Vec<usize>) -> Self {
        Self {
            memory,
            stores: RefCell::new(stores.into_iter()),
            schedule,
            loads: Cell::new(0),
        }
    }
}

/// The window's calls that an entry has no use for.
macro_rules! unused_calls {
    () => {
        fn size(&self) -> usize {
            self.memory.size()
        }
        fn load_acquire(&self, _: usize) -> u32 {
            unreachable!("an entry is whole words")
        }
        fn store_release(&self, _: usize, _: u32) {
            unreachable!("an entry is whole words")
        }
        fn raise(&self, _: usize, _: u32) {
            unreachable!("an entry has one writer")
        }
        fn fetch_or64(&self, _: usize, _: u64) -> u64 {
            unreachable!("an entry has one writer")
        }
        fn swap64(&self, _: usize, _: u64) -> u64 {
            unreachable!("an entry has one writer")
        }
        fn compare_exchange64(&self, _: usize, _: u64, _: u64) -> Result<u64, u64> {
            unreachable!("an entry has one writer")
        }
        fn read(&self, _: usize, _: &mut [u8]) {
            unreachable!("bytes tear")
        }
        fn write(&self, _: usize, _: &[u8]) {
            unreachable!("bytes tear")
        }
        fn full_barrier(&self) {}
    };
}

impl Window for Recorder<'_> {
    unused_calls!();

    fn load_acquire64(&self, _: usize) -> u64 {
        unreachable!("the root does not read what it has published")
    }

    fn store_release64(&self, offset: usize, value: u64) {
        self.stores.borrow_mut().push((offset, value));
    }
}

impl Window for Interleaved<'_> {
    unused_calls!();

    fn load_acquire64(&self, offset: usize) -> u64 {
        let load = self.loads.get();
        self.loads.set(load + 1);
        let count = self.schedule.get(load).copied().unwrap_or(0);
        for (at, value) in self.stores.borrow_mut().by_ref().take(count) {
            self.memory.store_release64(at, value);
        }
        self.memory.load_acquire64(offset)
    }

    fn store_release64(&self, _: usize, _: u64) {
        unreachable!("readers store nothing")
    }
}
