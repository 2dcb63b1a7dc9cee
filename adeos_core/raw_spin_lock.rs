// SPDX-License-Identifier: GPL-2.0

//! A spinlock for hard interrupts: one that spins in every configuration, taken with interrupts off.
//!
//! The portals' interrupt is not one that Linux could run in a thread, so what is locked there has
//! to be a `raw_spinlock_t` (`Documentation/locking/locktypes.rst`), which the kernel crate does not
//! have. Nothing is inlined into other modules: they can call what is exported of this one only. C header: `include/linux/spinlock.h`.

use crate::ffi;
use kernel::bindings;
use kernel::ffi::{
    c_char,
    c_ulong, //
};
use kernel::sync::lock::{
    Backend,
    Lock, //
};

/// Such a lock. What is done while it is held is bounded and short, and neither sleeps nor takes a
/// lock of another kind.
pub type RawSpinLock<T> = Lock<T, RawSpinLockBackend>;

/// How it is taken and freed.
pub struct RawSpinLockBackend;

// SAFETY: The kernel's `raw_spinlock_t` excludes all others; locking again is the same call.
unsafe impl Backend for RawSpinLockBackend {
    type State = bindings::raw_spinlock_t;
    /// Whether interrupts were on, as the processor's flags say it.
    type GuardState = c_ulong;

    #[inline(never)]
    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: By this function's conditions.
        unsafe { ffi::adeos_raw_spin_lock_init(ptr, name, key.cast()) }
    }

    #[inline(never)]
    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: By this function's conditions the lock is initialised.
        unsafe { ffi::adeos_raw_spin_lock(ptr) }
    }

    #[inline(never)]
    unsafe fn try_lock(ptr: *mut Self::State) -> Option<Self::GuardState> {
        let mut flags = 0;
        // SAFETY: By this function's conditions the lock is initialised.
        let is_ours = unsafe { ffi::adeos_raw_spin_trylock(ptr, &mut flags) };
        is_ours.then_some(flags)
    }

    #[inline(never)]
    unsafe fn unlock(ptr: *mut Self::State, guard_state: &Self::GuardState) {
        // SAFETY: By this function's conditions the caller holds the lock, and has got the state
        // when it took it.
        unsafe { ffi::adeos_raw_spin_unlock(ptr, *guard_state) }
    }

    #[inline(never)]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: By this function's conditions the lock is initialised.
        unsafe { ffi::adeos_raw_spin_assert_held(ptr) }
    }
}
