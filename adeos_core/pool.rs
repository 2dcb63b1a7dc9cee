// SPDX-License-Identifier: GPL-2.0

//! The pool: memory of the machine that the root's kernel leaves alone (`adeos_pool=`), lent to
//! vnodes in contiguous ranges (paper section 4.3). The allocator is `proto/region.rs`.

use crate::core_state::{
    Core,
    POOL_RANGES, //
};
use crate::machine;
use crate::mapping::Mapping;
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

/// An allocator with no memory. Apart, so that only this takes the stack that one takes.
#[inline(never)]
pub(crate) fn empty() -> Result<KBox<Pool>> {
    Ok(KBox::new(Allocator::new(), GFP_KERNEL)?)
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

/// A contiguous range of the pool; dropping it gives it back.
pub struct Region {
    core: Arc<Core>,
    range: PhysRange,
}

impl Region {
    /// Every address that the page tables of a starting vnode reach.
    pub const ANYWHERE: PhysRange = checked(0, 1 << 39);
    /// Addresses below 4 GiB.
    pub const BELOW_4G: PhysRange = checked(0, 1 << 32);
    /// Addresses from 4 GiB on.
    pub const ABOVE_4G: PhysRange = checked(1 << 32, (1 << 39) - (1 << 32));

    /// Requests `size` bytes, a multiple of [`layout::GRANULE`], inside `within`. ENOMEM when
    /// there is no such range.
    pub fn request(core: &Arc<Core>, size: u64, within: PhysRange) -> Result<Self> {
        let request = Request {
            size,
            align: layout::GRANULE,
            within,
        };
        let range = core.pool().lock().allocate(&request).map_err(errno)?;
        Ok(Self {
            core: core.clone(),
            range,
        })
    }

    /// Requests that very range. EBUSY when a part of it is taken, ENOMEM when it is not all in
    /// the pool.
    pub fn take(core: &Arc<Core>, range: PhysRange) -> Result<Self> {
        core.pool().lock().take(range).map_err(errno)?;
        Ok(Self {
            core: core.clone(),
            range,
        })
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

fn errno(error: Error) -> kernel::error::Error {
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
