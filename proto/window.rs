// SPDX-License-Identifier: GPL-2.0

//! The only way in which this crate touches shared memory.
//!
//! A window is a range of bytes that another kernel may write at any time. It is never borrowed
//! as a slice: numbers are loaded and stored whole, with the ordering said at the call, and bytes
//! are copied. Each environment implements it once: adeos_core over mapped memory with the
//! kernel's atomics, the tests over plain cells (property tests) and over loom's atomics.
//!
//! Offsets are in bytes. An access that does not lie wholly inside the window, or a number that
//! is not aligned to its size, loads zero and stores nothing: what a peer says can make a wrong
//! value, never a wrong access.

/// A range of memory shared with others.
pub trait Window {
    /// Size of the window in bytes.
    fn size(&self) -> usize;

    /// Loads a number; later accesses stay after it.
    fn load_acquire(&self, offset: usize) -> u32;

    /// Stores a number; earlier accesses stay before it.
    fn store_release(&self, offset: usize, value: u32);

    /// Loads a 64-bit number; later accesses stay after it.
    fn load_acquire64(&self, offset: usize) -> u64;

    /// Which of some 64-bit numbers are not 0, as bits: `count` of them, 64 at most, `stride` bytes apart from the first one on. Each is
    /// loaded once; later accesses stay after it.
    #[inline]
    fn nonzero64(&self, offset: usize, stride: usize, count: usize) -> u64 {
        (0..count.min(64)).fold(0, |bits, number| {
            let at = offset.wrapping_add(stride.wrapping_mul(number));
            let is_set = self.load_acquire64(at) != 0;
            bits | u64::from(is_set).wrapping_shl(number as u32)
        })
    }

    /// Stores a 64-bit number; earlier accesses stay before it.
    fn store_release64(&self, offset: usize, value: u64);

    /// Raises a number to at least `value`, atomically; a full barrier. Where somebody writes other numbers without a pause it
    /// ends at `value`.
    fn raise(&self, offset: usize, value: u32);

    /// Sets bits and returns what was there before; a full barrier. Where somebody writes other numbers without a pause, so that
    /// nothing can be added to what is there, it sets all bits: whoever takes them has to bear with more than were meant.
    fn fetch_or64(&self, offset: usize, bits: u64) -> u64;

    /// Replaces a number and returns what was there before; a full barrier.
    fn swap64(&self, offset: usize, value: u64) -> u64;

    /// Replaces a number if it is `current`; what was there before, as an error when it was another
    /// one. A full barrier either way. A window that does not have the number answers as if it were
    /// another one.
    fn compare_exchange64(&self, offset: usize, current: u64, new: u64) -> Result<u64, u64>;

    /// Copies bytes out of the window.
    fn read(&self, offset: usize, to: &mut [u8]);

    /// Copies bytes into the window.
    fn write(&self, offset: usize, from: &[u8]);

    /// A full barrier: every access before it is seen by others before every access after it.
    fn full_barrier(&self);
}

#[cfg(test)]
pub(crate) mod spy;
