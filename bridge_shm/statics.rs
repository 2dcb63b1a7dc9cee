// SPDX-License-Identifier: GPL-2.0

//! What functions need that are called without being told of whom: by system calls and views.
//!
//! Locks: `KEPT` and `BOARD`, mutexes, each a leaf but for the request with which the board is opened.

use crate::board::Board;
use crate::desk::Desk;
use crate::hall;
use crate::handle::Handle;
use adeos_core::bridge::{
    Bridge,
    Id,
    Vnodes, //
};
use adeos_core::Core;
use adeos_proto::id::{
    Life,
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::membership::View;
use adeos_proto::shm::lock::{
    self,
    Token, //
};
use adeos_proto::shm::quota::Amount;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full, //
};
use kernel::sync::Arc;

kernel::sync::global_lock! {
    // SAFETY: `init` is called in the module's initialisation, before any other use.
    unsafe(uninit) static BOARD: Mutex<()> = ();
}

kernel::sync::global_lock! {
    // SAFETY: `init` is called in the module's initialisation, before any other use.
    unsafe(uninit) static KEPT: Mutex<KVec<Arc<Handle>>> = KVec::new();
}

/// The life in which each vnode was seen last; 0 for none.
static LIVES: [Atomic<u32>; MAX_VNODES] = [const { Atomic::new(0) }; MAX_VNODES];

/// The last life of each vnode that has ended; 0 for none.
static ENDED: [Atomic<u32>; MAX_VNODES] = [const { Atomic::new(0) }; MAX_VNODES];

/// Files that were opened so far.
static FILES: Atomic<u32> = Atomic::new(0);

/// What the next file writes into the words of locks that it has.
pub(crate) fn token(life: Life) -> Token {
    loop {
        // Numbers begin again behind the last one. No file lives as long as it takes to open all others.
        let number = FILES.fetch_add(1, Full) % lock::FILES;
        if let Some(token) = Token::new(life, number) {
            return token;
        }
    }
}

/// Prepares the statics of this file.
pub(crate) fn init() {
    // SAFETY: Called once, from the module's initialisation.
    unsafe {
        BOARD.init();
        KEPT.init();
    }
}

/// What a user may have.
pub(crate) fn limit() -> Amount {
    Amount {
        regions: crate::module_parameters::user_regions.value().into(),
        bytes: crate::module_parameters::user_bytes.value(),
    }
}

/// The board, which is opened the first time. Process context; see [`Board::open`].
pub(crate) fn board(core: &Arc<Core>) -> Result<Arc<Board>> {
    if let Some(board) = hall::board() {
        return Ok(board);
    }
    let _one = BOARD.lock();
    match hall::board() {
        Some(board) => Ok(board),
        None => Ok(hall::put_up(Board::open(core)?)),
    }
}

/// Keeps a region until it is forgotten, or the module goes. Process context. ENOMEM.
pub(crate) fn keep(handle: Arc<Handle>) -> Result {
    let mut kept = KEPT.lock();
    if kept.iter().any(|other| other.id() == handle.id()) {
        return Ok(());
    }
    Ok(kept.push(handle, GFP_KERNEL)?)
}

/// Keeps a region no more. Process context; waits for the root. ENOENT it is not kept.
pub(crate) fn forget(id: Id) -> Result {
    let mut kept = KEPT.lock();
    let at = kept
        .iter()
        .position(|handle| handle.id() == id)
        .ok_or(ENOENT)?;
    let handle = kept.remove(at);
    drop(kept);
    drop(handle);
    Ok(())
}

/// Keeps nothing any more. Process context; waits for the root.
pub(crate) fn forget_all() {
    let kept = core::mem::replace(&mut *KEPT.lock(), KVec::new());
    drop(kept);
}

/// Notes who lives, before there is anybody to be told.
pub(crate) fn take_view(core: &Core) {
    died(&core.view());
}

/// Who lives has changed.
pub(crate) fn on_view(core: &Core, view: &View) {
    let dead = died(view);
    if dead.is_empty() {
        return;
    }
    let Some(board) = hall::board() else {
        return;
    };
    hall::each(|desk| {
        if is_concerned(core, desk, dead) {
            desk.mourn(&board);
        }
    });
}

/// The vnodes of which a life has ended since the last call.
fn died(view: &View) -> Vnodes {
    let mut dead = Vnodes::NONE;
    for (vnode, seen) in VnodeId::all().zip(&LIVES) {
        let now = view.life(vnode).map_or(0, |life| life.generation.0);
        let before = seen.xchg(now, Full);
        if before != 0 && before != now {
            if let Some(ended) = ENDED.get(vnode.index()) {
                ended.xchg(before, Full);
            }
            dead = dead.with(vnode);
        }
    }
    dead
}

/// Users of a region without those whose end this kernel has been told, which is not after the registry shows it.
pub(crate) fn living(mut users: [u32; MAX_VNODES]) -> [u32; MAX_VNODES] {
    for (life, ended) in users.iter_mut().zip(&ENDED) {
        if *life <= ended.load(Acquire) {
            *life = 0;
        }
    }
    users
}

/// Whether one of these vnodes may use a region. One of which nothing is known is everybody's.
fn is_concerned(core: &Core, desk: &Desk, dead: Vnodes) -> bool {
    let entry = Bridge::all(core).find(|entry| entry.id == desk.id());
    entry.is_none_or(|entry| {
        let uses = |vnode: VnodeId| {
            entry
                .users
                .get(vnode.index())
                .is_some_and(|life| *life != 0)
        };
        let users = VnodeId::all().filter(|vnode| uses(*vnode));
        let users = users.fold(Vnodes::NONE, Vnodes::with);
        let may = entry.rights.readers.with(entry.owner.vnode);
        !may.and(users).among(dead).is_empty()
    })
}
