// SPDX-License-Identifier: GPL-2.0

//! The end of a kernel without the patches, contained from the moment that this module is loaded:
//! it says why to the root and stops, instead of resetting the machine.
//!
//! A patched kernel does this in its platform code, from its first instruction on.

use crate::core_state::Core;
use crate::ffi;
use crate::portal;
use adeos_proto::id::VnodeId;
use adeos_proto::layout::{
    self,
    cause,
    slot,
    Status, //
};
use adeos_proto::window::Window;
use kernel::error::to_result;
use kernel::ffi::c_char;
use kernel::prelude::*;

/// The callbacks that learn of the end; they go when this is dropped.
pub(crate) struct Ends(());

impl Ends {
    /// Registers the callbacks. Process context.
    pub(crate) fn watch() -> Result<Self> {
        // SAFETY: The callbacks are static; `drop` unregisters them.
        to_result(unsafe { ffi::adeos_watch_ends() })?;
        Ok(Self(()))
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        // SAFETY: `watch` registered the callbacks, and this runs once.
        unsafe { ffi::adeos_unwatch_ends() };
    }
}

/// Called by the shim in whatever context the kernel ends; does not come back.
#[no_mangle]
extern "C" fn adeos_ended(cause: u32, text: *const c_char) {
    Core::with_in_interrupt(|core| {
        // SAFETY: The shim passes the panic's text, a C string, or NULL.
        let text = (!text.is_null()).then(|| unsafe { CStr::from_char_ptr(text) });
        tell(core, cause, text);
    });
    loop {
        // SAFETY: The kernel ends here; nothing of it is to run on.
        unsafe { ffi::adeos_park() };
    }
}

fn tell(core: &Core, cause: u32, text: Option<&CStr>) {
    let vnode = core.identity().vnode;
    let status = core.control().slot(vnode);
    if let Some(text) = text.filter(|_| cause == cause::PANIC) {
        let message = text.to_bytes();
        let room = Status::OFFSETS.reserved2 - Status::OFFSETS.message - 1;
        let message = message.get(..room.min(message.len())).unwrap_or(&[]);
        status.write(slot::STATUS + Status::OFFSETS.message, message);
    }
    let set = |offset, value| core.control().set_status_field(vnode, offset, value);
    set(
        Status::OFFSETS.cause_apic_id,
        crate::cpu::apic_id(crate::cpu::current()).unwrap_or(layout::NO_APIC),
    );
    set(Status::OFFSETS.cause, cause);
    set(Status::OFFSETS.state, layout::state::DEAD);
    portal::send(core.control(), vnode, VnodeId::ROOT, layout::portal::NOTICE);
}
