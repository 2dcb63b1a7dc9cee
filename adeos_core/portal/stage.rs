// SPDX-License-Identifier: GPL-2.0

//! The stage ahead of Linux: where portals are taken out of the inbox, and what may be done there.
//!
//! It runs in the portals' interrupt; when this module is loaded; and in rounds of the watch's
//! thread, in a kernel without the patches in each, and else when something has waited for a while.
//! So a raise that came while nobody took the interrupt waits for no other, nor does one whose
//! sender has died before it could interrupt.

use super::{
    handlers,
    local, //
};
use crate::core_state::Core;
use crate::cpu;
use crate::kthread::Event;
use crate::machine;
use adeos_proto::id::VnodeId;
use adeos_proto::portal::statistics::count_delivery;
use adeos_proto::portal::{
    self,
    local as words,
    pace,
    Number, //
};
use adeos_proto::window::Window;
use core::marker::PhantomData;
use kernel::types::NotThreadSafe;

/// The fact that this CPU is in the stage ahead of Linux: in a hard interrupt, or in a thread with
/// interrupts off. Handlers get it, and can do what it offers, which Linux does not notice: store
/// and load, raise portals. All else is for a deferred handler.
pub struct InStage<'a> {
    core: &'a Core,
    _this_cpu: PhantomData<NotThreadSafe>,
}

impl<'a> InStage<'a> {
    /// Which vnode this is.
    pub fn vnode(&self) -> VnodeId {
        self.core.identity().vnode
    }

    /// Raises a portal of a vnode, which may be this one.
    pub fn raise(&self, to: VnodeId, portal: Number) {
        self.core.raise(to, portal);
    }

    /// Wakes who waits for an event. It takes locks of Linux's scheduler, and so holds only as long
    /// as this stage is not entered while Linux has interrupts off; once it is, the waking goes
    /// through an interrupt of Linux's own, here and nowhere else.
    pub(crate) fn wake(&self, event: &Event) {
        event.raise();
    }

    /// The nanokernel, for those parts of it that know what they may call here.
    pub(crate) fn core(&self) -> &'a Core {
        self.core
    }
}

/// Takes what waits in the inbox and runs the handlers of this stage, as the interrupt does, from a
/// thread: with interrupts off, so that handlers find themselves in the same place, and in a section
/// that the release of a portal waits for.
pub(crate) fn run_in_thread(core: &Core) {
    let _disabled = kernel::interrupt::local_interrupt_disable();
    let _section = kernel::sync::rcu::read_lock();
    run(core);
}

/// Has the stage run on this CPU, or another one of this kernel. Any context.
pub(super) fn run_soon(core: &Core) {
    if cfg!(CONFIG_ADEOS) {
        // A thread may have moved on; then the interrupt comes on the CPU that it left.
        if let Some(apic_id) = cpu::apic_id(cpu::current()) {
            cpu::send_portal(apic_id);
        }
    } else {
        core.doorbell().raise();
    }
}

/// The same with interrupts off already, and in a section of RCU, as an interrupt is.
pub(super) fn run(core: &Core) {
    let stage = InStage {
        core,
        _this_cpu: PhantomData,
    };
    let inbox = core.control().slot(stage.vnode());
    let linux = portal::take(&inbox, &local(), |from, portals| {
        for number in Number::all_of(portals) {
            count_delivery(&local(), number);
            handlers::run_ahead(&stage, from, number);
        }
    });
    core.deferral().queue(linux);
}

/// The same, once in each round of the watch's thread: always where portals do not interrupt, and
/// elsewhere if there is something that no interrupt comes for.
pub(crate) fn run_in_round(core: &Core) {
    let inbox = core.control().slot(core.identity().vnode);
    let now_ms = machine::now_ns() / 1_000_000;
    if !machine::PATCHED || pace::look(&inbox, &local(), now_ms) {
        run_in_thread(core);
    }
}

/// Interrupts by portals; those among them that were left to Linux's turn; and rounds in which
/// something was found that no interrupt had come for.
pub(super) fn counts() -> [u64; 3] {
    let count = |at| local().load_acquire64(at);
    [
        pace::interrupts(&local()),
        count(words::LEFT),
        count(words::FOUND),
    ]
}
