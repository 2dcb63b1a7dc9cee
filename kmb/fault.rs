// SPDX-License-Identifier: GPL-2.0

//! Faults on request: each step of a start can be made to fail, so that tests see it undone.

#![deny(unsafe_code)]

use adeos_proto::abi::step;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Full,
    Relaxed, //
};

/// The step that is to fail next; 0 for none.
pub(crate) struct Faults(Atomic<u32>);

impl Faults {
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Makes `step` fail once. EINVAL when there is no such step.
    pub(crate) fn set(&self, step: u32) -> Result {
        if step > step::LAST {
            return Err(EINVAL);
        }
        self.0.store(step, Relaxed);
        Ok(())
    }

    /// Passes a step, or fails with ENOMEM if that was asked for.
    pub(crate) fn pass(&self, step: u32) -> Result {
        match self.0.cmpxchg(step, 0, Full) {
            Ok(_) => {
                pr_info!("step {} fails on request\n", step);
                Err(ENOMEM)
            }
            Err(_) => Ok(()),
        }
    }
}
