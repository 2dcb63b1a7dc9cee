// SPDX-License-Identifier: GPL-2.0

//! An eventfd of a program's, which a region signals. C header: `include/linux/eventfd.h`.

use core::ptr::NonNull;
use kernel::error::from_err_ptr;
use kernel::ffi::{
    c_int,
    c_uint, //
};
use kernel::prelude::*;

/// `struct eventfd_ctx`, of which nothing but its address is of interest.
#[repr(C)]
struct Context {
    _opaque: [u8; 0],
}

// `include/linux/eventfd.h`.
extern "C" {
    fn eventfd_ctx_fdget(descriptor: c_int) -> *mut Context;
    fn eventfd_ctx_put(context: *mut Context);
    fn eventfd_signal_mask(context: *mut Context, mask: c_uint);
}

/// It, for as long as this lives, whatever the program closes.
///
/// # Invariants
///
/// This has a reference.
pub(crate) struct EventFd(NonNull<Context>);

// SAFETY: An eventfd has its own lock, and is counted atomically.
unsafe impl Send for EventFd {}
// SAFETY: As above.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// That of a descriptor of the current process. Process context. EBADF, EINVAL it is none.
    pub(crate) fn new(descriptor: i32) -> Result<Self> {
        // SAFETY: Any number may be asked for.
        let context = from_err_ptr(unsafe { eventfd_ctx_fdget(descriptor) })?;
        // INVARIANT: `eventfd_ctx_fdget` has counted it.
        NonNull::new(context).map(Self).ok_or(EBADF)
    }

    /// Counts it up by one, and wakes who waits for it. Any context.
    pub(crate) fn signal(&self) {
        // SAFETY: By the invariant it lives.
        unsafe { eventfd_signal_mask(self.0.as_ptr(), 0) };
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: By the invariant there is a reference, which nobody uses any more.
        unsafe { eventfd_ctx_put(self.0.as_ptr()) };
    }
}
