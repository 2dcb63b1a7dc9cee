// SPDX-License-Identifier: GPL-2.0

//! Portals: interrupts between vnodes, 64 per receiver (paper section 3, footnote 7).
//!
//! Two parts. The *words* say which portals are raised: one per sender in the receiver's inbox,
//! which is shared, and one per sender that the receiver keeps to itself, for what it has taken
//! but may not deliver yet. They are used from interrupts on any CPU, without a lock. The
//! [`allocator`] says whose a portal is, and sits behind a lock of the receiver's kernel. It is a
//! doorbell and carries nothing: a spurious one is allowed, a lost one is not.
//! docs/bridges-and-portals.md is the specification; its rules are cited as PO-n.

use crate::id::{VnodeId, MAX_VNODES};
use crate::layout::slot::{INBOX, INBOX_STRIDE};
use crate::layout::PORTALS;
use crate::window::Window;

pub mod allocator;
pub mod pace;
pub mod statistics;

use statistics::{count, counter};

/// What the receiver keeps to itself, as offsets in memory that no other kernel sees.
pub mod local {
    use crate::id::MAX_VNODES;
    use crate::layout::PORTALS;

    /// `u64`: the portals that may be delivered ahead of Linux.
    pub const UNMASKED: usize = 0x000;
    /// `u64`: the portals that may be delivered in Linux's stage. Those that are in neither word are
    /// masked.
    pub const UNMASKED_LINUX: usize = 0x008;
    /// `u64`: interrupts since Linux has last shown that it gets to run ([`super::pace`]).
    pub const SINCE_TURN: usize = 0x010;
    /// `u64`: all interrupts before that.
    pub const BEFORE_TURN: usize = 0x018;
    /// `u64`: those of all that were left to Linux's turn.
    pub const LEFT: usize = 0x020;
    /// `u64`: not 0 when something held was unmasked and is to be delivered ahead of Linux.
    pub const UNMASKED_HELD: usize = 0x028;
    /// `u64`: what the last look has found ([`super::pace::look`]).
    pub const LOOKED: usize = 0x030;
    /// `u64`: looks that have found something which no interrupt has come for.
    pub const FOUND: usize = 0x038;
    /// `u64` per sender: raises that were taken from the inbox and are not yet delivered.
    pub const HELD: usize = 0x040;
    /// `u64`: when the last look was, in ms of a clock of this kernel.
    pub const LOOKED_MS: usize = 0x0c0;

    /// Bytes of one counter of all portals.
    const COUNTERS: usize = PORTALS * 8;
    /// `u64` per portal: raises of it by this kernel that took an interrupt.
    pub const INTERRUPTING: usize = 0x100;
    /// `u64` per portal: raises by this kernel whose receiver had been interrupted already, for
    /// another portal.
    pub const ANNOUNCED: usize = INTERRUPTING + COUNTERS;
    /// `u64` per portal: raises by this kernel that found the portal raised already.
    pub const COALESCED: usize = ANNOUNCED + COUNTERS;
    /// `u64` per portal: raises taken out of the inbox that became one with another one, held already.
    pub const MERGED: usize = COALESCED + COUNTERS;
    /// `u64` per portal: held raises that were forgotten, because the portal got a new owner.
    pub const FORGOTTEN: usize = MERGED + COUNTERS;
    /// `u64` per portal: deliveries to this kernel.
    pub const DELIVERED: usize = FORGOTTEN + COUNTERS;
    /// Bytes of all this.
    pub const SIZE: usize = DELIVERED + COUNTERS;

    const _: () = assert!(HELD + MAX_VNODES * 8 <= LOOKED_MS && SIZE == 0xd00);
}

/// Where the handler of a portal runs. A portal is unmasked in one of them at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Ahead of Linux, in the interrupt itself.
    Ahead,
    /// In Linux, deferred.
    Linux,
}

impl Stage {
    /// Where the receiver keeps which portals are unmasked in it.
    const fn word(self) -> usize {
        match self {
            Self::Ahead => local::UNMASKED,
            Self::Linux => local::UNMASKED_LINUX,
        }
    }
}

/// Number of a portal of some receiver, below [`PORTALS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(u8);

impl Number {
    /// Takes a number that somebody says is a portal's.
    pub const fn new(number: u32) -> Option<Self> {
        if number < PORTALS as u32 {
            Some(Self(number as u8))
        } else {
            None
        }
    }

    /// The number as a place in a list.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Its bit in a word.
    pub const fn bit(self) -> u64 {
        1u64.wrapping_shl(self.0 as u32)
    }

    /// The portals of a word, in rising order.
    pub fn all_of(mut word: u64) -> impl Iterator<Item = Self> {
        core::iter::from_fn(move || {
            let lowest = Self::new(word.trailing_zeros())?;
            word &= !lowest.bit();
            Some(lowest)
        })
    }
}

/// What a raise has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "nobody interrupts the receiver but who raises"]
pub enum Raised {
    /// The word was empty: the sender interrupts the receiver.
    Interrupt,
    /// The receiver is interrupted already, for another portal.
    Announced,
    /// The portal was raised already, and is delivered once for both.
    Coalesced,
}

/// Where the word of a sender lies in a receiver's slot, a `u64`.
pub const fn inbox(from: VnodeId) -> usize {
    INBOX.wrapping_add(from.index().wrapping_mul(INBOX_STRIDE))
}

/// Where the held word of a sender lies in the receiver's own memory.
const fn held(from: VnodeId) -> usize {
    local::HELD.wrapping_add(from.index().wrapping_mul(8))
}

/// Sender: raises a portal. What was stored before is seen by whoever takes it. Any context.
pub fn raise<W: Window>(slot: &W, from: VnodeId, portal: Number) -> Raised {
    let before = slot.fetch_or64(inbox(from), portal.bit());
    if before == 0 {
        Raised::Interrupt
    } else if before & portal.bit() == 0 {
        Raised::Announced
    } else {
        Raised::Coalesced
    }
}

/// Receiver: the senders that have raised something, as bits. The words are only looked at: an
/// exchange would take the cache line of each away from a sender that has raised nothing.
pub(crate) fn senders<W: Window>(slot: &W) -> u32 {
    // There are no more than 32.
    slot.nonzero64(INBOX, INBOX_STRIDE, MAX_VNODES) as u32
}

/// What was taken out of the inbox for each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "nobody else delivers it"]
pub struct Pulled {
    /// Portals whose handlers the caller runs, ahead of Linux.
    pub ahead: u64,
    /// Portals that are held for Linux's stage: the caller has it run ([`claim`]).
    pub linux: u64,
}

/// Receiver: takes all that a sender has raised out of the inbox, masked or not, so that the
/// sender's next raise interrupts again. What can not be delivered at once is held. Any context in
/// which handlers ahead of Linux can run.
pub fn pull<W: Window, L: Window>(slot: &W, local: &L, from: VnodeId) -> Pulled {
    let raised = slot.swap64(inbox(from), 0);
    let ahead = raised & unmasked(local, Stage::Ahead);
    // What was held and is unmasked since is one with it.
    count_merged(local, claim(local, from, Stage::Ahead, ahead));
    let rest = raised & !ahead;
    if rest == 0 {
        return Pulled { ahead, linux: 0 };
    }
    // A full barrier: whoever unmasks after it sees what is held.
    let before = local.fetch_or64(held(from), rest);
    count_merged(local, rest & before);
    Pulled {
        // And what was unmasked before it is seen here.
        ahead: ahead | claim(local, from, Stage::Ahead, rest),
        linux: rest & unmasked(local, Stage::Linux),
    }
}

fn count_merged<L: Window>(local: &L, portals: u64) {
    for portal in Number::all_of(portals) {
        count(local, counter(portal, local::MERGED));
    }
}

/// Receiver: the held portals of a sender, out of `among`, that may be delivered in a stage now.
/// Each raise comes out of one call on one CPU, and the caller runs its handler. Any context.
///
/// With [`pull`] or [`unmask`] before it: of a CPU that pulls and one that unmasks at the same time,
/// at least one sees what the other has done, for both do so by a full barrier.
pub fn claim<L: Window>(local: &L, from: VnodeId, stage: Stage, among: u64) -> u64 {
    loop {
        let held_now = local.load_acquire64(held(from));
        if held_now & among == 0 {
            return 0;
        }
        let ready = held_now & among & unmasked(local, stage);
        if ready == 0 {
            return 0;
        }
        // It fails only when another CPU of this kernel has taken or brought something.
        if local
            .compare_exchange64(held(from), held_now, held_now & !ready)
            .is_ok()
        {
            return ready;
        }
    }
}

/// Receiver, in the stage ahead of Linux: pulls from every sender, and calls `deliver` with what may
/// be delivered now, also of what was held and is not masked any more. What waits for Linux's stage
/// is returned, and the caller has that stage run ([`claim`]). One pass: what is raised meanwhile
/// interrupts again.
#[must_use = "nobody else has Linux's stage run"]
pub fn take<W: Window, L: Window>(
    slot: &W,
    local: &L,
    mut deliver: impl FnMut(VnodeId, u64),
) -> u64 {
    let mut linux = 0;
    let mut senders = senders(slot);
    while let Some(from) = VnodeId::new(senders.trailing_zeros()) {
        senders &= senders.wrapping_sub(1);
        let pulled = pull(slot, local, from);
        linux |= pulled.linux;
        if pulled.ahead != 0 {
            deliver(from, pulled.ahead);
        }
    }
    if local.load_acquire64(local::UNMASKED_HELD) == 0 {
        return linux;
    }
    // First, and by a full barrier: what is unmasked after it asks for another pass.
    local.swap64(local::UNMASKED_HELD, 0);
    for from in VnodeId::all() {
        let ready = claim(local, from, Stage::Ahead, u64::MAX);
        if ready != 0 {
            deliver(from, ready);
        }
    }
    linux
}

/// Receiver: what is held from any sender, masked or not.
pub fn holds<L: Window>(local: &L) -> u64 {
    VnodeId::all().fold(0, |all, from| all | local.load_acquire64(held(from)))
}

/// Receiver: the portals that are unmasked in a stage.
pub fn unmasked<L: Window>(local: &L, stage: Stage) -> u64 {
    local.load_acquire64(stage.word())
}

/// Receiver: portals are not delivered from now on, in whichever stage; raises of them are held. A
/// claim that was made before may still be delivered after. Any context.
pub fn mask<L: Window>(local: &L, portals: u64) {
    for stage in [Stage::Ahead, Stage::Linux] {
        clear(local, stage.word(), portals);
    }
}

/// Clears bits of a word.
fn clear<L: Window>(local: &L, at: usize, bits: u64) -> u64 {
    loop {
        let before = local.load_acquire64(at);
        let left = before & !bits;
        // It fails only when another CPU of this kernel has changed the word.
        if left == before || local.compare_exchange64(at, before, left).is_ok() {
            return before;
        }
    }
}

/// Receiver: portals may be delivered again, in a stage. True if something is held for them: the
/// caller has that stage run, by [`take`] or by [`claim`]. Any context.
#[must_use = "what was held is delivered by nobody else"]
pub fn unmask<L: Window>(local: &L, stage: Stage, portals: u64) -> bool {
    // A full barrier: whoever pulls after it sees that the portals are unmasked.
    local.fetch_or64(stage.word(), portals);
    if holds(local) & portals == 0 {
        return false;
    }
    if stage == Stage::Ahead {
        local.fetch_or64(local::UNMASKED_HELD, portals);
    }
    true
}

/// Receiver: forgets what is held of a portal, from every sender: it was meant for whoever had
/// the portal before.
pub fn forget<L: Window>(local: &L, portal: Number) {
    for from in VnodeId::all() {
        if clear(local, held(from), portal.bit()) & portal.bit() != 0 {
            count(local, counter(portal, local::FORGOTTEN));
        }
    }
}

const _: () = assert!(PORTALS == u64::BITS as usize);
