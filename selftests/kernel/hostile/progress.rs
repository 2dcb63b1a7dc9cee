// SPDX-License-Identifier: GPL-2.0

//! How far the module has come, in shared memory: the root reads it there.

use adeos_core::{
    now_ns,
    Mapping,
    Part, //
};
use adeos_proto::layout::CONTROL_SIZE;
use adeos_proto::window::Window;
use core::cell::Cell;
use kernel::fmt;
use kernel::prelude::*;
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// The page, at the very end of the control area.
pub(crate) const PAGE: usize = CONTROL_SIZE - 0x1000;

/// `u64`: 1 while a command runs, 2 after it.
const STATE: usize = 0;
/// `u64`: stores so far, in all commands.
const STORES: usize = 8;
/// `u64`: messages so far, in all commands.
const MESSAGES: usize = 16;

/// How a command goes on.
pub(crate) struct Progress<'a> {
    page: Part<'a>,
    end_ns: Cell<u64>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(area: &'a Mapping) -> Self {
        Self {
            page: area.part(PAGE, 0x1000),
            end_ns: Cell::new(0),
        }
    }

    /// A command begins that goes on for so many seconds.
    pub(crate) fn begin(&self, seconds: u64) {
        let ns = seconds.saturating_mul(1_000_000_000);
        self.end_ns.set(now_ns().saturating_add(ns));
        self.page.store_release64(STATE, 1);
    }

    /// It has ended.
    pub(crate) fn end(&self) {
        self.page.store_release64(STATE, 2);
    }

    /// Notes what was done, and lets others run; whether the command goes on. EINTR on a signal.
    pub(crate) fn goes_on(&self, stores: u64, messages: u64) -> Result<bool> {
        for (at, more) in [(STORES, stores), (MESSAGES, messages)] {
            let sum = self.page.load_acquire64(at).wrapping_add(more);
            self.page.store_release64(at, sum);
        }
        if kernel::current!().signal_pending() {
            return Err(EINTR);
        }
        fsleep(Delta::from_micros(200));
        Ok(now_ns() < self.end_ns.get())
    }

    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [state, stores, messages] =
            [STATE, STORES, MESSAGES].map(|at| self.page.load_acquire64(at));
        writeln!(f, "state {state} stores {stores} messages {messages}")
    }
}
