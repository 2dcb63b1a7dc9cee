// SPDX-License-Identifier: GPL-2.0

//! Views in debugfs: a file in `adeos/` for each.
//!
//! The files are made in C: those of the kernel crate do not name their owner, so that a module
//! could go while one is open.

use crate::core_state::Core;
use crate::dsp::{
    Context,
    Counters,
    PeerFacts, //
};
use crate::ffi;
use crate::portal;
use adeos_proto::id::VnodeId;
use adeos_proto::membership::Change;
use kernel::bindings;
use kernel::ffi::c_void;
use kernel::fmt;
use kernel::seq_file::SeqFile;
use kernel::seq_print;
use kernel::str::{
    CStr,
    CStrExt as _, //
};

/// The directory; it goes when this is dropped.
pub(crate) struct Views(*mut c_void);

// SAFETY: The pointer is only given back to debugfs, which any thread may do.
unsafe impl Send for Views {}
// SAFETY: As above; no method takes `&self`.
unsafe impl Sync for Views {}

impl Views {
    /// Makes the directory. Process context. Without debugfs, and when it fails, there is none.
    pub(crate) fn new() -> Self {
        // SAFETY: The function has no condition; what it returns is removed by `drop`.
        let dir = unsafe { ffi::adeos_create_views() };
        for (number, (name, _)) in VIEWS.iter().enumerate() {
            // SAFETY: The directory is there, or an error that debugfs knows; it copies the name.
            // The file calls `adeos_show`, which finds the nanokernel or says that there is none.
            unsafe { ffi::adeos_create_view(dir, name.as_char_ptr(), number as u32) };
        }
        Self(dir)
    }
}

impl Drop for Views {
    fn drop(&mut self) {
        // SAFETY: `new` made it; debugfs takes errors for what they are. This waits for readers.
        unsafe { ffi::adeos_remove_views(self.0) };
    }
}

type Show = fn(&Core, &mut fmt::Formatter<'_>) -> fmt::Result;

/// The files, by name.
const VIEWS: [(&CStr, Show); 9] = [
    (c"vnodes", show_vnodes),
    (c"pool", show_pool),
    (c"portals", show_portals),
    (c"pipeline", crate::pipeline::show),
    (c"members", show_members),
    (c"dsp", show_dsp),
    (c"bridges", crate::bridge::view::show),
    (c"clock", crate::clock::show),
    (c"locks", crate::lock::show),
];

/// What one file shows.
struct View<'a>(&'a Core, u32);

impl fmt::Display for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match VIEWS.get(self.1 as usize) {
            Some((_, show)) => show(self.0, f),
            None => Ok(()),
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
            "{} {} life {} {} cpus {} memory {:#x}+{:#x} progress {} silent {} ms fence {} suspect {}",
            vnode.number(),
            assignment.name.as_str(),
            facts.generation.0,
            facts.state.name(),
            assignment.cpus,
            assignment.memory.base(),
            assignment.memory.size(),
            facts.progress,
            facts.silent_ms,
            facts.fence.name(),
            facts.suspicion.map_or("-", |why| why.describe()),
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

fn show_portals(_: &Core, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    portal::show(f)
}

/// The latest view that this kernel has taken. The root tells as well how far each member is.
fn show_members(core: &Core, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let view = core.view();
    let (what, life) = match view.change() {
        Change::Joined(life) => ("joined", life),
        Change::Left(life) => ("left", life),
        Change::Died(life, _) => ("died", life),
    };
    writeln!(
        f,
        "view {} vnode {} life {} {}",
        view.number(),
        life.vnode.number(),
        life.generation.0,
        what
    )?;
    let roster = core.roster().lock();
    for life in VnodeId::all().filter_map(|vnode| view.life(vnode)) {
        write!(
            f,
            "member {} life {}",
            life.vnode.number(),
            life.generation.0
        )?;
        match &*roster {
            Some(roster) => writeln!(f, " reached {}", roster.reached(life.vnode))?,
            None => writeln!(f)?,
        }
    }
    Ok(())
}

/// What waits, the services, and what was counted of each vnode that was ever a peer.
fn show_dsp(core: &Core, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (calls, queued) = core.endpoint().waiting();
    writeln!(f, "calls {} queued {}", calls, queued)?;
    for (service, context) in core.endpoint().services().into_iter().flatten() {
        let context = match context {
            Context::Stage => "stage",
            Context::Thread => "thread",
        };
        writeln!(f, "service {:#06x} {}", service, context)?;
    }
    for vnode in VnodeId::all() {
        let peer = core.endpoint().peer(vnode);
        if peer.life.is_some() || peer.counters != Counters::default() {
            show_peer(f, vnode, &peer)?;
        }
    }
    Ok(())
}

fn show_peer(f: &mut fmt::Formatter<'_>, vnode: VnodeId, peer: &PeerFacts) -> fmt::Result {
    let counted = &peer.counters;
    write!(
        f,
        "peer {} life {} {}",
        vnode.number(),
        peer.life.map_or(0, |life| life.generation.0),
        match (peer.life, peer.is_broken) {
            (None, _) => "gone",
            (Some(_), true) => "broken",
            (Some(_), false) => "member",
        }
    )?;
    write!(
        f,
        " sent {} full {} received {} foreign {} unmatched {} malformed {}",
        counted.sent,
        counted.full,
        counted.received,
        counted.foreign,
        counted.unmatched,
        counted.malformed
    )?;
    writeln!(
        f,
        " version {} service {} unanswered {} broken {}",
        counted.version, counted.service, counted.unanswered, counted.broken
    )
}
