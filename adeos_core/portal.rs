// SPDX-License-Identifier: GPL-2.0

//! Portals: interrupts that vnodes send each other, with an owner and a handler (paper section 3).
//!
//! All portals share one vector. A sender sets a bit in its own word of the receiver's inbox and
//! interrupts the receiver when the word was empty; the receiver takes whole words. So a raise is
//! never lost, and raises that come before the handler ran are one. The words are looked at when
//! this module is loaded, and at each round of the watch as well: a raise that came while nobody
//! took the interrupt, or in a kernel without the patches, waits for no other.

use crate::control::Control;
use crate::core_state::Core;
use crate::cpu;
#[cfg(CONFIG_ADEOS)]
use crate::ffi;
use adeos_proto::id::{
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::layout;
use adeos_proto::portal::{
    self,
    Number,
    Raised, //
};
use adeos_proto::window::Window;
use core::mem;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full,
    Relaxed,
    Release, //
};

/// What runs when a portal was raised. It runs in a hard interrupt, or in the watch's thread with
/// interrupts off: no sleep, no lock that others hold with interrupts on.
pub type Handler = fn(&Core, VnodeId);

/// Handlers by portal, as addresses; 0 for none.
static HANDLERS: [Atomic<usize>; layout::PORTALS] = [const { Atomic::new(0) }; layout::PORTALS];

/// Raises taken by this kernel, by portal.
static TAKEN: [Atomic<u64>; layout::PORTALS] = [const { Atomic::new(0) }; layout::PORTALS];

/// In the root, the CPU that takes a vnode's portals, as a local APIC id: the root's own knowledge,
/// as the vnode could write another number to where the others read it.
static RECEIVERS: [Atomic<u32>; MAX_VNODES] = [const { Atomic::new(layout::NO_APIC) }; MAX_VNODES];

/// Raises that this kernel has sent, and interrupts that they took.
static SENT: [Atomic<u64>; 2] = [const { Atomic::new(0) }; 2];

/// A handler of a portal; it runs no more once this is dropped.
pub struct Portal(u32);

impl Portal {
    /// Registers a handler. EBUSY when the portal has one, EINVAL when there is no such portal.
    pub fn new(portal: u32, handler: Handler) -> Result<Self> {
        let place = HANDLERS.get(portal as usize).ok_or(EINVAL)?;
        place
            .cmpxchg(0, handler as usize, Full)
            .map_err(|_| EBUSY)?;
        Ok(Self(portal))
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        if let Some(place) = HANDLERS.get(self.0 as usize) {
            place.store(0, Release);
            kernel::sync::rcu::synchronize_rcu();
        }
    }
}

/// Raises a portal of a vnode. Any context. A vnode that does not run takes no harm: the bit waits
/// in its inbox, which is emptied before its next life.
pub(crate) fn send(control: &Control, from: VnodeId, to: VnodeId, portal: u32) {
    let Some(number) = Number::new(portal) else {
        return;
    };
    let raised = portal::raise(&control.slot(to), from, number);
    count(&SENT[0]);
    if raised != Raised::Interrupt {
        return;
    }
    let apic_id = receiver(control, from, to);
    if apic_id != layout::NO_APIC {
        count(&SENT[1]);
        cpu::send_portal(apic_id);
    }
}

/// Says which CPU takes a vnode's portals, or that none does. The root only. Any context.
pub(crate) fn set_receiver(vnode: VnodeId, apic_id: Option<u32>) {
    if let Some(receiver) = RECEIVERS.get(vnode.index()) {
        receiver.store(apic_id.unwrap_or(layout::NO_APIC), Release);
    }
}

/// The CPU of a vnode that takes portals: its first. A vnode has nothing but the claim in the boot
/// block; what a false one brings about is an interrupt with nothing in the inbox.
fn receiver(control: &Control, from: VnodeId, to: VnodeId) -> u32 {
    if from.is_root() {
        RECEIVERS
            .get(to.index())
            .map_or(layout::NO_APIC, |receiver| receiver.load(Acquire))
    } else if control.is_in_use(to) {
        control.apic_id(to, 0)
    } else {
        layout::NO_APIC
    }
}

/// The portals of others, for the modules that build on this one.
impl Core {
    /// Raises a portal of a vnode. Any context. A vnode that does not run takes no harm: the bit
    /// waits in its inbox, which is emptied before its next life. EINVAL when there is no such
    /// portal, or when it is one of the nanokernel's own.
    pub fn raise(&self, to: VnodeId, portal: u32) -> Result {
        if portal < layout::portal::FREE || portal as usize >= layout::PORTALS {
            return Err(EINVAL);
        }
        send(self.control(), self.identity().vnode, to, portal);
        Ok(())
    }
}

/// The same as [`dispatch`], from a thread: handlers run as in a hard interrupt, which so cannot
/// come between, and `Portal::drop` waits for them.
pub(crate) fn dispatch_in_thread(core: &Core) {
    let _disabled = kernel::interrupt::local_interrupt_disable();
    let _section = kernel::sync::rcu::read_lock();
    dispatch(core);
}

/// Takes all raises that wait for this kernel and runs their handlers. With interrupts off.
fn dispatch(core: &Core) {
    let own = core.control().slot(core.identity().vnode);
    for from in VnodeId::all() {
        let mut raised = own.swap64(portal::inbox(from), 0);
        while raised != 0 {
            let portal = raised.trailing_zeros();
            raised &= raised - 1;
            run(core, from, portal);
        }
    }
}

fn run(core: &Core, from: VnodeId, portal: u32) {
    let (Some(place), Some(taken)) = (HANDLERS.get(portal as usize), TAKEN.get(portal as usize))
    else {
        return;
    };
    count(taken);
    let address = place.load(Acquire);
    if address != 0 {
        // SAFETY: The only values ever stored are 0 and `Handler`s, and a registration lives until
        // no interrupt that could have read it still runs.
        let handler = unsafe { mem::transmute::<usize, Handler>(address) };
        handler(core, from);
    }
}

/// Counts; two CPUs that count at once may count one too few, which a statistic can bear.
fn count(counter: &Atomic<u64>) {
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
}

/// Raises sent, interrupts sent for them, and raises taken by portal.
pub(crate) fn statistics() -> (u64, u64, impl Iterator<Item = (usize, u64)>) {
    let taken = TAKEN
        .iter()
        .map(|counter| counter.load(Relaxed))
        .enumerate()
        .filter(|(_, count)| *count != 0);
    (SENT[0].load(Relaxed), SENT[1].load(Relaxed), taken)
}

/// The claim on the portals' vector; the interrupt is taken until this is dropped.
#[cfg(CONFIG_ADEOS)]
pub(crate) struct Vector;

#[cfg(CONFIG_ADEOS)]
impl Vector {
    pub(crate) fn take() -> Result<Self> {
        // SAFETY: The handler is a static function of this module, and `drop` takes it back.
        kernel::error::to_result(unsafe { ffi::adeos_set_portal_handler(Some(interrupt)) })?;
        Ok(Self)
    }
}

#[cfg(CONFIG_ADEOS)]
impl Drop for Vector {
    fn drop(&mut self) {
        // SAFETY: Without a handler the patch waits until none runs any more.
        unsafe { ffi::adeos_set_portal_handler(None) };
    }
}

/// Runs in the hard interrupt of the portals' vector.
///
/// # Safety
///
/// Called by the patch's gate only, while [`Vector`] holds the claim on it.
#[cfg(CONFIG_ADEOS)]
unsafe extern "C" fn interrupt() {
    Core::with_in_interrupt(dispatch);
}
