// SPDX-License-Identifier: GPL-2.0

//! The memory that the test's kernels share: what portals announce.

use adeos_core::{
    Core,
    Mapping,
    Part,
    Region, //
};
use adeos_proto::id::{
    PhysRange,
    VnodeId, //
};
use adeos_proto::layout::GRANULE;
use adeos_proto::window::Window;
use kernel::prelude::*;
use kernel::sync::Arc;

/// Portals that a receiver tells apart.
pub(crate) const PLACES: usize = 7;

/// `u64` by sender and place, a cache line each: how often the sender has raised this one.
const SEQUENCES: usize = 0;
/// `u64` by place: what is not 0 while storms are to go on because of what is done to this one.
const BUSY: usize = 0x8000;

const LINE: usize = 64;

/// The memory, mapped.
pub(crate) struct Shared {
    memory: Mapping,
    /// The root's claim on it; dropped after the mapping.
    _region: Option<Region>,
}

impl Shared {
    /// Takes it out of the pool (root), or maps it where it is said to be. EINVAL for a vnode that
    /// is not told where.
    pub(crate) fn new(core: &Arc<Core>, base: u64) -> Result<Self> {
        if core.identity().is_root() {
            let region = Region::request(core, GRANULE, Region::ANYWHERE)?;
            let memory = region.map()?;
            memory.scrub();
            return Ok(Self {
                memory,
                _region: Some(region),
            });
        }
        let range = PhysRange::new(base, GRANULE).filter(|range| range.base() != 0);
        // SAFETY: The root's module has told the address of memory that is no kernel's but this
        // test's; whoever loads this here hands it on.
        let memory = unsafe { Mapping::new(range.ok_or(EINVAL)?) }?;
        Ok(Self {
            memory,
            _region: None,
        })
    }

    /// Physical address.
    pub(crate) fn base(&self) -> u64 {
        self.memory.range().base()
    }

    fn words(&self) -> Part<'_> {
        self.memory.part(0, 0x1_0000)
    }

    /// How often a sender has raised the portal of a place.
    pub(crate) fn sequence(&self, from: VnodeId, place: usize) -> u64 {
        self.words().load_acquire64(sequence(from, place))
    }

    pub(crate) fn set_sequence(&self, from: VnodeId, place: usize, value: u64) {
        self.words().store_release64(sequence(from, place), value);
    }

    /// Whether storms are to go on.
    pub(crate) fn is_busy(&self) -> bool {
        (0..PLACES).any(|place| self.words().load_acquire64(busy(place)) != 0)
    }

    /// Has storms go on until this is dropped, because of what is done to the portal of a place.
    pub(crate) fn keep_busy(&self, place: usize) -> impl Drop + '_ {
        self.words().store_release64(busy(place), 1);
        kernel::types::ScopeGuard::new(move || self.words().store_release64(busy(place), 0))
    }
}

fn busy(place: usize) -> usize {
    BUSY + place % PLACES * LINE
}

fn sequence(from: VnodeId, place: usize) -> usize {
    SEQUENCES + (from.index() * PLACES + place % PLACES) * LINE
}
