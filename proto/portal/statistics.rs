// SPDX-License-Identifier: GPL-2.0

//! What a kernel counts of portals: exactly, for each raise ends in one of the counters.
//!
//! Of a portal that nobody raises any more, what its senders have sent and did not find raised
//! already has arrived at the receiver: it was delivered, became one with another raise, was
//! forgotten, or is held.

use super::{held, local, Number, Raised};
use crate::id::VnodeId;
use crate::window::Window;

/// What was counted of a portal's number: of raises that this kernel has sent, to any vnode, and of
/// those that it got itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Raises sent that took an interrupt.
    pub interrupting: u64,
    /// Raises sent whose receiver had been interrupted already, for another portal.
    pub announced: u64,
    /// Raises sent that found the portal raised already.
    pub coalesced: u64,
    /// Raises taken out of this kernel's inbox that became one with another one, held already.
    pub merged: u64,
    /// Held raises that were forgotten, because the portal got a new owner.
    pub forgotten: u64,
    /// Deliveries to this kernel.
    pub delivered: u64,
    /// Senders of which a raise is held now.
    pub held: u64,
}

impl Statistics {
    /// All raises that this kernel has sent.
    pub const fn sent(&self) -> u64 {
        let new = self.interrupting.wrapping_add(self.announced);
        new.wrapping_add(self.coalesced)
    }

    /// All raises that this kernel has taken out of its inbox.
    pub const fn arrived(&self) -> u64 {
        let over = self.delivered.wrapping_add(self.merged);
        over.wrapping_add(self.forgotten).wrapping_add(self.held)
    }

    /// What was counted of a portal.
    pub fn read<L: Window>(local: &L, portal: Number) -> Self {
        let load = |counters| local.load_acquire64(counter(portal, counters));
        let is_held = |from: &VnodeId| local.load_acquire64(held(*from)) & portal.bit() != 0;
        Self {
            interrupting: load(local::INTERRUPTING),
            announced: load(local::ANNOUNCED),
            coalesced: load(local::COALESCED),
            merged: load(local::MERGED),
            forgotten: load(local::FORGOTTEN),
            delivered: load(local::DELIVERED),
            held: VnodeId::all().filter(is_held).count() as u64,
        }
    }
}

/// Sender: counts a raise. Any context.
pub fn count_raise<L: Window>(local: &L, portal: Number, raised: Raised) {
    let counters = match raised {
        Raised::Interrupt => local::INTERRUPTING,
        Raised::Announced => local::ANNOUNCED,
        Raised::Coalesced => local::COALESCED,
    };
    count(local, counter(portal, counters));
}

/// Receiver: counts a delivery. Any context.
pub fn count_delivery<L: Window>(local: &L, portal: Number) {
    count(local, counter(portal, local::DELIVERED));
}

/// Where a portal is counted.
pub(super) const fn counter(portal: Number, counters: usize) -> usize {
    counters.wrapping_add(portal.index().wrapping_mul(8))
}

/// Counts one; returns what was counted before.
pub(super) fn count<L: Window>(local: &L, at: usize) -> u64 {
    add(local, at, 1)
}

/// Adds to a number; returns what it was before.
pub(super) fn add<L: Window>(local: &L, at: usize, more: u64) -> u64 {
    let mut seen = local.load_acquire64(at);
    loop {
        match local.compare_exchange64(at, seen, seen.wrapping_add(more)) {
            Ok(before) => return before,
            // A window without the number says so by what no counter ever is after `seen`.
            Err(now) if now == !seen => return 0,
            Err(now) => seen = now,
        }
    }
}
