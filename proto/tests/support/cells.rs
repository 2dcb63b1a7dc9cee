// SPDX-License-Identifier: GPL-2.0

//! Shared memory for tests of one thread.

use adeos_proto::window::Window;
use std::cell::RefCell;

/// Plain memory.
pub(crate) struct Cells(RefCell<Vec<u8>>);

impl Cells {
    /// Memory of `size` zeros.
    pub(crate) fn new(size: usize) -> Self {
        Self(RefCell::new(vec![0; size]))
    }

    fn number<const N: usize>(&self, offset: usize) -> [u8; N] {
        let bytes = self.0.borrow();
        let found = bytes.get(offset..).and_then(|rest| rest.first_chunk::<N>());
        match found {
            Some(number) if offset % N == 0 => *number,
            _ => [0; N],
        }
    }

    fn set_number<const N: usize>(&self, offset: usize, number: [u8; N]) {
        if offset % N == 0 {
            self.write(offset, &number);
        }
    }
}

impl Window for Cells {
    fn size(&self) -> usize {
        self.0.borrow().len()
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.number(offset))
    }

    fn store_release(&self, offset: usize, value: u32) {
        self.set_number(offset, value.to_le_bytes());
    }

    fn load_acquire64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.number(offset))
    }

    fn store_release64(&self, offset: usize, value: u64) {
        self.set_number(offset, value.to_le_bytes());
    }

    fn raise(&self, offset: usize, value: u32) {
        self.store_release(offset, self.load_acquire(offset).max(value));
    }

    fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
        let before = self.load_acquire64(offset);
        self.store_release64(offset, before | bits);
        before
    }

    fn swap64(&self, offset: usize, value: u64) -> u64 {
        let before = self.load_acquire64(offset);
        self.store_release64(offset, value);
        before
    }

    fn compare_exchange64(&self, offset: usize, current: u64, new: u64) -> Result<u64, u64> {
        let is_there = offset % 8 == 0 && offset.saturating_add(8) <= self.size();
        let before = if is_there {
            self.load_acquire64(offset)
        } else {
            !current
        };
        if before != current {
            return Err(before);
        }
        self.store_release64(offset, new);
        Ok(before)
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        let bytes = self.0.borrow();
        if let Some(from) = bytes.get(offset..offset.saturating_add(to.len())) {
            to.copy_from_slice(from);
        }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        let mut bytes = self.0.borrow_mut();
        if let Some(to) = bytes.get_mut(offset..offset.saturating_add(from.len())) {
            to.copy_from_slice(from);
        }
    }

    fn full_barrier(&self) {}
}
