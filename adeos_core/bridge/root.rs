// SPDX-License-Identifier: GPL-2.0

//! The root's table of bridges, behind its lock: `proto/bridge/table.rs` decides, and what follows
//! is carried out here: entries are published, users told, threads woken.
//!
//! The table's lock is a mutex; inside it may be taken the pool's lock and the endpoint's.

use crate::core_state::Core;
use adeos_proto::bridge::effects::Event;
use adeos_proto::bridge::entry::Entry;
use adeos_proto::bridge::request::{
    Answer,
    EventRecord,
    GrantRecord,
    Request, //
};
use adeos_proto::bridge::table::Table;
use adeos_proto::bridge::{
    Error,
    Id,
    Key,
    Vnodes,
    BRIDGES, //
};
use adeos_proto::dsp::Payload;
use adeos_proto::id::{
    Life,
    VnodeId, //
};
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

use super::service::SERVICE;

/// The root's table.
pub(crate) type Bridges = Table<BRIDGES>;

kernel::sync::global_lock! {
    // SAFETY: `init_statics` is called in the module's initialisation, before any other use.
    unsafe(uninit) static TABLE: Mutex<Bridges> = Table::new();
}

/// Events that could not be sent at first, in all.
static DELAYED: Atomic<u64> = Atomic::new(0);

/// Prepares the statics of this file.
pub(crate) fn init_statics() {
    // SAFETY: Called once, from the module's initialisation.
    unsafe { TABLE.init() };
}

/// Looks at the table, changing nothing that others are to know. Process context.
pub(crate) fn look<T>(at: impl FnOnce(&Bridges) -> T) -> T {
    at(&TABLE.lock())
}

/// Changes the table, and publishes what has changed; then tells whoever is to know. Process
/// context; waits for no other vnode. The pool's lock may be taken inside.
pub(crate) fn change<T>(core: &Core, work: impl FnOnce(&mut Bridges) -> T) -> T {
    let mut table = TABLE.lock();
    let result = work(&mut table);
    {
        // BR-50: readers give up soon.
        let _disabled = kernel::interrupt::local_interrupt_disable();
        table.publish(&core.control().registry());
    }
    drop(table);
    if !tell_users(core) {
        core.bridges().work.raise();
    }
    result
}

/// Takes the next range that is to be scrubbed and given back.
pub(super) fn reclaim() -> Option<adeos_proto::id::PhysRange> {
    TABLE.lock().reclaim()
}

/// Does what a life asks, but for finding memory. The errors are those of section 2.9.
pub(super) fn serve(core: &Core, from: Life, request: &Request) -> Result<Answer> {
    let served = change(core, |table| {
        // A life that has just joined may ask before this kernel's subscribers have been called.
        table.live_now(lives(core));
        table.serve(from, request)
    });
    wake(core);
    served.map_err(errno)
}

/// Who lives: the latest view's members, and this kernel in any case. Under the table's lock, so that
/// nobody goes back to an older view.
fn lives(core: &Core) -> impl Fn(VnodeId) -> Option<Life> {
    let view = core.view();
    let own = core.own_life();
    move |vnode| {
        if vnode == own.vnode {
            Some(own)
        } else {
            view.life(vnode)
        }
    }
}

/// What an answer says to the one who asked. A bridge that waits for memory has none yet.
pub(super) fn granted(answer: &Answer) -> Result<GrantRecord> {
    match answer {
        Answer::Done(id) => Ok(GrantRecord::done(*id)),
        Answer::Mapped(grant) => Ok(GrantRecord::from(grant)),
        Answer::NeedsMemory(..) | Answer::NeedsPlace(..) => Err(EINVAL),
    }
}

/// Takes over who lives. Lives that are in no view any more are proven to execute nothing (BR-60).
pub(super) fn live_now(core: &Core) {
    change(core, |table| table.live_now(lives(core)));
    wake(core);
}

/// The live bridge of a name.
pub(super) fn find(key: &Key) -> Option<Id> {
    look(|table| table.find(key))
}

/// A live bridge, by its place.
pub(super) fn entry(index: u16) -> Option<Entry> {
    look(|table| table.entries().find(|entry| entry.id.index == index))
}

/// Wakes who waits for others: the server, which scrubs what is left, and the mover.
fn wake(core: &Core) {
    core.bridges().work.raise();
    core.bridges().answered.raise();
}

/// Tells users that their entries have changed; whether all that are to be told have been.
pub(super) fn tell_users(core: &Core) -> bool {
    let mut reached = Vnodes::ALL;
    loop {
        let Some(event) = TABLE.lock().next_event(reached) else {
            return reached == Vnodes::ALL;
        };
        if !tell(core, event) {
            // Its mailbox is full, or not open yet. Others do not wait for that.
            TABLE.lock().untold(event);
            reached = reached.without(event.to);
            DELAYED.add(1, Relaxed);
        }
    }
}

/// Tells one user; false when it is to be tried again.
fn tell(core: &Core, event: Event) -> bool {
    if event.to.is_root() {
        core.bridges().nudge();
        return true;
    }
    let record = EventRecord::new(event.id).to_bytes();
    let (Some(payload), Some(to)) = (Payload::new(&record), core.view().life(event.to)) else {
        // Who has gone is told nothing.
        return true;
    };
    match core.tell(to, SERVICE, &payload) {
        Err(error) => error != EAGAIN && error != ENOTCONN,
        Ok(()) => true,
    }
}

/// How often an event could not be sent at once.
pub(super) fn delayed() -> u64 {
    DELAYED.load(Relaxed)
}

/// The table's errors as docs/bridges-and-portals.md, section 2.9, has them.
pub(crate) fn errno(error: Error) -> kernel::error::Error {
    match error {
        Error::Full => ENOSPC,
        Error::Quota => EDQUOT,
        Error::Exists => EEXIST,
        Error::Unknown => ENOENT,
        Error::Denied => EACCES,
        Error::NotUser => EBADF,
        Error::Moving => EAGAIN,
        Error::Pinned => EBUSY,
        Error::Stale | Error::Dead => ESTALE,
        Error::Size | Error::Mode | Error::Overlap | Error::Malformed => EINVAL,
    }
}
