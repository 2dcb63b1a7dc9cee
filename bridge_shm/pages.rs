// SPDX-License-Identifier: GPL-2.0

//! The memory of a region as one open file has it: mapped in this kernel while it is used, and out of all page tables
//! while it is moved (SH-31 to SH-33).
//!
//! Locks: `space` -> `state`, mutexes. A page is looked up and entered into a page table under `state`, so that none is
//! entered after the region was let go. It is taken with a process's `mmap_lock` held, and is held over a request to the root.

#![deny(unsafe_code)]

use crate::files::Space;
use adeos_core::bridge::{
    Bridge,
    Entry,
    Follow,
    Mapped,
    Watcher, //
};
use adeos_proto::id::VnodeId;
use kernel::prelude::*;
use kernel::sync::lock::mutex::MutexBackend;
use kernel::sync::lock::Guard;
use kernel::sync::{
    Arc,
    CondVar,
    Mutex, //
};
use kernel::time::msecs_to_jiffies;

/// How long one sleeps at most before one looks again whether the region can be used.
const LOOK_MS: u32 = 100;

struct State {
    /// Nothing before the first use, while nobody holds it, and while the region is moved.
    mapped: Option<Mapped>,
    /// Areas of programs, and one for locks that are to be freed.
    holds: usize,
    /// Whether somebody has asked to let go, and not said yet that it is over.
    is_frozen: bool,
    /// Whether that was so since it was prepared.
    has_moved: bool,
}

/// The memory.
#[pin_data]
pub(crate) struct Pages {
    own: VnodeId,
    #[pin]
    state: Mutex<State>,
    #[pin]
    settled: CondVar,
    /// Where programs have it mapped; nothing before the file is there.
    #[pin]
    space: Mutex<Option<Space>>,
}

/// Why a region cannot be used now.
pub(crate) enum Unusable {
    /// It is to be prepared first; it is being moved, and the time or a signal came first.
    NotYet,
    /// There is no memory to map it.
    NoMemory,
    /// This vnode may not use it any more.
    Denied,
    /// This kernel has it no more.
    Lost,
}

impl Pages {
    pub(crate) fn new(own: VnodeId) -> Result<Arc<Self>> {
        let state = State {
            mapped: None,
            holds: 0,
            is_frozen: false,
            has_moved: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                own,
                state <- kernel::new_mutex!(state, "bridge_shm:pages"),
                settled <- kernel::new_condvar!("bridge_shm:settled"),
                space <- kernel::new_mutex!(None, "bridge_shm:space"),
            }),
            GFP_KERNEL,
        )
    }

    /// Says where programs map it, once the file is there.
    pub(crate) fn set_space(&self, space: Space) {
        *self.space.lock() = Some(space);
    }

    /// Does something with the region where it is now, while it cannot be moved: it must be short. NotYet when it is to be
    /// prepared first. Process context; sleeps no longer than others do this.
    pub(crate) fn with<R>(&self, what: impl FnOnce(&Mapped) -> R) -> Result<R, Unusable> {
        let state = self.state.lock();
        state.mapped.as_ref().map(what).ok_or(Unusable::NotYet)
    }

    /// Takes all of it out of all page tables, from which it can be entered again. Process context.
    pub(crate) fn unmap_all(&self) {
        if let Some(space) = &*self.space.lock() {
            space.unmap_all();
        }
    }

    /// Keeps the region mapped, once it is, until [`Pages::release`]: it has one size as long as anybody does. Process context.
    pub(crate) fn hold(&self) {
        self.state.lock().holds += 1;
    }

    /// Undoes one [`Pages::hold`]. Process context.
    pub(crate) fn release(&self) {
        let mut state = self.state.lock();
        state.holds -= 1;
        drop(state);
        self.rest();
    }

    /// Lets go of the region unless somebody holds it: to be called after each use. Process context.
    pub(crate) fn rest(&self) {
        let mut state = self.state.lock();
        if state.holds == 0 {
            let mapped = state.mapped.take();
            drop(state);
            drop(mapped);
        }
    }

    /// Has the region be there for [`Pages::with`]: maps it, or sleeps while it is moved, but not for long. NotYet then, and when
    /// a signal comes; it is for the caller to try again. Process context; waits for the root.
    pub(crate) fn prepare(&self, bridge: &Bridge) -> Result<(), Unusable> {
        let mut state = self.state.lock();
        if state.is_frozen {
            self.sleep(&mut state);
            if state.is_frozen {
                return Err(Unusable::NotYet);
            }
        }
        if state.mapped.is_none() {
            match bridge.map() {
                Ok(mapped) => state.mapped = Some(mapped),
                // This kernel is letting go of it, or does not know yet that the move is over.
                Err(EAGAIN) => {
                    self.sleep(&mut state);
                    return Err(Unusable::NotYet);
                }
                Err(EINTR | ETIMEDOUT | ENOTCONN) => {
                    self.sleep(&mut state);
                    return Err(Unusable::NotYet);
                }
                Err(ENOMEM) => return Err(Unusable::NoMemory),
                Err(EACCES) => return Err(Unusable::Denied),
                Err(_) => return Err(Unusable::Lost),
            }
        }
        let has_moved = state.has_moved;
        state.has_moved = false;
        drop(state);
        // BR-75: who was late has pinned the bridge.
        let is_pinned = |entry: Entry| entry.pinned_by.has(self.own);
        if has_moved && bridge.entry().is_ok_and(is_pinned) {
            // It stays pinned when this does not get through, until it is asked to move again.
            let _ = bridge.follow(Follow::Moves);
        }
        Ok(())
    }

    fn sleep(&self, state: &mut Guard<'_, State, MutexBackend>) {
        // Whatever has ended it, the caller looks again.
        let _ = self
            .settled
            .wait_interruptible_timeout(state, msecs_to_jiffies(LOOK_MS));
    }

    /// Lets go of it for good: the file is closed, and nothing maps it. Whoever lets go of it for a move has done so then.
    pub(crate) fn close(&self) {
        let mut space = self.space.lock();
        *space = None;
        let mapped = self.state.lock().mapped.take();
        drop(mapped);
    }
}

impl Watcher for Pages {
    fn let_go(&self) -> Result {
        // Held to the end: a file that is closed meanwhile must not leave the last hold of the bridge to be dropped here.
        let space = self.space.lock();
        let mut state = self.state.lock();
        state.is_frozen = true;
        state.has_moved = true;
        let mapped = state.mapped.take();
        drop(state);
        // Nobody enters a page any more; what is entered goes before the answer.
        if let Some(space) = &*space {
            space.unmap_all();
        }
        drop(mapped);
        Ok(())
    }

    fn settled(&self) {
        self.state.lock().is_frozen = false;
        self.settled.notify_all();
    }
}
