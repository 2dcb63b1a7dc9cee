// SPDX-License-Identifier: GPL-2.0

//! Load: writes to a bridge without end, and sees that nothing of what was written gets lost, however
//! often the bridge is moved meanwhile.

use crate::slot::Slot;
use adeos_core::bridge::Mapped;
use adeos_proto::window::Window;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// What the load on a slot has come to.
pub(crate) struct Load {
    is_wanted: Atomic<u32>,
    passes: Atomic<u64>,
    lost: Atomic<u64>,
}

impl Load {
    pub(crate) const fn new() -> Self {
        Self {
            is_wanted: Atomic::new(0),
            passes: Atomic::new(0),
            lost: Atomic::new(0),
        }
    }

    /// Forgets what was, for another bridge.
    pub(crate) fn begin(&self) {
        self.stop();
        self.passes.store(0, Relaxed);
        self.lost.store(0, Relaxed);
    }

    /// Has the load end soon.
    pub(crate) fn stop(&self) {
        self.is_wanted.store(0, Relaxed);
    }

    /// How often all pages were written, and how many words did not hold what was written last.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.passes.load(Relaxed), self.lost.load(Relaxed))
    }
}

/// Counts up the word at `offset` of each page, one page after the other, until it is told to stop;
/// nobody else writes to these words. EINTR when a signal ends it.
pub(crate) fn run(slot: &Slot, offset: usize) -> Result {
    let load = slot.load();
    load.is_wanted.store(1, Relaxed);
    let mut pass: u64 = 0;
    let mut at = offset;
    while load.is_wanted.load(Relaxed) != 0 {
        if kernel::current!().signal_pending() {
            return Err(EINTR);
        }
        match slot.with_mapped(|mapped| Ok(count_up(mapped, at, pass))) {
            Ok(Some(before)) => {
                // What the first pass finds is not its own.
                if pass != 0 && before != pass {
                    load.lost.add(1, Relaxed);
                }
                at = at.wrapping_add(PAGE_SIZE);
            }
            Ok(None) => {
                at = offset;
                pass = pass.wrapping_add(1);
                load.passes.store(pass, Relaxed);
            }
            // It is being moved.
            Err(_) => fsleep(Delta::from_millis(1)),
        }
    }
    Ok(())
}

/// Writes a word for this pass; what was there before, or `None` past the end.
fn count_up(mapped: &Mapped, at: usize, pass: u64) -> Option<u64> {
    if at >= mapped.size() {
        return None;
    }
    let before = mapped.load_acquire64(at);
    mapped.store_release64(at, pass.wrapping_add(1));
    Some(before)
}
