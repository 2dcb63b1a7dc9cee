// SPDX-License-Identifier: GPL-2.0

//! The watch: the nanokernel's own thread. On the root it looks after the vnodes, on a vnode it
//! does what the root asks; on both it passes the news of channels on to those who wait.
//!
//! Portals wake it; it also goes round by itself, since a kernel that has crashed rings nothing.

use crate::core_state::Core;
use crate::ffi;
use crate::kthread::Body;
use crate::machine;
use crate::pipeline::InStage;
use crate::portal::{
    self,
    stage,
    Delivery, //
};
use adeos_proto::id::VnodeId;
use adeos_proto::layout::{
    portal as number,
    request,
    slot,
    BootBlock,
    Status, //
};
use adeos_proto::membership::Mask;
use adeos_proto::window::Window;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::Arc;

/// Time between two rounds when nobody rings.
const ROUND_MS: u32 = 100;
/// The same where portals cannot interrupt.
const POLLED_ROUND_MS: u32 = 10;

/// What the watch's thread runs.
pub(crate) struct Watch {
    core: Arc<Core>,
    /// The latest of the root's requests that this vnode has taken. The status says the same, where
    /// others could write over it.
    request_taken: Atomic<u32>,
}

impl Watch {
    /// Goes on behind the requests that this vnode has taken, should this not be the first load.
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let slot = core.control().slot(core.identity().vnode);
        let taken = slot.load_acquire(slot::STATUS + Status::OFFSETS.request_taken);
        Self {
            core,
            request_taken: Atomic::new(taken),
        }
    }
}

impl Body for Watch {
    const MAY_ASK: bool = false;

    fn round(&self) {
        let core = &self.core;
        core.doorbell().wait_ms(if machine::PATCHED {
            ROUND_MS
        } else {
            POLLED_ROUND_MS
        });
        stage::run_in_round(core);

        if core.identity().is_root() {
            core.look_at_vnodes();
            core.keep_members();
        } else {
            take_requests(core, &self.request_taken);
        }
        follow(core);
        core.set_clock();

        drop(core.channel_lock().lock());
        core.channel_moved().notify_all();
    }

    fn wake(&self) {
        self.core.doorbell().raise();
    }
}

/// Takes the views that have come. The root is told that they are acknowledged: it may have a
/// mailbox to open.
fn follow(core: &Core) {
    if !core.follow_views() {
        return;
    }
    if core.identity().is_root() {
        core.keep_members();
    } else {
        let own = core.identity().vnode;
        portal::send(core.control(), own, VnodeId::ROOT, number::NOTICE);
    }
}

/// Handler of the portal that says that a channel has moved: the watch does the rest.
pub(crate) fn on_channel(stage: &InStage<'_>, _: Delivery) {
    stage.wake(stage.core().doorbell());
}

/// Handler of the notice portal. The watch looks at what may have changed; the root may also have
/// opened a mailbox, in which there is something already (DS-6).
pub(crate) fn on_notice(stage: &InStage<'_>, delivery: Delivery) {
    stage.wake(stage.core().doorbell());
    if delivery.from.is_root() {
        stage.core().endpoint().take(stage.core(), Mask::MAX);
    }
}

/// On a vnode: does what the root has asked since the last look (CA-32).
fn take_requests(core: &Core, taken: &Atomic<u32>) {
    let vnode = core.identity().vnode;
    let slot = core.control().slot(vnode);
    let count = slot.load_acquire(slot::BOOT + BootBlock::OFFSETS.request_count);
    if count == taken.load(Relaxed) {
        return;
    }
    // Only the watch's thread stores to it.
    taken.store(count, Relaxed);
    core.control()
        .set_status_field(vnode, Status::OFFSETS.request_taken, count);
    match slot.load_acquire(slot::BOOT + BootBlock::OFFSETS.request) {
        request::SHUTDOWN => {
            pr_info!("the root asks for a shutdown\n");
            // SAFETY: Process context; the function only starts the shutdown.
            unsafe { ffi::adeos_orderly_poweroff() };
        }
        other => pr_warn!("the root asks for something unknown ({})\n", other),
    }
}
