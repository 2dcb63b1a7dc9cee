// SPDX-License-Identifier: GPL-2.0

//! Locks between vnodes, as modules use them (paper section 4, footnote 12).
//!
//! A lock lies in a bridge, and excludes the kernels that have it open, and the callers in each.
//! docs/inter-vnode-locks.md is the specification, `proto/lock.rs` the logic. Here is what Linux
//! has to do with it: a caller looks for its turn for a while and then sleeps, a portal wakes it,
//! and each view of the membership has the locks of the dead handed on.

#![deny(unsafe_code)]

use crate::bridge::{
    Access,
    Mapped, //
};
use crate::core_state::Core;
use crate::kthread;
use adeos_proto::lock::{
    layout,
    Entry, //
};
use adeos_proto::window::Window;
use end::End;
use kernel::prelude::*;
use kernel::sync::Arc;

mod end;
mod registry;

pub(crate) use registry::{
    on_wake,
    show,
    subscribe,
    Locks, //
};

pub use adeos_proto::lock::layout::{
    ALIGN,
    SIZE, //
};

/// A lock that this kernel has open; dropped in process context. What has borrowed it waits or
/// holds it, so it cannot be dropped then.
///
/// # Examples
///
/// ```ignore
/// let lock = Lock::open(&core, Arc::new(bridge.map()?, GFP_KERNEL)?, 0)?;
/// match lock.lock(1000)? {
///     Acquired::Clean(guard) => work(&guard),
///     Acquired::Inconsistent(guard) => {
///         repair();
///         guard.mark_consistent()?;
///     }
/// }
/// ```
pub struct Lock {
    core: Arc<Core>,
    end: Arc<End>,
}

impl Lock {
    /// Opens the lock of [`SIZE`] bytes at an offset of a bridge. Zeros, which a new bridge holds,
    /// are a lock that is free. Process context.
    ///
    /// A bridge that moves can do so only when all its [`Mapped`] are dropped, and so its locks.
    ///
    /// EINVAL when it does not lie in the bridge or is not aligned to [`ALIGN`], EACCES when the
    /// bridge is mapped to be read, EEXIST when this kernel has the lock open: its callers share
    /// one [`Lock`]. ENXIO when this kernel is no member of the cluster, ENOSPC when it has 256
    /// locks open, ENOMEM.
    pub fn open(core: &Arc<Core>, memory: Arc<Mapped>, at: usize) -> Result<Self> {
        let end = at.checked_add(SIZE).ok_or(EINVAL)?;
        if end > memory.size() || at % layout::ALIGN != 0 {
            return Err(EINVAL);
        }
        if memory.access() != Access::Write {
            return Err(EACCES);
        }
        Ok(Self {
            core: core.clone(),
            // The caller's own reference goes behind this: a mapping's end is not for inside.
            end: core.locks().open(core, &memory, at)?,
        })
    }

    /// Takes the lock, in turn with the other kernels, and with other callers of this one. Process
    /// context; sleeps, after it has looked for its turn by itself for a few microseconds.
    ///
    /// ETIMEDOUT after the time, ESHUTDOWN after [`shut_down`](Self::shut_down), ENXIO when this
    /// kernel is no member any more, EINTR when the process is to be killed (which one that waits
    /// behind another caller of its own kernel does not notice before it is its turn), EDEADLK in
    /// the nanokernel's own threads, which must not wait for others.
    pub fn lock(&self, timeout_ms: u32) -> Result<Acquired<'_>> {
        kernel::task::might_sleep();
        if !kthread::may_ask() {
            return Err(EDEADLK);
        }
        let entry = self.end.lock(&self.core, timeout_ms)?;
        Ok(self.acquired(entry))
    }

    /// Takes the lock if nobody holds it or waits for it. Any context but NMIs, handlers of portals
    /// among them. EBUSY, ESHUTDOWN, ENXIO.
    pub fn try_lock(&self) -> Result<Acquired<'_>> {
        let entry = self.end.try_lock()?;
        Ok(self.acquired(entry))
    }

    /// Ends the waiting of all callers of this kernel, now and for ever, with ESHUTDOWN: for a
    /// module that is going, whose threads wait. Those that wait behind one of their own kernel that
    /// has the lock come back when it frees it. Any context.
    pub fn shut_down(&self) {
        self.end.shut();
    }

    fn acquired(&self, entry: Entry) -> Acquired<'_> {
        let guard = Guard(self);
        match entry {
            Entry::Consistent => Acquired::Clean(guard),
            Entry::MaybeInconsistent => Acquired::Inconsistent(guard),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.core.locks().close(&self.core, &self.end);
    }
}

/// The lock is this caller's.
#[must_use = "the lock is freed again when this is not used"]
pub enum Acquired<'a> {
    /// What the lock guards is as its owners have left it.
    Clean(Guard<'a>),
    /// An owner has died since what the lock guards was last declared consistent. Every owner is
    /// told so until one does [`mark_consistent`](Guard::mark_consistent).
    Inconsistent(Guard<'a>),
}

/// The fact that this caller has the lock; freed when dropped. Any context but NMIs.
#[must_use = "the lock is freed again when this is not used"]
pub struct Guard<'a>(&'a Lock);

impl Guard<'_> {
    /// Declares what the lock guards consistent: the next owner is told nothing any more. Any
    /// context but NMIs. EOWNERDEAD as for [`unlock`](Self::unlock).
    pub fn mark_consistent(&self) -> Result {
        self.0.end.declare_consistent()
    }

    /// Frees the lock, which dropping it does as well, and says how that went. Any context but NMIs.
    ///
    /// EOWNERDEAD when somebody has taken the lock out of this owner's hands, a hostile peer or a
    /// root that takes this kernel for dead: what it guards may have had two owners. The lock is
    /// not this caller's any more in any case.
    pub fn unlock(self) -> Result {
        let lock = self.0;
        core::mem::forget(self);
        lock.end.unlock(&lock.core)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // A loss is counted; who wants to know of it calls `unlock`.
        let _ = self.0.end.unlock(&self.0.core);
    }
}
