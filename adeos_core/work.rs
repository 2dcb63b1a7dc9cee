// SPDX-License-Identifier: GPL-2.0

//! Work that Linux runs in process context, with an owner.
//!
//! C header: `include/linux/workqueue.h`. The kernel crate's own abstraction has no way to wait
//! until an item does not run.

use crate::ffi;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::container_of;
use kernel::prelude::*;
use kernel::types::Opaque;

/// Where work waits for a thread; it is done before this is gone.
pub struct Queue(NonNull<bindings::workqueue_struct>);

// SAFETY: A workqueue may be used from any thread and context.
unsafe impl Send for Queue {}
// SAFETY: As above; it has its own locks.
unsafe impl Sync for Queue {}

impl Queue {
    /// Makes a queue whose items run on any CPU, side by side, and also when memory is short.
    /// Process context. ENOMEM.
    pub fn new(name: &'static CStr) -> Result<Self> {
        Self::with(name, bindings::wq_flags_WQ_UNBOUND)
    }

    /// The same, but an item runs on the CPU that has queued it, among all else that runs there.
    pub(crate) fn on_same_cpu(name: &'static CStr) -> Result<Self> {
        Self::with(name, bindings::wq_flags_WQ_PERCPU)
    }

    fn with(name: &'static CStr, where_to_run: bindings::wq_flags) -> Result<Self> {
        let flags = where_to_run | bindings::wq_flags_WQ_MEM_RECLAIM;
        // SAFETY: The format takes one string, which is given; 0 is the usual number of items that
        // run side by side.
        let queue = unsafe {
            bindings::alloc_workqueue_noprof(c"%s".as_char_ptr(), flags, 0, name.as_char_ptr())
        };
        NonNull::new(queue).map(Self).ok_or(ENOMEM)
    }

    /// Queues an item, unless it waits already: it runs once after this, at least. Any context but
    /// NMIs.
    pub fn add(&self, work: &Work) {
        // SAFETY: The queue is there until `drop`, and the item, which `new` has set up, until it
        // has been cancelled.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32,
                self.0.as_ptr(),
                work.inner.get(),
            )
        };
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: `new` made it, and nobody adds to it any more. This waits for what it holds.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}

/// Something to be done, by a function with a number. It is done once for all times that it was
/// queued before it starts, and never twice at once.
#[pin_data(PinnedDrop)]
pub struct Work {
    #[pin]
    inner: Opaque<bindings::work_struct>,
    run: fn(usize),
    argument: usize,
}

// SAFETY: A work item may be used from any thread and context.
unsafe impl Send for Work {}
// SAFETY: As above; the rest does not change.
unsafe impl Sync for Work {}

impl Work {
    /// Makes an item.
    pub fn new(run: fn(usize), argument: usize) -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::work_struct| {
                // SAFETY: The slot is memory for an item, and part of a `Work`.
                unsafe { init(slot) }
            }),
            run,
            argument,
        })
    }

    /// Takes it out of the queue, and waits until it does not run. Process context, and not from the
    /// item itself.
    pub fn cancel(&self) {
        // SAFETY: `new` has set it up.
        unsafe { bindings::cancel_work_sync(self.inner.get()) };
    }
}

#[pinned_drop]
impl PinnedDrop for Work {
    fn drop(self: Pin<&mut Self>) {
        self.cancel();
    }
}

/// Sets an item up. It is not inlined into other modules: they can call what is exported of this one only.
///
/// # Safety
///
/// It is memory for the field `inner` of a [`Work`].
#[inline(never)]
unsafe fn init(item: *mut bindings::work_struct) {
    // SAFETY: By this function's conditions.
    unsafe { ffi::adeos_init_work(item, Some(run_work)) }
}

/// What the queue calls.
///
/// # Safety
///
/// `work` is the field `inner` of a [`Work`] that has not been dropped.
unsafe extern "C" fn run_work(work: *mut bindings::work_struct) {
    let inner = work.cast::<Opaque<bindings::work_struct>>();
    // SAFETY: By this function's condition: only `Work::new` gives it to an item, and `drop` cancels
    // that before the `Work` is gone.
    let work = unsafe { &*container_of!(inner, Work, inner) };
    (work.run)(work.argument);
}
