// SPDX-License-Identifier: GPL-2.0

//! What functions need that are called without being told of whom: by portals and views.
//!
//! Lock: `VIEWS`, a mutex, a leaf, of those that say who lives. Whoever reads that takes none: the portals' interrupt
//! is among them.

use crate::netdev::{
    without_soft_interrupts,
    Handle, //
};
use crate::rights;
use adeos_core::{
    Core,
    Delivery, //
};
use adeos_proto::id::{
    Generation,
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::layout::portal::NETWORK;
use adeos_proto::membership::View;
use adeos_proto::vnet::port::MAX_LANES;
use adeos_proto::vnet::station::Lives;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full,
    Relaxed,
    Release, //
};
use kernel::sync::rcu::synchronize_rcu;

/// Segments that one kernel can be on at a time.
const MAX_OPEN: usize = 16;

/// The devices that are open, as [`Handle::to_address`] has them, or 0.
static OPEN: [Atomic<usize>; MAX_OPEN] = [const { Atomic::new(0) }; MAX_OPEN];

/// The life that each vnode is in, 0 for none; and how often that has changed: odd while it changes.
static LIVES: [Atomic<u32>; MAX_VNODES] = [const { Atomic::new(0) }; MAX_VNODES];
static CHANGES: Atomic<u64> = Atomic::new(0);

kernel::sync::global_lock! {
    // SAFETY: `init` is called in the module's initialisation, before any other use.
    unsafe(uninit) static VIEWS: Mutex<u64> = 0;
}

/// Prepares the statics of this file.
pub(crate) fn init() {
    // SAFETY: Called once, from the module's initialisation.
    unsafe { VIEWS.init() };
}

/// A device is among those that are open, until this is dropped: in process context.
pub(crate) struct Listed(Handle);

impl Listed {
    /// ENOSPC there are too many.
    pub(crate) fn new(handle: Handle) -> Result<Self> {
        let is_taken = |place: &&Atomic<usize>| {
            let taken = place.cmpxchg(0, handle.to_address(), Full);
            taken.is_ok()
        };
        OPEN.iter().find(is_taken).ok_or(ENOSPC)?;
        Ok(Self(handle))
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        for place in &OPEN {
            // Whoever has it is the only one to clear it.
            let _ = place.cmpxchg(self.0.to_address(), 0, Full);
        }
        // An interrupt or a view that has found it before is done with it.
        synchronize_rcu();
    }
}

/// Has all devices look at what there is for a lane. In an interrupt, or with soft interrupts held off.
fn schedule(lane: u32) {
    for place in &OPEN {
        // SAFETY: Soft interrupts are held off at least, so the device is there: who removes one waits.
        if let Some(handle) = unsafe { Handle::from_address(place.load(Acquire)) } {
            handle.schedule(lane);
        }
    }
}

/// A portal of the network was raised: somebody has sent something to a lane, or taken something of it.
pub(crate) fn on_portal(_core: &Core, delivery: Delivery) {
    // There are no more than 64.
    schedule((delivery.number.index() as u32).wrapping_sub(NETWORK));
}

/// Who lives has changed. Process context.
pub(crate) fn on_view(_core: &Core, view: &View) {
    let mut latest = VIEWS.lock();
    // Whoever loads the module has taken a later one.
    if view.number() >= *latest {
        *latest = view.number();
        let changes = CHANGES.load(Relaxed);
        // By a full barrier: before the lives that follow.
        CHANGES.xchg(changes.wrapping_add(1), Full);
        for (vnode, life) in VnodeId::all().zip(&LIVES) {
            let generation = view.life(vnode).map_or(0, |life| life.generation.0);
            life.store(generation, Release);
        }
        CHANGES.store(changes.wrapping_add(2), Release);
    }
    drop(latest);
    rights::follow();
    without_soft_interrupts(|| (0..MAX_LANES as u32).for_each(schedule));
}

/// Takes what is so far; after the subscription, which tells what comes.
pub(crate) fn take_view(core: &Core) {
    loop {
        let view = core.view();
        on_view(core, &view);
        // A later one may have been told of meanwhile, and been overwritten.
        if core.view().number() == view.number() {
            return;
        }
    }
}

/// The lives that there are, as of some change; brought up to date if there was one since. Whether there was.
pub(crate) fn refresh(lives: &mut Lives, known: &mut u64) -> bool {
    let before = CHANGES.load(Acquire);
    if before == *known || before % 2 == 1 {
        // While it changes, what was known is good enough: the end of the change is told.
        return false;
    }
    let now: Lives = core::array::from_fn(|at| {
        let life = LIVES.get(at).map_or(0, |life| life.load(Acquire));
        (life != 0).then_some(Generation(life))
    });
    if CHANGES.load(Acquire) != before {
        return false;
    }
    *lives = now;
    *known = before;
    true
}
