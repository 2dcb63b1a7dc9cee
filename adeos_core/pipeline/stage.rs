// SPDX-License-Identifier: GPL-2.0

//! Where a CPU is while the pipeline runs on it, and what may be done there.

use crate::core_state::Core;
use crate::cpu;
use crate::kthread::Event;
use adeos_proto::id::VnodeId;
use adeos_proto::pipeline::Stage;
use adeos_proto::portal::Number;
use core::marker::PhantomData;
use kernel::prelude::*;
use kernel::types::NotThreadSafe;

/// The fact that this CPU is in the pipeline: in a hard interrupt, or in a thread with interrupts
/// off; and in a section of RCU. Handlers get it, and can do what it offers, which Linux does not
/// notice: store and load, raise portals, trigger and stall stages. All else is for a handler of
/// Linux's stage.
///
/// # Invariants
///
/// Interrupts are off on this CPU, whose number is `cpu`, and it is in a section of RCU, as long as this is there.
pub struct InStage<'a> {
    core: &'a Core,
    cpu: u32,
    _this_cpu: PhantomData<NotThreadSafe>,
}

impl<'a> InStage<'a> {
    /// # Safety
    ///
    /// Interrupts are off, and stay so until what is made is gone; that is not in an NMI or an
    /// exception, but where a thread or an interrupt could take a lock of the kernel.
    pub(super) unsafe fn new(core: &'a Core) -> Self {
        // INVARIANT: By this function's condition. What runs with interrupts off holds up RCU.
        Self {
            core,
            cpu: cpu::current(),
            _this_cpu: PhantomData,
        }
    }

    /// This CPU's number.
    pub(super) fn cpu(&self) -> u32 {
        self.cpu
    }

    /// Which vnode this is.
    pub fn vnode(&self) -> VnodeId {
        self.core.identity().vnode
    }

    /// Raises a portal of a vnode, which may be this one.
    pub fn raise(&self, to: VnodeId, portal: Number) {
        self.core.raise(to, portal);
    }

    /// Triggers a synthetic interrupt for a stage on this CPU. Its handler runs before this returns
    /// if the stage is an earlier one than all whose handlers run now; else when these have ended.
    /// ENOENT when the stage is not registered for the vector.
    pub fn trigger(&self, stage: Stage, vector: u8) -> Result {
        self.core.pipeline().trigger(self, stage, vector)
    }

    /// Stalls a domain's stage on this CPU, whatever runs there; says whether it was stalled. EINVAL
    /// for a stage that is no domain's, ENODEV when the CPU is about to leave this kernel.
    pub fn stall(&self, stage: Stage) -> Result<bool> {
        self.core.pipeline().stall(self, stage)
    }

    /// Ends a stall. What has come meanwhile is replayed, before this returns if the stage is an
    /// earlier one than all whose handlers run now.
    pub fn unstall(&self, stage: Stage) {
        self.core.pipeline().unstall(self, stage);
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

/// Runs `with` in the pipeline of the CPU that the calling thread is on. Any context but NMIs.
pub(crate) fn in_thread<R>(core: &Core, with: impl FnOnce(&InStage<'_>) -> R) -> R {
    let _disabled = kernel::interrupt::local_interrupt_disable();
    let _section = kernel::sync::rcu::read_lock();
    // SAFETY: Interrupts are off until after the call.
    let stage = unsafe { InStage::new(core) };
    with(&stage)
}
