// SPDX-License-Identifier: GPL-2.0

//! A CPU that dies while it writes to shared memory.

use crate::cells::Cells;
use adeos_proto::window::Window;
use std::cell::Cell;

/// What a CPU sees of the memory which dies after some stores: those that follow never happen.
///
/// A number is stored whole or not at all; bytes are stored one by one.
pub(crate) struct Dying<'a> {
    memory: &'a Cells,
    stores_left: Cell<usize>,
}

impl<'a> Dying<'a> {
    /// A CPU that dies after `stores`.
    pub(crate) fn new(memory: &'a Cells, stores: usize) -> Self {
        Self {
            memory,
            stores_left: Cell::new(stores),
        }
    }

    fn lives(&self) -> bool {
        let left = self.stores_left.get();
        self.stores_left.set(left.saturating_sub(1));
        left > 0
    }
}

impl Window for Dying<'_> {
    fn size(&self) -> usize {
        self.memory.size()
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        self.memory.load_acquire(offset)
    }

    fn store_release(&self, offset: usize, value: u32) {
        if self.lives() {
            self.memory.store_release(offset, value);
        }
    }

    fn load_acquire64(&self, offset: usize) -> u64 {
        self.memory.load_acquire64(offset)
    }

    fn store_release64(&self, offset: usize, value: u64) {
        if self.lives() {
            self.memory.store_release64(offset, value);
        }
    }

    fn raise(&self, offset: usize, value: u32) {
        self.store_release(offset, self.load_acquire(offset).max(value));
    }

    fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
        if self.lives() {
            self.memory.fetch_or64(offset, bits)
        } else {
            self.memory.load_acquire64(offset)
        }
    }

    fn swap64(&self, offset: usize, value: u64) -> u64 {
        if self.lives() {
            self.memory.swap64(offset, value)
        } else {
            self.memory.load_acquire64(offset)
        }
    }

    fn compare_exchange64(&self, offset: usize, current: u64, new: u64) -> Result<u64, u64> {
        if self.lives() {
            self.memory.compare_exchange64(offset, current, new)
        } else {
            Err(self.memory.load_acquire64(offset))
        }
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        self.memory.read(offset, to);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        for (at, byte) in from.iter().enumerate() {
            if self.lives() {
                self.memory.write(offset + at, std::slice::from_ref(byte));
            }
        }
    }

    fn full_barrier(&self) {}
}
