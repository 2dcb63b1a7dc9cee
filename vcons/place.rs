// SPDX-License-Identifier: GPL-2.0

//! A console's bridge, as this kernel has it mapped.

#![deny(unsafe_code)]

use adeos_core::bridge::{
    Access,
    Bridge,
    BridgeName,
    Follow,
    Key,
    Mapped,
    Scope, //
};
use adeos_core::Core;
use adeos_proto::id::VnodeId;
use adeos_proto::layout::portal::CONSOLE;
use adeos_proto::membership::each;
use adeos_proto::portal::Number;
use adeos_proto::signature::Misfit;
use adeos_proto::vcons::waiters::{
    self,
    Concerned,
    Waiter, //
};
use adeos_proto::vcons::{
    self,
    SIGNATURE, //
};
use kernel::prelude::*;
use kernel::sync::Arc;

/// The bridge of a vnode's console. Dropped in process context.
pub(crate) struct Place {
    core: Arc<Core>,
    vnode: VnodeId,
    // Before the bridge, which is closed when both are gone.
    mapped: Mapped,
    bridge: Bridge,
}

/// What the bridge of a vnode's console is called.
pub(crate) fn key(vnode: VnodeId) -> Result<Key> {
    let name = BridgeName::new(vcons::NAME).map_err(|_| EINVAL)?;
    Ok(Key {
        scope: Scope::Local(vnode),
        name,
    })
}

impl Place {
    /// Opens the console of a vnode; to write to it, if that is allowed. Process context; waits for
    /// the root. ENOENT there is none, EACCES it may not be read, EPROTO it is none of this version.
    pub(crate) fn open(core: &Arc<Core>, vnode: VnodeId) -> Result<Self> {
        let key = key(vnode)?;
        let open = |access| Bridge::open(core, &key, access, Follow::Stays, None);
        let bridge = match open(Access::Write) {
            Err(EACCES) => open(Access::Read)?,
            result => result?,
        };
        let place = Self::of(core.clone(), vnode, bridge)?;
        place.check()?;
        Ok(place)
    }

    /// One of a bridge that need not be a console yet. Process context; waits for the root.
    pub(crate) fn of(core: Arc<Core>, vnode: VnodeId, bridge: Bridge) -> Result<Self> {
        let mapped = bridge.map()?;
        Ok(Self {
            core,
            vnode,
            mapped,
            bridge,
        })
    }

    fn check(&self) -> Result {
        SIGNATURE.check(&self.mapped).map_err(|misfit| {
            let vnode = self.vnode.number();
            match misfit {
                Misfit::Magic | Misfit::Size => {
                    pr_err!("the bridge of vnode {}'s console is no console\n", vnode);
                }
                Misfit::Version(version) => {
                    pr_err!(
                        "the console of vnode {} is of version {}, not {}\n",
                        vnode,
                        version,
                        vcons::VERSION
                    );
                }
            }
            EPROTO
        })
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Whose console it is.
    pub(crate) fn vnode(&self) -> VnodeId {
        self.vnode
    }

    pub(crate) fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// The console itself.
    #[inline]
    pub(crate) fn window(&self) -> &Mapped {
        &self.mapped
    }

    /// Whether this kernel may type, and hold.
    pub(crate) fn is_writable(&self) -> bool {
        self.mapped.access() == Access::Write
    }

    /// Says that this kernel waits for something; who may not write looks again by itself (VC-22).
    pub(crate) fn announce(&self, waiter: Waiter) {
        if self.is_writable() {
            waiters::announce(&self.mapped, waiter);
        }
    }

    /// Wakes those who wait for what has just been brought about. Any context but a non-maskable
    /// interrupt, which may have come between the two halves of sending an interrupt.
    #[inline]
    pub(crate) fn wake(&self, concerned: Concerned) {
        let (vnodes, speaker) = waiters::take(&self.mapped, concerned);
        if vnodes == 0 && !speaker {
            return;
        }
        for vnode in each(vnodes) {
            raise(&self.core, vnode);
        }
        if speaker {
            raise(&self.core, self.vnode);
        }
    }
}

/// Has a vnode look at its consoles. Any context but a non-maskable interrupt.
pub(crate) fn raise(core: &Core, vnode: VnodeId) {
    if let Some(number) = Number::new(CONSOLE) {
        core.raise(vnode, number);
    }
}
