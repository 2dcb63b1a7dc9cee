// SPDX-License-Identifier: GPL-2.0

//! Linux's stage: portals that are delivered in process context, each by a work item of its own.
//!
//! Work items and not a thread of ours, for three things that they have and a thread would have to
//! be given. A wake-up is not lost: an item that is queued while it runs runs again, for its
//! pending bit is cleared by a full barrier before its function starts. A handler that sleeps holds
//! up no other portal. And `cancel_work_sync` is what the release of a portal needs. What is to be
//! delivered is in the held words all the time; the item only says that somebody is to look.

use super::{
    handlers,
    local, //
};
use crate::core_state::Core;
use crate::machine;
use crate::work::{
    Queue,
    Work, //
};
use adeos_proto::id::VnodeId;
use adeos_proto::layout::PORTALS;
use adeos_proto::portal::statistics::count_delivery;
use adeos_proto::portal::{
    self,
    Number,
    Stage, //
};
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Full,
    Relaxed, //
};

/// The work items of all portals. Those that are queued run before it is dropped.
pub(crate) struct Deferral {
    portals: KVec<Pin<KBox<Work>>>,
    /// Portals that were left to Linux's stage and not queued yet, as bits.
    left: Atomic<u64>,
    turn: Pin<KBox<Work>>,
    /// Dropped after the items.
    queue: Queue,
    turns: Queue,
}

impl Deferral {
    /// Makes them. Process context. ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        let mut portals = KVec::with_capacity(PORTALS, GFP_KERNEL)?;
        for number in 0..PORTALS {
            let work = KBox::pin_init(Work::new(deliver, number), GFP_KERNEL)?;
            portals.push(work, GFP_KERNEL)?;
        }
        Ok(Self {
            portals,
            left: Atomic::new(0),
            turn: KBox::pin_init(Work::new(super::stage::take_turn, 0), GFP_KERNEL)?,
            queue: Queue::new(c"adeos_portals")?,
            turns: Queue::on_same_cpu(c"adeos_turns")?,
        })
    }

    /// Has these portals delivered. Any context but NMIs.
    pub(super) fn queue(&self, portals: u64) {
        for number in Number::all_of(portals) {
            if let Some(work) = self.portals.get(number.index()) {
                self.queue.add(work);
            }
        }
    }

    /// Leaves these portals to Linux's stage, which is to be offered an interrupt after this.
    pub(super) fn leave(&self, portals: u64) {
        let mut seen = self.left.load(Relaxed);
        while let Err(now) = self.left.cmpxchg(seen, seen | portals, Full) {
            seen = now;
        }
    }

    /// Has those delivered that were left. In Linux's stage: what is for interrupts at once if this is one.
    pub(super) fn deliver_left(&self, core: &Core) {
        let left = self.left.xchg(0, Full);
        if left == 0 {
            return;
        }
        let at_once = match machine::in_hard_interrupt() {
            true => handlers::for_interrupts(left),
            false => 0,
        };
        for number in Number::all_of(at_once) {
            deliver_to(core, number);
        }
        self.queue(left & !at_once);
    }

    /// Ends the delivery of a portal that is masked, and waits for its handler.
    pub(super) fn cancel(&self, number: Number) {
        if let Some(work) = self.portals.get(number.index()) {
            work.cancel();
        }
    }

    /// Asks Linux for its turn (proto/portal/pace.rs). It comes when a thread gets to run on this CPU,
    /// which is the one that portals interrupt: another one would always have time for it.
    pub(super) fn ask_for_turn(&self) {
        self.turns.add(&self.turn);
    }

    /// Ends what [`Self::ask_for_turn`] began; it is not called any more.
    #[cfg(CONFIG_ADEOS)]
    pub(crate) fn cancel_turn(&self) {
        self.turn.cancel();
    }
}

/// What a portal's item runs.
fn deliver(number: usize) {
    let Some(number) = u32::try_from(number).ok().and_then(Number::new) else {
        return;
    };
    Core::with_in_interrupt(|core| deliver_to(core, number));
}

/// Runs the handler of a portal for each sender that has raised it.
fn deliver_to(core: &Core, number: Number) {
    for from in VnodeId::all() {
        if portal::claim(&local(), from, Stage::Linux, number.bit()) != 0 {
            count_delivery(&local(), number);
            handlers::run_in_linux(core, from, number);
        }
    }
}
