// SPDX-License-Identifier: GPL-2.0

//! Portals: interrupts between vnodes, 64 per receiver (paper section 3, footnote 7).
//!
//! Two parts. The *words* say which portals are raised: one per sender in the receiver's inbox,
//! which is shared, and one per sender that the receiver keeps to itself, for what it has taken
//! but may not deliver yet. They are used from interrupts on any CPU, without a lock. The
//! [`allocator`] says whose a portal is, and sits behind a lock of the receiver's kernel. It is a
//! doorbell and carries nothing: a spurious one is allowed, a lost one is not.
//! docs/bridges-and-portals.md is the specification; its rules are cited as PO-n.

use crate::id::VnodeId;
use crate::layout::slot::{INBOX, INBOX_STRIDE};
use crate::layout::PORTALS;
use crate::window::Window;

pub mod allocator;

/// What the receiver keeps to itself, as offsets in memory that no other kernel sees.
pub mod local {
    use crate::id::MAX_VNODES;
    use crate::layout::PORTALS;

    /// `u64`: the portals that may be delivered; the others are masked.
    pub const UNMASKED: usize = 0x000;
    /// `u64` per sender: raises that were taken from the inbox and are not yet delivered.
    pub const HELD: usize = 0x040;
    /// `u64` per portal: raises of it that this kernel has sent.
    pub const SENT: usize = 0x100;
    /// `u64` per portal: those among them that found the portal raised already.
    pub const COALESCED: usize = SENT + PORTALS * 8;
    /// `u64` per portal: those among them that took an interrupt.
    pub const INTERRUPTS: usize = COALESCED + PORTALS * 8;
    /// `u64` per portal: deliveries to this kernel.
    pub const DELIVERED: usize = INTERRUPTS + PORTALS * 8;
    /// Bytes of all this.
    pub const SIZE: usize = DELIVERED + PORTALS * 8;

    const _: () = assert!(HELD + MAX_VNODES * 8 <= SENT && SIZE == 0x900);
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

    fn counter(self, counters: usize) -> usize {
        counters.wrapping_add(self.index().wrapping_mul(8))
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

/// Receiver: takes all that a sender has raised out of the inbox, masked or not, so that the
/// sender's next raise interrupts again. Any CPU, any context.
pub fn pull<W: Window, L: Window>(slot: &W, local: &L, from: VnodeId) {
    let raised = slot.swap64(inbox(from), 0);
    if raised != 0 {
        local.fetch_or64(held(from), raised);
    }
}

/// Receiver: the held portals of a sender, out of `among`, that may be delivered now. Each raise
/// comes out of one call on one CPU, and the caller runs its handler. Any context.
///
/// With [`pull`] before it or [`unmask`] before it: of a CPU that pulls and one that unmasks at
/// the same time, at least one sees what the other has done, for both do so by a full barrier.
pub fn claim<L: Window>(local: &L, from: VnodeId, among: u64) -> u64 {
    loop {
        let held_now = local.load_acquire64(held(from));
        let ready = held_now & local.load_acquire64(local::UNMASKED) & among;
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

/// Receiver: pulls and claims from every sender, and calls `deliver` for each that has something.
/// One pass: what is raised meanwhile interrupts again. Any context that handlers can run in.
pub fn take<W: Window, L: Window>(
    slot: &W,
    local: &L,
    among: u64,
    mut deliver: impl FnMut(VnodeId, u64),
) {
    for from in VnodeId::all() {
        pull(slot, local, from);
        let ready = claim(local, from, among);
        if ready != 0 {
            deliver(from, ready);
        }
    }
}

/// Receiver: what is held and not masked, out of `among`, from any sender. What a stage ahead of
/// Linux asks in order to know whether Linux has anything to do.
pub fn waiting<L: Window>(local: &L, among: u64) -> u64 {
    let all = VnodeId::all().fold(0, |all, from| all | local.load_acquire64(held(from)));
    all & local.load_acquire64(local::UNMASKED) & among
}

/// Receiver: portals are not delivered from now on; raises of them are held. A claim that was made
/// before may still be delivered after. Any context.
pub fn mask<L: Window>(local: &L, portals: u64) {
    loop {
        let unmasked = local.load_acquire64(local::UNMASKED);
        let left = unmasked & !portals;
        // It fails only when another CPU of this kernel has masked or unmasked something.
        if left == unmasked
            || local
                .compare_exchange64(local::UNMASKED, unmasked, left)
                .is_ok()
        {
            return;
        }
    }
}

/// Receiver: portals may be delivered again. True if something is held for them: the caller
/// delivers it by [`claim`], or by interrupting itself. Any context.
#[must_use = "what was held is delivered by nobody else"]
pub fn unmask<L: Window>(local: &L, portals: u64) -> bool {
    // A full barrier: whoever pulls after it sees that the portals are unmasked.
    local.fetch_or64(local::UNMASKED, portals);
    waiting(local, portals) != 0
}

/// Receiver: forgets what is held of a portal, from every sender: it was meant for whoever had
/// the portal before.
pub fn forget<L: Window>(local: &L, portal: Number) {
    for from in VnodeId::all() {
        loop {
            let held_now = local.load_acquire64(held(from));
            let left = held_now & !portal.bit();
            if left == held_now || local.compare_exchange64(held(from), held_now, left).is_ok() {
                break;
            }
        }
    }
}

/// Sender: counts a raise. Two CPUs that count at once may count one too few.
pub fn count_raise<L: Window>(local: &L, portal: Number, raised: Raised) {
    count(local, portal.counter(local::SENT));
    match raised {
        Raised::Interrupt => count(local, portal.counter(local::INTERRUPTS)),
        Raised::Announced => {}
        Raised::Coalesced => count(local, portal.counter(local::COALESCED)),
    }
}

/// Receiver: counts a delivery. Two CPUs that count at once may count one too few.
pub fn count_delivery<L: Window>(local: &L, portal: Number) {
    count(local, portal.counter(local::DELIVERED));
}

fn count<L: Window>(local: &L, at: usize) {
    local.store_release64(at, local.load_acquire64(at).wrapping_add(1));
}

/// What was counted of a portal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Raises that this kernel has sent.
    pub sent: u64,
    /// Those that found the portal raised already.
    pub coalesced: u64,
    /// Those that took an interrupt.
    pub interrupts: u64,
    /// Deliveries to this kernel.
    pub delivered: u64,
}

/// What was counted of a portal.
pub fn statistics<L: Window>(local: &L, portal: Number) -> Statistics {
    Statistics {
        sent: local.load_acquire64(portal.counter(local::SENT)),
        coalesced: local.load_acquire64(portal.counter(local::COALESCED)),
        interrupts: local.load_acquire64(portal.counter(local::INTERRUPTS)),
        delivered: local.load_acquire64(portal.counter(local::DELIVERED)),
    }
}

const _: () = assert!(PORTALS == u64::BITS as usize);
