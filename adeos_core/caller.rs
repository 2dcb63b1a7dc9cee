// SPDX-License-Identifier: GPL-2.0

//! The program that asks: its numbers are those of the first user namespace, and so are its capabilities. So what one may is the same
//! inside of another namespace.
//!
//! C headers: `include/linux/cred.h`, `include/linux/capability.h`.

use crate::ffi;
use kernel::bindings;

/// What a program can be allowed beside what users can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Administering the machine (CAP_SYS_ADMIN).
    Administer,
    /// Having more than quotas give (CAP_SYS_RESOURCE).
    Exceed,
    /// Giving what is one user's to another (CAP_CHOWN).
    GiveAway,
    /// Reading and writing whatever mode bits say (CAP_DAC_OVERRIDE).
    Override,
}

impl Capability {
    const fn number(self) -> u32 {
        match self {
            Self::Administer => bindings::CAP_SYS_ADMIN,
            Self::Exceed => bindings::CAP_SYS_RESOURCE,
            Self::GiveAway => bindings::CAP_CHOWN,
            Self::Override => bindings::CAP_DAC_OVERRIDE,
        }
    }
}

/// Whether the current process has a capability on this kernel as a whole. It is to be asked last: that it was needed is noted.
/// Process context.
pub fn may(what: Capability) -> bool {
    // SAFETY: It looks at the current process only.
    unsafe { bindings::capable(what.number() as i32) }
}

/// The user as which the current process uses files. Process context.
pub fn user() -> u32 {
    // SAFETY: It looks at the current process only.
    unsafe { ffi::adeos_caller_user() }
}

/// The group as which the current process uses files. Process context.
pub fn group() -> u32 {
    // SAFETY: It looks at the current process only.
    unsafe { ffi::adeos_caller_group() }
}

/// Whether the current process is in a group, as files see it. Process context.
pub fn is_in_group(group: u32) -> bool {
    // SAFETY: It looks at the current process only.
    unsafe { bindings::in_group_p(bindings::kgid_t { val: group }) != 0 }
}
