// SPDX-License-Identifier: GPL-2.0

//! A segment's bridge, as this kernel has it mapped.
//!
//! Lock: `TAKEN`, a mutex, a leaf.

use adeos_core::bridge::{
    Access,
    Bridge,
    BridgeName,
    Entry,
    Follow,
    Key,
    Mapped,
    Rights,
    Scope,
    Spec,
    Vnodes, //
};
use adeos_core::Core;
use adeos_proto::signature::Misfit;
use adeos_proto::vnet::{
    self,
    SIGNATURE, //
};
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// Times that a bridge which is no segment yet is looked at again, a millisecond apart: whoever has made it is about to
/// say what it is, or has died before. Then it goes when all have let go of it, and is made anew.
const LOOKS: u32 = 100;

kernel::sync::global_lock! {
    // SAFETY: `init` is called in the module's initialisation, before any other use.
    unsafe(uninit) static TAKEN: Mutex<KVec<BridgeName>> = KVec::new();
}

/// Prepares the statics of this file.
pub(crate) fn init() {
    // SAFETY: Called once, from the module's initialisation.
    unsafe { TAKEN.init() };
}

/// A segment that is open in this kernel. Dropped in process context; may wait for the root.
pub(crate) struct Segment {
    // Before the bridge, which is closed when both are gone.
    mapped: Mapped,
    bridge: Bridge,
}

impl Segment {
    /// Opens the segment of a seat, and makes it if there is none. Process context; waits for the root. EACCES this vnode may
    /// not be on it, EPROTO it is none, EPROTONOSUPPORT it is one of another version.
    pub(crate) fn open(core: &Arc<Core>, seat: &Seat) -> Result<Self> {
        // The root notes who asks for what it may not have.
        if !seat.seems_open(core) {
            return Err(EACCES);
        }
        let (bridge, is_new) = open_or_create(core, seat.key(), Vnodes::ALL)?;
        let mapped = bridge.map()?;
        if is_new {
            vnet::create(&mapped);
        }
        if !is_signed(&mapped)? {
            return Err(EPROTO);
        }
        Ok(Self { mapped, bridge })
    }

    /// The segment itself.
    #[inline]
    pub(crate) fn window(&self) -> &Mapped {
        &self.mapped
    }

    /// Whether this vnode may still be on it, as far as the root says so now (VN-62). Process context.
    pub(crate) fn is_open(&self, core: &Core) -> bool {
        self.bridge
            .entry()
            .map_or(true, |entry| allows(core, &entry))
    }

    /// Says anew that it is a segment, if somebody has written over that (VN-54).
    pub(crate) fn mend(&self) {
        if SIGNATURE.check(&self.mapped).is_err() {
            SIGNATURE.sign(&self.mapped);
        }
    }
}

/// Makes a segment that some vnodes may be on, and keeps it for as long as what is returned lives; or keeps the one that there
/// is, as it is. In the root, in process context; finding memory may take a while. EPROTO there is a bridge that is none,
/// EPROTONOSUPPORT it is one of another version.
pub(crate) fn keep(core: &Arc<Core>, name: BridgeName, vnodes: Vnodes) -> Result<Bridge> {
    let (bridge, is_new) = open_or_create(core, key_of(name), vnodes)?;
    let mapped = bridge.map()?;
    if is_new {
        vnet::create(&mapped);
    }
    // What is none would stay so for as long as it is kept.
    if !is_signed(&mapped)? {
        return Err(EPROTO);
    }
    Ok(bridge)
}

/// Has a segment that is kept be open to some vnodes and no others, if it is not so. In the root, in process context.
pub(crate) fn restrict(
    core: &Arc<Core>,
    name: BridgeName,
    kept: &Bridge,
    vnodes: Vnodes,
) -> Result {
    let rights = Rights::open_to(vnodes);
    if kept.entry().is_ok_and(|entry| entry.rights == rights) {
        return Ok(());
    }
    Bridge::protect(core, &key_of(name), rights)
}

/// Whether this vnode may write a bridge.
fn allows(core: &Core, entry: &Entry) -> bool {
    entry.allows(core.own_life(), Access::Write)
}

/// The bridge of a segment: a global one.
pub(crate) fn key_of(name: BridgeName) -> Key {
    Key {
        scope: Scope::Global,
        name,
    }
}

/// What the bridge of a segment is called. EINVAL there cannot be such a name.
pub(crate) fn bridge_name(name: &str) -> Result<BridgeName> {
    BridgeName::prefixed(vnet::PREFIX, name).map_err(|_| EINVAL)
}

/// Opens the bridge of a segment, or makes it, open to some vnodes; whether it is made, and then no segment yet. Process
/// context; waits for the root.
fn open_or_create(core: &Arc<Core>, key: Key, vnodes: Vnodes) -> Result<(Bridge, bool)> {
    let open = || Bridge::open(core, &key, Access::Write, Follow::Stays, None);
    match open() {
        Err(ENOENT) => {}
        result => return Ok((result?, false)),
    }
    let spec = Spec {
        key,
        size: vnet::SIZE as u64,
        rights: Rights::open_to(vnodes),
        follow: Follow::Stays,
    };
    match Bridge::create(core, &spec, None) {
        // Another vnode was quicker.
        Err(EEXIST) => Ok((open()?, false)),
        result => Ok((result?, true)),
    }
}

/// Whether a bridge is a segment. EPROTONOSUPPORT it is one of another version.
fn is_signed(window: &Mapped) -> Result<bool> {
    for _ in 0..LOOKS {
        match SIGNATURE.check(window) {
            Ok(()) => return Ok(true),
            Err(Misfit::Magic) => fsleep(Delta::from_millis(1)),
            Err(Misfit::Version(_)) => return Err(EPROTONOSUPPORT),
            Err(Misfit::Size) => return Err(EPROTO),
        }
    }
    Ok(false)
}

/// The one use that this kernel makes of a segment: a vnode has one station on it (VN-10).
pub(crate) struct Seat(BridgeName);

impl Seat {
    /// Takes that on the segment of a name. Process context. EINVAL there cannot be such a name, EBUSY it is taken.
    pub(crate) fn take(segment: &CStr) -> Result<Self> {
        let name = bridge_name(segment.to_str().map_err(|_| EINVAL)?)?;
        let mut taken = TAKEN.lock();
        if taken.contains(&name) {
            return Err(EBUSY);
        }
        taken.push(name, GFP_KERNEL)?;
        Ok(Self(name))
    }

    /// What the segment is called.
    pub(crate) fn segment(&self) -> &str {
        self.0.behind(vnet::PREFIX).unwrap_or("")
    }

    /// Whether this vnode may be on it, as far as is published. Any context.
    pub(crate) fn seems_open(&self, core: &Core) -> bool {
        let entry = Bridge::published(core, &self.key());
        entry.is_none_or(|entry| allows(core, &entry))
    }

    fn key(&self) -> Key {
        key_of(self.0)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock();
        taken.retain(|other| *other != self.0);
        if taken.is_empty() {
            // Nobody drops a static: its memory goes with the last name.
            *taken = KVec::new();
        }
    }
}
