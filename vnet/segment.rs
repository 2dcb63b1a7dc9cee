// SPDX-License-Identifier: GPL-2.0

//! A segment's bridge, as this kernel has it mapped.
//!
//! Lock: `TAKEN`, a mutex, a leaf.

use adeos_core::bridge::{
    mode,
    Access,
    Bridge,
    BridgeName,
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
/// Times that it is opened.
const OPENS: u32 = 3;

kernel::sync::global_lock! {
    // SAFETY: `init` is called in the module's initialisation, before any other use.
    unsafe(uninit) static TAKEN: Mutex<KVec<BridgeName>> = KVec::new();
}

/// Prepares the statics of this file.
pub(crate) fn init() {
    // SAFETY: Called once, from the module's initialisation.
    unsafe { TAKEN.init() };
}

/// A segment that is open in this kernel, once. Dropped in process context.
pub(crate) struct Segment {
    // Before the bridge, which is closed when both are gone.
    mapped: Mapped,
    _bridge: Bridge,
    _seat: Seat,
}

impl Segment {
    /// Opens the segment of a name, and makes it if there is none. Process context; waits for the root. EINVAL there cannot
    /// be such a name, EBUSY it is open here already, EACCES this vnode may not be on it, EPROTO it is none of this version.
    pub(crate) fn open(core: &Arc<Core>, name: &CStr) -> Result<Self> {
        let name = bridge_name(name)?;
        let seat = Seat::take(name)?;
        let key = Key {
            scope: Scope::Global,
            name,
        };
        for _ in 0..OPENS {
            let (bridge, is_new) = open_or_create(core, key)?;
            let mapped = bridge.map()?;
            if is_new {
                vnet::create(&mapped);
            }
            if is_signed(&mapped, &name)? {
                return Ok(Self {
                    mapped,
                    _bridge: bridge,
                    _seat: seat,
                });
            }
        }
        pr_err!("the bridge {} is no segment\n", name.as_str());
        Err(EPROTO)
    }

    /// The segment itself.
    #[inline]
    pub(crate) fn window(&self) -> &Mapped {
        &self.mapped
    }
}

fn bridge_name(name: &CStr) -> Result<BridgeName> {
    let name = name.to_str().map_err(|_| EINVAL)?;
    let mut text = [0u8; 31];
    let parts = [vnet::PREFIX.as_bytes(), name.as_bytes()];
    let mut length = 0;
    for byte in parts.into_iter().flatten() {
        *text.get_mut(length).ok_or(EINVAL)? = *byte;
        length += 1;
    }
    let text = core::str::from_utf8(text.get(..length).ok_or(EINVAL)?).map_err(|_| EINVAL)?;
    if name.is_empty() {
        return Err(EINVAL);
    }
    BridgeName::new(text).map_err(|_| EINVAL)
}

fn open_or_create(core: &Arc<Core>, key: Key) -> Result<(Bridge, bool)> {
    let open = || Bridge::open(core, &key, Access::Write, Follow::Stays, None);
    match open() {
        Err(ENOENT) => {}
        result => return Ok((result?, false)),
    }
    let spec = Spec {
        key,
        size: vnet::SIZE as u64,
        rights: Rights {
            mode: mode::ALL,
            readers: Vnodes::ALL,
            writers: Vnodes::ALL,
        },
        follow: Follow::Stays,
    };
    match Bridge::create(core, &spec, None) {
        // Another vnode was quicker.
        Err(EEXIST) => Ok((open()?, false)),
        result => Ok((result?, true)),
    }
}

/// Whether a bridge is a segment. EPROTO it is one of another version.
fn is_signed(window: &Mapped, name: &BridgeName) -> Result<bool> {
    for _ in 0..LOOKS {
        match SIGNATURE.check(window) {
            Ok(()) => return Ok(true),
            Err(Misfit::Magic) => fsleep(Delta::from_millis(1)),
            Err(Misfit::Version(version)) => {
                pr_err!(
                    "{} is a segment of version {}, not {}\n",
                    name.as_str(),
                    version,
                    vnet::VERSION
                );
                return Err(EPROTO);
            }
            Err(Misfit::Size) => return Err(EPROTO),
        }
    }
    Ok(false)
}

/// The one use that this kernel makes of a segment: a vnode has one station on it.
struct Seat(BridgeName);

impl Seat {
    fn take(name: BridgeName) -> Result<Self> {
        let mut taken = TAKEN.lock();
        if taken.contains(&name) {
            return Err(EBUSY);
        }
        taken.push(name, GFP_KERNEL)?;
        Ok(Self(name))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        TAKEN.lock().retain(|other| *other != self.0);
    }
}
