// SPDX-License-Identifier: GPL-2.0

//! The ring under every interleaving and every reordering that C11 allows, by loom.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test --test ring_loom`. Loom checks C11 and not the
//! kernel's memory model; acquire and release pairs, all that the ring uses, mean the same in
//! both. The bytes are `UnsafeCell`s: an access that races with another is a failure.

#![cfg(loom)]

use adeos_proto::ring::{Consumer, Layout, Producer};
use adeos_proto::window::Window;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{fence, AtomicU32, Ordering};
use loom::sync::Arc;

const RING: Layout = Layout {
    head: 0,
    tail: 4,
    data: 8,
    size: 2,
};

struct Shared {
    indices: [AtomicU32; 2],
    bytes: [UnsafeCell<u8>; RING.size as usize],
}

// SAFETY: the indices are atomics, and loom reports every access to the bytes that another one
// races with.
unsafe impl Sync for Shared {}

impl Shared {
    fn new() -> Self {
        Self {
            indices: [AtomicU32::new(0), AtomicU32::new(0)],
            bytes: [UnsafeCell::new(0), UnsafeCell::new(0)],
        }
    }
}

impl Window for Shared {
    fn size(&self) -> usize {
        RING.data + RING.size as usize
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        self.indices[offset / 4].load(Ordering::Acquire)
    }

    fn store_release(&self, offset: usize, value: u32) {
        self.indices[offset / 4].store(value, Ordering::Release);
    }

    fn load_acquire64(&self, _: usize) -> u64 {
        unreachable!("the ring has no 64-bit number")
    }

    fn store_release64(&self, _: usize, _: u64) {
        unreachable!("the ring has no 64-bit number")
    }

    fn raise(&self, offset: usize, value: u32) {
        self.store_release(offset, self.load_acquire(offset).max(value));
    }

    fn fetch_or64(&self, _: usize, _: u64) -> u64 {
        unreachable!("the ring has no 64-bit number")
    }

    fn swap64(&self, _: usize, _: u64) -> u64 {
        unreachable!("the ring has no 64-bit number")
    }

    fn compare_exchange64(&self, _: usize, _: u64, _: u64) -> Result<u64, u64> {
        unreachable!("the ring has no 64-bit number")
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        for (byte, cell) in to.iter_mut().zip(&self.bytes[offset - RING.data..]) {
            // SAFETY: the pointer is valid, and loom fails the test if somebody writes meanwhile.
            *byte = cell.with(|cell| unsafe { *cell });
        }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        for (byte, cell) in from.iter().zip(&self.bytes[offset - RING.data..]) {
            // SAFETY: the pointer is valid, and loom fails the test if somebody else is at it.
            cell.with_mut(|cell| unsafe { *cell = *byte });
        }
    }

    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}

/// Tries on each side: enough for the ring to fill, to wrap and to be used again, and few enough
/// for loom to go through all that can happen.
const TRIES: usize = 2;

/// CA-84: the pairs of acquire and release suffice.
#[test]
fn bytes_arrive_in_order_and_no_access_races() {
    loom::model(|| {
        let shared = Arc::new(Shared::new());
        let far = shared.clone();
        let sender = loom::thread::spawn(move || {
            let mut producer = Producer::new(RING);
            let mut left: &[u8] = &[1, 2, 3];
            for _ in 0..TRIES {
                let count = producer.push(&*far, left).unwrap();
                left = &left[count..];
            }
            3 - left.len()
        });

        let mut consumer = Consumer::new(RING);
        let mut received = Vec::new();
        let mut receive = || {
            let mut to = [0; 2];
            let count = consumer.pop(&*shared, &mut to).unwrap();
            received.extend_from_slice(&to[..count]);
        };
        for _ in 0..TRIES {
            receive();
        }
        let sent = sender.join().unwrap();
        receive();
        assert_eq!(received, [1, 2, 3][..sent]);
    });
}
