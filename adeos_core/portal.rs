// SPDX-License-Identifier: GPL-2.0

//! Portals: interrupts that vnodes send each other, with an owner and a handler (paper section 3).
//!
//! All portals share one vector. A sender sets a bit in its own word of the receiver's inbox and
//! interrupts the receiver when the word was empty; the receiver takes whole words. So a raise is
//! never lost, and raises that come before the handler ran are one. What may be done where is
//! proto/portal.rs; docs/bridges-and-portals.md, section 3, is the specification.
//!
//! Handlers run in one of two stages of the pipeline: [`stage`], in Adeos's, or by what Linux's stage
//! starts, [`deferral`], when Linux comes to it. Lock order: `TABLE` is a leaf, of process context.

use crate::control::Control;
use crate::core_state::Core;
use crate::cpu;
use crate::mapping::Part;
use adeos_proto::id::{
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::layout;
use adeos_proto::portal::allocator::{
    self,
    Allocator,
    Owner, //
};
use adeos_proto::portal::statistics::{
    count_raise,
    Statistics, //
};
use adeos_proto::portal::{
    self,
    local,
    Number,
    Raised,
    Stage, //
};
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Release, //
};
use kernel::sync::Arc;

pub(crate) mod deferral;
mod handlers;
pub(crate) mod stage;

pub use handlers::{
    Delivery,
    Handler, //
};
pub(crate) use stage::{
    in_linux,
    on_interrupt, //
};

/// What this kernel keeps of portals to itself.
static LOCAL: [Atomic<u64>; local::SIZE / 8] = [const { Atomic::new(0) }; local::SIZE / 8];

kernel::sync::global_lock! {
    // SAFETY: `init_statics` is called in the module's initialisation, before any other use.
    unsafe(uninit) static TABLE: Mutex<Allocator> = Allocator::new();
}

/// Prepares the statics of this file.
pub(crate) fn init_statics() {
    // SAFETY: Called once, from the module's initialisation.
    unsafe { TABLE.init() };
}

/// What proto/portal.rs calls the receiver's own memory.
fn local() -> Part<'static> {
    Part::of_own(&LOCAL)
}

/// In the root, the CPU that takes a vnode's portals, as a local APIC id: the root's own knowledge,
/// as the vnode could write another number to where the others read it.
static RECEIVERS: [Atomic<u32>; MAX_VNODES] = [const { Atomic::new(layout::NO_APIC) }; MAX_VNODES];

/// A portal of this kernel. Its handler runs no more once this is dropped, and nothing that was
/// raised before reaches whoever gets the number next.
///
/// It is dropped in process context, which sleeps for about as long as RCU takes to let all readers
/// pass, and not in a handler of a portal.
pub struct Portal {
    core: Arc<Core>,
    portal: allocator::Portal,
    stage: Stage,
}

impl Portal {
    /// Takes a free portal, masked: the owner unmasks it when it is ready, and only then tells its
    /// number to those that are to raise it. The owner's name is for people. Process context.
    /// ENOSPC when all 64 have owners, ENODEV before the nanokernel is set up.
    pub fn allocate(owner: &'static str, handler: Handler) -> Result<Self> {
        let first = Number::new(layout::portal::FREE).ok_or(EINVAL)?;
        Self::new(handler, |table| {
            table.allocate(&local(), Owner(owner), first)
        })
    }

    /// Takes the portal of a well-known number in the same way. EBUSY when it has an owner, EINVAL
    /// when there is no such portal, ENODEV before the nanokernel is set up.
    pub fn take(number: u32, owner: &'static str, handler: Handler) -> Result<Self> {
        let number = Number::new(number).ok_or(EINVAL)?;
        Self::new(handler, |table| table.take(&local(), Owner(owner), number))
    }

    fn new(
        handler: Handler,
        get: impl FnOnce(&mut Allocator) -> Result<allocator::Portal, allocator::Error>,
    ) -> Result<Self> {
        let core = Core::get()?;
        let mut table = TABLE.lock();
        let portal = get(&mut table).map_err(errno)?;
        handlers::set(portal, &handler);
        Ok(Self {
            core,
            portal,
            stage: handler.stage(),
        })
    }

    /// The number that senders raise.
    pub fn number(&self) -> Number {
        self.portal.number
    }

    /// Counts the owners that the number has had, this one included.
    pub fn serial(&self) -> u32 {
        self.portal.serial
    }

    /// Keeps raises back from now on; a handler that runs already, or is about to, is not waited
    /// for. Any context.
    pub fn mask(&self) {
        portal::mask(&local(), self.portal.number.bit());
    }

    /// Lets raises through again, and has those delivered that came meanwhile. Any context.
    pub fn unmask(&self) {
        let portals = self.portal.number.bit();
        if !portal::unmask(&local(), self.stage, portals) {
            return;
        }
        match self.stage {
            Stage::Ahead => stage::run_soon(&self.core),
            Stage::Linux => self.core.deferral().queue(portals),
        }
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        // Nobody else releases it, and it is this one: it cannot be refused.
        let released = TABLE.lock().release(&local(), self.portal);
        // What was raised until now leaves the inbox, here or on a CPU that is about it. When RCU
        // has let all of these pass, it is held, and forgotten once the number is given out again;
        // and no handler of this stage runs any more, nor will the other one be queued.
        stage::run_in_thread(&self.core);
        kernel::sync::rcu::synchronize_rcu();
        self.core.deferral().cancel(self.portal.number);
        handlers::clear(self.portal.number);
        if let Err(error) = released.and_then(|()| TABLE.lock().finish(self.portal)) {
            pr_err!(
                "portal {} is not given back: {:?}\n",
                self.portal.number.index(),
                error
            );
        }
    }
}

fn errno(error: allocator::Error) -> Error {
    match error {
        allocator::Error::Full => ENOSPC,
        allocator::Error::Taken => EBUSY,
        allocator::Error::Stale => ESTALE,
    }
}

impl Core {
    /// Raises a portal of a vnode, which may be this one. What was stored before is seen by whoever
    /// takes it. Any context. A vnode that does not run takes no harm: the bit waits in its inbox,
    /// which is emptied before its next life.
    pub fn raise(&self, to: VnodeId, portal: Number) {
        raise(self.control(), self.identity().vnode, to, portal);
    }
}

/// The same by number; one that no portal has does nothing.
pub(crate) fn send(control: &Control, from: VnodeId, to: VnodeId, portal: u32) {
    if let Some(number) = Number::new(portal) {
        raise(control, from, to, number);
    }
}

fn raise(control: &Control, from: VnodeId, to: VnodeId, portal: Number) {
    let raised = portal::raise(&control.slot(to), from, portal);
    if raised == Raised::Interrupt {
        let apic_id = receiver(control, from, to);
        if apic_id != layout::NO_APIC {
            cpu::send_portal(apic_id);
        }
    }
    count_raise(&local(), portal, raised);
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

/// The view of debugfs: what was counted of all portals together, then a line for each portal that
/// has an owner or was ever raised, by or to this kernel.
pub(crate) fn show(f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
    let [interrupts, left, found] = stage::counts();
    writeln!(f, "interrupts {interrupts} left {left} found {found}")?;
    for number in Number::all_of(u64::MAX) {
        let owner = TABLE.lock().owner(number);
        let counted = Statistics::read(&local(), number);
        if owner.is_some() || counted != Statistics::default() {
            show_one(f, number, owner, &counted)?;
        }
    }
    Ok(())
}

fn show_one(
    f: &mut kernel::fmt::Formatter<'_>,
    number: Number,
    owner: Option<Owner>,
    counted: &Statistics,
) -> kernel::fmt::Result {
    let is_in = |stage| portal::unmasked(&local(), stage) & number.bit() != 0;
    let state = match (is_in(Stage::Ahead), is_in(Stage::Linux)) {
        (true, _) => "stage",
        (false, true) if handlers::for_interrupts(number.bit()) != 0 => "interrupt",
        (false, true) => "deferred",
        (false, false) => "masked",
    };
    let owner = owner.map_or("-", |owner| owner.0);
    write!(f, "portal {} owner {owner} {state}", number.index())?;
    for (name, count) in [
        ("sent", counted.sent()),
        ("interrupting", counted.interrupting),
        ("announced", counted.announced),
        ("coalesced", counted.coalesced),
        ("arrived", counted.arrived()),
        ("delivered", counted.delivered),
        ("merged", counted.merged),
        ("forgotten", counted.forgotten),
        ("held", counted.held),
    ] {
        write!(f, " {name} {count}")?;
    }
    writeln!(f)
}
