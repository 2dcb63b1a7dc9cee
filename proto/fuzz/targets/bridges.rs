// SPDX-License-Identifier: GPL-2.0

//! What vnodes ask of the root about bridges, as bytes of a message, in any order, with deaths and
//! moves in between (docs/bridges-and-portals.md).
//!
//! Whatever they ask, no memory has two owners, none is lost, and the registry shows what is so.

#![no_main]

use adeos_proto::bridge::entry::{self, Entry};
use adeos_proto::bridge::request::{
    Answer, EventRecord, GrantRecord, Request, RequestRecord, VERSION,
};
use adeos_proto::bridge::table::{Grant, Table};
use adeos_proto::bridge::{mode, Id, Vnodes};
use adeos_proto::id::{Life, PhysRange, VnodeId};
use adeos_proto::layout::GRANULE;
use hostile::{life, registry, Input, Memory};

const BRIDGES: usize = 5;
const VNODES: u32 = 4;
const GRANULES: usize = 24;
const NAMES: [&str; 3] = ["wire", "x.1", "bad name"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    let mut root = Root::new();
    while !input.is_over() {
        root.step(&input);
        root.check();
    }
    root.end(&input);
});

/// Pieces of the pool: whose they are.
struct Pool([bool; GRANULES]);

impl Pool {
    fn allocate(&mut self, size: u64) -> Option<PhysRange> {
        let count = usize::try_from(size / GRANULE).ok()?;
        let mut starts = 0..GRANULES.checked_sub(count)? + 1;
        let start = starts.find(|start| {
            let mut piece = self.0.iter().skip(*start).take(count);
            piece.all(|used| !used)
        })?;
        let range = PhysRange::new(start as u64 * GRANULE, size)?;
        self.mark(range, true);
        Some(range)
    }

    fn mark(&mut self, range: PhysRange, is_used: bool) {
        let first = (range.base() / GRANULE) as usize;
        let count = (range.size() / GRANULE) as usize;
        for piece in self.0.iter_mut().skip(first).take(count) {
            assert_ne!(*piece, is_used, "given or taken twice");
            *piece = is_used;
        }
    }
}

struct Root {
    table: Table<BRIDGES>,
    registry: Memory<'static>,
    pool: Pool,
    now_us: u64,
    generations: [u32; VNODES as usize],
    /// Bridges that wait for memory.
    reserved: Vec<(Id, u64)>,
    /// Those that wait for another size, and who has asked.
    resizing: Vec<(Life, Id, u64)>,
}

impl Root {
    fn new() -> Self {
        let mut root = Self {
            table: Table::new(),
            registry: registry(),
            pool: Pool([false; GRANULES]),
            now_us: 0,
            generations: [0; VNODES as usize],
            reserved: Vec::new(),
            resizing: Vec::new(),
        };
        (0..VNODES).for_each(|number| root.born(number));
        root
    }

    fn born(&mut self, number: u32) {
        if let Some(generation) = self.generations.get_mut(number as usize) {
            *generation += 1;
            let _ = self.table.born(life(number, *generation));
        }
    }

    fn step(&mut self, input: &Input<'_>) {
        let number = u32::from(input.byte()) % VNODES;
        let current = self.generations.get(number as usize).copied();
        let from = life(number, current.unwrap_or(0));
        match input.byte() % 16 {
            0 => self.table.died(from),
            1 => self.born(number),
            2 => drop(
                self.table
                    .freeze(id(input), self.now_us, input.byte().into()),
            ),
            3 => self.relocate(id(input)),
            4 => drop(self.table.thaw(id(input), self.now_us)),
            5 => {
                self.now_us += u64::from(input.byte());
                self.table.expire(self.now_us);
            }
            6 => self.provide(input),
            7 => self.follow_up(input),
            9 => self.resize(input),
            // What an earlier life has left in a mailbox.
            8 => self.serve(life(number, from.generation.0.wrapping_sub(1)), input),
            _ => self.serve(from, input),
        }
    }

    fn serve(&mut self, from: Life, input: &Input<'_>) {
        let record = RequestRecord::from_bytes(&payload(input));
        let Ok(request) = Request::from_record(&record) else {
            return;
        };
        let again = Request::from_record(&request.to_record());
        assert_eq!(again, Ok(request));
        match self.table.serve(from, &request) {
            Ok(Answer::NeedsMemory(id, size)) => self.reserved.push((id, size)),
            Ok(Answer::NeedsPlace(id, size)) => self.resizing.push((from, id, size)),
            Ok(Answer::Mapped(grant)) => {
                assert_eq!(Grant::try_from(&GrantRecord::from(&grant)), Ok(grant));
                let mut pieces = self
                    .pool
                    .0
                    .iter()
                    .skip((grant.range.base() / GRANULE) as usize);
                assert_eq!(pieces.next(), Some(&true));
            }
            Ok(Answer::Done(_)) | Err(_) => {}
        }
    }

    /// Memory for a bridge that waits for it, if there is any; its creator may have died.
    fn provide(&mut self, input: &Input<'_>) {
        let which = input.below(self.reserved.len());
        if which >= self.reserved.len() {
            return;
        }
        let (id, size) = self.reserved.swap_remove(which);
        match self.pool.allocate(size) {
            Some(range) => {
                if self.table.provide(id, range).is_err() {
                    self.pool.mark(range, false);
                }
            }
            None => drop(self.table.cancel(id)),
        }
    }

    /// Memory for a bridge that is to have another size; whatever has happened since it was asked for.
    fn resize(&mut self, input: &Input<'_>) {
        let which = input.below(self.resizing.len());
        if which >= self.resizing.len() {
            return;
        }
        let (from, id, size) = self.resizing.swap_remove(which);
        let Some(to) = self.pool.allocate(size) else {
            return;
        };
        let begun = self.table.begin_resizing(from, id, size, self.now_us);
        if begun.is_err() || self.table.resized(id, to, self.now_us).is_err() {
            self.pool.mark(to, false);
        }
    }

    fn relocate(&mut self, id: Id) {
        let entry = self.table.entries().find(|entry| entry.id == id);
        let size = entry.map_or(GRANULE, |entry| entry.range.size());
        let Some(to) = self.pool.allocate(size) else {
            return;
        };
        if self.table.moved(id, to, self.now_us).is_err() {
            self.pool.mark(to, false);
        }
    }

    fn follow_up(&mut self, input: &Input<'_>) {
        self.table.publish(&self.registry);
        // Some are told, and some cannot be and are told again.
        for _ in 0..3 {
            if let Some(event) = self.table.next_event(Vnodes(input.u16())) {
                assert!(self.table.entries().any(|entry| entry.id == event.id));
                assert_eq!(EventRecord::new(event.id).id(), Some(event.id));
                self.table.untold(event);
            }
        }
        while let Some(range) = self.table.reclaim() {
            self.pool.mark(range, false);
        }
        for shown in self.table.entries() {
            assert_eq!(entry::read(&self.registry, shown.id.index), Ok(Some(shown)));
        }
    }

    fn check(&self) {
        let all: Vec<Entry> = self.table.entries().collect();
        for (position, one) in all.iter().enumerate() {
            let mut others = all.iter().skip(position + 1);
            assert!(!others.any(|other| other.range.overlaps(one.range) || other.key == one.key));
        }
        let owned = VnodeId::all().map(|vnode| self.table.usage(vnode).bridges);
        assert!(owned.map(usize::from).sum::<usize>() <= BRIDGES);
    }

    /// Everybody dies and the mover stops: all memory is back.
    fn end(&mut self, input: &Input<'_>) {
        for (number, generation) in (0..VNODES).zip(self.generations) {
            self.table.died(life(number, generation));
        }
        for index in 0..BRIDGES as u16 {
            for serial in 0..=u32::from(u8::MAX) {
                let _ = self.table.thaw(Id { index, serial }, self.now_us);
            }
        }
        self.follow_up(input);
        assert_eq!(self.table.entries().count(), 0);
        assert!(self.pool.0.iter().all(|used| !used), "memory is lost");
    }
}

fn id(input: &Input<'_>) -> Id {
    let choice = input.byte();
    Id {
        index: u16::from(choice) % (BRIDGES as u16 + 1),
        serial: u32::from(choice >> 4),
    }
}

/// The payload of a message: any bytes, or some that are nearly right.
fn payload(input: &Input<'_>) -> [u8; RequestRecord::SIZE] {
    if input.byte() % 16 == 0 {
        return input.array();
    }
    let (id, choice) = (id(input), input.byte());
    let mut name = [0; 32];
    let text = NAMES.get(usize::from(choice) % 4).unwrap_or(&"");
    for (to, from) in name.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    RequestRecord {
        version: VERSION,
        operation: u16::from(input.byte() % 11),
        access: u16::from(choice >> 2 & 3),
        follow: u16::from(choice >> 4 & 3),
        mode: if choice >= 0xc0 {
            input.u16()
        } else {
            mode::ALL
        },
        readers: u16::MAX,
        writers: u16::MAX,
        index: id.index,
        serial: id.serial,
        freeze: u32::from(input.byte() % 4),
        scope: u32::from(input.byte() % 4),
        vnode: u32::from(input.byte() % 5),
        size: u64::from(input.byte() % 4) * GRANULE,
        name,
        label: [input.u64(), 0],
        reserved: 0,
    }
    .to_bytes()
}
