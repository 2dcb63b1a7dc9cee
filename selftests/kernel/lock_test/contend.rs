// SPDX-License-Identifier: GPL-2.0

//! Contention for the lock by several kernels, and for a spinlock by two CPUs of one.

use crate::Test;
use adeos_core::lock::Acquired;
use adeos_core::now_ns;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Full,
    Relaxed, //
};
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// How long the others are waited for, before contention and in it.
const PATIENCE_NS: u64 = 60_000_000_000;
const PATIENCE_MS: u32 = 60_000;

/// What this kernel has counted of its own turns.
pub(crate) struct Counted {
    turns: Atomic<u64>,
    inconsistent: Atomic<u64>,
}

impl Counted {
    pub(crate) fn new() -> Self {
        Self {
            turns: Atomic::new(0),
            inconsistent: Atomic::new(0),
        }
    }
}

/// What the spinlock guards: the same as what lies in the bridge.
pub(crate) struct Spun {
    counter: u64,
    last: u32,
    handovers: u64,
}

impl Spun {
    pub(crate) const fn new() -> Self {
        Self {
            counter: 0,
            last: 0,
            handovers: 0,
        }
    }
}

/// Sets all to zeros: in the bridge, and in this kernel.
pub(crate) fn reset(test: &Test) -> Result {
    test.shared.reset();
    test.own.turns.store(0, Relaxed);
    test.own.inconsistent.store(0, Relaxed);
    *test.spun.lock() = Spun::new();
    test.spinners.store(0, Relaxed);
    Ok(())
}

/// Waits until something is so. ETIMEDOUT.
fn await_all(is_so: impl Fn() -> bool) -> Result {
    let end_ns = now_ns().saturating_add(PATIENCE_NS);
    while !is_so() {
        if now_ns() > end_ns {
            return Err(ETIMEDOUT);
        }
        fsleep(Delta::from_micros(50));
    }
    Ok(())
}

/// Contends with all vnodes of a mask until they have counted to `total`.
pub(crate) fn contend(test: &Test, total: u64, mask: u64) -> Result {
    let vnode = test.core.identity().vnode;
    await_all(|| test.shared.ready(vnode) & mask == mask)?;

    let start_ns = now_ns();
    loop {
        let guard = match test.shared.lock.lock(PATIENCE_MS)? {
            Acquired::Clean(guard) => guard,
            Acquired::Inconsistent(guard) => {
                test.own.inconsistent.fetch_add(1, Full);
                guard
            }
        };
        let counted = test.shared.count(vnode, total);
        guard.unlock()?;
        if counted.is_none() {
            break;
        }
        test.own.turns.fetch_add(1, Full);
    }
    let [lasted_ns, _] = &test.lasted_ns;
    lasted_ns.store(now_ns().wrapping_sub(start_ns), Relaxed);
    Ok(())
}

/// Contends with another caller of this kernel for a spinlock. They keep to CPUs of their own.
pub(crate) fn spin(test: &Test, total: u64) -> Result {
    let me = test.spinners.fetch_add(1, Full).wrapping_add(1);
    await_all(|| test.spinners.load(Relaxed) >= 2)?;

    let start_ns = now_ns();
    loop {
        let mut spun = test.spun.lock();
        if spun.counter >= total {
            break;
        }
        if spun.last != me {
            spun.last = me;
            spun.handovers = spun.handovers.wrapping_add(1);
        }
        spun.counter = spun.counter.wrapping_add(1);
    }
    let [_, lasted_ns] = &test.lasted_ns;
    lasted_ns.store(now_ns().wrapping_sub(start_ns), Relaxed);
    Ok(())
}

/// What of the report was counted: this kernel's turns, then what all have come to, and what a
/// hand-over has taken of the lock and of the spinlock.
pub(crate) fn report(test: &Test, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "turns {}", test.own.turns.load(Relaxed))?;
    let inconsistent = test.own.inconsistent.load(Relaxed);
    writeln!(f, "inconsistent {inconsistent}")?;
    writeln!(f, "counter {}", test.shared.counter())?;
    let spun = test.spun.lock().handovers;
    let kinds = [("lock", test.shared.handovers()), ("spinlock", spun)];
    for ((name, handovers), lasted_ns) in kinds.into_iter().zip(&test.lasted_ns) {
        let lasted_ns = lasted_ns.load(Relaxed);
        let each_ns = lasted_ns / handovers.max(1);
        writeln!(
            f,
            "{name} handovers {handovers} ns {lasted_ns} each_ns {each_ns}"
        )?;
    }
    Ok(())
}
