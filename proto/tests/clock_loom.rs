// SPDX-License-Identifier: GPL-2.0

//! The clock's line under every interleaving and every reordering that C11 allows, by loom.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test --test clock_loom`. The time-stamp counter is one
//! atomic that each reading moves on: an acquire and a release, as CK-24 wants of a reading that
//! stays between the accesses before and after it.

#![cfg(loom)]
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

use adeos_proto::clock::{self, Error, Publisher, Rate, MAX_KHZ, SIZE};
use adeos_proto::window::Window;
use loom::sync::atomic::{fence, AtomicU64, Ordering};
use loom::sync::Arc;

struct Shared {
    words: [AtomicU64; 4],
    tsc: AtomicU64,
}

impl Shared {
    fn tsc(&self) -> u64 {
        self.tsc.fetch_add(TICKS, Ordering::AcqRel)
    }
}

/// Ticks from one reading to the next: enough to tell the rates apart.
const TICKS: u64 = 1 << 20;

impl Window for Shared {
    fn size(&self) -> usize {
        SIZE
    }

    fn load_acquire(&self, _: usize) -> u32 {
        unreachable!("the clock has no 32-bit number")
    }

    fn store_release(&self, _: usize, _: u32) {
        unreachable!("the clock has no 32-bit number")
    }

    fn load_acquire64(&self, offset: usize) -> u64 {
        self.words[offset / 8].load(Ordering::Acquire)
    }

    fn store_release64(&self, offset: usize, value: u64) {
        self.words[offset / 8].store(value, Ordering::Release);
    }

    fn raise(&self, _: usize, _: u32) {
        unreachable!("the clock only loads and stores")
    }

    fn fetch_or64(&self, _: usize, _: u64) -> u64 {
        unreachable!("the clock only loads and stores")
    }

    fn swap64(&self, _: usize, _: u64) -> u64 {
        unreachable!("the clock only loads and stores")
    }

    fn compare_exchange64(&self, _: usize, _: u64, _: u64) -> Result<u64, u64> {
        unreachable!("the clock only loads and stores")
    }

    fn read(&self, _: usize, _: &mut [u8]) {
        unreachable!("the clock has no bytes")
    }

    fn write(&self, _: usize, _: &[u8]) {
        unreachable!("the clock has no bytes")
    }

    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}

/// A counter and the time that it was turned into.
fn reading(shared: &Shared) -> Option<(u64, u64)> {
    let mut at = 0;
    let read = || {
        at = shared.tsc();
        at
    };
    match clock::try_read(shared, read) {
        Ok(ns) => Some((at, ns)),
        Err(error) => {
            assert_eq!(error, Error::Busy);
            None
        }
    }
}

/// A later counter is never an earlier time, whoever read them.
fn assert_monotonic(readings: impl IntoIterator<Item = Option<(u64, u64)>>) {
    let mut readings: Vec<_> = readings.into_iter().flatten().collect();
    readings.sort_unstable();
    assert!(readings.is_sorted_by_key(|(_, ns)| *ns), "{readings:?}");
}

/// Runs readers beside a root that makes the clock ten thousand times slower.
fn explore(here: usize, others: bool) {
    let mut model = loom::model::Builder::new();
    // Three threads with more take minutes.
    model.preemption_bound = model.preemption_bound.map(|bound| bound.min(3));
    model.check(move || {
        let rates = (Rate::from_khz(1_000), Rate::from_khz(MAX_KHZ));
        let (fast, slow) = (rates.0.unwrap(), rates.1.unwrap());
        let shared = Arc::new(Shared {
            words: [(); 4].map(|()| AtomicU64::new(0)),
            tsc: AtomicU64::new(TICKS),
        });
        let mut publisher = Publisher::start(&*shared, fast, 0, || shared.tsc());

        let root = shared.clone();
        let root = loom::thread::spawn(move || {
            publisher.update(&*root, slow, || root.tsc());
        });
        let far = shared.clone();
        let far = others.then(|| loom::thread::spawn(move || reading(&far)));
        let mut readings: Vec<_> = (0..here).map(|_| reading(&shared)).collect();
        readings.extend(far.map(|far| far.join().unwrap()));
        root.join().unwrap();
        let last = reading(&shared);
        assert!(last.is_some());
        readings.push(last);
        assert_monotonic(readings);
    });
}

/// CK-20, CK-24 on one CPU beside the root's.
#[test]
fn no_line_is_torn_and_time_never_goes_back() {
    explore(2, false);
}

/// CK-20, CK-24 on two: what one has read is a bound for the other.
#[test]
fn nor_does_it_from_one_cpu_to_another() {
    explore(1, true);
}
