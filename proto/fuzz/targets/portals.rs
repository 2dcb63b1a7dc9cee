// SPDX-License-Identifier: GPL-2.0

//! A receiver of portals whose inbox a peer scribbles in (docs/bridges-and-portals.md, PO-n).
//!
//! Vnode 2 is honest, and the peer keeps out of its word: none of its raises is lost, and none is
//! made up.

#![no_main]

use adeos_proto::id::VnodeId;
use adeos_proto::layout::slot::{INBOX, INBOX_STRIDE};
use adeos_proto::portal::allocator::{Allocator, Owner, Portal};
use adeos_proto::portal::{self, inbox, local, Number, Stage};
use hostile::{at, vnode, Input, Memory};
use std::collections::BTreeMap;

const HONEST: u32 = 2;

/// Each of sixteen words is looked at, and exchanged.
const MOST: usize = 16 * 2;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    let words = at(INBOX, 16 * INBOX_STRIDE);
    let mut slot = Memory::quiet(words.end);
    let honest = inbox(vnode(HONEST));
    let reach = vec![words.start..honest, honest + 8..words.end];
    slot.disturb(&input, reach, vec![inbox(vnode(1)), inbox(vnode(0))]);
    slot.role(&[], &[words]);
    let mut receiver = Receiver {
        slot: &slot,
        local: Memory::quiet(local::SIZE),
        allocator: Allocator::new(),
        owned: Vec::new(),
        raised: 0,
        raises: BTreeMap::new(),
        unsure: 0,
    };
    while !input.is_over() {
        receiver.step(&input);
    }
    portal::mask(&receiver.local, u64::MAX);
    let _ = portal::unmask(&receiver.local, Stage::Ahead, u64::MAX);
    receiver.take();
    assert_eq!(receiver.raised & !receiver.unsure, 0, "raises are lost");
});

struct Receiver<'a> {
    slot: &'a Memory<'a>,
    local: Memory<'a>,
    allocator: Allocator,
    owned: Vec<Portal>,
    /// What vnode 2 has raised and nobody has taken since.
    raised: u64,
    /// How often it has raised what, less how often that was delivered.
    raises: BTreeMap<Number, u32>,
    /// Portals that had several owners: raises for the one before are forgotten.
    unsure: u64,
}

impl Receiver<'_> {
    fn step(&mut self, input: &Input<'_>) {
        let Some(number) = Number::new(u32::from(input.byte() % 64)) else {
            return;
        };
        match input.byte() % 8 {
            0 => {
                let _ = portal::raise(self.slot, vnode(HONEST), number);
                self.raised |= number.bit();
                *self.raises.entry(number).or_default() += 1;
            }
            1 => self.take(),
            2 => self.claim(vnode(u32::from(input.byte() % 3)), input.u64()),
            3 => portal::mask(&self.local, input.u64()),
            4 => self.unmask(input),
            5 => {
                let from = vnode(u32::from(input.byte() % 16));
                let pulled = portal::pull(self.slot, &self.local, from);
                self.delivered(from, Stage::Ahead, pulled.ahead);
                assert_eq!(
                    pulled.linux & !portal::unmasked(&self.local, Stage::Linux),
                    0
                );
            }
            6 => {
                self.unsure |= number.bit();
                let allocated = self.allocator.take(&self.local, Owner("one"), number);
                self.owned.extend(allocated);
            }
            _ => self.release(input),
        }
    }

    /// A portal is unmasked in one stage at most.
    fn unmask(&mut self, input: &Input<'_>) {
        let portals = input.u64();
        portal::mask(&self.local, portals);
        let stage = match input.yes() {
            true => Stage::Ahead,
            false => Stage::Linux,
        };
        let _ = portal::unmask(&self.local, stage, portals);
    }

    fn take(&mut self) {
        self.slot.accesses();
        let mut taken = Vec::new();
        let left = portal::take(self.slot, &self.local, |from, portals| {
            taken.push((from, portals));
        });
        assert!(self.slot.accesses() <= MOST);
        assert_eq!(left & !portal::unmasked(&self.local, Stage::Linux), 0);
        for (from, portals) in taken {
            self.delivered(from, Stage::Ahead, portals);
        }
    }

    fn claim(&mut self, from: VnodeId, among: u64) {
        let portals = portal::claim(&self.local, from, Stage::Linux, among);
        assert_eq!(portals & !among, 0);
        self.delivered(from, Stage::Linux, portals);
    }

    /// What is masked is not delivered, nor more than vnode 2 has raised.
    fn delivered(&mut self, from: VnodeId, stage: Stage, portals: u64) {
        assert_eq!(portals & !portal::unmasked(&self.local, stage), 0);
        if from != vnode(HONEST) {
            return;
        }
        for number in Number::all_of(portals & !self.unsure) {
            let raises = self.raises.entry(number).or_default();
            assert!(*raises > 0, "delivered more often than raised");
            *raises -= 1;
        }
        // What was raised again meanwhile is still to come.
        let again = word(self.slot, inbox(from)) | word(&self.local, local::HELD + 8 * 2);
        self.raised &= !portals | again;
    }

    /// A release in two halves, and a second one that is refused.
    fn release(&mut self, input: &Input<'_>) {
        let which = input.below(self.owned.len());
        if which >= self.owned.len() {
            return;
        }
        let portal = self.owned.swap_remove(which);
        assert_eq!(self.allocator.release(&self.local, portal), Ok(()));
        assert_eq!(self.allocator.owner(portal.number), None);
        assert_eq!(self.allocator.finish(portal), Ok(()));
        assert!(self.allocator.finish(portal).is_err());
    }
}

fn word(memory: &Memory<'_>, offset: usize) -> u64 {
    let bytes = memory.copy(at(offset, 8));
    let bytes = bytes.first_chunk().copied();
    bytes.map_or(0, u64::from_le_bytes)
}
