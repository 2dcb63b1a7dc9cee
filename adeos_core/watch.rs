// SPDX-License-Identifier: GPL-2.0

//! The watch: the nanokernel's own thread. On the root it looks after the vnodes, on a vnode it
//! does what the root asks; on both it passes the news of channels on to those who wait.
//!
//! Portals wake it; it also goes round by itself, since a kernel that has crashed rings nothing.

use crate::core_state::Core;
use crate::ffi;
use crate::kthread::Body;
use crate::machine;
use crate::portal;
use adeos_proto::id::VnodeId;
use adeos_proto::layout::{
    request,
    slot,
    BootBlock,
    Status, //
};
use adeos_proto::window::Window;
use kernel::prelude::*;
use kernel::sync::Arc;

/// Time between two rounds when nobody rings.
const ROUND_MS: u32 = 100;
/// The same where portals cannot interrupt.
const POLLED_ROUND_MS: u32 = 10;

/// What the watch's thread runs.
pub(crate) struct Watch(pub(crate) Arc<Core>);

impl Body for Watch {
    fn round(&self) {
        let core = &self.0;
        core.doorbell().wait_ms(if machine::PATCHED {
            ROUND_MS
        } else {
            POLLED_ROUND_MS
        });
        portal::dispatch_in_thread(core);

        if core.identity().is_root() {
            core.look_at_vnodes();
        } else {
            take_requests(core);
        }

        drop(core.channel_lock().lock());
        core.channel_moved().notify_all();
    }

    fn wake(&self) {
        self.0.doorbell().raise();
    }
}

/// Handler of the portals that adeos_core owns: the watch does the rest.
pub(crate) fn on_portal(core: &Core, _from: VnodeId) {
    core.doorbell().raise();
}

/// On a vnode: does what the root has asked since the last look.
fn take_requests(core: &Core) {
    let vnode = core.identity().vnode;
    let slot = core.control().slot(vnode);
    let count = slot.load_acquire(slot::BOOT + BootBlock::OFFSETS.request_count);
    let taken = slot.load_acquire(slot::STATUS + Status::OFFSETS.request_taken);
    if count == taken {
        return;
    }
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
