// SPDX-License-Identifier: GPL-2.0

//! The parameter `segments`, which can be written while the module is there.
//!
//! C header: `include/linux/moduleparam.h`; parameters of the kernel crate cannot be written.

use crate::ffi;
use crate::rights;
use kernel::ffi::{
    c_char,
    c_int, //
};
use kernel::prelude::*;

/// The parameter can be written, until this is dropped; then nothing is said any more. Drop in process context.
pub(crate) struct Parameter(());

impl Parameter {
    /// Has what is written said, one text after the other. There is one. Process context.
    pub(crate) fn new() -> Self {
        // SAFETY: The function is one of this module, and is called for as long as this lives.
        unsafe { ffi::adeos_parameter_listen(Some(on_text)) };
        Self(())
    }
}

impl Drop for Parameter {
    fn drop(&mut self) {
        // SAFETY: No function is one that can be called. This waits for one that runs.
        unsafe { ffi::adeos_parameter_listen(None) };
        rights::forget();
    }
}

/// # Safety
///
/// `text` is a string.
unsafe extern "C" fn on_text(text: *const c_char) -> c_int {
    // SAFETY: By this function's condition.
    let text = unsafe { CStr::from_char_ptr(text) };
    let said = text.to_str().map_err(|_| EINVAL).and_then(rights::say);
    said.map_or_else(|error| error.to_errno(), |()| 0)
}
