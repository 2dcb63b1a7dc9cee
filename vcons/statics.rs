// SPDX-License-Identifier: GPL-2.0

//! What functions need that are called without being told of whom: by portals, messages and views.

use crate::attendant::Attendant;
use crate::nodes::Place;
use crate::shown::Viewers;
use adeos_core::dsp::Request as Message;
use adeos_core::{
    Core,
    Delivery, //
};
use adeos_proto::id::VnodeId;
use adeos_proto::membership::{
    bit,
    Mask,
    View, //
};
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Release, //
};
use kernel::sync::Arc;

kernel::sync::global_lock! {
    // SAFETY: `init` is called in the module's initialisation, before any other use.
    unsafe(uninit) static ATTENDANT: Mutex<Option<Arc<Attendant>>> = None;
}

/// The vnodes that live, as bits.
static MEMBERS: Atomic<u32> = Atomic::new(0);

/// Prepares the statics of this file.
pub(crate) fn init() {
    // SAFETY: Called once, from the module's initialisation.
    unsafe { ATTENDANT.init() };
}

/// The attendant of this kernel is known, until this is dropped.
pub(crate) struct Published(());

impl Published {
    pub(crate) fn new(attendant: Arc<Attendant>) -> Self {
        *ATTENDANT.lock() = Some(attendant);
        Self(())
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let attendant = ATTENDANT.lock().take();
        drop(attendant);
    }
}

fn attendant() -> Option<Arc<Attendant>> {
    ATTENDANT.lock().clone()
}

/// What shows consoles in this kernel. Process context.
pub(crate) fn viewers() -> Option<Arc<Viewers>> {
    Some(attendant()?.viewers().clone())
}

/// The consoles that this kernel may show. Process context. ENODEV, ENOMEM.
pub(crate) fn places() -> Result<KVec<Place>> {
    attendant().ok_or(ENODEV)?.places()
}

/// The vnodes that live, this one among them. Any context.
pub(crate) fn members() -> Mask {
    MEMBERS.load(Acquire) as Mask
}

/// Whether a vnode lives. Any context.
pub(crate) fn is_alive(vnode: VnodeId) -> bool {
    members() & bit(vnode) != 0
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

/// Who lives has changed.
pub(crate) fn on_view(_core: &Core, view: &View) {
    MEMBERS.store(view.members().into(), Release);
    if let Some(attendant) = attendant() {
        attendant.call();
    }
}

/// The portal of consoles was raised: somebody has said, typed or seen something.
pub(crate) fn on_portal(_core: &Core, _delivery: Delivery) {
    if let Some(attendant) = attendant() {
        attendant.attend();
    }
}

/// Root: somebody asks for something.
pub(crate) fn on_request(core: &Core, message: &Message) {
    match attendant() {
        Some(attendant) => attendant.take_request(message),
        // It is being unloaded.
        None => crate::asks::refuse(core, message, ENODEV),
    }
}
