// SPDX-License-Identifier: GPL-2.0

//! Mapped physical memory that other kernels may write: the bulk of our shared-memory unsafe.
//!
//! Two rules hold here. No reference to shared bytes is ever made but to one number as an atomic:
//! numbers are accessed whole, bytes are copied, and copies may tear (CA-3). Every access is checked against the size of
//! the mapping; one outside reads zero and writes nothing. Data that races gives wrong bytes,
//! never unsoundness.

use adeos_proto::id::{
    PhysRange,
    VnodeId, //
};
use adeos_proto::layout;
use adeos_proto::window::Window;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full, //
};
use kernel::sync::barrier::smp_mb;

/// How often a number is tried to be changed that others change all the time. Sound kernels take a few tries; one that
/// writes without a pause is not to keep anybody, least of all in an interrupt.
const TRIES: u32 = 4096;

/// A range of physical memory, mapped cached (write-back), as its other users map it.
///
/// # Invariants
///
/// `address` is the start of a live `memremap()` of `range.size()` bytes; it is page-aligned.
pub struct Mapping {
    address: NonNull<u8>,
    range: PhysRange,
}

// SAFETY: The mapping belongs to the kernel's address space, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: All access through `&self` is atomic or a copy of bytes that nobody borrows.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a page-aligned range. Process context. ENOMEM when the kernel cannot map it, EINVAL
    /// when it is not aligned to pages.
    ///
    /// # Safety
    ///
    /// No byte of the range is memory that this kernel uses for anything else.
    pub unsafe fn new(range: PhysRange) -> Result<Self> {
        let page = kernel::page::PAGE_SIZE as u64;
        if range.base() % page != 0 || range.size() % page != 0 {
            return Err(EINVAL);
        }

        let size = usize::try_from(range.size())?;
        // SAFETY: By this function's condition nobody else relies on what the range holds.
        let raw = unsafe { bindings::memremap(range.base(), size, bindings::MEMREMAP_WB as usize) };
        let address = NonNull::new(raw.cast::<u8>()).ok_or(ENOMEM)?;

        // INVARIANT: `memremap` has just mapped the range.
        Ok(Self { address, range })
    }

    /// Maps a vnode's conventional memory, which Linux reserves and does not use
    /// (`reserve_real_mode`; the pool's set-up has seen that it is RAM). Process context. EINVAL for
    /// the root, which has none.
    pub fn low(vnode: VnodeId) -> Result<Self> {
        if vnode.is_root() {
            return Err(EINVAL);
        }
        let range = PhysRange::new(layout::low_slot(vnode), layout::LOW_SIZE).ok_or(EINVAL)?;
        // SAFETY: See above.
        unsafe { Self::new(range) }
    }

    /// The physical range.
    #[inline]
    pub fn range(&self) -> PhysRange {
        self.range
    }

    /// Address of `len` bytes at `offset` for calls that fill or read memory by address; `None`
    /// when they do not lie in the mapping. It must not outlive `self`, and must not be made a
    /// reference.
    pub fn at(&self, offset: usize, len: usize) -> Option<*mut u8> {
        self.check(offset, len)
    }

    /// Fills all of the memory with zeros. Process context; lets others run in between.
    pub fn scrub(&self) {
        const STEP: usize = 2 << 20;
        let mut offset = 0;
        while offset < self.len() {
            let len = STEP.min(self.len() - offset);
            if let Some(address) = self.check(offset, len) {
                // SAFETY: `check` says that `len` bytes are mapped there; nobody borrows them.
                unsafe { core::ptr::write_bytes(address, 0, len) };
            }
            // SAFETY: Process context without locks, as this function asks for.
            unsafe { crate::ffi::adeos_cond_resched() };
            offset += STEP;
        }
    }

    /// Copies all of another mapping, or as much as there is room for. Nothing where the two overlap. Process context; lets others run
    /// in between.
    pub(crate) fn copy_from(&self, other: &Self) {
        const STEP: usize = 2 << 20;
        let size = self.len().min(other.len());
        let is_elsewhere = self
            .address
            .addr()
            .get()
            .abs_diff(other.address.addr().get())
            >= size;
        if !is_elsewhere {
            return;
        }
        for offset in (0..size).step_by(STEP) {
            let len = STEP.min(size - offset);
            if let (Some(to), Some(from)) = (self.check(offset, len), other.check(offset, len)) {
                // SAFETY: `check` says that `len` bytes are mapped at both, and nobody borrows them.
                // The two mappings do not overlap, as has been looked at above.
                unsafe { core::ptr::copy_nonoverlapping(from, to, len) };
            }
            // SAFETY: Process context without locks, as this function asks for.
            unsafe { crate::ffi::adeos_cond_resched() };
        }
    }

    /// A part of the memory as a window of its own.
    #[inline]
    pub fn part(&self, offset: usize, size: usize) -> Part<'_> {
        let (address, size) = match self.check(offset, size).and_then(NonNull::new) {
            Some(address) => (address, size),
            None => (self.address, 0),
        };
        // INVARIANT: The mapping lives as long as the part; `check` says that the bytes are in it.
        Part {
            address,
            size,
            _memory: PhantomData,
        }
    }

    #[inline]
    fn len(&self) -> usize {
        // A mapped size fits in an address: `new` has checked it.
        self.range.size() as usize
    }

    #[inline]
    fn check(&self, offset: usize, len: usize) -> Option<*mut u8> {
        if offset.checked_add(len)? > self.len() {
            return None;
        }
        // SAFETY: The offset lies in (or one past the end of) the mapping, by the check above.
        Some(unsafe { self.address.as_ptr().add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: By the invariant this is a live mapping; it is unmapped once, here.
        unsafe { bindings::memunmap(self.address.as_ptr().cast()) };
    }
}

/// A part of a mapping, or of this kernel's own memory.
///
/// # Invariants
///
/// For `'a` there are `size` bytes at `address`, to which no reference is made but to atomics.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    address: NonNull<u8>,
    size: usize,
    _memory: PhantomData<&'a [Atomic<u64>]>,
}

// SAFETY: The memory belongs to the kernel's address space, not to a thread.
unsafe impl Send for Part<'_> {}
// SAFETY: All access is atomic or a copy of bytes that nobody borrows.
unsafe impl Sync for Part<'_> {}

impl<'a> Part<'a> {
    /// Numbers of this kernel's own, for what proto wants to have in a window.
    pub(crate) fn of_own(numbers: &'a [Atomic<u64>]) -> Self {
        // INVARIANT: A borrow of atomics lets nobody have another reference to their bytes.
        Self {
            address: NonNull::from(numbers).cast(),
            size: core::mem::size_of_val(numbers),
            _memory: PhantomData,
        }
    }

    #[inline]
    fn check(&self, offset: usize, len: usize) -> Option<*mut u8> {
        if offset.checked_add(len)? > self.size {
            return None;
        }
        // SAFETY: The offset lies in (or one past the end of) the part, by the check above.
        Some(unsafe { self.address.as_ptr().add(offset) })
    }

    /// Where a number lies, all of it in the part and aligned.
    #[inline]
    fn number<T>(&self, offset: usize) -> Option<*mut T> {
        let address = self.check(offset, size_of::<T>())?.cast::<T>();
        address.is_aligned().then_some(address)
    }

    #[inline]
    fn number32(&self, offset: usize) -> Option<&Atomic<u32>> {
        let address = self.number(offset)?;
        // SAFETY: Four mapped, aligned bytes that live as long as `self`; every kernel accesses
        // them atomically or not at all.
        Some(unsafe { Atomic::from_ptr(address) })
    }

    #[inline]
    fn number64(&self, offset: usize) -> Option<&Atomic<u64>> {
        let address = self.number(offset)?;
        // SAFETY: Eight mapped, aligned bytes that live as long as `self`; every kernel accesses
        // them atomically or not at all.
        Some(unsafe { Atomic::from_ptr(address) })
    }

    /// Loads a number of 4 or 8 bytes, or 0 where there is none. It is what `smp_load_acquire` is on
    /// x86 (arch/x86/include/asm/barrier.h); that of the kernel crate is a call, and this is what
    /// interrupts do most.
    #[inline]
    fn acquire<T: Default>(&self, offset: usize) -> T {
        let Some(address) = self.number::<T>(offset) else {
            return T::default();
        };
        // SAFETY: Mapped, aligned bytes that live as long as `self`, read by one access.
        let value = unsafe { address.read_volatile() };
        barrier();
        value
    }

    /// Stores a number of 4 or 8 bytes where there is one, as `smp_store_release` does on x86.
    #[inline]
    fn release<T>(&self, offset: usize, value: T) {
        if let Some(address) = self.number::<T>(offset) {
            barrier();
            // SAFETY: Mapped, aligned bytes that live as long as `self`, written by one access.
            unsafe { address.write_volatile(value) };
        }
    }
}

/// The compiler moves no access to memory across it.
#[inline(always)]
fn barrier() {
    // SAFETY: There is no instruction in it.
    unsafe { core::arch::asm!("") };
}

impl Window for Part<'_> {
    #[inline]
    fn size(&self) -> usize {
        self.size
    }

    #[inline]
    fn load_acquire(&self, offset: usize) -> u32 {
        self.acquire(offset)
    }

    #[inline]
    fn store_release(&self, offset: usize, value: u32) {
        self.release(offset, value);
    }

    #[inline]
    fn load_acquire64(&self, offset: usize) -> u64 {
        self.acquire(offset)
    }

    #[inline]
    fn nonzero64(&self, offset: usize, stride: usize, count: usize) -> u64 {
        let count = count.min(64);
        let all = stride
            .checked_mul(count.saturating_sub(1))
            .and_then(|last| last.checked_add(size_of::<u64>()))
            .and_then(|size| self.check(offset, size))
            .map(|first| first.cast::<u64>())
            .filter(|first| first.is_aligned() && stride % align_of::<u64>() == 0);
        let Some(first) = all else {
            return 0;
        };
        let mut bits = 0;
        for number in 0..count {
            // SAFETY: `check` says that all of them are mapped; they are aligned as the first one is, and live as long as `self`. Each is
            // read by one access.
            let value = unsafe { first.byte_add(stride * number).read_volatile() };
            bits |= u64::from(value != 0) << number;
        }
        barrier();
        bits
    }

    #[inline]
    fn store_release64(&self, offset: usize, value: u64) {
        self.release(offset, value);
    }

    fn raise(&self, offset: usize, value: u32) {
        let Some(number) = self.number32(offset) else {
            return;
        };
        let mut seen = number.load(Acquire);
        for _ in 0..TRIES {
            if seen >= value {
                return;
            }
            match number.cmpxchg(seen, value, Full) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
        number.xchg(value, Full);
    }

    fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
        let Some(number) = self.number64(offset) else {
            return 0;
        };
        let mut seen = self.load_acquire64(offset);
        for _ in 0..TRIES {
            match number.cmpxchg(seen, seen | bits, Full) {
                Ok(before) => return before,
                Err(now) => seen = now,
            }
        }
        // So none is lost that somebody else sets meanwhile.
        number.xchg(u64::MAX, Full)
    }

    #[inline]
    fn swap64(&self, offset: usize, value: u64) -> u64 {
        self.number64(offset)
            .map_or(0, |number| number.xchg(value, Full))
    }

    #[inline]
    fn compare_exchange64(&self, offset: usize, current: u64, new: u64) -> Result<u64, u64> {
        match self.number64(offset) {
            Some(number) => number.cmpxchg(current, new, Full),
            None => Err(!current),
        }
    }

    #[inline]
    fn read(&self, offset: usize, to: &mut [u8]) {
        if let Some(address) = self.check(offset, to.len()) {
            // SAFETY: `check` says that as many bytes are mapped there; `to` is memory of this
            // kernel alone and cannot overlap them.
            unsafe { core::ptr::copy_nonoverlapping(address, to.as_mut_ptr(), to.len()) };
        } else {
            to.fill(0);
        }
    }

    #[inline]
    fn write(&self, offset: usize, from: &[u8]) {
        if let Some(address) = self.check(offset, from.len()) {
            // SAFETY: As in `read`.
            unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), address, from.len()) };
        }
    }

    #[inline]
    fn full_barrier(&self) {
        smp_mb(Full);
    }
}
