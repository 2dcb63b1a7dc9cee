// SPDX-License-Identifier: GPL-2.0

//! Who may be on which segment, in the root: it makes and keeps those segments that its administrator names, and has their
//! bridges be open to some lives only (docs/vnet.md, section 5.1).
//!
//! Lock: `KEPT`, a mutex; inside it the root's table of bridges. Bridges are opened and closed without it.

#![deny(unsafe_code)]

use crate::segment::{
    bridge_name,
    keep,
    key_of,
    restrict, //
};
use adeos_core::bridge::{
    Bridge,
    BridgeName,
    Rights,
    Vnodes, //
};
use adeos_core::Core;
use adeos_proto::id::VnodeId;
use adeos_proto::vnet::members::{
    living,
    parse, //
};
use adeos_proto::vnet::station::Lives;
use kernel::prelude::*;

/// A segment that is kept.
struct Kept {
    name: BridgeName,
    /// The lives that may be on it.
    lives: Lives,
    bridge: Bridge,
}

kernel::sync::global_lock! {
    // SAFETY: `init` is called in the module's initialisation, before any other use.
    unsafe(uninit) static KEPT: Mutex<KVec<Kept>> = KVec::new();
}

/// Prepares the statics of this file.
#[expect(unsafe_code, reason = "a static lock is set up")]
pub(crate) fn init() {
    // SAFETY: Called once, from the module's initialisation.
    unsafe { KEPT.init() };
}

/// Says of all segments who may be on them; those that are not named are open to all. One call after the other, in process
/// context; finding memory may take a while. EPERM this is not the root, EINVAL the text makes no sense; and what becomes of
/// bridges. After an error everything is as it was.
pub(crate) fn say(text: &str) -> Result {
    let core = Core::get()?;
    if !core.identity().is_root() {
        return Err(EPERM);
    }
    let wanted = read(text)?;
    let mut fresh = KVec::new();
    for (name, lives) in wanted.iter().filter(|(name, _)| !is_kept(name)) {
        let bridge = keep(&core, *name, living(lives, &now(&core)))?;
        fresh.push(
            Kept {
                name: *name,
                lives: *lives,
                bridge,
            },
            GFP_KERNEL,
        )?;
    }
    let gone = replace(&wanted, fresh)?;
    follow();
    for kept in gone {
        // Nobody has it any more, if it is not there.
        let _ = Bridge::protect(&core, &key_of(kept.name), Rights::open_to(Vnodes::ALL));
        drop(kept.bridge);
    }
    Ok(())
}

/// Keeps what is wanted, of what was kept and is fresh; what is not wanted any more.
fn replace(wanted: &[(BridgeName, Lives)], fresh: KVec<Kept>) -> Result<KVec<Kept>> {
    let mut kept = KEPT.lock();
    let mut gone = KVec::with_capacity(kept.len(), GFP_KERNEL)?;
    let mut staying = KVec::with_capacity(wanted.len(), GFP_KERNEL)?;
    let all = [core::mem::take(&mut *kept), fresh];
    for mut one in all.into_iter().flatten() {
        match wanted.iter().find(|(name, _)| *name == one.name) {
            Some((_, lives)) => {
                one.lives = *lives;
                // There is room for all of them.
                staying.push(one, GFP_KERNEL)?;
            }
            None => gone.push(one, GFP_KERNEL)?,
        }
    }
    *kept = staying;
    Ok(gone)
}

/// What a text says, each segment once.
fn read(text: &str) -> Result<KVec<(BridgeName, Lives)>> {
    let mut wanted: KVec<(BridgeName, Lives)> = KVec::new();
    for members in parse(text) {
        let members = members.map_err(|_| EINVAL)?;
        let name = bridge_name(members.segment)?;
        if wanted.iter().any(|(known, _)| *known == name) {
            return Err(EINVAL);
        }
        wanted.push((name, members.lives), GFP_KERNEL)?;
    }
    Ok(wanted)
}

fn is_kept(name: &BridgeName) -> bool {
    KEPT.lock().iter().any(|kept| kept.name == *name)
}

/// Who lives has changed, or what was said of them: has bridges be open to those that may be on them now (VN-72). Process
/// context.
pub(crate) fn follow() {
    let Ok(core) = Core::get() else {
        return;
    };
    let kept = KEPT.lock();
    for one in kept.iter() {
        let vnodes = living(&one.lives, &now(&core));
        if let Err(error) = restrict(&core, one.name, &one.bridge, vnodes) {
            pr_err!(
                "who may be on {} is not said: {:?}\n",
                one.name.as_str(),
                error
            );
        }
    }
}

/// Keeps none any more. Process context.
pub(crate) fn forget() {
    let kept = core::mem::take(&mut *KEPT.lock());
    drop(kept);
}

fn now(core: &Core) -> Lives {
    let view = core.view();
    core::array::from_fn(|at| {
        let vnode = VnodeId::new(at as u32)?;
        view.life(vnode).map(|life| life.generation)
    })
}
