// SPDX-License-Identifier: GPL-2.0

//! A window for proofs: every number in it is what the peer claims, and what is stored is noted.

use super::Window;
use std::cell::{Cell, RefCell};
use std::vec::Vec;

/// A store, by its place and its bytes.
pub(crate) type Store = (usize, Vec<u8>);

/// Memory without content.
pub(crate) struct Spy {
    claim: Cell<u32>,
    stores: RefCell<Vec<Store>>,
    reads: RefCell<Vec<(usize, usize)>>,
}

impl Spy {
    pub(crate) fn new() -> Self {
        Self {
            claim: Cell::new(0),
            stores: RefCell::new(Vec::new()),
            reads: RefCell::new(Vec::new()),
        }
    }

    /// What the peer's number is from now on.
    pub(crate) fn claim(&self, number: u32) {
        self.claim.set(number);
    }

    /// The stores since the last call, in their order.
    pub(crate) fn stores(&self) -> Vec<Store> {
        self.stores.take()
    }

    /// The copies of bytes since the last call: where, and how many.
    pub(crate) fn reads(&self) -> Vec<(usize, usize)> {
        self.reads.take()
    }
}

impl Window for Spy {
    fn size(&self) -> usize {
        usize::MAX
    }

    fn load_acquire(&self, _: usize) -> u32 {
        self.claim.get()
    }

    fn store_release(&self, offset: usize, value: u32) {
        self.write(offset, &value.to_le_bytes());
    }

    fn load_acquire64(&self, _: usize) -> u64 {
        0
    }

    fn store_release64(&self, offset: usize, value: u64) {
        self.write(offset, &value.to_le_bytes());
    }

    fn raise(&self, _: usize, _: u32) {
        unreachable!("a ring exchanges nothing")
    }

    fn fetch_or64(&self, _: usize, _: u64) -> u64 {
        unreachable!("a ring exchanges nothing")
    }

    fn swap64(&self, _: usize, _: u64) -> u64 {
        unreachable!("a ring exchanges nothing")
    }

    fn compare_exchange64(&self, _: usize, _: u64, _: u64) -> Result<u64, u64> {
        unreachable!("a ring exchanges nothing")
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        self.reads.borrow_mut().push((offset, to.len()));
    }

    fn write(&self, offset: usize, from: &[u8]) {
        self.stores.borrow_mut().push((offset, from.to_vec()));
    }

    fn full_barrier(&self) {}
}
