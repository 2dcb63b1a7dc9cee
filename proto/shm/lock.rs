// SPDX-License-Identifier: GPL-2.0

//! The word of a lock in a region, as far as kernels look at it (SH-60 to SH-63).
//!
//! Programs take and free it by themselves. A kernel does so in the place of a file that is closed while it has the lock.

use crate::id::Life;
use crate::window::Window;

/// In a lock's word: somebody sleeps on it.
pub const WAITERS: u32 = 1 << 31;
/// In a lock's word: who had it has gone, and what it protects may be inconsistent.
pub const DIED: u32 = 1 << 30;
/// In a lock's word: the token of the file that has it; 0 for none.
pub const HOLDER: u32 = DIED - 1;

/// How often a word is tried to be changed that others change all the time.
const TRIES: u32 = 4096;

/// What a file writes into the word of a lock that it has: its vnode, the last bits of that vnode's life, and a number which
/// no two files of the life have at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(u32);

const VNODE_SHIFT: u32 = 26;
const LIFE_SHIFT: u32 = 18;
const LIFE_MASK: u32 = 0xff;
/// Files that are told apart; the number 0 is none's, so that no token is 0.
pub const FILES: u32 = 1 << LIFE_SHIFT;

impl Token {
    /// That of a file of a life: `None` for the number 0, and those that are too large.
    pub fn new(life: Life, file: u32) -> Option<Self> {
        if file == 0 || file >= FILES {
            return None;
        }
        let life_bits = life.generation.0 & LIFE_MASK;
        Some(Self(
            life.vnode.number() << VNODE_SHIFT | life_bits << LIFE_SHIFT | file,
        ))
    }

    /// As words hold it.
    pub const fn word(self) -> u32 {
        self.0
    }
}

/// Whether who has a lock may still use the region, by the lives of those that do ([`crate::abi::shm::Stat::users`]).
pub fn is_alive(word: u32, users: &[u32; 16]) -> bool {
    let holder = word & HOLDER;
    let life = users.get((holder >> VNODE_SHIFT) as usize);
    life.is_some_and(|life| *life != 0 && life & LIFE_MASK == holder >> LIFE_SHIFT & LIFE_MASK)
}

/// Frees the lock whose word lies at an offset for a file that has gone, if it had it; whether somebody is to be woken there.
pub fn free<W: Window>(window: &W, offset: u64, token: Token) -> bool {
    // Every offset fits that is one of a region.
    let (at, shift) = ((offset & !7) as usize, (offset as u32 & 4) * 8);
    let mut seen = window.load_acquire64(at);
    for _ in 0..TRIES {
        let word = (seen >> shift) as u32;
        if word & HOLDER != token.word() {
            return false;
        }
        let freed = word & WAITERS | DIED;
        let new = seen ^ u64::from(word ^ freed) << shift;
        match window.compare_exchange64(at, seen, new) {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
    false
}
