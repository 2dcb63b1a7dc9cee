// SPDX-License-Identifier: GPL-2.0

//! Views that are read while the root writes over them, by loom.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test --test membership_loom`. The window here folds the
//! places of the history into two, so that each view is written over the last but one and every
//! read can be torn. Numbers are those of docs/dsp.md.

#![cfg(loom)]

use adeos_proto::id::{Generation, Life, VnodeId};
use adeos_proto::membership::observer::{Observer, Seen};
use adeos_proto::membership::publisher::{Departure, Publisher};
use adeos_proto::membership::{layout, Change, ViewRecord};
use adeos_proto::window::Window;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::Arc;

/// Words of a view that are not always zero here: number, members and change, the life that it
/// concerns, the generations of vnodes 0 to 3.
const WORDS: [usize; 5] = [0, 8, 16, 32, 40];

struct Shared {
    latest: AtomicU64,
    words: [[AtomicU64; WORDS.len()]; 2],
    reached: AtomicU64,
}

impl Shared {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            latest: zero(),
            words: [(); 2].map(|()| WORDS.map(|_| zero())),
            reached: zero(),
        }
    }

    fn number(&self, offset: usize) -> Option<&AtomicU64> {
        match offset {
            layout::LATEST => Some(&self.latest),
            layout::VIEWS..layout::REACHED => {
                let (entry, offset) = (
                    (offset - layout::VIEWS) / ViewRecord::SIZE,
                    (offset - layout::VIEWS) % ViewRecord::SIZE,
                );
                let word = WORDS.iter().position(|word| *word == offset)?;
                Some(&self.words[entry % 2][word])
            }
            _ => Some(&self.reached),
        }
    }
}

impl Window for Shared {
    fn size(&self) -> usize {
        layout::SIZE
    }

    fn load_acquire(&self, _: usize) -> u32 {
        unreachable!("all numbers have 64 bits")
    }

    fn store_release(&self, _: usize, _: u32) {
        unreachable!("all numbers have 64 bits")
    }

    fn load_acquire64(&self, offset: usize) -> u64 {
        self.number(offset)
            .map_or(0, |number| number.load(Ordering::Acquire))
    }

    fn store_release64(&self, offset: usize, value: u64) {
        match self.number(offset) {
            Some(number) => number.store(value, Ordering::Release),
            None => assert_eq!(value, 0),
        }
    }

    fn raise(&self, _: usize, _: u32) {
        unreachable!("views need no such thing")
    }

    fn fetch_or64(&self, _: usize, _: u64) -> u64 {
        unreachable!("views need no such thing")
    }

    fn swap64(&self, _: usize, _: u64) -> u64 {
        unreachable!("views need no such thing")
    }

    fn compare_exchange64(&self, _: usize, _: u64, _: u64) -> Result<u64, u64> {
        unreachable!("views need no such thing")
    }

    fn read(&self, _: usize, _: &mut [u8]) {
        unreachable!("views are read by numbers")
    }

    fn write(&self, _: usize, _: &[u8]) {
        unreachable!("views are written by numbers")
    }

    fn full_barrier(&self) {
        unreachable!("acquire and release are enough")
    }
}

fn life(vnode: u32, generation: u32) -> Life {
    Life {
        vnode: VnodeId::new(vnode).unwrap(),
        generation: Generation(generation),
    }
}

/// DS-61, DS-63: a view is seen whole or not at all, and being late is an explicit result.
#[test]
fn a_view_is_never_torn() {
    loom::model(|| {
        let shared = Arc::new(Shared::new());
        let mut publisher = Publisher::new(&*shared, Generation(1));
        let mut observer = Observer::new(life(0, 1));
        assert_eq!(observer.next(&*shared), Seen::View(*publisher.view()));
        publisher.join(&*shared, life(2, 7)).unwrap();
        let second = *publisher.view();
        let how = Departure::Died(1);
        publisher.remove(&*shared, life(2, 7), how).unwrap();
        let third = *publisher.view();
        let far = shared.clone();
        let root = loom::thread::spawn(move || {
            publisher.join(&*far, life(1, 1)).unwrap();
            *publisher.view()
        });
        // Two threads of their own: loom does not go back to what its first thread has read.
        let vnode = loom::thread::spawn(move || {
            let mut seen = Vec::new();
            for _ in 0..2 {
                match observer.next(&*shared) {
                    Seen::View(view) => seen.push(view),
                    Seen::Nothing | Seen::TooSlow { .. } => {}
                    Seen::Corrupt => panic!("nobody has written nonsense"),
                }
            }
            seen
        });
        let seen = vnode.join().unwrap();
        let fourth = root.join().unwrap();
        let all = [second, third, fourth];
        assert!(seen.iter().all(|view| all.contains(view)));
        assert!(seen.windows(2).all(|two| two[0].number() < two[1].number()));
    });
}

/// DS-62, DS-65: what a vnode has let go of before it acknowledges a view is let go of for the
/// root once it sees that.
#[test]
fn an_acknowledgement_carries_what_was_done_before() {
    loom::model(|| {
        let shared = Arc::new(Shared::new());
        let let_go = Arc::new(loom::cell::UnsafeCell::new(false));
        let mut publisher = Publisher::new(&*shared, Generation(1));
        assert!(matches!(publisher.view().change(), Change::Joined(_)));
        let (far, done) = (shared.clone(), let_go.clone());
        let vnode = loom::thread::spawn(move || {
            let mut observer = Observer::new(life(0, 1));
            assert!(matches!(observer.next(&*far), Seen::View(_)));
            // SAFETY: loom fails the test if the root reads meanwhile.
            done.with_mut(|done| unsafe { *done = true });
            observer.acknowledge(&*far);
        });
        let root = loom::thread::spawn(move || {
            publisher.observe(&*shared);
            if publisher.missing(1) == 0 {
                // SAFETY: loom fails the test if the vnode is still at it.
                assert!(let_go.with(|done| unsafe { *done }));
            }
        });
        root.join().unwrap();
        vnode.join().unwrap();
    });
}
