// SPDX-License-Identifier: GPL-2.0

//! A semaphore that one at a time passes, in the order in which they came.
//!
//! C header: `include/linux/semaphore.h`. It is what Linux has that can be waited for until a
//! time, tried and given back in an interrupt, and given back by another than who has taken it.

use crate::ffi;
use kernel::bindings;
use kernel::error::to_result;
use kernel::ffi::c_long;
use kernel::prelude::*;
use kernel::types::Opaque;

/// Such a semaphore.
#[pin_data]
pub(crate) struct Semaphore {
    #[pin]
    inner: Opaque<bindings::semaphore>,
}

// SAFETY: A semaphore may be used from any thread and context.
unsafe impl Send for Semaphore {}
// SAFETY: As above; it has its own lock.
unsafe impl Sync for Semaphore {}

impl Semaphore {
    /// Makes one that nobody has passed.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::semaphore| {
                // SAFETY: The slot is memory for a semaphore.
                unsafe { ffi::adeos_sema_init(slot) }
            }),
        })
    }

    /// Passes it, behind those who wait already. Process context; no signal ends it. ETIMEDOUT.
    pub(crate) fn down_timeout_ms(&self, timeout_ms: u32) -> Result {
        // Jiffies are fewer than milliseconds, or as many.
        let jiffies = kernel::time::msecs_to_jiffies(timeout_ms) as c_long;
        // SAFETY: `new` has initialised the semaphore.
        to_result(unsafe { bindings::down_timeout(self.inner.get(), jiffies) })
            .map_err(|_| ETIMEDOUT)
    }

    /// Passes it if that needs no waiting; whether it did. Any context but NMIs.
    pub(crate) fn try_down(&self) -> bool {
        // SAFETY: `new` has initialised the semaphore.
        unsafe { bindings::down_trylock(self.inner.get()) == 0 }
    }

    /// Lets the next one pass: once for each time that it was passed. Any context but NMIs.
    pub(crate) fn up(&self) {
        // SAFETY: `new` has initialised the semaphore.
        unsafe { bindings::up(self.inner.get()) };
    }
}
