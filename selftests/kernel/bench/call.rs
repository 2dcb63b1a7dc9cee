// SPDX-License-Identifier: GPL-2.0

//! Calls on another CPU of this kernel, and the time-stamp counter: what is measured against, and
//! by.
//!
//! C header: `include/linux/smp.h`.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use kernel::bindings;
use kernel::error::to_result;
use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full,
    Relaxed, //
};

/// The time-stamp counter.
pub(crate) fn tsc() -> u64 {
    // SAFETY: Every CPU that Linux runs on in 64-bit mode has it, and it only reads.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Has another CPU run a function that does nothing, and waits for it. ENXIO when it is offline.
pub(crate) fn there(cpu: u32) -> Result {
    // SAFETY: The function is static and uses no argument.
    to_result(unsafe {
        bindings::smp_call_function_single(cpu as i32, Some(nothing), core::ptr::null_mut(), true)
    })
}

extern "C" fn nothing(_: *mut c_void) {}

/// A call that is under way, see [`there_and_back`].
struct Call(UnsafeCell<MaybeUninit<bindings::call_single_data_t>>);

// SAFETY: Who starts a call has waited for the end of the one before.
unsafe impl Sync for Call {}

static THERE: Call = Call(UnsafeCell::new(MaybeUninit::zeroed()));
static BACK: Call = Call(UnsafeCell::new(MaybeUninit::zeroed()));
/// The CPU that has begun, and how often a call has come back to it.
static HOME: Atomic<u32> = Atomic::new(0);
static RETURNED: Atomic<u64> = Atomic::new(0);

impl Call {
    fn start(&self, cpu: u32, function: unsafe extern "C" fn(*mut c_void)) -> i32 {
        let call = self.0.get().cast::<bindings::call_single_data_t>();
        // SAFETY: Zeros are a call that is not under way, and this one is not: see `Sync` above.
        unsafe { (*call).func = Some(function) };
        // SAFETY: As above; it is static, and the function uses no argument.
        unsafe { bindings::smp_call_function_single_async(cpu as i32, call) }
    }
}

/// Has another CPU run a function that has this one run a function, by interrupts both ways, and
/// waits for that, `limit` ticks of the counter at most. ETIMEDOUT, ENXIO, EBUSY.
pub(crate) fn there_and_back(home: u32, cpu: u32, limit: u64) -> Result {
    let before = RETURNED.load(Acquire);
    HOME.store(home, Relaxed);
    to_result(THERE.start(cpu, on_there))?;
    spin(limit, || RETURNED.load(Acquire) != before)
}

extern "C" fn on_there(_: *mut c_void) {
    // It cannot be refused: the CPU that waits is online.
    BACK.start(HOME.load(Relaxed), on_back);
}

extern "C" fn on_back(_: *mut c_void) {
    RETURNED.fetch_add(1, Full);
}

/// Looks until something is so, for `limit` ticks of the counter at most. ETIMEDOUT.
pub(crate) fn spin(limit: u64, mut is_so: impl FnMut() -> bool) -> Result {
    let start = tsc();
    while !is_so() {
        if tsc().wrapping_sub(start) > limit {
            return Err(ETIMEDOUT);
        }
        core::hint::spin_loop();
    }
    Ok(())
}
