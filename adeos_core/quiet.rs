// SPDX-License-Identifier: GPL-2.0

//! Log lines that another vnode can bring about as often as it likes: a few of each kind, and how many
//! were left out.

#![deny(unsafe_code)]

use crate::machine;
use kernel::sync::atomic::{
    Atomic,
    Full,
    Relaxed, //
};

/// Lines that are written in [`PERIOD_NS`].
const LINES: u64 = 5;
const PERIOD_NS: u64 = 60_000_000_000;

/// How often a line was to be written, and since when.
pub(crate) struct Quiet {
    since_ns: Atomic<u64>,
    asked: Atomic<u64>,
}

impl Quiet {
    pub(crate) const fn new() -> Self {
        Self {
            since_ns: Atomic::new(0),
            asked: Atomic::new(0),
        }
    }

    /// Whether the line may be written now, and how many were left out before. Any context; callers
    /// that come at once may write a line too many.
    pub(crate) fn allows(&self) -> Option<u64> {
        let now_ns = machine::now_ns();
        if now_ns.wrapping_sub(self.since_ns.load(Relaxed)) > PERIOD_NS {
            self.since_ns.store(now_ns, Relaxed);
            let asked = self.asked.xchg(1, Full);
            return Some(asked.saturating_sub(LINES));
        }
        (self.asked.fetch_add(1, Full) < LINES).then_some(0)
    }
}
