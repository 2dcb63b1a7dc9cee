// SPDX-License-Identifier: GPL-2.0

//! A reference to a module, which cannot be removed while there is one.
//!
//! C header: `include/linux/module.h`.

use kernel::bindings;
use kernel::prelude::*;

/// A reference to a module. Whoever drops it holds another one, or has the module pinned by an open
/// file, so that its code is there until the drop is over.
pub struct ModuleHold(&'static ThisModule);

impl ModuleHold {
    /// Takes a reference to the module whose code calls this. ENODEV when it is being removed.
    pub fn new(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: The module is one that is loaded: a `ThisModule` exists only in its code.
        if unsafe { bindings::try_module_get(module.as_ptr()) } {
            Ok(Self(module))
        } else {
            Err(ENODEV)
        }
    }
}

impl Drop for ModuleHold {
    fn drop(&mut self) {
        // SAFETY: `new` took the reference, which goes once.
        unsafe { bindings::module_put(self.0.as_ptr()) };
    }
}
