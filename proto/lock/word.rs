// SPDX-License-Identifier: GPL-2.0

//! The numbers of which a lock consists (IL-4, IL-5). Every pattern of bits has a meaning here,
//! so that what a peer scribbles is a wrong answer and never a wrong access.

use super::{layout, Entry};
use crate::id::{Generation, Life, VnodeId};

/// Bits 0 to 31 are the owner's generation, 32 to 39 its vnode.
const VNODE_SHIFT: u32 = 32;
/// Bits 40 to 47 are marks, of which only this one has a meaning.
const INCONSISTENT: u64 = 1 << 40;
const MARKS: u64 = 0xff << 40;
/// Bits 48 to 63 count the changes of the word.
const COUNT_SHIFT: u32 = 48;
const ONE_CHANGE: u64 = 1 << COUNT_SHIFT;
const COUNT: u64 = 0xffff << COUNT_SHIFT;

/// Offset of a vnode's place.
pub(super) fn place(vnode: VnodeId) -> usize {
    layout::PLACES.wrapping_add(vnode.index().wrapping_mul(8))
}

/// Who is in the owner word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Nobody,
    Life(Life),
    Nonsense,
}

/// The owner word.
///
/// Each change counts, so that an exchange whose user looked at the places in between does not
/// succeed on a word that was taken and freed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    pub(super) fn holder(self) -> Holder {
        let vnode = (self.0 >> VNODE_SHIFT) as u8;
        let generation = Generation(self.0 as u32);
        if self.0 & MARKS & !INCONSISTENT != 0 {
            return Holder::Nonsense;
        }
        match (VnodeId::new(u32::from(vnode)), generation) {
            (Some(VnodeId::ROOT), Generation(0)) => Holder::Nobody,
            (None, _) | (_, Generation(0)) => Holder::Nonsense,
            (Some(vnode), generation) => Holder::Life(Life { vnode, generation }),
        }
    }

    pub(super) fn entry(self) -> Entry {
        if self.0 & INCONSISTENT == 0 {
            Entry::Consistent
        } else {
            Entry::MaybeInconsistent
        }
    }

    /// The same word with this mark.
    pub(super) fn marked(self, entry: Entry) -> Self {
        let owner = self.0 & !(MARKS | COUNT);
        self.changed(owner, entry)
    }

    pub(super) fn freed(self, entry: Entry) -> Self {
        self.changed(0, entry)
    }

    pub(super) fn held_by(self, life: Life) -> Self {
        let vnode = u64::from(life.vnode.number()) << VNODE_SHIFT;
        self.changed(vnode | u64::from(life.generation.0), self.entry())
    }

    /// How often the word has changed, modulo 2^16.
    pub(super) fn changes(self) -> u16 {
        (self.0 >> COUNT_SHIFT) as u16
    }

    fn changed(self, owner: u64, entry: Entry) -> Self {
        let mark = match entry {
            Entry::Consistent => 0,
            Entry::MaybeInconsistent => INCONSISTENT,
        };
        Self(owner | mark | (self.0 & COUNT).wrapping_add(ONE_CHANGE))
    }
}

/// A place in which somebody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) life: Life,
    pub(super) ticket: u32,
}

impl Place {
    pub(super) const fn new(life: Life, ticket: u32) -> Self {
        Self { life, ticket }
    }

    /// Reads the place of a vnode; generation 0 waits for nothing.
    pub(super) fn parse(vnode: VnodeId, raw: u64) -> Option<Self> {
        let generation = Generation(raw as u32);
        let ticket = (raw >> 32) as u32;
        (generation.0 != 0).then(|| Self::new(Life { vnode, generation }, ticket))
    }

    pub(super) fn raw(self) -> u64 {
        u64::from(self.ticket) << 32 | u64::from(self.life.generation.0)
    }

    /// How far the ticket is from the one that was served last. Tickets run freely, so only
    /// distances are compared. Negative for a waiter that took its ticket long before it
    /// published it; it goes first.
    pub(super) fn distance(self, served: u32) -> i32 {
        self.ticket.wrapping_sub(served) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IL-2: zeros are a lock that is free, that nobody waits for, and whose data are consistent.
    #[test]
    fn zeros_are_a_free_lock() {
        assert_eq!(Word(0).holder(), Holder::Nobody);
        assert_eq!(Word(0).entry(), Entry::Consistent);
        assert_eq!(Place::parse(VnodeId::ROOT, 0), None);
    }

    /// IL-5, IL-6.
    #[test]
    fn a_place_is_a_generation_and_a_ticket_that_wraps() {
        let vnode = VnodeId::new(3).unwrap();
        let place = Place::parse(vnode, 0xffff_fffe_0000_0007).unwrap();
        let generation = Generation(7);
        assert_eq!(place.life, Life { vnode, generation });
        assert_eq!(
            (place.ticket, place.raw()),
            (u32::MAX - 1, 0xffff_fffe_0000_0007)
        );
        assert_eq!(Place::parse(vnode, 0xffff_fffe_0000_0000), None);
        assert_eq!((place.distance(u32::MAX - 3), place.distance(1)), (2, -3));
    }

    /// IL-4: what is no owner is recognised as such, and the count never gets into the rest.
    #[test]
    fn every_pattern_has_a_meaning() {
        let life = Life {
            vnode: VnodeId::new(15).unwrap(),
            generation: Generation(u32::MAX),
        };
        let held = Word(COUNT | INCONSISTENT).held_by(life);
        assert_eq!(held.holder(), Holder::Life(life));
        assert_eq!(held.entry(), Entry::MaybeInconsistent);
        assert_eq!(held.marked(Entry::Consistent).holder(), Holder::Life(life));
        assert_eq!(held.freed(Entry::Consistent).0, ONE_CHANGE);
        assert_eq!((held.changes(), Word(COUNT).changes()), (0, u16::MAX));
        for nonsense in [
            1 << VNODE_SHIFT,
            16 << VNODE_SHIFT | 1,
            1 << 41 | 1,
            1 << 47,
        ] {
            assert_eq!(Word(nonsense).holder(), Holder::Nonsense);
        }
    }
}
