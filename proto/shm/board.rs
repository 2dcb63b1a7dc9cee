// SPDX-License-Identifier: GPL-2.0

//! The board: who sleeps for a region, in which vnode, and who has been told to look (docs/bridge-shm.md, section 5).
//!
//! It is a bridge that all vnodes may write. What stands in it is a hint: whoever writes nonsense there wakes too much
//! or too late. Nobody sleeps here: a kernel announces its sleepers, looks again, and sleeps; whoever has changed
//! something takes those that are announced, tells them, and raises the portals of their vnodes. Being told takes the
//! announcement away: a kernel that is told wakes all that it has for the region's notices and for the classes of
//! words that it was told, and who goes on sleeping announces itself again.

use super::Region;
use crate::bits;
use crate::bridge::{Vnodes, BRIDGES};
use crate::id::{VnodeId, MAX_VNODES};
use crate::signature::Signature;
use crate::window::Window;

/// Bytes of the board.
pub const SIZE: usize = 0x20_0000;

/// What the board begins with.
pub const SIGNATURE: Signature = Signature {
    magic: u64::from_le_bytes(*b"ADEOSSHM"),
    version: 1,
    size: SIZE as u32,
};

/// Rows: one for each region.
const ROWS: usize = 0x1_0000;
const ROW_SIZE: usize = 0x400;
/// In a row, `u64`: counts notices.
const NOTICES: usize = 0x000;
/// In a row, `u64`: vnodes that sleep for notices, as bits.
const LISTENERS: usize = 0x008;
/// In a row, `u64` for each class: vnodes that sleep on a word of the class, as bits.
const SLEEPERS: usize = 0x200;

/// Four `u64` for each vnode: regions at which it is to look, as bits.
const NEWS: usize = 0x6_0000;
const NEWS_SIZE: usize = BRIDGES / 8;

/// `u64` for each vnode and region: classes of words that were woken, as bits.
const WOKEN: usize = 0x8_0000;
const WOKEN_SIZE: usize = BRIDGES * 8;

/// Classes of words in a region.
pub const CLASSES: usize = 64;

/// How often a number is tried to be raised that others raise as well.
const TRIES: usize = 64;

const _: () = assert!(ROWS + BRIDGES * ROW_SIZE <= NEWS && SLEEPERS + CLASSES * 8 <= ROW_SIZE);
const _: () = assert!(NEWS + MAX_VNODES * NEWS_SIZE <= WOKEN);
const _: () = assert!(WOKEN + MAX_VNODES * WOKEN_SIZE <= SIZE);

/// A class of words: those at the same distance, modulo 256 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class(u8);

impl Class {
    /// The class of the word at an offset.
    pub const fn of(offset: u64) -> Self {
        Self((offset / 4 % CLASSES as u64) as u8)
    }

    /// Its number, below [`CLASSES`].
    pub const fn number(self) -> usize {
        self.0 as usize
    }

    const fn bit(self) -> u64 {
        1u64.wrapping_shl(self.0 as u32)
    }
}

/// What a program sleeps for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    /// The region's notices.
    Notices,
    /// A word of this class.
    Word(Class),
}

/// What a vnode was told about a region: to look at its notices, and at these classes of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The region.
    pub region: Region,
    /// Bit n for class n.
    pub classes: u64,
}

const fn row(region: Region) -> usize {
    ROWS.wrapping_add(region.index().wrapping_mul(ROW_SIZE))
}

const fn sleepers(region: Region, matter: Matter) -> usize {
    match matter {
        Matter::Notices => row(region).wrapping_add(LISTENERS),
        Matter::Word(class) => row(region)
            .wrapping_add(SLEEPERS)
            .wrapping_add(class.number().wrapping_mul(8)),
    }
}

fn news(vnode: VnodeId) -> usize {
    NEWS.wrapping_add(vnode.index().wrapping_mul(NEWS_SIZE))
}

fn woken(vnode: VnodeId, region: Region) -> usize {
    let all = WOKEN.wrapping_add(vnode.index().wrapping_mul(WOKEN_SIZE));
    all.wrapping_add(region.index().wrapping_mul(8))
}

/// Notices of a region so far. They go on from one region to the next that has its place: only differences count.
pub fn notices<W: Window>(board: &W, region: Region) -> u64 {
    board.load_acquire64(row(region).wrapping_add(NOTICES))
}

/// Counts a notice, and says which vnodes' portals are to be raised; a full barrier. Where somebody writes other
/// numbers without a pause it makes one that has not been seen.
pub fn notify<W: Window>(board: &W, region: Region) -> Vnodes {
    let at = row(region).wrapping_add(NOTICES);
    let mut seen = board.load_acquire64(at);
    let counted =
        (0..TRIES).any(
            |_| match board.compare_exchange64(at, seen, seen.wrapping_add(1)) {
                Ok(_) => true,
                Err(now) => {
                    seen = now;
                    false
                }
            },
        );
    if !counted {
        board.swap64(at, seen.wrapping_add(1));
    }
    tell(board, region, Matter::Notices)
}

/// Says that a vnode has somebody who is going to sleep. What it sleeps for is to be looked at again behind this, which
/// is a full barrier (SH-40).
pub fn announce<W: Window>(board: &W, region: Region, matter: Matter, vnode: VnodeId) {
    board.fetch_or64(sleepers(region, matter), Vnodes::NONE.with(vnode).0.into());
}

/// Tells those that sleep that they are to look, after what they are to see has been stored, and says whose portals are
/// to be raised (SH-41).
pub fn tell<W: Window>(board: &W, region: Region, matter: Matter) -> Vnodes {
    let at = sleepers(region, matter);
    // What was stored before is seen by whoever has announced itself too late to be seen here.
    board.full_barrier();
    if board.load_acquire64(at) == 0 {
        return Vnodes::NONE;
    }
    // There are no more vnodes than bits here.
    let vnodes = Vnodes(board.swap64(at, 0) as u16);
    for vnode in VnodeId::all().filter(|vnode| vnodes.has(*vnode)) {
        if let Matter::Word(class) = matter {
            board.fetch_or64(woken(vnode, region), class.bit());
        }
        let (word, bit) = news_bit(region);
        board.fetch_or64(news(vnode).wrapping_add(word), bit);
    }
    vnodes
}

fn news_bit(region: Region) -> (usize, u64) {
    let (word, bit) = (region.index() / 64, region.index() % 64);
    (word.wrapping_mul(8), 1u64.wrapping_shl(bit as u32))
}

/// Takes what a vnode was told, when its portal was raised.
pub fn take<W: Window>(board: &W, vnode: VnodeId) -> impl Iterator<Item = Told> + '_ {
    (0..BRIDGES / 64).flat_map(move |word| {
        let at = news(vnode).wrapping_add(word.wrapping_mul(8));
        let regions = match board.load_acquire64(at) {
            0 => 0,
            _ => board.swap64(at, 0),
        };
        bits::each(regions).filter_map(move |bit| {
            let region = Region::new(u16::try_from(word * 64 + bit).ok()?)?;
            let classes = board.swap64(woken(vnode, region), 0);
            Some(Told { region, classes })
        })
    })
}
