// SPDX-License-Identifier: GPL-2.0

//! The interrupts that kernels with the patches hand over before Linux sees them.

use super::stage::InStage;
use crate::core_state::Core;
use crate::ffi;
use kernel::prelude::*;

/// The claim on them; they come here until this is dropped.
pub(crate) struct Vectors;

impl Vectors {
    /// Takes them. EBUSY when another module has them.
    pub(crate) fn take() -> Result<Self> {
        // SAFETY: The handler is a static function of this module, and `drop` takes it back.
        let result = unsafe { ffi::adeos_set_interrupt_handler(Some(interrupt)) };
        kernel::error::to_result(result)?;
        Ok(Self)
    }
}

impl Drop for Vectors {
    fn drop(&mut self) {
        // SAFETY: Without a handler the patch waits until none runs any more.
        unsafe { ffi::adeos_set_interrupt_handler(None) };
        // No portal asks Linux for its turn any more.
        Core::with_in_interrupt(|core| core.deferral().cancel_turn());
    }
}

/// Whether Linux is not to see an interrupt.
extern "C" fn interrupt(vector: u32) -> bool {
    let mut is_taken = false;
    Core::with_in_interrupt(|core| {
        // SAFETY: The patch calls this from the entry of an interrupt, which keeps interrupts off.
        let stage = unsafe { InStage::new(core) };
        is_taken = core.pipeline().arrive(&stage, vector as u8);
    });
    is_taken
}

/// Whether Linux has no use for a vector.
pub(super) fn is_free(vector: u8) -> bool {
    // SAFETY: The function takes any number.
    unsafe { ffi::adeos_vector_is_free(u32::from(vector)) }
}
