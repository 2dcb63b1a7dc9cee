// SPDX-License-Identifier: GPL-2.0

//! A bridge as it is mapped: a window that lets nobody write who may only read.
//!
//! The page tables let the kernel write all the same: of what a kernel does on purpose, or through
//! addresses, nothing here keeps it (docs/bridges-and-portals.md, section 5).

use super::local::Seat;
use super::Access;
use crate::mapping::{
    Mapping,
    Part, //
};
use adeos_proto::id::PhysRange;
use adeos_proto::window::Window;
use kernel::sync::Arc;

/// A mapping of a bridge; it goes when the last one of this kernel is dropped. Drop it in process
/// context.
pub struct Mapped {
    mapping: Arc<Mapping>,
    access: Access,
    // Behind the mapping: who has left its seat has no mapping any more.
    _seat: Seat,
}

impl Mapped {
    pub(super) fn new(mapping: Arc<Mapping>, access: Access, seat: Seat) -> Self {
        Self {
            mapping,
            access,
            _seat: seat,
        }
    }

    /// What may be done with it.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Where it is, for as long as this lives.
    #[inline]
    pub fn range(&self) -> PhysRange {
        self.mapping.range()
    }

    #[inline]
    fn all(&self) -> Part<'_> {
        self.mapping.part(0, self.size())
    }

    /// The same for who writes; nothing for who may only read.
    #[inline]
    fn writable(&self) -> Option<Part<'_>> {
        (self.access == Access::Write).then(|| self.all())
    }
}

/// A window that drops what is written by a user that may only read; what would have been there
/// before is what is there.
impl Window for Mapped {
    #[inline]
    fn size(&self) -> usize {
        // A mapped size fits in an address.
        self.range().size() as usize
    }

    #[inline]
    fn load_acquire(&self, offset: usize) -> u32 {
        self.all().load_acquire(offset)
    }

    #[inline]
    fn store_release(&self, offset: usize, value: u32) {
        if let Some(part) = self.writable() {
            part.store_release(offset, value);
        }
    }

    #[inline]
    fn load_acquire64(&self, offset: usize) -> u64 {
        self.all().load_acquire64(offset)
    }

    #[inline]
    fn store_release64(&self, offset: usize, value: u64) {
        if let Some(part) = self.writable() {
            part.store_release64(offset, value);
        }
    }

    #[inline]
    fn raise(&self, offset: usize, value: u32) {
        if let Some(part) = self.writable() {
            part.raise(offset, value);
        }
    }

    #[inline]
    fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
        match self.writable() {
            Some(part) => part.fetch_or64(offset, bits),
            None => self.all().load_acquire64(offset),
        }
    }

    #[inline]
    fn swap64(&self, offset: usize, value: u64) -> u64 {
        match self.writable() {
            Some(part) => part.swap64(offset, value),
            None => self.all().load_acquire64(offset),
        }
    }

    #[inline]
    fn compare_exchange64(&self, offset: usize, current: u64, new: u64) -> Result<u64, u64> {
        match self.writable() {
            Some(part) => part.compare_exchange64(offset, current, new),
            // Whatever is there, it has not become what was asked for.
            None => Err(!current),
        }
    }

    #[inline]
    fn read(&self, offset: usize, to: &mut [u8]) {
        self.all().read(offset, to);
    }

    #[inline]
    fn write(&self, offset: usize, from: &[u8]) {
        if let Some(part) = self.writable() {
            part.write(offset, from);
        }
    }

    #[inline]
    fn full_barrier(&self) {
        self.all().full_barrier();
    }
}
