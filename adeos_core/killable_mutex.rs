// SPDX-License-Identifier: GPL-2.0

//! A mutex for which a process that is to be killed does not wait any longer: for what is held while others are waited for.
//!
//! C header: `include/linux/mutex.h`. The kernel crate's mutex has no such call.

use crate::ffi;
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::LockClassKey;
use kernel::types::{
    NotThreadSafe,
    Opaque, //
};

/// Such a mutex, which guards no value of its own.
#[pin_data]
pub struct KillableMutex {
    #[pin]
    inner: Opaque<bindings::mutex>,
}

// SAFETY: A mutex may be used from any thread.
unsafe impl Send for KillableMutex {}
// SAFETY: As above.
unsafe impl Sync for KillableMutex {}

/// The fact that the mutex is held, by the thread that has this.
#[must_use = "it is held no longer than this is there"]
pub struct Held<'a> {
    mutex: &'a KillableMutex,
    _thread: NotThreadSafe,
}

impl KillableMutex {
    /// Makes one that nobody holds.
    pub fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::mutex| {
                // SAFETY: The slot is memory for a mutex.
                unsafe { init(slot, name, key) }
            }),
        })
    }

    /// Waits for it, whatever signal comes. Process context.
    pub(crate) fn lock(&self) -> Held<'_> {
        // SAFETY: `new` has initialised it.
        unsafe { ffi::adeos_mutex_lock(self.inner.get()) };
        self.held()
    }

    /// Waits for it. Process context. EINTR the process is to be killed.
    #[inline(never)]
    pub fn lock_killable(&self) -> Result<Held<'_>> {
        // SAFETY: `new` has initialised it.
        to_result(unsafe { ffi::adeos_mutex_lock_killable(self.inner.get()) })?;
        Ok(self.held())
    }

    /// Takes it if nobody has it. Process context.
    pub(crate) fn try_lock(&self) -> Option<Held<'_>> {
        // SAFETY: `new` has initialised it.
        let is_ours = unsafe { ffi::adeos_mutex_trylock(self.inner.get()) };
        is_ours.then(|| self.held())
    }

    fn held(&self) -> Held<'_> {
        Held {
            mutex: self,
            _thread: NotThreadSafe,
        }
    }
}

/// Sets one up. It is not inlined into other modules: they can call what is exported of this one only.
///
/// # Safety
///
/// It is memory for a mutex.
#[inline(never)]
unsafe fn init(mutex: *mut bindings::mutex, name: &'static CStr, key: Pin<&'static LockClassKey>) {
    // SAFETY: By this function's conditions; name and key live for ever.
    unsafe { ffi::adeos_mutex_init(mutex, name.as_char_ptr(), key.as_ptr().cast()) }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // SAFETY: This thread has locked it, and frees it once.
        unsafe { bindings::mutex_unlock(self.mutex.inner.get()) };
    }
}
