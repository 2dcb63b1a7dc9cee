// SPDX-License-Identifier: GPL-2.0

//! Root: what takes its time. Memory for new bridges is found and scrubbed, that of old ones is
//! scrubbed and given back, and users that could not be told are told later. One thread, so that
//! the one that takes messages waits for none of it.
//!
//! Lock order: `UNSCRUBBED`, the table, the pool. It is held while memory is scrubbed.

use super::root;
use super::service;
use super::{
    Id,
    Spec, //
};
use crate::core_state::Core;
use crate::dsp::Request as Message;
use crate::kthread::Body;
use crate::machine;
use crate::mapping::Mapping;
use crate::mover;
use crate::pool::Region;
use adeos_proto::bridge::request::{
    Answer,
    GrantRecord,
    Request, //
};
use adeos_proto::id::{
    Life,
    PhysRange, //
};
use kernel::prelude::*;
use kernel::sync::Arc;

/// Time between two tries to tell a user whose mailbox is full.
const REPEAT_MS: u32 = 10;
/// Time between two looks when nobody wants anything.
const IDLE_MS: u32 = 1000;

/// What a bridge waits for memory for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// It is new.
    New,
    /// It is to have another size, as this life has asked.
    Resize(Life),
}

/// A bridge that waits for memory, and who waits for the answer.
pub(crate) struct Wanted {
    pub(super) id: Id,
    pub(super) size: u64,
    pub(super) purpose: Purpose,
    pub(super) message: Message,
}

kernel::sync::global_lock! {
    // SAFETY: `init_statics` is called in the module's initialisation, before any other use.
    unsafe(uninit) static UNSCRUBBED: Mutex<KVec<Region>> = KVec::new();
}

/// Prepares the statics of this file.
pub(crate) fn init_statics() {
    // SAFETY: Called once, from the module's initialisation.
    unsafe { UNSCRUBBED.init() };
}

/// What the server's thread runs.
pub(super) struct Server(pub(super) Arc<Core>);

impl Body for Server {
    fn round(&self) {
        let core = &self.0;
        let all_are_told = root::tell_users(core);
        core.bridges()
            .work
            .wait_ms(if all_are_told { IDLE_MS } else { REPEAT_MS });
        reclaim(core);
        while let Some(wanted) = next_wanted(core) {
            let found = match wanted.purpose {
                Purpose::New => provide(core, wanted.id, wanted.size),
                Purpose::Resize(from) => give_size(core, from, wanted.id, wanted.size),
            };
            let reply = found.map(|()| GrantRecord::done(wanted.id));
            service::reply(core, &wanted.message, reply);
        }
    }

    fn wake(&self) {
        self.0.bridges().work.raise();
    }
}

/// The oldest bridge that waits for memory.
fn next_wanted(core: &Core) -> Option<Wanted> {
    core.bridges().wanted.lock().remove(0).ok()
}

/// Has the server find memory for a bridge; its reply ends the request. EAGAIN the same vnode waits for another size already: nothing but
/// this bounds how much is asked for.
pub(super) fn want(core: &Core, wanted: Wanted) -> Result {
    let vnode = |wanted: &Wanted| match wanted.purpose {
        Purpose::New => None,
        Purpose::Resize(from) => Some(from.vnode),
    };
    let mut all = core.bridges().wanted.lock();
    let own = vnode(&wanted);
    if own.is_some() && all.iter().any(|other| vnode(other) == own) {
        return Err(EAGAIN);
    }
    all.push(wanted, GFP_KERNEL)?;
    drop(all);
    core.bridges().work.raise();
    Ok(())
}

/// Creates a bridge of the root's own. Process context.
pub(super) fn create(core: &Arc<Core>, spec: &Spec) -> Result<Id> {
    let own = core.own_life();
    match root::serve(core, own, &Request::Create(*spec))? {
        Answer::NeedsMemory(id, size) => provide(core, id, size).map(|()| id),
        _ => Err(EINVAL),
    }
}

/// Gives a bridge another size, as the root asks. Process context.
pub(super) fn resize(core: &Arc<Core>, id: Id, size: u64) -> Result {
    let own = core.own_life();
    match root::serve(core, own, &Request::Resize(id, size))? {
        Answer::NeedsPlace(id, size) => give_size(core, own, id, size),
        Answer::Done(_) => Ok(()),
        _ => Err(EINVAL),
    }
}

/// Finds memory of another size for a bridge, copies what fits, and leaves zeros behind it (BR-47).
fn give_size(core: &Arc<Core>, from: Life, id: Id, size: u64) -> Result {
    let region = Region::request(core, size, Region::ANYWHERE)?;
    region.scrub()?;
    let begun = root::change(core, |table| {
        table.begin_resizing(from, id, size, machine::now_us())
    });
    let before = begun.map_err(root::errno)?;
    if let Err(error) = copy(before, &region) {
        // Nothing has been written yet: what failed is the mapping.
        mover::thaw(core, id);
        return Err(error);
    }
    let resized = root::change(core, |table| {
        table.resized(id, region.range(), machine::now_us())
    });
    match resized {
        Ok(()) => _ = region.keep(),
        Err(_) => {
            // The last user has gone meanwhile. The copy goes the way of the bridge.
            give_back(region);
            mover::thaw(core, id);
        }
    }
    // This frees where it was, or all of the bridge.
    reclaim(core);
    resized.map_err(root::errno)
}

/// Copies a bridge that is frozen, as much of it as there is room for. ENOMEM before anything is written.
pub(crate) fn copy(from: PhysRange, to: &Region) -> Result {
    let size = from.size().min(to.range().size());
    let part = PhysRange::new(from.base(), size).ok_or(EINVAL)?;
    // SAFETY: It is a bridge's, and so of the pool, which this kernel keeps out of.
    let source = unsafe { Mapping::new(part) }?;
    to.map()?.copy_from(&source);
    Ok(())
}

/// Finds memory for a bridge that is reserved, and fills it with zeros (BR-11); the name is free
/// again when there is none.
fn provide(core: &Arc<Core>, id: Id, size: u64) -> Result {
    let found = Region::request(core, size, Region::ANYWHERE);
    let found = found.and_then(|region| region.scrub().map(|()| region));
    root::change(core, |table| match found {
        Ok(region) => {
            table.provide(id, region.range()).map_err(root::errno)?;
            region.keep();
            Ok(())
        }
        Err(error) => {
            // The creator may have died meanwhile, and the bridge with it.
            let _ = table.cancel(id);
            Err(error)
        }
    })
}

/// Says that a bridge gets no memory after all.
pub(super) fn cancel(core: &Core, id: Id) {
    // The creator may have died meanwhile, and the bridge with it.
    let _ = root::change(core, |table| table.cancel(id));
}

/// Scrubs and gives back all memory that no bridge wants any more. When it returns, what anybody
/// else had begun is done as well. Process context.
pub(crate) fn reclaim(core: &Arc<Core>) {
    let mut unscrubbed = UNSCRUBBED.lock();
    unscrubbed.retain(|region| region.scrub().is_err());
    while unscrubbed.reserve(1, GFP_KERNEL).is_ok() {
        let Some(range) = root::reclaim() else {
            return;
        };
        give_back_to(&mut unscrubbed, Region::adopt(core, range));
    }
}

/// Scrubs and gives back memory that holds what others must not see. Process context.
pub(crate) fn give_back(region: Region) {
    let mut unscrubbed = UNSCRUBBED.lock();
    give_back_to(&mut unscrubbed, region);
}

fn give_back_to(unscrubbed: &mut KVec<Region>, region: Region) {
    if region.scrub().is_ok() {
        return;
    }
    // It is tried again with the next memory that comes back. Without room to remember that, it is
    // kept rather than lent.
    let pushed = match unscrubbed.reserve(1, GFP_KERNEL) {
        Ok(()) => unscrubbed
            .push_within_capacity(region)
            .map_err(|full| full.0),
        Err(_) => Err(region),
    };
    if let Err(region) = pushed {
        let range = region.keep();
        pr_err!(
            "a bridge's memory at {:#x} cannot be scrubbed\n",
            range.base()
        );
    }
}

/// Gives up what could not be scrubbed, when the pool itself goes, and the list of it: what a static
/// holds is dropped by nobody.
pub(super) fn end() {
    *UNSCRUBBED.lock() = KVec::new();
}
