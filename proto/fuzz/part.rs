// SPDX-License-Identifier: GPL-2.0

//! A part of the memory as a window of its own.

use crate::Memory;
use adeos_proto::window::Window;

/// All of the memory from an offset on.
pub struct Part<'m, 'a>(pub &'m Memory<'a>, pub usize);

impl Window for Part<'_, '_> {
    fn size(&self) -> usize {
        self.0.size() - self.1
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        self.0.load_acquire(self.1 + offset)
    }

    fn store_release(&self, offset: usize, value: u32) {
        self.0.store_release(self.1 + offset, value);
    }

    fn load_acquire64(&self, offset: usize) -> u64 {
        self.0.load_acquire64(self.1 + offset)
    }

    fn store_release64(&self, offset: usize, value: u64) {
        self.0.store_release64(self.1 + offset, value);
    }

    fn raise(&self, offset: usize, value: u32) {
        self.0.raise(self.1 + offset, value);
    }

    fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
        self.0.fetch_or64(self.1 + offset, bits)
    }

    fn swap64(&self, offset: usize, value: u64) -> u64 {
        self.0.swap64(self.1 + offset, value)
    }

    fn compare_exchange64(&self, offset: usize, current: u64, new: u64) -> Result<u64, u64> {
        self.0.compare_exchange64(self.1 + offset, current, new)
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        self.0.read(self.1 + offset, to);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        self.0.write(self.1 + offset, from);
    }

    fn full_barrier(&self) {}
}
