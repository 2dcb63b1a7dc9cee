// SPDX-License-Identifier: GPL-2.0

//! The handlers of this kernel's portals, by number, as interrupts find them: without a lock.
//!
//! A handler is set while its portal is masked, and cleared when none of it can run any more, so
//! that who has claimed a raise finds the handler that it was claimed for.

use crate::core_state::Core;
use crate::machine;
use crate::pipeline::InStage;
use adeos_proto::id::VnodeId;
use adeos_proto::layout::PORTALS;
use adeos_proto::portal::allocator::Portal;
use adeos_proto::portal::{
    Number,
    Stage, //
};
use core::mem;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Relaxed,
    Release, //
};

/// What a handler is told of a raise. It says nothing but that there is something to look at.
#[derive(Clone, Copy)]
pub struct Delivery {
    /// Who has raised it.
    pub from: VnodeId,
    /// The portal's number.
    pub number: Number,
    /// Its serial, see [`super::Portal::serial`].
    pub serial: u32,
}

type Ahead = fn(&InStage<'_>, Delivery);
type Deferred = fn(&Core, Delivery);

/// What runs when a portal was raised.
pub enum Handler {
    /// Runs ahead of Linux, in the interrupt; on several CPUs at once when several look into the
    /// inbox. What may be done there is what [`InStage`] offers.
    Stage(Ahead),
    /// Runs in process context, never twice at once, and may sleep. It holds up no other portal.
    Deferred(Deferred),
    /// Runs in Linux's stage as its own interrupts' handlers do: in the interrupt, or, where none came, in a
    /// thread that holds soft interrupts off. It may have Linux run one after it, must not sleep, and can run on several
    /// CPUs at once.
    Interrupt(Deferred),
}

impl Handler {
    pub(super) fn stage(&self) -> Stage {
        match self {
            Self::Stage(_) => Stage::Ahead,
            Self::Deferred(_) | Self::Interrupt(_) => Stage::Linux,
        }
    }
}

/// Addresses of [`Ahead`] functions, or 0.
static AHEAD: [Atomic<usize>; PORTALS] = [const { Atomic::new(0) }; PORTALS];

/// Addresses of [`Deferred`] functions, or 0.
static DEFERRED: [Atomic<usize>; PORTALS] = [const { Atomic::new(0) }; PORTALS];

/// Addresses of [`Deferred`] functions that run in interrupts, or 0.
static INTERRUPT: [Atomic<usize>; PORTALS] = [const { Atomic::new(0) }; PORTALS];

/// Serials of the portals that the handlers are for.
static SERIALS: [Atomic<u32>; PORTALS] = [const { Atomic::new(0) }; PORTALS];

/// Sets the handler of a portal, which is masked.
pub(super) fn set(portal: Portal, handler: &Handler) {
    let at = portal.number.index();
    if let Some(serial) = SERIALS.get(at) {
        serial.store(portal.serial, Relaxed);
    }
    let (table, address) = match handler {
        Handler::Stage(handler) => (&AHEAD, *handler as usize),
        Handler::Deferred(handler) => (&DEFERRED, *handler as usize),
        Handler::Interrupt(handler) => (&INTERRUPT, *handler as usize),
    };
    if let Some(place) = table.get(at) {
        place.store(address, Release);
    }
}

/// Clears the handler of a portal that is being released, once it cannot run.
pub(super) fn clear(number: Number) {
    for table in [&AHEAD, &DEFERRED, &INTERRUPT] {
        if let Some(place) = table.get(number.index()) {
            place.store(0, Release);
        }
    }
}

/// Runs the handler of a portal that was claimed in the stage ahead of Linux.
pub(super) fn run_ahead(stage: &InStage<'_>, from: VnodeId, number: Number) {
    let Some(address) = address(&AHEAD, number) else {
        return;
    };
    // SAFETY: `set` is the only one to store something in this table, and it is an `Ahead`.
    let handler = unsafe { mem::transmute::<usize, Ahead>(address) };
    handler(stage, delivery(from, number));
}

/// The portals of a word whose handlers run in Linux's interrupts.
pub(super) fn for_interrupts(portals: u64) -> u64 {
    Number::all_of(portals)
        .filter(|number| address(&INTERRUPT, *number).is_some())
        .fold(0, |portals, number| portals | number.bit())
}

/// Runs the handler of a portal that was claimed in Linux's stage: in its interrupt, or in a thread.
pub(super) fn run_in_linux(core: &Core, from: VnodeId, number: Number) {
    let delivery = delivery(from, number);
    if let Some(address) = address(&INTERRUPT, number) {
        // SAFETY: `set` is the only one to store something in this table, and it is a `Deferred`.
        let handler = unsafe { mem::transmute::<usize, Deferred>(address) };
        machine::without_soft_interrupts(|| handler(core, delivery));
    } else if let Some(address) = address(&DEFERRED, number) {
        // SAFETY: As above.
        let handler = unsafe { mem::transmute::<usize, Deferred>(address) };
        handler(core, delivery);
    }
}

fn address(table: &[Atomic<usize>; PORTALS], number: Number) -> Option<usize> {
    let address = table.get(number.index())?.load(Acquire);
    (address != 0).then_some(address)
}

fn delivery(from: VnodeId, number: Number) -> Delivery {
    let serial = SERIALS.get(number.index());
    Delivery {
        from,
        number,
        serial: serial.map_or(0, |serial| serial.load(Relaxed)),
    }
}
