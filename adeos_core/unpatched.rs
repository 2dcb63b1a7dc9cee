// SPDX-License-Identifier: GPL-2.0

//! What a kernel without the patches lacks, as far as a module can make up for it: a console that
//! the root can read, and an end that is contained. Instead of resetting the machine the kernel
//! says why to the root, and stops.
//!
//! A patched kernel does both in its platform code, from its `setup_arch` on.

use crate::core_state::Core;
use crate::ffi;
use crate::portal;
use adeos_proto::console;
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

/// The console and the callbacks that learn of the end; they go when this is dropped.
pub(crate) struct Substitutes(());

impl Substitutes {
    /// Registers them. Process context.
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: The callbacks are static; `drop` unregisters them.
        let watched = to_result(unsafe { ffi::adeos_watch_ends() });
        // SAFETY: As above.
        unsafe { ffi::adeos_register_console() };
        // Dropped at once when not all could be registered: that undoes what could.
        let substitutes = Self(());
        watched.map(|()| substitutes)
    }
}

impl Drop for Substitutes {
    fn drop(&mut self) {
        // SAFETY: `register` registered the console, and this runs once.
        unsafe { ffi::adeos_unregister_console() };
        // SAFETY: The same for the callbacks.
        unsafe { ffi::adeos_unwatch_ends() };
    }
}

/// Called by the shim with what the kernel prints, in whatever context it prints.
#[no_mangle]
extern "C" fn adeos_printed(text: *const c_char, size: u32) {
    Core::with_in_interrupt(|nanokernel| {
        // SAFETY: The kernel passes `size` bytes that stay as they are during the call.
        let text = unsafe { core::slice::from_raw_parts(text.cast::<u8>(), size as usize) };
        // A header that is no good means that nobody can read the console anyway.
        let _ = console::SLOT.write(
            &nanokernel.control().slot(nanokernel.identity().vnode),
            text,
        );
    });
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
