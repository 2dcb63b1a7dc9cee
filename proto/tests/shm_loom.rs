// SPDX-License-Identifier: GPL-2.0

//! Who sleeps for a region is told, under every interleaving and every reordering that C11 allows, by loom.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test --test shm_loom`. Numbers are those of docs/bridge-shm.md.

#![cfg(loom)]

use adeos_proto::bridge::Vnodes;
use adeos_proto::id::VnodeId;
use adeos_proto::shm::board::{announce, notices, notify, take, tell, Class, Matter};
use adeos_proto::shm::Region;
use adeos_proto::window::Window;
use loom::sync::atomic::{fence, AtomicU64, Ordering};
use loom::sync::Arc;

/// Of region 1: notices, who sleeps for them, who sleeps on words of classes 0 and 1; of vnode 1: its news, and the
/// classes that were woken in region 1.
const WORDS: [usize; 6] = [0x1_0400, 0x1_0408, 0x1_0600, 0x1_0608, 0x6_0020, 0x8_0808];

/// The words of the board that the tests use, and one of the region.
struct Shared {
    board: [AtomicU64; 6],
    word: AtomicU64,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            board: std::array::from_fn(|_| AtomicU64::new(0)),
            word: AtomicU64::new(0),
        })
    }

    fn number(&self, offset: usize) -> Option<&AtomicU64> {
        let index = WORDS.iter().position(|it| *it == offset)?;
        Some(&self.board[index])
    }

    fn used(&self, offset: usize) -> &AtomicU64 {
        self.number(offset).expect("a word that the tests use")
    }
}

impl Window for Shared {
    fn size(&self) -> usize {
        0x20_0000
    }

    fn load_acquire(&self, _: usize) -> u32 {
        unreachable!("all numbers are wide")
    }

    fn store_release(&self, _: usize, _: u32) {
        unreachable!("all numbers are wide")
    }

    /// Other regions have no news.
    fn load_acquire64(&self, offset: usize) -> u64 {
        let number = self.number(offset);
        number.map_or(0, |number| number.load(Ordering::Acquire))
    }

    fn store_release64(&self, _: usize, _: u64) {
        unreachable!("others may have changed it")
    }

    fn raise(&self, _: usize, _: u32) {
        unreachable!("nothing is raised")
    }

    fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
        let before = self.used(offset).fetch_or(bits, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        before
    }

    fn swap64(&self, offset: usize, value: u64) -> u64 {
        let before = self.used(offset).swap(value, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        before
    }

    fn compare_exchange64(&self, offset: usize, current: u64, new: u64) -> Result<u64, u64> {
        let number = self.used(offset);
        number.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
    }

    fn read(&self, _: usize, _: &mut [u8]) {
        unreachable!("there are only numbers")
    }

    fn write(&self, _: usize, _: &[u8]) {
        unreachable!("there are only numbers")
    }

    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}

fn region() -> Region {
    Region::new(1).unwrap()
}

fn sleeper() -> VnodeId {
    VnodeId::new(1).unwrap()
}

fn word(class: u64) -> Matter {
    Matter::Word(Class::of(4 * class))
}

/// What the sleeping vnode was told: whether to look at the region at all, and classes.
fn told(shared: &Shared) -> (bool, u64) {
    let all = take(shared, sleeper());
    all.fold((false, 0), |(_, classes), told| {
        assert_eq!(told.region, region());
        (true, classes | told.classes)
    })
}

/// SH-40, SH-41: who finds the word as it was, and goes to sleep, is told.
#[test]
fn sh_40_a_word_that_changes_wakes_who_sleeps_on_it() {
    loom::model(|| {
        let shared = Shared::new();
        let other = shared.clone();
        let waker = loom::thread::spawn(move || {
            other.word.store(1, Ordering::Relaxed);
            tell(&*other, region(), word(0))
        });
        announce(&*shared, region(), word(0), sleeper());
        let sleeps = shared.word.load(Ordering::Relaxed) == 0;
        let raised = waker.join().unwrap();
        if sleeps {
            assert!(raised.has(sleeper()));
            assert_eq!(told(&shared), (true, 1));
        }
    });
}

/// SH-40: the same for notices, however many are given at once; and none is lost.
#[test]
fn sh_43_each_notice_wakes_who_has_not_seen_it() {
    loom::model(|| {
        let shared = Shared::new();
        let wakers = [(); 2].map(|()| {
            let other = shared.clone();
            loom::thread::spawn(move || notify(&*other, region()))
        });
        announce(&*shared, region(), Matter::Notices, sleeper());
        let seen = notices(&*shared, region());
        let raised = wakers.map(|waker| waker.join().unwrap());
        assert_eq!(notices(&*shared, region()), 2);
        if seen < 2 {
            assert!(raised.iter().any(|raised| raised.has(sleeper())));
            assert!(told(&shared).0);
        }
    });
}

/// Classes that are told while the vnode takes what it was told before are told to it in the end.
#[test]
fn sh_41_nothing_that_is_told_is_lost_to_who_takes_meanwhile() {
    loom::model(|| {
        let shared = Shared::new();
        announce(&*shared, region(), word(0), sleeper());
        announce(&*shared, region(), word(1), sleeper());
        let wakers = [0, 1].map(|class| {
            let other = shared.clone();
            loom::thread::spawn(move || tell(&*other, region(), word(class)))
        });
        let (_, before) = told(&shared);
        for waker in wakers {
            assert_eq!(waker.join().unwrap(), Vnodes::NONE.with(sleeper()));
        }
        let (_, after) = told(&shared);
        assert_eq!(before | after, 3);
    });
}
