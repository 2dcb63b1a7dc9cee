// SPDX-License-Identifier: GPL-2.0

//! Who waits for what: one word, in which each sets its bit, and out of which whoever brings it about
//! takes the bits (docs/vcons.md, section 4).

use super::AWAITED;
use crate::id::{VnodeId, MAX_VNODES};
use crate::membership::Mask;
use crate::window::Window;

/// Tries to take bits while others change the word. An honest one changes it once and then sleeps.
const TRIES: u32 = 64;

/// One who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// A viewer, for output.
    ForOutput(VnodeId),
    /// A viewer, for room to type.
    ForRoom(VnodeId),
    /// The speaker, for a viewer to type.
    ForTyping,
    /// The speaker's programs, for viewers that hold to see.
    ForSight,
}

/// Those that something concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concerned {
    /// There is output: all viewers that wait for it.
    Viewers,
    /// This viewer can type again.
    Typist(VnodeId),
    /// Something was typed: the speaker.
    Listener,
    /// Something was seen, or is not held any more: the speaker.
    Writers,
}

const ROOM: u32 = MAX_VNODES as u32;
const TYPING: u64 = 1 << (2 * MAX_VNODES);
const SIGHT: u64 = TYPING << 1;

impl Waiter {
    const fn bit(self) -> u64 {
        match self {
            Self::ForOutput(vnode) => 1u64.wrapping_shl(vnode.number()),
            Self::ForRoom(vnode) => 1u64.wrapping_shl(ROOM + vnode.number()),
            Self::ForTyping => TYPING,
            Self::ForSight => SIGHT,
        }
    }
}

impl Concerned {
    const fn bits(self) -> u64 {
        match self {
            Self::Viewers => Mask::MAX as u64,
            Self::Typist(vnode) => Waiter::ForRoom(vnode).bit(),
            Self::Listener => TYPING,
            Self::Writers => SIGHT,
        }
    }
}

/// Says that one waits. It has to look again before it sleeps (VC-20).
pub fn announce<W: Window>(window: &W, who: Waiter) {
    window.fetch_or64(AWAITED, who.bit());
}

/// Takes those that wait for what has just been brought about, after it was: whose portals are to be
/// raised, and whether the speaker's is (VC-21). Where somebody changes the word all the time, all
/// whom it concerns: to be woken for nothing harms nobody.
pub fn take<W: Window>(window: &W, concerned: Concerned) -> (Mask, bool) {
    let bits = concerned.bits();
    // What was brought about is seen by whoever has announced itself too late to be seen here.
    window.full_barrier();
    let mut seen = window.load_acquire64(AWAITED);
    for _ in 0..TRIES {
        if seen & bits == 0 {
            return (0, false);
        }
        match window.compare_exchange64(AWAITED, seen, seen & !bits) {
            Ok(_) => return woken(seen & bits),
            Err(now) => seen = now,
        }
    }
    woken(bits)
}

fn woken(bits: u64) -> (Mask, bool) {
    let vnodes = bits | bits.wrapping_shr(ROOM);
    (vnodes as Mask, bits & (TYPING | SIGHT) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// VC-20: no two that wait have the same bit.
    #[test]
    fn each_has_a_bit_of_its_own() {
        let mut all = TYPING | SIGHT;
        for vnode in VnodeId::all() {
            for bit in [Waiter::ForOutput(vnode).bit(), Waiter::ForRoom(vnode).bit()] {
                assert_eq!(all & bit, 0);
                all |= bit;
            }
        }
        assert_eq!(all, (1 << 34) - 1);
    }
}
