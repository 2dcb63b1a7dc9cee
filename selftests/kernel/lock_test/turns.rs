// SPDX-License-Identifier: GPL-2.0

//! Single turns: the lock is held for a while, taken once, or tried.

use crate::Test;
use adeos_core::lock::Acquired;
use adeos_core::{
    now_ns,
    Delivery,
    Handler,
    InStage,
    Portal, //
};
use kernel::error::to_result;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Relaxed,
    Release, //
};
use kernel::sync::{
    CondVar,
    Mutex, //
};
use kernel::time::delay::fsleep;
use kernel::time::{
    msecs_to_jiffies,
    Delta, //
};

/// How long a holder waits for the lock itself.
const PATIENCE_MS: u32 = 120_000;
/// Time that the handler of a portal is given, and what its word says until it has run.
const HANDLER_MS: u32 = 1000;
const NOT_YET: i32 = i32::MAX;

/// The one [`Test`], for the handler of `stage`.
pub(crate) static CURRENT: Atomic<usize> = Atomic::new(0);
/// What became of the handler's try.
static TRIED: Atomic<i32> = Atomic::new(NOT_YET);

/// What is done with the lock between taking and freeing it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Free,
    Repair,
}

/// The holder, and what the latest taker has found.
#[pin_data]
pub(crate) struct Turns {
    /// Whether the lock is being held, and to be held on.
    #[pin]
    holding: Mutex<bool>,
    #[pin]
    changed: CondVar,
    /// When this kernel last took it and how, 1 for clean and 2 for inconsistent.
    found: Atomic<u32>,
    waited_us: Atomic<u64>,
}

impl Turns {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            holding <- kernel::new_mutex!(false, "lock_test:holding"),
            changed <- kernel::new_condvar!("lock_test:changed"),
            found: Atomic::new(0),
            waited_us: Atomic::new(0),
        })
    }

    /// Has the holder free the lock.
    pub(crate) fn release(&self) {
        *self.holding.lock() = false;
        self.changed.notify_all();
    }

    fn note(&self, acquired: &Acquired<'_>) {
        let found = match acquired {
            Acquired::Clean(_) => 1,
            Acquired::Inconsistent(_) => 2,
        };
        self.found.store(found, Relaxed);
    }

    pub(crate) fn report(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = match self.found.load(Relaxed) {
            0 => "-",
            1 => "clean",
            _ => "inconsistent",
        };
        writeln!(f, "found {found}")?;
        writeln!(f, "waited_us {}", self.waited_us.load(Relaxed))?;
        writeln!(f, "holding {}", u32::from(*self.holding.lock()))
    }
}

/// Keeps the lock for a time at most.
pub(crate) fn hold(test: &Test, ms: u32) -> Result {
    let acquired = test.shared.lock.lock(PATIENCE_MS)?;
    test.turns.note(&acquired);
    let (Acquired::Clean(guard) | Acquired::Inconsistent(guard)) = acquired;
    let mut holding = test.turns.holding.lock();
    *holding = true;
    let mut left = msecs_to_jiffies(ms);
    while *holding && left > 0 {
        let waited = test
            .turns
            .changed
            .wait_interruptible_timeout(&mut holding, left);
        left = match waited {
            kernel::sync::CondVarTimeoutResult::Woken { jiffies } => jiffies,
            _ => 0,
        };
    }
    *holding = false;
    drop(holding);
    guard.unlock()
}

/// Takes the lock within a time.
pub(crate) fn take(test: &Test, ms: u32, then: Then) -> Result {
    test.turns.found.store(0, Relaxed);
    let start_ns = now_ns();
    let acquired = test.shared.lock.lock(ms);
    let waited_us = now_ns().wrapping_sub(start_ns) / 1000;
    test.turns.waited_us.store(waited_us, Relaxed);
    let acquired = acquired?;
    test.turns.note(&acquired);
    let (Acquired::Clean(guard) | Acquired::Inconsistent(guard)) = acquired;
    if then == Then::Repair {
        guard.mark_consistent()?;
    }
    guard.unlock()
}

/// Tries, in this process.
pub(crate) fn try_here(test: &Test) -> Result {
    test.turns.found.store(0, Relaxed);
    let acquired = test.shared.lock.try_lock()?;
    test.turns.note(&acquired);
    Ok(())
}

/// Tries, in the handler of a portal that runs ahead of Linux.
pub(crate) fn try_in_stage(test: &Test) -> Result {
    test.turns.found.store(0, Relaxed);
    TRIED.store(NOT_YET, Relaxed);
    let portal = Portal::allocate("lock_test", Handler::Stage(on_portal))?;
    portal.unmask();
    test.core.raise(test.core.identity().vnode, portal.number());
    for _ in 0..HANDLER_MS {
        if TRIED.load(Acquire) != NOT_YET {
            break;
        }
        fsleep(Delta::from_millis(1));
    }
    // No handler runs any more after this.
    drop(portal);
    match TRIED.load(Acquire) {
        NOT_YET => Err(ETIMEDOUT),
        errno => to_result(errno),
    }
}

fn on_portal(_: &InStage<'_>, _: Delivery) {
    let address = CURRENT.load(Acquire) as *const Test;
    // SAFETY: It is set once, to what lives until the module goes; the portal is dropped before the
    // command that made it is over, for which the module's end waits.
    if let Some(test) = unsafe { address.as_ref() } {
        let tried = try_here(test);
        TRIED.store(tried.map_or_else(Error::to_errno, |()| 0), Release);
    }
}
