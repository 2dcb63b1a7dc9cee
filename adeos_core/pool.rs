// SPDX-License-Identifier: GPL-2.0

//! The pool: memory of the machine that the root's kernel leaves alone (`adeos_pool=`), lent to
//! vnodes in contiguous ranges (paper section 4.3). The allocator is `proto/region.rs`.

use crate::core_state::{
    Core,
    POOL_RANGES, //
};
use crate::machine;
use crate::mapping::Mapping;
use crate::mover;
use adeos_proto::id::PhysRange;
use adeos_proto::layout;
use adeos_proto::region::{
    Allocator,
    Error,
    Request, //
};
use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::Arc;

/// The pool's allocator.
pub(crate) type Pool = Allocator<POOL_RANGES>;

/// An allocator with no memory, to be copied: one is too large for a stack.
static EMPTY: Pool = Allocator::new();

/// An allocator with no memory.
pub(crate) fn empty() -> Result<KBox<Pool>> {
    let mut pool = KBox::<Pool>::new_uninit(GFP_KERNEL)?;
    // SAFETY: Both are memory for one allocator, and the new one is nobody else's yet. An allocator
    // is plain data, so that a copy of a whole one is one.
    unsafe {
        core::ptr::copy_nonoverlapping(&EMPTY, pool.as_mut_ptr(), 1);
        Ok(pool.assume_init())
    }
}

/// Gives the allocator the memory that the kernel was booted with. EINVAL, with a reason in the
/// log, when there is none or when it is not memory that the kernel keeps out of.
pub(crate) fn fill(pool: &mut Pool) -> Result {
    for range in machine::pool_ranges() {
        if !is_kept(range) {
            pr_err!(
                "adeos_pool: {:#x}+{:#x} is not all memory that the kernel keeps out of\n",
                range.base(),
                range.size()
            );
            return Err(EINVAL);
        }
        if let Err(error) = pool.add(range) {
            pr_err!(
                "adeos_pool: {:#x}+{:#x} is no good: {:?}\n",
                range.base(),
                range.size(),
                error
            );
            return Err(EINVAL);
        }
    }
    if pool.total() == 0 {
        pr_err!("there is no memory for vnodes: boot the root with adeos_pool=SIZE@ADDRESS\n");
        return Err(EINVAL);
    }
    Ok(())
}

/// Whether all of a range is what the kernel's parameter made of RAM: reserved. A hole between
/// devices is not, nor is memory that the kernel uses.
fn is_kept(range: PhysRange) -> bool {
    // SAFETY: The function walks the kernel's resource tree under its own lock.
    let found = unsafe {
        bindings::region_intersects(
            range.base(),
            range.size() as usize,
            bindings::IORESOURCE_MEM as usize,
            bindings::IORES_DESC_RESERVED as usize,
        )
    };
    found == bindings::REGION_INTERSECTS as i32
}

/// Conventional memory from the vnodes' slots up to here must be RAM: then the kernel's own
/// start-up code, which it puts as high below 1 MiB as it can, is above the slots.
const LOW_END: u64 = 0x9_0000;

/// Sees that the conventional memory that vnodes start in is there. EOPNOTSUPP, with a reason in
/// the log, on a machine where it is not.
pub(crate) fn check_low_memory() -> Result {
    let page = kernel::page::PAGE_SIZE;
    let mut pages = (layout::LOW_BASE..LOW_END).step_by(page);
    // Page by page: of a larger range, holes would count as what is around them.
    if pages.all(|address| is_ram(address, page)) {
        return Ok(());
    }
    pr_err!(
        "the memory from {:#x} to {:#x}, where vnodes start, is not all RAM\n",
        layout::LOW_BASE,
        LOW_END
    );
    Err(EOPNOTSUPP)
}

fn is_ram(address: u64, size: usize) -> bool {
    // SAFETY: The function walks the kernel's resource tree under its own lock.
    let found = unsafe {
        bindings::region_intersects(
            address,
            size,
            bindings::IORESOURCE_SYSTEM_RAM as usize,
            bindings::IORES_DESC_NONE as usize,
        )
    };
    found == bindings::REGION_INTERSECTS as i32
}

/// Takes the memory of the control area out of the pool, below 4 GiB where that is possible.
pub(crate) fn take_control_area(pool: &mut Pool) -> Result<PhysRange> {
    let request = |within| Request {
        size: layout::CONTROL_SIZE as u64,
        align: layout::GRANULE,
        within,
    };
    pool.allocate(&request(Region::BELOW_4G))
        .or_else(|_| pool.allocate(&request(Region::ANYWHERE)))
        .map_err(|_| ENOMEM)
}

/// Whether none of a range is RAM of this kernel.
pub(crate) fn is_foreign(range: PhysRange) -> bool {
    // SAFETY: The function walks the kernel's resource tree under its own lock.
    let found = unsafe {
        bindings::region_intersects(
            range.base(),
            range.size() as usize,
            bindings::IORESOURCE_SYSTEM_RAM as usize,
            bindings::IORES_DESC_NONE as usize,
        )
    };
    found == bindings::REGION_DISJOINT as i32
}

/// A contiguous range of the pool; dropping it gives it back.
pub struct Region {
    core: Arc<Core>,
    range: PhysRange,
    is_kept: bool,
}

impl Region {
    /// Every address that the page tables of a starting vnode reach.
    pub const ANYWHERE: PhysRange = checked(0, 1 << 39);
    /// Addresses below 4 GiB.
    pub const BELOW_4G: PhysRange = checked(0, 1 << 32);
    /// Addresses from 4 GiB on.
    pub const ABOVE_4G: PhysRange = checked(1 << 32, (1 << 39) - (1 << 32));

    /// Requests `size` bytes, a multiple of [`layout::GRANULE`], inside `within`. When there is no
    /// such range though enough is free, bridges are moved out of the way (paper section 4.3), for
    /// which their users are frozen one bridge at a time: seconds, when some do not answer. Process
    /// context, and no lock that a thread of this module takes. ENOMEM when there is no such range,
    /// EINTR when the process is to be killed.
    pub fn request(core: &Arc<Core>, size: u64, within: PhysRange) -> Result<Self> {
        let request = Request {
            size,
            align: layout::GRANULE,
            within,
        };
        let found = core.pool().lock().allocate(&request);
        let range = match found {
            Err(Error::NoFit) => mover::make_room(core, &request)?,
            other => other.map_err(errno)?,
        };
        Ok(Self::adopt(core, range))
    }

    /// Requests that very range. EBUSY when a part of it is taken, ENOMEM when it is not all in
    /// the pool.
    pub fn take(core: &Arc<Core>, range: PhysRange) -> Result<Self> {
        core.pool().lock().take(range).map_err(errno)?;
        Ok(Self::adopt(core, range))
    }

    /// Takes charge of a range that is allocated and nobody's, such as one that was kept.
    pub(crate) fn adopt(core: &Arc<Core>, range: PhysRange) -> Self {
        Self {
            core: core.clone(),
            range,
            is_kept: false,
        }
    }

    /// Leaves the range allocated: somebody else is in charge of it now.
    pub(crate) fn keep(mut self) -> PhysRange {
        self.is_kept = true;
        self.range
    }

    /// Fills it with zeros. Process context. ENOMEM when it cannot be mapped for that.
    pub(crate) fn scrub(&self) -> Result {
        self.map()?.scrub();
        Ok(())
    }

    /// Maps it. Process context. ENOMEM when the kernel has no room for that.
    pub fn map(&self) -> Result<Mapping> {
        // SAFETY: The range is of the pool, which the kernel keeps out of, and allocated to `self`.
        unsafe { Mapping::new(self.range) }
    }

    /// Which range.
    pub fn range(&self) -> PhysRange {
        self.range
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if let Err(error) = self.core.pool().lock().free(self.range) {
            pr_err!(
                "the pool does not take {:#x} back: {:?}\n",
                self.range.base(),
                error
            );
        }
    }
}

#[expect(
    clippy::panic,
    reason = "for constants only: it would be an error of the build"
)]
const fn checked(base: u64, size: u64) -> PhysRange {
    match PhysRange::new(base, size) {
        Some(range) => range,
        None => panic!("not a range"),
    }
}

pub(crate) fn errno(error: Error) -> kernel::error::Error {
    match error {
        Error::NoFit | Error::Full | Error::Unknown => ENOMEM,
        Error::Taken | Error::Overlap => EBUSY,
        Error::Misaligned => EINVAL,
    }
}

/// What the pool holds.
#[derive(Clone, Copy)]
pub struct Usage {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that are free.
    pub free: u64,
    /// Bytes of the largest free range.
    pub largest: u64,
}

impl Core {
    /// What the pool holds now.
    pub fn pool_usage(&self) -> Usage {
        let pool = self.pool().lock();
        Usage {
            total: pool.total(),
            free: pool.available(),
            largest: pool.largest(),
        }
    }
}
