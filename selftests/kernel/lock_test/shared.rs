// SPDX-License-Identifier: GPL-2.0

//! The bridge of the test: a lock, and what it guards.

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
use adeos_core::lock::Lock;
use adeos_core::Core;
use adeos_proto::id::VnodeId;
use adeos_proto::layout::GRANULE;
use adeos_proto::membership::{
    bit,
    Mask, //
};
use adeos_proto::window::Window;
use kernel::prelude::*;
use kernel::sync::Arc;

/// The lock.
const LOCK: usize = 0;
/// `u64`, guarded: how far all have counted.
const COUNTER: usize = 0x1000;
/// `u64`, guarded: who has counted last, plus one.
const LAST: usize = 0x1040;
/// `u64`, guarded: how often that was another one than before.
const HANDOVERS: usize = 0x1080;
/// `u64`: bits of the vnodes that are ready to contend.
const READY: usize = 0x10c0;

/// The bridge, opened. It and its mapping go when the lock, which is closed first, has gone.
pub(crate) struct Shared {
    pub(crate) lock: Lock,
    memory: Arc<Mapped>,
    _bridge: Bridge,
}

impl Shared {
    /// Creates the bridge, or opens it if it is there.
    pub(crate) fn new(core: &Arc<Core>) -> Result<Self> {
        let name = BridgeName::new("lock_test").map_err(|_| EINVAL)?;
        let key = Key {
            scope: Scope::Global,
            name,
        };
        let all = Vnodes(Mask::MAX);
        let spec = Spec {
            key,
            size: GRANULE,
            rights: Rights {
                mode: 15,
                readers: all,
                writers: all,
                label: [0; 2],
            },
            follow: Follow::Stays,
        };
        let bridge = match Bridge::open(core, &key, Access::Write, Follow::Stays, None) {
            Err(error) if error == ENOENT => Bridge::create(core, &spec, None)?,
            opened => opened?,
        };
        let memory = Arc::new(bridge.map()?, GFP_KERNEL)?;
        Ok(Self {
            lock: Lock::open(core, memory.clone(), LOCK)?,
            memory,
            _bridge: bridge,
        })
    }

    /// Opens a lock somewhere, and closes it.
    pub(crate) fn open(&self, core: &Arc<Core>, at: usize) -> Result {
        Lock::open(core, self.memory.clone(), at).map(drop)
    }

    pub(crate) fn poke(&self, at: usize, number: u64) -> Result {
        self.memory.store_release64(at, number);
        Ok(())
    }

    /// All is as at first; nobody contends.
    pub(crate) fn reset(&self) {
        for at in [COUNTER, LAST, HANDOVERS, READY] {
            self.memory.store_release64(at, 0);
        }
    }

    /// Says that a vnode is ready; which are.
    pub(crate) fn ready(&self, vnode: VnodeId) -> u64 {
        let own = u64::from(bit(vnode));
        self.memory.fetch_or64(READY, own) | own
    }

    /// Counts one further, unless that is far enough: whether it was, and whether another one had
    /// counted before. The caller has the lock, or else some of this is lost.
    pub(crate) fn count(&self, vnode: VnodeId, total: u64) -> Option<bool> {
        let counter = self.counter();
        if counter >= total {
            return None;
        }
        let me = u64::from(vnode.number()) + 1;
        let is_handover = self.memory.load_acquire64(LAST) != me;
        if is_handover {
            self.memory.store_release64(LAST, me);
            self.memory
                .store_release64(HANDOVERS, self.handovers().wrapping_add(1));
        }
        self.memory
            .store_release64(COUNTER, counter.wrapping_add(1));
        Some(is_handover)
    }

    pub(crate) fn counter(&self) -> u64 {
        self.memory.load_acquire64(COUNTER)
    }

    pub(crate) fn handovers(&self) -> u64 {
        self.memory.load_acquire64(HANDOVERS)
    }
}
