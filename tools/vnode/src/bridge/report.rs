// SPDX-License-Identifier: GPL-2.0

//! A bridge as its users see it, in words.

use adeos_proto::abi;
use adeos_proto::bridge::entry::{flag, state};
use adeos_proto::bridge::mode;
use adeos_proto::id::MAX_VNODES;
use adeos_proto::record::text;
use serde::Serialize;

/// What `list --json` and `show --json` print of a bridge. Vnodes are numbers.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) index: u32,
    pub(crate) serial: u32,
    pub(crate) name: String,
    /// The vnode of a local name; none for a global one.
    pub(crate) vnode: Option<u32>,
    pub(crate) state: &'static str,
    pub(crate) size_bytes: u64,
    pub(crate) base: u64,
    pub(crate) owner: u32,
    pub(crate) owner_generation: u32,
    pub(crate) orphan: bool,
    /// What the owner may do.
    pub(crate) owner_may: &'static str,
    /// Others that may read.
    pub(crate) readers: Vec<u32>,
    /// Others that may write as well.
    pub(crate) writers: Vec<u32>,
    pub(crate) users: Vec<User>,
    pub(crate) movable: bool,
    pub(crate) pinned_by: Vec<u32>,
    pub(crate) moves: u32,
    pub(crate) freezes: u32,
    /// How often it is open in this kernel.
    pub(crate) openers: u32,
}

/// A life that uses a bridge.
#[derive(Debug, Serialize)]
pub(crate) struct User {
    pub(crate) vnode: u32,
    pub(crate) generation: u32,
    pub(crate) mapped: bool,
}

impl Report {
    /// Puts what the kernel tells into words.
    pub(crate) fn new(bridge: &abi::Bridge) -> Self {
        let readers = if bridge.mode & u32::from(mode::OTHERS_READ) == 0 {
            0
        } else {
            bridge.readers
        };
        let writers = if bridge.mode & u32::from(mode::OTHERS_WRITE) == 0 {
            0
        } else {
            readers & bridge.writers
        };
        let users = (0..).zip(bridge.users).filter(|(_, life)| *life != 0);
        let users = users.map(|(vnode, generation)| User {
            vnode,
            generation,
            mapped: has(bridge.mapped, vnode),
        });
        Self {
            index: bridge.index,
            serial: bridge.serial,
            name: text(&bridge.name).to_owned(),
            vnode: (bridge.scope == 2).then_some(bridge.vnode),
            state: state_word(bridge.state),
            size_bytes: bridge.bytes,
            base: bridge.base,
            owner: bridge.owner,
            owner_generation: bridge.owner_generation,
            orphan: bridge.flags & flag::ORPHAN != 0,
            owner_may: if bridge.mode & u32::from(mode::OWNER_WRITE) == 0 {
                "read"
            } else {
                "read and write"
            },
            readers: vnodes(readers),
            writers: vnodes(writers),
            users: users.collect(),
            movable: bridge.flags & flag::MOVABLE != 0,
            pinned_by: vnodes(bridge.pinned_by),
            moves: bridge.place,
            freezes: bridge.freeze,
            openers: bridge.openers,
        }
    }

    /// Vnodes that may write it; none if it is open to all.
    pub(crate) fn open_to(&self) -> Option<Vec<u32>> {
        (self.writers.len() < MAX_VNODES).then(|| self.writers.clone())
    }
}

fn has(set: u32, vnode: u32) -> bool {
    set & 1u32.wrapping_shl(vnode) != 0
}

/// The vnodes of a set, in rising order.
fn vnodes(set: u32) -> Vec<u32> {
    (0..u32::BITS).filter(|vnode| has(set, *vnode)).collect()
}

fn state_word(state: u32) -> &'static str {
    match state {
        state::NONE => "none",
        state::SETTLED => "settled",
        state::FREEZING => "freezing",
        state::FROZEN => "frozen",
        _ => "unknown",
    }
}
