// SPDX-License-Identifier: GPL-2.0

//! The program that asks: its numbers are those of the first user namespace, and so are its capabilities (SH-12, SH-15).

use crate::ffi;
use adeos_proto::bridge::Access;
use adeos_proto::shm::label::{
    Caller,
    Label, //
};
use kernel::bindings;
use kernel::prelude::*;

/// The user as which the current process uses files. Process context.
pub(crate) fn user() -> u32 {
    // SAFETY: It looks at the current process only.
    unsafe { ffi::bridge_shm_user() }
}

/// The group as which the current process uses files. Process context.
pub(crate) fn group() -> u32 {
    // SAFETY: It looks at the current process only.
    unsafe { ffi::bridge_shm_group() }
}

/// Whether it is in a group, as files see it. Process context.
pub(crate) fn is_in_group(group: u32) -> bool {
    // SAFETY: It looks at the current process only.
    unsafe { bindings::in_group_p(bindings::kgid_t { val: group }) != 0 }
}

/// Whether the current process has a capability on this kernel as a whole. Process context.
fn is_capable(capability: u32) -> bool {
    // SAFETY: It looks at the current process only.
    unsafe { bindings::capable(capability as i32) }
}

/// Whether it may administer the machine. Process context.
pub(crate) fn may_administer() -> bool {
    is_capable(bindings::CAP_SYS_ADMIN)
}

/// Whether no quota holds for it. Process context.
pub(crate) fn has_no_quota() -> bool {
    is_capable(bindings::CAP_SYS_RESOURCE)
}

/// Whether it may give what is one user's to another. Process context.
pub(crate) fn may_give_away() -> bool {
    is_capable(bindings::CAP_CHOWN)
}

/// Checks that the current process may use what has this label (SH-11). Process context. EACCES.
pub(crate) fn check(label: Label, access: Access) -> Result {
    let mut caller = Caller {
        user: user(),
        in_group: is_in_group,
        overrides: false,
    };
    if label.allows(&caller, access) {
        return Ok(());
    }
    // Asked last: that a capability was needed is noted.
    caller.overrides = is_capable(bindings::CAP_DAC_OVERRIDE);
    if caller.overrides {
        Ok(())
    } else {
        Err(EACCES)
    }
}
