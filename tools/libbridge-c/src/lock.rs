// SPDX-License-Identifier: GPL-2.0

//! Locks and conditions.

use std::ffi::c_int;
use std::io;
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bridge::{Held, Lock};

use crate::arguments::{give, of, take_back, timeout};
use crate::errno::{answer, done, error};
use crate::kept::Kept;
use crate::region::Handle;

/// `struct bridge_lock`.
///
/// # Invariants
///
/// Once C has it, it stays where it is, and what is held, which borrows the lock, is let go before it is taken back.
pub(crate) struct LockHandle {
    held: Mutex<Option<Held<'static>>>,
    lock: Kept<Lock<'static>>,
}

impl LockHandle {
    fn new(region: &Handle, offset: u64) -> io::Result<Self> {
        // SAFETY: Both go into the lock.
        let lock = unsafe { Kept::new(region, |region, memory| Lock::new(region, memory, offset)) };
        Ok(Self {
            held: Mutex::new(None),
            lock: lock?,
        })
    }

    /// What is held. EPERM it is not.
    fn held(&self) -> io::Result<Held<'static>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.take().ok_or_else(|| error(libc::EPERM))
    }

    /// Keeps what is held; 1 if who had it before has ended with it.
    fn hold(&self, held: Held<'static>) -> c_int {
        let is_inherited = held.is_inherited();
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        is_inherited.into()
    }

    fn acquire(&self, timeout: Option<Duration>) -> io::Result<c_int> {
        // SAFETY: By the invariant it is there for longer than what is held, which alone has the reference.
        let lock: &'static Lock<'static> = unsafe { &*ptr::from_ref(self.lock.value()) };
        let held = match timeout {
            None => lock.lock()?,
            Some(timeout) => lock.lock_within(timeout)?.ok_or(io::ErrorKind::TimedOut)?,
        };
        Ok(self.hold(held))
    }

    fn recovered(&self) -> io::Result<()> {
        let mut held = self.held()?;
        held.recovered();
        self.hold(held);
        Ok(())
    }

    /// Waits for the condition at an offset.
    fn wait(&self, offset: u64, timeout: Option<Duration>) -> io::Result<c_int> {
        let condition = self.lock.opened().condition(offset)?;
        let held = condition.wait(self.held()?, timeout.unwrap_or(Duration::MAX))?;
        Ok(self.hold(held))
    }
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_lock_open(
    region: *mut Handle,
    offset: u64,
) -> *mut LockHandle {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    give(region.and_then(|region| LockHandle::new(region, offset)))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_lock_close(lock: *mut LockHandle) {
    // SAFETY: bridge.h wants a handle, or null.
    if let Ok(lock) = unsafe { of(lock) } {
        drop(lock.held());
    }
    // SAFETY: bridge.h says that nobody uses it any more.
    unsafe { take_back(lock) };
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_lock_acquire(lock: *mut LockHandle, ms: i64) -> c_int {
    // SAFETY: bridge.h wants a handle.
    let lock = unsafe { of(lock) };
    answer(lock.and_then(|lock| lock.acquire(timeout(ms))))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_lock_recovered(lock: *mut LockHandle) -> c_int {
    // SAFETY: bridge.h wants a handle.
    let lock = unsafe { of(lock) };
    done(lock.and_then(LockHandle::recovered))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_lock_release(lock: *mut LockHandle) -> c_int {
    // SAFETY: bridge.h wants a handle.
    let lock = unsafe { of(lock) };
    done(lock.and_then(|lock| lock.held().map(drop)))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_condition_wait(
    lock: *mut LockHandle,
    offset: u64,
    ms: i64,
) -> c_int {
    // SAFETY: bridge.h wants a handle.
    let lock = unsafe { of(lock) };
    answer(lock.and_then(|lock| lock.wait(offset, timeout(ms))))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_condition_signal(region: *mut Handle, offset: u64) -> c_int {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    done(region.and_then(|region| region.0.condition(offset)?.notify_one()))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_condition_broadcast(
    region: *mut Handle,
    offset: u64,
) -> c_int {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    done(region.and_then(|region| region.0.condition(offset)?.notify_all()))
}
