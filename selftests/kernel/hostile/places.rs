// SPDX-License-Identifier: GPL-2.0

//! Where the hostile vnode stores, and where it does not.
//!
//! `Own` is what is between it and others: its slot, its words in the inboxes of others, its
//! acknowledgement, and the mailboxes to it and from it. That may cost nobody else anything. `All` is,
//! beyond that, what others write for each other; then those cannot talk any more, but they have to
//! live. A place counts as much as any other, whatever its size: so indices are met as often as what
//! they point into.
//!
//! Spared are, in either case:
//!
//! - `state` in a status. Dead is what the root takes a vnode for that says so; who writes that for
//!   another one could as well stop its CPUs with an INIT, from which nothing protects.
//! - `request` in its own boot block, by which it would shut itself down, and the boot blocks of
//!   others. What these say a kernel takes once, when it starts, and nothing else tells it what it is
//!   and where.
//! - All memory but the control area: there is no protection from a kernel that writes to another
//!   kernel's own.

use adeos_proto::bridge::entry;
use adeos_proto::dsp::mailbox::{
    self,
    Layout, //
};
use adeos_proto::id::{
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::layout::{
    channel,
    slot,
    slot_offset,
    BootBlock,
    ConsoleHeader,
    Header,
    Shared,
    Status,
    ANSWERS,
    CLOCK,
    MAILBOXES,
    MEMBERSHIP,
    REGISTRY, //
};
use adeos_proto::membership::layout as views;
use kernel::prelude::*;

/// How far the vnode goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// What is between it and others.
    Own,
    /// What others have between them as well.
    All,
}

/// A range of the control area, in bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

/// Vnodes that the test has, and one more.
const PEERS: usize = 5;

/// A list that is being made.
pub(crate) struct Places(KVec<Place>);

impl Places {
    /// All places that a vnode stores to.
    pub(crate) fn of(me: VnodeId, reach: Reach) -> Result<KVec<Place>> {
        let mut places = Self(KVec::with_capacity(1024, GFP_KERNEL)?);
        for other in VnodeId::all().take(PEERS.min(MAX_VNODES)) {
            if other == me {
                places.own_boot_block(me)?;
            }
            if other == me || reach == Reach::All {
                places.slot(other)?;
            }
            places.number(slot_offset(other) + adeos_proto::portal::inbox(me))?;
            for third in VnodeId::all().take(PEERS) {
                let is_mine = other == me || third == me;
                if other != third && (is_mine || reach == Reach::All) {
                    places.mailbox(other, third)?;
                }
            }
            if other == me || reach == Reach::All {
                let line = other.index() * views::REACHED_STRIDE;
                places.number(MEMBERSHIP.offset + views::REACHED + line)?;
            }
        }
        if reach == Reach::All {
            places.published()?;
        }
        Ok(places.0)
    }

    fn add(&mut self, offset: usize, size: usize) -> Result {
        Ok(self.0.push(Place { offset, size }, GFP_KERNEL)?)
    }

    fn number(&mut self, offset: usize) -> Result {
        self.add(offset, 8)
    }

    fn own_boot_block(&mut self, me: VnodeId) -> Result {
        let base = slot_offset(me) + slot::BOOT;
        let (request, entry) = (BootBlock::OFFSETS.request, BootBlock::OFFSETS.entry);
        self.add(base, request)?;
        self.add(base + entry, BootBlock::SIZE - entry)?;
        self.add(base + slot::APIC_IDS, 64)
    }

    /// A vnode's slot, but for its boot block and its state.
    fn slot(&mut self, vnode: VnodeId) -> Result {
        let base = slot_offset(vnode);
        let state = Status::OFFSETS.state;
        self.add(base + slot::STATUS, state)?;
        self.add(base + slot::STATUS + state + 4, Status::SIZE - state - 4)?;
        self.add(base + slot::BEATS, 64)?;
        self.number(base + slot::QUESTION)?;
        for from in VnodeId::all() {
            self.number(base + adeos_proto::portal::inbox(from))?;
        }
        if vnode.is_root() {
            return Ok(());
        }
        self.add(base + slot::CONSOLE, ConsoleHeader::SIZE)?;
        self.add(base + slot::CONSOLE_DATA, slot::CONSOLE_SIZE)?;
        for index in 0..channel::COUNT {
            self.channel(base + slot::CHANNELS + index * channel::STRIDE)?;
        }
        Ok(())
    }

    fn channel(&mut self, base: usize) -> Result {
        for offset in [
            channel::ROOT_SESSION,
            channel::VNODE_SESSION,
            channel::DOWN,
            channel::DOWN + 0x40,
            channel::UP,
            channel::UP + 0x40,
        ] {
            self.number(base + offset)?;
        }
        self.add(base + channel::DOWN_DATA, channel::DOWN_SIZE)?;
        self.add(base + channel::UP_DATA, channel::UP_SIZE)
    }

    fn mailbox(&mut self, from: VnodeId, to: VnodeId) -> Result {
        let ring = Layout::of(from, to);
        let base = MAILBOXES.offset;
        for offset in [ring.tag, ring.head, ring.tail] {
            self.number(base + offset)?;
        }
        let end = ring.tag + mailbox::SIZE;
        self.add(base + ring.messages, end - ring.messages)
    }

    /// What the root publishes.
    fn published(&mut self) -> Result {
        self.add(0, Header::SIZE)?;
        let whole = |part: Shared| (part.offset, part.size);
        for (offset, size) in [whole(CLOCK), whole(ANSWERS)] {
            self.add(offset, size)?;
        }
        let (membership, _) = whole(MEMBERSHIP);
        self.number(membership + views::LATEST)?;
        self.add(membership + views::VIEWS, views::REACHED - views::VIEWS)?;
        let (registry, size) = whole(REGISTRY);
        self.add(registry, entry::ENTRIES)?;
        // The first entries are the ones that are used.
        self.add(registry + entry::ENTRIES, 8 * entry::ENTRY_SIZE)?;
        self.add(registry, size)
    }
}
