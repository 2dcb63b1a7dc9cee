// SPDX-License-Identifier: GPL-2.0

//! The DSP thread: it runs the handlers that may sleep, and goes on with turns that were too long
//! for an interrupt.

#![deny(unsafe_code)]

use crate::core_state::Core;
use crate::kthread::Body;
use kernel::sync::Arc;

/// What the thread runs.
pub(crate) struct Courier(pub(crate) Arc<Core>);

impl Body for Courier {
    const MAY_ASK: bool = false;

    fn round(&self) {
        self.0.endpoint().serve(&self.0);
    }

    fn wake(&self) {
        self.0.endpoint().wake_thread();
    }
}
