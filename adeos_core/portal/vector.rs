// SPDX-License-Identifier: GPL-2.0

//! The portals' vector, in kernels that have the patches, at the pace of proto/portal/pace.rs.

use super::{
    local,
    stage, //
};
use crate::core_state::Core;
use crate::ffi;
use adeos_proto::portal::pace::{
    self,
    Pace, //
};
use kernel::prelude::*;

/// The claim on the vector; the interrupt is taken until this is dropped.
pub(crate) struct Vector;

impl Vector {
    pub(crate) fn take() -> Result<Self> {
        // SAFETY: The handler is a static function of this module, and `drop` takes it back.
        kernel::error::to_result(unsafe { ffi::adeos_set_portal_handler(Some(interrupt)) })?;
        Ok(Self)
    }
}

impl Drop for Vector {
    fn drop(&mut self) {
        // SAFETY: Without a handler the patch waits until none runs any more.
        unsafe { ffi::adeos_set_portal_handler(None) };
        // Nobody asks for a turn any more.
        Core::with_in_interrupt(|core| core.deferral().cancel_turn());
    }
}

extern "C" fn interrupt() {
    Core::with_in_interrupt(|core| match pace::enter(&local()) {
        Pace::Leave => {}
        Pace::Take => stage::run(core),
        Pace::AskAndTake => {
            core.deferral().ask_for_turn();
            stage::run(core);
        }
    });
}

/// Linux's turn, in process context.
pub(super) fn take_turn(_: usize) {
    Core::with_in_interrupt(|core| {
        pace::turn(&local());
        stage::run_in_thread(core);
    });
}
