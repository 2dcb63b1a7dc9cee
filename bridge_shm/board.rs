// SPDX-License-Identifier: GPL-2.0

//! The board of the cluster, as this kernel has it mapped (docs/bridge-shm.md, section 5).

#![deny(unsafe_code)]

use adeos_core::bridge::{
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
use adeos_proto::id::VnodeId;
use adeos_proto::layout::portal::REGIONS;
use adeos_proto::portal::Number;
use adeos_proto::shm::board::{
    self,
    Matter,
    Told,
    SIGNATURE, //
};
use adeos_proto::shm::{
    Region,
    PREFIX, //
};
use kernel::prelude::*;
use kernel::sync::Arc;

/// It. Dropped in process context; may wait for the root.
pub(crate) struct Board {
    own: VnodeId,
    // Before the bridge, which is closed when both are gone.
    mapped: Mapped,
    _bridge: Bridge,
}

impl Board {
    /// Opens it; the root makes it. Process context; waits for the root. ENOTCONN the root has not loaded this module,
    /// EPROTO what it has made is of another version.
    pub(crate) fn open(core: &Arc<Core>) -> Result<Arc<Self>> {
        let key = Key {
            // Nobody but the root can make it.
            scope: Scope::Local(VnodeId::ROOT),
            name: BridgeName::new(PREFIX).map_err(|_| EINVAL)?,
        };
        let opened = Bridge::open(core, &key, Access::Write, Follow::Stays, None);
        let bridge = match opened {
            Err(error) if error == ENOENT && core.identity().is_root() => {
                Bridge::create(core, &spec(key), None)?
            }
            Err(error) if error == ENOENT => return Err(ENOTCONN),
            result => result?,
        };
        let mapped = bridge.map()?;
        if core.identity().is_root() {
            SIGNATURE.sign(&mapped);
        }
        SIGNATURE.check(&mapped).map_err(|_| EPROTO)?;
        let board = Self {
            own: core.identity().vnode,
            mapped,
            _bridge: bridge,
        };
        Ok(Arc::new(board, GFP_KERNEL)?)
    }

    pub(crate) fn notices(&self, region: Region) -> u64 {
        board::notices(&self.mapped, region)
    }

    pub(crate) fn notify(&self, region: Region) -> Vnodes {
        board::notify(&self.mapped, region)
    }

    pub(crate) fn announce(&self, region: Region, matter: Matter) {
        board::announce(&self.mapped, region, matter, self.own);
    }

    pub(crate) fn tell(&self, region: Region, matter: Matter) -> Vnodes {
        board::tell(&self.mapped, region, matter)
    }

    /// What this vnode was told.
    pub(crate) fn take(&self) -> impl Iterator<Item = Told> + '_ {
        board::take(&self.mapped, self.own)
    }

    /// Has vnodes take what they were told.
    pub(crate) fn raise(&self, core: &Core, vnodes: Vnodes) {
        let Some(number) = Number::new(REGIONS) else {
            return;
        };
        for vnode in VnodeId::all().filter(|vnode| vnodes.has(*vnode)) {
            core.raise(vnode, number);
        }
    }
}

fn spec(key: Key) -> Spec {
    Spec {
        key,
        size: board::SIZE as u64,
        rights: Rights::open_to(Vnodes::ALL),
        follow: Follow::Stays,
    }
}
