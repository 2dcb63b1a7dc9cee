// SPDX-License-Identifier: GPL-2.0

//! Shared memory for loom: a few 64-bit words, and nothing else.

use adeos_proto::window::Window;
use loom::sync::atomic::{fence, AtomicU64, Ordering};

/// Words at the offsets that they are made with.
pub(crate) struct Words(Vec<(usize, AtomicU64)>);

impl Words {
    /// Words of zeros.
    pub(crate) fn new(offsets: &[usize]) -> Self {
        Self(offsets.iter().map(|at| (*at, AtomicU64::new(0))).collect())
    }

    fn word(&self, offset: usize) -> Option<&AtomicU64> {
        let mut words = self.0.iter();
        words.find(|(at, _)| *at == offset).map(|(_, word)| word)
    }
}

impl Window for Words {
    fn size(&self) -> usize {
        usize::MAX
    }

    fn load_acquire(&self, _: usize) -> u32 {
        unreachable!("there are 64-bit numbers only")
    }

    fn store_release(&self, _: usize, _: u32) {
        unreachable!("there are 64-bit numbers only")
    }

    fn load_acquire64(&self, offset: usize) -> u64 {
        self.word(offset)
            .map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn store_release64(&self, offset: usize, value: u64) {
        if let Some(word) = self.word(offset) {
            word.store(value, Ordering::Release);
        }
    }

    fn raise(&self, _: usize, _: u32) {
        unreachable!("there are 64-bit numbers only")
    }

    fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
        self.word(offset).map_or(0, |word| {
            // A full barrier is more than C11's strongest order on one word.
            fence(Ordering::SeqCst);
            let before = word.fetch_or(bits, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            before
        })
    }

    fn swap64(&self, offset: usize, value: u64) -> u64 {
        self.word(offset).map_or(0, |word| {
            fence(Ordering::SeqCst);
            let before = word.swap(value, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            before
        })
    }

    fn compare_exchange64(&self, offset: usize, current: u64, new: u64) -> Result<u64, u64> {
        self.word(offset).map_or(Err(!current), |word| {
            fence(Ordering::SeqCst);
            let result = word.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            result
        })
    }

    fn read(&self, _: usize, _: &mut [u8]) {
        unreachable!("there are 64-bit numbers only")
    }

    fn write(&self, _: usize, _: &[u8]) {
        unreachable!("there are 64-bit numbers only")
    }

    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}
