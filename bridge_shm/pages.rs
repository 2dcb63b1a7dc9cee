// SPDX-License-Identifier: GPL-2.0

//! The memory of a region as one open file has it: mapped in this kernel while it is used, and out of all page tables
//! while it is moved (SH-31 to SH-33).
//!
//! Lock: `state`, a mutex. A page is looked up and entered into a page table under it, so that none is entered after
//! the region was let go. It is taken with a process's `mmap_lock` held, and is held over a request to the root.

#![deny(unsafe_code)]

use crate::files::Space;
use adeos_core::bridge::{
    Bridge,
    Mapped,
    Watcher, //
};
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    CondVar,
    Mutex, //
};
use kernel::time::msecs_to_jiffies;

/// How long one sleeps at most before one looks again whether the region can be used.
const LOOK_MS: u32 = 100;

struct State {
    /// Nothing before the first use, and while the region is moved.
    mapped: Option<Mapped>,
    /// Whether somebody has asked to let go, and not said yet that it is over.
    is_frozen: bool,
}

/// The memory.
#[pin_data]
pub(crate) struct Pages {
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
    /// It is being moved, and the time or a signal came first.
    NotYet,
    /// This kernel has it no more.
    Lost,
}

impl Pages {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let state = State {
            mapped: None,
            is_frozen: false,
        };
        Arc::pin_init(
            pin_init!(Self {
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

    /// Does something with the region where it is now, while it cannot be moved: it must be short. Sleeps while the region is
    /// moved, but not for long: then, and when a signal comes, it is for the caller to try again. Process context.
    pub(crate) fn with<R>(
        &self,
        bridge: &Bridge,
        what: impl FnOnce(&Mapped) -> R,
    ) -> Result<R, Unusable> {
        let mut state = self.state.lock();
        if state.is_frozen {
            let jiffies = msecs_to_jiffies(LOOK_MS);
            let _ = self.settled.wait_interruptible_timeout(&mut state, jiffies);
            if state.is_frozen {
                return Err(Unusable::NotYet);
            }
        }
        if state.mapped.is_none() {
            match bridge.map() {
                Ok(mapped) => state.mapped = Some(mapped),
                Err(error) if error == EAGAIN || error == EINTR => {
                    let jiffies = msecs_to_jiffies(LOOK_MS);
                    let _ = self.settled.wait_interruptible_timeout(&mut state, jiffies);
                    return Err(Unusable::NotYet);
                }
                Err(_) => return Err(Unusable::Lost),
            }
        }
        match &state.mapped {
            Some(mapped) => Ok(what(mapped)),
            None => Err(Unusable::NotYet),
        }
    }

    /// Lets go of it for good: the file is closed, and nothing maps it.
    pub(crate) fn close(&self) {
        self.space.lock().take();
        let mapped = self.state.lock().mapped.take();
        drop(mapped);
    }
}

impl Watcher for Pages {
    fn let_go(&self) -> Result {
        let mut state = self.state.lock();
        state.is_frozen = true;
        let mapped = state.mapped.take();
        drop(state);
        // Nobody enters a page any more; what is entered goes before the answer.
        if let Some(space) = &*self.space.lock() {
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
