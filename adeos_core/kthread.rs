// SPDX-License-Identifier: GPL-2.0

//! A kernel thread with an owner, and an event that any context can raise.
//!
//! C headers: `include/linux/kthread.h`, `include/linux/completion.h`.

use crate::ffi;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::error::from_err_ptr;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Full,
    Relaxed, //
};
use kernel::sync::Arc;
use kernel::task::Task;
use kernel::types::{
    ForeignOwnable,
    Opaque, //
};

/// Something that one thread waits for and any context raises. No raise is lost: one that comes
/// while nobody waits ends the next wait at once.
#[pin_data]
pub struct Event {
    #[pin]
    inner: Opaque<bindings::completion>,
}

// SAFETY: A completion may be used from any thread and context.
unsafe impl Send for Event {}
// SAFETY: As above; it has its own lock.
unsafe impl Sync for Event {}

impl Event {
    /// Makes an event that has not been raised.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                // SAFETY: The slot is memory for a completion.
                unsafe { bindings::init_completion(slot) }
            }),
        })
    }

    /// Raises the event. Any context, hard interrupts among them.
    pub fn raise(&self) {
        // SAFETY: `new` has initialised the completion.
        unsafe { bindings::complete(self.inner.get()) };
    }

    /// Waits until the event was raised or the time is over; takes all raises so far. Process
    /// context.
    pub fn wait_ms(&self, timeout_ms: u32) {
        let jiffies = kernel::time::msecs_to_jiffies(timeout_ms);
        // SAFETY: `new` has initialised the completion.
        unsafe { bindings::wait_for_completion_interruptible_timeout(self.inner.get(), jiffies) };
        self.forget();
    }

    /// Waits until the event was raised, and tells so, or the time is over. Process context. ERESTARTSYS when a signal has
    /// come.
    pub fn wait_interruptible_ms(&self, timeout_ms: u32) -> Result<bool> {
        let jiffies = kernel::time::msecs_to_jiffies(timeout_ms);
        // SAFETY: `new` has initialised the completion.
        let left = unsafe {
            bindings::wait_for_completion_interruptible_timeout(self.inner.get(), jiffies)
        };
        if left < 0 {
            return Err(ERESTARTSYS);
        }
        Ok(left > 0)
    }

    /// Waits until the event was raised; takes all raises so far. For kernel threads, which get no
    /// signals.
    pub(crate) fn wait(&self) {
        // SAFETY: `new` has initialised the completion.
        unsafe { bindings::wait_for_completion_interruptible(self.inner.get()) };
        self.forget();
    }

    /// Waits until the event was raised, and tells so, or the time is over. Process context. EINTR
    /// when the process is to be killed.
    pub(crate) fn wait_killable_ms(&self, timeout_ms: u32) -> Result<bool> {
        let jiffies = kernel::time::msecs_to_jiffies(timeout_ms);
        // SAFETY: `new` has initialised the completion.
        let left =
            unsafe { bindings::wait_for_completion_killable_timeout(self.inner.get(), jiffies) };
        if left < 0 {
            return Err(EINTR);
        }
        Ok(left > 0)
    }

    /// Whether it was raised and nobody has taken that. Any context.
    pub(crate) fn is_raised(&self) -> bool {
        // SAFETY: `new` has initialised the completion.
        unsafe { bindings::completion_done(self.inner.get()) }
    }

    /// Takes all raises so far: what they said is known.
    pub fn forget(&self) {
        // SAFETY: `new` has initialised the completion.
        while unsafe { bindings::try_wait_for_completion(self.inner.get()) } {}
    }
}

/// What a thread runs.
pub trait Body: Send + Sync + 'static {
    /// Whether a round may wait for an answer of another vnode. A thread that other vnodes wait for
    /// must not (docs/dsp.md, DS-2).
    const MAY_ASK: bool = true;

    /// One round; it must return within a bounded time.
    fn round(&self);

    /// Ends a wait of `round`, when the thread is to stop.
    fn wake(&self);
}

/// A kernel thread that calls [`Body::round`] until this is dropped.
pub struct Kthread<T: Body> {
    task: NonNull<bindings::task_struct>,
    body: Arc<T>,
}

// SAFETY: The handle is used only to stop the thread, once.
unsafe impl<T: Body> Send for Kthread<T> {}
// SAFETY: No method takes `&self`.
unsafe impl<T: Body> Sync for Kthread<T> {}

impl<T: Body> Kthread<T> {
    /// Starts a thread. Process context. ENOMEM.
    pub fn spawn(name: &'static CStr, body: Arc<T>) -> Result<Self> {
        let data = body.clone().into_foreign();
        // SAFETY: `main::<T>` takes back what `into_foreign` gave; the name holds no format.
        let task = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(main::<T>),
                data.cast(),
                bindings::NUMA_NO_NODE,
                name.as_char_ptr(),
            )
        });
        let task = match task {
            Ok(task) => task,
            Err(error) => {
                // SAFETY: The thread was not made, so the reference is still ours.
                drop(unsafe { Arc::<T>::from_foreign(data) });
                return Err(error);
            }
        };
        // SAFETY: The thread exists and has not run. It cannot end before `kthread_stop`.
        unsafe { bindings::wake_up_process(task) };
        Ok(Self {
            task: NonNull::new(task).ok_or(EINVAL)?,
            body,
        })
    }
}

impl<T: Body> Drop for Kthread<T> {
    fn drop(&mut self) {
        self.body.wake();
        // SAFETY: The thread lives until it is stopped, which happens once, here; it has always
        // run, since `spawn` woke it and its loop ends only by this.
        unsafe { bindings::kthread_stop(self.task.as_ptr()) };
    }
}

/// What the thread executes until it is told to stop.
///
/// # Safety
///
/// `data` is what `Arc::<T>::into_foreign` has given, and this call's to drop.
unsafe extern "C" fn main<T: Body>(data: *mut kernel::ffi::c_void) -> i32 {
    // SAFETY: `spawn` has made this of an `Arc<T>`, for this thread alone.
    let body = unsafe { Arc::<T>::from_foreign(data.cast()) };
    let place = (!T::MAY_ASK).then(forbid_asking).flatten();
    // SAFETY: This is a kernel thread.
    while !unsafe { bindings::kthread_should_stop() } {
        body.round();
        breathe();
    }
    if let Some(place) = place {
        place.store(0, Relaxed);
    }
    0
}

/// Between two rounds, which hold nothing then. Apart, since other modules' threads call it too.
#[inline(never)]
fn breathe() {
    // SAFETY: A thread of its own, with nothing locked.
    unsafe { ffi::adeos_cond_resched() };
}

/// The threads that must not wait for another vnode, as addresses of their tasks; 0 for none.
static FORBIDDEN: [Atomic<usize>; 2] = [const { Atomic::new(0) }; 2];

/// Notes that the current thread is one of them.
fn forbid_asking() -> Option<&'static Atomic<usize>> {
    let current = Task::current_raw() as usize;
    FORBIDDEN
        .iter()
        .find(|place| place.cmpxchg(0, current, Full).is_ok())
}

/// Whether the current thread may wait for an answer of another vnode.
pub(crate) fn may_ask() -> bool {
    let current = Task::current_raw() as usize;
    FORBIDDEN.iter().all(|place| place.load(Relaxed) != current)
}
