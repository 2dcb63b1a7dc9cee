// SPDX-License-Identifier: GPL-2.0

//! The vnodes that this module has started. While there is one, the module cannot be removed.
//!
//! Starts and kills of different vnodes run side by side: what they share has locks of its own in
//! Adeos. Lock: `VNODES`, held only to look a vnode up and to put it back;
//! Adeos's table of vnodes is locked inside it.

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
use adeos_proto::lifecycle::State;
use kernel::module::this_module;
use kernel::prelude::*;
use kernel::sync::Arc;

/// A vnode, and the hold on this module that goes with it.
struct Held {
    vnode: Vnode,
    generation: Generation,
    _hold: ModuleHold,
}

/// What is known of a number.
enum Place {
    /// It is free, or a start has it and is not done.
    Empty,
    /// It has a vnode.
    Held(Held),
    /// This life of it is being taken back.
    Ending(Generation),
}

kernel::sync::global_lock! {
    // SAFETY: `init_statics` is called in the module's initialisation, before any other use.
    unsafe(uninit) static VNODES: Mutex<[Place; MAX_VNODES]> =
        [const { Place::Empty }; MAX_VNODES];
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
    let hold = ModuleHold::new(this_module::<crate::Kmb>())?;
    let Started {
        vnode,
        id,
        generation,
        result,
    } = load::start(core, spec, &FAULTS)?;
    let mut vnodes = VNODES.lock();
    let place = vnodes.get_mut(id.index()).ok_or(EINVAL)?;
    // A kill that has freed the number, and not come to say so here, leaves this alone.
    *place = Place::Held(Held {
        vnode,
        generation,
        _hold: hold,
    });
    result.map(|()| (id, generation))
}

/// Takes a vnode back. ENOENT when there is none, ESTALE when another life is meant, EBUSY while
/// it is being started or taken back by somebody else.
pub(crate) fn kill(core: &Core, id: VnodeId, generation: u32) -> Result {
    let mut held = claim(core, id, generation)?;
    let result = held.vnode.take_back();

    let mut vnodes = VNODES.lock();
    let place = vnodes.get_mut(id.index()).ok_or(EINVAL)?;
    // The number was free for a moment, and may have a new life here already.
    if matches!(place, Place::Ending(life) if *life == held.generation) {
        *place = match result {
            Ok(()) => Place::Empty,
            Err(_) => Place::Held(held),
        };
    }
    result
}

/// Takes a vnode out of its place, to be taken back by the caller alone.
fn claim(core: &Core, id: VnodeId, generation: u32) -> Result<Held> {
    let mut vnodes = VNODES.lock();
    let place = vnodes.get_mut(id.index()).ok_or(ENOENT)?;
    let is_meant = |life: Generation| generation == 0 || generation == life.0;
    match place {
        Place::Held(held) if !is_meant(held.generation) => Err(ESTALE),
        Place::Held(held) => {
            let ending = Place::Ending(held.generation);
            match core::mem::replace(place, ending) {
                Place::Held(held) => Ok(held),
                _ => Err(EBUSY),
            }
        }
        Place::Ending(life) if is_meant(*life) => Err(EBUSY),
        // The number may have a new life already, which is being started.
        Place::Ending(_) | Place::Empty => {
            let facts = core.facts(id)?;
            Err(match facts.state {
                State::Empty => ENOENT,
                _ if is_meant(facts.generation) => EBUSY,
                _ => ESTALE,
            })
        }
    }
}
