// SPDX-License-Identifier: GPL-2.0

//! Who is a member of the cluster: numbered views that the root publishes and all acknowledge.
//!
//! A view is the set of lives that take part, with a number that counts from 1. The root alone
//! makes views ([`publisher`]); each vnode takes them one after the other from shared memory
//! ([`observer`]) and says how far it has come, so the root knows when all have let go of a life
//! that has ended. Nothing is sent while nothing changes. This is the agreement that the paper's
//! section 4, "Distributed sharing protocol", asks for; docs/dsp.md section 6 is the
//! specification.
//!
//! It does not find out who has died: that is for [`crate::liveness`] and [`crate::lifecycle`].

pub mod observer;
pub mod publisher;

use crate::bits;
use crate::id::{Generation, Life, VnodeId, MAX_VNODES};
use crate::record;
use crate::window::Window;

/// Views that stay readable: an observer that falls behind by as many is too slow.
pub const HISTORY: u64 = 32;

/// Bytes of one view.
const ENTRY: usize = ViewRecord::SIZE;

/// Offsets from the start of the structure. The first part has one writer, the root; the
/// acknowledgements have a cache line per vnode and begin on a page of their own.
pub mod layout {
    use super::{ENTRY, HISTORY, MAX_VNODES};

    /// `u64`, the root writes: number of the latest view; 0 before the first.
    pub const LATEST: usize = 0x0000;
    /// The latest [`HISTORY`] views; the root writes. View n lies at n modulo their number.
    pub const VIEWS: usize = 0x0080;
    /// `u64` per vnode, that vnode writes (before a life: the root, zero): the view that it has
    /// reached.
    pub const REACHED: usize = 0x2000;
    /// Bytes from one vnode's word to the next: a cache line each.
    pub const REACHED_STRIDE: usize = 64;
    /// Bytes of the structure, whole pages.
    pub const SIZE: usize = 0x3000;

    const _: () = assert!(VIEWS + HISTORY as usize * ENTRY <= REACHED);
    const _: () = assert!(REACHED + MAX_VNODES * REACHED_STRIDE <= SIZE);
    const _: () = assert!(HISTORY.is_power_of_two());
    const _: () = assert!(VIEWS % ENTRY == 0);
}

record! {
    /// A view as it lies in shared memory. Every number is loaded and stored as part of an
    /// aligned `u64`.
    pub struct ViewRecord: 128 {
        /// Number of the view; 0 while the root writes another one over it.
        number: u64,
        /// Bit n: vnode n is a member.
        members: u32,
        /// What has changed since the view before: 1 joined, 2 left, 3 died.
        change: u16,
        /// Whom the change concerns.
        vnode: u16,
        /// Which life of it.
        generation: u32,
        /// Why it died (see [`crate::layout::cause`]); 0 otherwise.
        cause: u32,
        /// Zero.
        reserved: u64,
        /// Generation of each member; 0 for the others.
        generations: [u32; 16],
        /// Zero.
        reserved2: [u64; 4],
    }
}

/// What makes a view differ from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This life has become a member.
    Joined(Life),
    /// It has gone in good order.
    Left(Life),
    /// It has ended otherwise; the number is one of [`crate::layout::cause`].
    Died(Life, u32),
}

/// A view, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    number: u64,
    change: Change,
    generations: [u32; MAX_VNODES],
}

/// Bits of vnodes: bit n stands for vnode n.
pub type Mask = u16;

/// The bit of a vnode.
pub const fn bit(vnode: VnodeId) -> Mask {
    (1 as Mask).wrapping_shl(vnode.number())
}

/// The vnodes of a set, in the order of their numbers.
pub fn each(mask: Mask) -> impl Iterator<Item = VnodeId> {
    // As many bits as vnodes.
    bits::each(mask.into()).filter_map(|number| VnodeId::new(number as u32))
}

/// Whether a vnode is in a set.
pub const fn has(mask: Mask, vnode: VnodeId) -> bool {
    mask & bit(vnode) != 0
}

impl View {
    /// What a life has before its first view: number 0, without members.
    pub const fn before(me: Life) -> Self {
        Self {
            number: 0,
            change: Change::Joined(me),
            generations: [0; MAX_VNODES],
        }
    }

    /// Its number, from 1; 0 before the first.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// What has changed since the view before.
    pub const fn change(&self) -> Change {
        self.change
    }

    /// The life in which a vnode is a member, if it is one.
    pub fn life(&self, vnode: VnodeId) -> Option<Life> {
        let number = self.generations.get(vnode.index()).copied().unwrap_or(0);
        (number != 0).then_some(Life {
            vnode,
            generation: Generation(number),
        })
    }

    /// Whether this life is a member.
    pub fn contains(&self, life: Life) -> bool {
        self.life(life.vnode) == Some(life)
    }

    /// All members.
    pub fn members(&self) -> Mask {
        VnodeId::all()
            .filter(|vnode| self.life(*vnode).is_some())
            .fold(0, |mask, vnode| mask | bit(vnode))
    }

    /// Checks a view that somebody says is number `number`.
    fn from_record(record: &ViewRecord, number: u64) -> Option<Self> {
        let vnode = VnodeId::new(u32::from(record.vnode))?;
        let life = Life {
            vnode,
            generation: Generation(record.generation),
        };
        let view = Self {
            number,
            change: match record.change {
                1 => Change::Joined(life),
                2 => Change::Left(life),
                3 => Change::Died(life, record.cause),
                _ => return None,
            },
            generations: record.generations,
        };
        let fits = record.number == number
            && record.members == u32::from(view.members())
            && record.generation != 0
            && view.contains(life) == (record.change == 1);
        fits.then_some(view)
    }

    fn to_record(self) -> ViewRecord {
        let (change, life, cause) = match self.change {
            Change::Joined(life) => (1, life, 0),
            Change::Left(life) => (2, life, 0),
            Change::Died(life, cause) => (3, life, cause),
        };
        ViewRecord {
            number: self.number,
            members: u32::from(self.members()),
            change,
            vnode: life.vnode.number() as u16,
            generation: life.generation.0,
            cause,
            generations: self.generations,
            ..ViewRecord::default()
        }
    }
}

/// Where view `number` lies.
const fn place(number: u64) -> usize {
    layout::VIEWS + (number % HISTORY) as usize * ENTRY
}

/// Where a vnode says how far it has come.
const fn reached_at(vnode: VnodeId) -> usize {
    layout::REACHED + vnode.index() * layout::REACHED_STRIDE
}

/// Offsets in a view of its words but the first, which is its number.
fn words() -> impl Iterator<Item = usize> {
    (8..ENTRY).step_by(8)
}

/// Writes a view over the one that is [`HISTORY`] older. The root only.
///
/// Each store is a release and each load of a reader an acquire: a reader that has got any word
/// of the new view finds afterwards that the number is no longer the old one.
fn store<W: Window>(window: &W, view: &View) {
    let at = place(view.number);
    let bytes = view.to_record().to_bytes();
    window.store_release64(at, 0);
    for offset in words() {
        let word = record::Field::get(bytes.get(offset..).unwrap_or(&[]));
        window.store_release64(at.wrapping_add(offset), word);
    }
    window.store_release64(at, view.number);
    window.store_release64(layout::LATEST, view.number);
}

/// Copies view `number`, whole; the number that stands in its place if that is another one.
fn load<W: Window>(window: &W, number: u64) -> Result<ViewRecord, u64> {
    let at = place(number);
    let found = window.load_acquire64(at);
    if found != number {
        return Err(found);
    }
    let mut bytes = [0u8; ENTRY];
    record::Field::put(&number, &mut bytes);
    for offset in words() {
        let word = window.load_acquire64(at.wrapping_add(offset));
        record::Field::put(&word, bytes.get_mut(offset..).unwrap_or(&mut []));
    }
    let after = window.load_acquire64(at);
    if after != number {
        return Err(after);
    }
    Ok(ViewRecord::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DS-60: what a record says is checked against itself.
    #[test]
    fn a_view_that_contradicts_itself_is_refused() {
        let life = Life {
            vnode: VnodeId::ROOT,
            generation: Generation(3),
        };
        let mut generations = [0; MAX_VNODES];
        generations[0] = 3;
        let view = View {
            number: 7,
            change: Change::Joined(life),
            generations,
        };
        let good = view.to_record();
        assert_eq!(View::from_record(&good, 7), Some(view));
        assert_eq!(View::from_record(&good, 8), None);
        let bad = |spoil: fn(&mut ViewRecord)| {
            let mut record = good;
            spoil(&mut record);
            View::from_record(&record, 7)
        };
        assert_eq!(bad(|record| record.members = 3), None);
        assert_eq!(bad(|record| record.change = 9), None);
        assert_eq!(bad(|record| record.change = 2), None);
        assert_eq!(bad(|record| record.vnode = 16), None);
        assert_eq!(bad(|record| record.generation = 0), None);
    }
}
