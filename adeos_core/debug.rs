// SPDX-License-Identifier: GPL-2.0

//! Views in debugfs: `adeos/vnodes`, `adeos/pool`, `adeos/portals`.
//!
//! The files are made in C: those of the kernel crate do not name their owner, so that a module
//! could go while one is open.

use crate::core_state::Core;
use crate::ffi;
use crate::portal;
use adeos_proto::id::VnodeId;
use kernel::bindings;
use kernel::ffi::c_void;
use kernel::fmt;
use kernel::seq_file::SeqFile;
use kernel::seq_print;

/// The directory; it goes when this is dropped.
pub(crate) struct Views(*mut c_void);

// SAFETY: The pointer is only given back to debugfs, which any thread may do.
unsafe impl Send for Views {}
// SAFETY: As above; no method takes `&self`.
unsafe impl Sync for Views {}

impl Views {
    /// Makes the directory. Process context. Without debugfs, and when it fails, there is none.
    pub(crate) fn new() -> Self {
        // SAFETY: The files call `adeos_show`, which finds the nanokernel or says that there is none.
        Self(unsafe { ffi::adeos_create_views() })
    }
}

impl Drop for Views {
    fn drop(&mut self) {
        // SAFETY: `new` made it; debugfs takes errors for what they are. This waits for readers.
        unsafe { ffi::adeos_remove_views(self.0) };
    }
}

/// What one file shows.
struct View<'a>(&'a Core, u32);

impl fmt::Display for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            0 => show_vnodes(self.0, f),
            1 => show_pool(self.0, f),
            _ => show_portals(self.0, f),
        }
    }
}

/// Called by the shim when a file is read.
///
/// # Safety
///
/// `file` is one that is being shown.
#[no_mangle]
unsafe extern "C" fn adeos_show(view: u32, file: *mut bindings::seq_file) -> i32 {
    // SAFETY: The file is one that is being shown.
    let file = unsafe { SeqFile::from_raw(file) };
    match Core::get() {
        Ok(core) => seq_print!(file, "{}", View(&core, view)),
        Err(error) => return error.to_errno(),
    }
    0
}

fn show_vnodes(core: &Core, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for vnode in VnodeId::all().skip(1) {
        let Ok(facts) = core.facts(vnode) else {
            continue;
        };
        let Some(assignment) = facts.assignment else {
            continue;
        };
        writeln!(
            f,
            "{} {} life {} {} cpus {} memory {:#x}+{:#x} progress {} silent {} ms",
            vnode.number(),
            assignment.name.as_str(),
            facts.generation.0,
            facts.state.name(),
            assignment.cpus,
            assignment.memory.base(),
            assignment.memory.size(),
            facts.progress,
            facts.silent_ms,
        )?;
    }
    Ok(())
}

fn show_pool(core: &Core, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let pool = core.pool().lock();
    for range in pool.used() {
        writeln!(f, "used {:#x}+{:#x}", range.base(), range.size())?;
    }
    for range in pool.free_ranges() {
        writeln!(f, "free {:#x}+{:#x}", range.base(), range.size())?;
    }
    Ok(())
}

fn show_portals(_core: &Core, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (raised, interrupts, taken) = portal::statistics();
    writeln!(f, "raised {} interrupts {}", raised, interrupts)?;
    for (portal, count) in taken {
        writeln!(f, "portal {} taken {}", portal, count)?;
    }
    Ok(())
}
