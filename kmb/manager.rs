// SPDX-License-Identifier: GPL-2.0

//! The vnodes that this module has started. While there is one, the module cannot be removed.
//!
//! Lock: `VNODES`, a mutex, held while a vnode is started or taken back, so that starts come one
//! after the other; Adeos's own locks are taken inside it.

use crate::fault::Faults;
use crate::load::{
    self,
    Started, //
};
use crate::spec::Spec;
use crate::vnode::Vnode;
use adeos_core::{
    Core,
    ModuleHold, //
};
use adeos_proto::id::{
    Generation,
    VnodeId,
    MAX_VNODES, //
};
use kernel::module::this_module;
use kernel::prelude::*;
use kernel::sync::Arc;

/// A vnode, and the hold on this module that goes with it.
struct Held {
    vnode: Vnode,
    generation: Generation,
    _hold: ModuleHold,
}

kernel::sync::global_lock! {
    // SAFETY: `init_statics` is called in the module's initialisation, before any other use.
    unsafe(uninit) static VNODES: Mutex<[Option<Held>; MAX_VNODES]> = [const { None }; MAX_VNODES];
}

/// The fault that the next start is to meet.
pub(crate) static FAULTS: Faults = Faults::new();

/// Prepares the statics of this file.
pub(crate) fn init_statics() {
    // SAFETY: Called once, from the module's initialisation.
    unsafe { VNODES.init() };
}

/// Starts a vnode; its number and life.
pub(crate) fn start(core: &Arc<Core>, spec: &Spec) -> Result<(VnodeId, Generation)> {
    let mut vnodes = VNODES.lock();
    let hold = ModuleHold::new(this_module::<crate::Kmb>())?;
    let Started {
        vnode,
        id,
        generation,
        result,
    } = load::start(core, spec, &FAULTS)?;
    let place = vnodes.get_mut(id.index()).ok_or(EINVAL)?;
    *place = Some(Held {
        vnode,
        generation,
        _hold: hold,
    });
    result.map(|()| (id, generation))
}

/// Takes a vnode back. ENOENT when there is none, ESTALE when another life is meant.
pub(crate) fn kill(id: VnodeId, generation: u32) -> Result {
    let mut vnodes = VNODES.lock();
    let place = vnodes.get_mut(id.index()).ok_or(ENOENT)?;
    let held = place.as_mut().ok_or(ENOENT)?;
    if generation != 0 && generation != held.generation.0 {
        return Err(ESTALE);
    }
    held.vnode.take_back()?;
    *place = None;
    Ok(())
}
