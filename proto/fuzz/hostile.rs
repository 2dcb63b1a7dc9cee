// SPDX-License-Identifier: GPL-2.0

//! What the fuzz targets share: memory that a hostile peer changes between any two accesses, and
//! the bytes that decide what it does.
//!
//! A target is a reader of shared memory with its promises. The one input decides both what the
//! reader is called for and what the peer stores meanwhile, and when. Besides the target's own
//! promises each access is held to these: it lies in the memory and is aligned; a store goes only
//! where this side is the writer (docs/control-area.md, CA-7); and a call makes a bounded number
//! of accesses, so a peer costs time that is known.

mod input;
mod memory;
mod part;

pub use input::Input;
pub use memory::{Forger, Memory};
pub use part::Part;

use adeos_proto::bridge::entry;
use adeos_proto::id::{Generation, Life, VnodeId};
use adeos_proto::membership::observer::{Observer, Seen};
use adeos_proto::membership::View;
use std::ops::Range;
use std::sync::OnceLock;

/// The place of `len` bytes at `offset`.
pub const fn at(offset: usize, len: usize) -> Range<usize> {
    offset..offset + len
}

/// The vnode of this number; the root for a number that no vnode has.
pub fn vnode(number: u32) -> VnodeId {
    VnodeId::new(number).unwrap_or(VnodeId::ROOT)
}

/// A life of a vnode.
pub fn life(number: u32, generation: u32) -> Life {
    Life {
        vnode: vnode(number),
        generation: Generation(generation),
    }
}

/// An empty registry of bridges, which takes thousands of stores to make.
pub fn registry<'a>() -> Memory<'a> {
    static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
    let empty = EMPTY.get_or_init(|| {
        let memory = Memory::quiet(entry::SIZE);
        entry::format(&memory);
        memory.copy(at(0, entry::SIZE))
    });
    Memory::holding(empty.clone())
}

/// The next view in memory that nobody disturbs, if there is one.
pub fn honest_view(observer: &mut Observer, memory: &Memory<'_>) -> Option<View> {
    match observer.next(memory) {
        Seen::View(view) => Some(view),
        Seen::Nothing | Seen::TooSlow { .. } | Seen::Corrupt => None,
    }
}
