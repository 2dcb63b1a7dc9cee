// SPDX-License-Identifier: GPL-2.0

//! The lock under every interleaving and every reordering that C11 allows, by loom.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test --test lock_loom`. What the lock guards is an
//! `UnsafeCell`: two owners at a time are an access that races, which loom reports.

#![cfg(loom)]

use adeos_proto::id::{Generation, Life, VnodeId};
use adeos_proto::lock::layout::{OWNER, PLACES, SERVED, SIZE};
use adeos_proto::lock::{Broken, Entry, Error, Lives, Lock, Poll};
use adeos_proto::window::Window;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{fence, AtomicU32, AtomicU64, Ordering};
use loom::sync::Arc;
use loom::thread;

/// Vnodes that take part; the places of all others are zero and stay so.
const TAKING_PART: usize = 3;

struct Shared {
    owner: AtomicU64,
    served: AtomicU32,
    places: [AtomicU64; TAKING_PART],
    guarded: UnsafeCell<u32>,
}

// SAFETY: the numbers are atomics, and loom reports every access to the guarded cell that another
// one races with.
unsafe impl Sync for Shared {}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            owner: AtomicU64::new(0),
            served: AtomicU32::new(0),
            places: std::array::from_fn(|_| AtomicU64::new(0)),
            guarded: UnsafeCell::new(0),
        })
    }

    fn word(&self, offset: usize) -> Option<&AtomicU64> {
        match offset {
            OWNER => Some(&self.owner),
            _ => self.places.get((offset - PLACES) / 8),
        }
    }

    /// What an owner does.
    fn touch(&self) {
        // SAFETY: the pointer is valid, and loom fails the test if somebody else is at it.
        self.guarded.with_mut(|guarded| unsafe { *guarded += 1 });
    }
}

impl Window for Shared {
    fn size(&self) -> usize {
        SIZE
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        assert_eq!(offset, SERVED);
        self.served.load(Ordering::Acquire)
    }

    fn store_release(&self, offset: usize, value: u32) {
        assert_eq!(offset, SERVED);
        self.served.store(value, Ordering::Release);
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
        unreachable!("the lock raises nothing")
    }

    fn fetch_or64(&self, _: usize, _: u64) -> u64 {
        unreachable!("the lock sets no bits")
    }

    fn swap64(&self, offset: usize, value: u64) -> u64 {
        fence(Ordering::SeqCst);
        let before = self
            .word(offset)
            .map_or(0, |word| word.swap(value, Ordering::AcqRel));
        fence(Ordering::SeqCst);
        before
    }

    fn compare_exchange64(&self, offset: usize, current: u64, new: u64) -> Result<u64, u64> {
        fence(Ordering::SeqCst);
        let done = self.word(offset).map_or(Err(0), |word| {
            word.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
        });
        fence(Ordering::SeqCst);
        done
    }

    fn read(&self, _: usize, _: &mut [u8]) {
        unreachable!("the lock copies nothing")
    }

    fn write(&self, _: usize, _: &[u8]) {
        unreachable!("the lock copies nothing")
    }

    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}

fn life(vnode: u32, generation: u32) -> Life {
    Life {
        vnode: VnodeId::new(vnode).unwrap(),
        generation: Generation(generation),
    }
}

fn lock(vnode: u32) -> Lock {
    Lock::new(0, life(vnode, 1))
}

/// Everybody's first life is alive.
fn all_alive() -> Lives {
    let mut lives = Lives::of_vnode();
    for vnode in VnodeId::all() {
        lives.joined(life(vnode.number(), 1));
    }
    lives
}

/// Everybody's first life is alive, but vnode 0's.
fn first_dead() -> Lives {
    let mut lives = all_alive();
    lives.ended(life(0, 1));
    lives
}

/// Announces, polls, works, unlocks; whether it got its turn and whom it would wake.
fn visit(shared: &Shared, vnode: u32) -> (Poll, Option<Life>) {
    let (mut lock, lives) = (lock(vnode), all_alive());
    lock.announce(shared, &lives).unwrap();
    let found = lock.poll(shared, &lives).unwrap();
    match found {
        Poll::Acquired(_) => {
            shared.touch();
            (found, lock.unlock(shared, &lives).unwrap())
        }
        Poll::Wait(woken) => (found, woken),
        Poll::Again => (found, None),
    }
}

/// IL-10, IL-22: one owner at a time, and who was told to wait is woken by the other.
#[test]
fn two_waiters_exclude_each_other_and_none_is_forgotten() {
    loom::model(|| {
        let shared = Shared::new();
        let far = shared.clone();
        let other = thread::spawn(move || visit(&far, 1));
        let (near_found, near_woken) = visit(&shared, 0);
        let (far_found, far_woken) = other.join().unwrap();
        if matches!(near_found, Poll::Wait(_)) {
            assert_eq!(far_woken, Some(life(0, 1)));
        }
        if matches!(far_found, Poll::Wait(_)) {
            assert_eq!(near_woken, Some(life(1, 1)));
        }
    });
}

/// IL-10, IL-12: who does not wait does not get in beside an owner either.
#[test]
fn a_try_excludes_a_waiter() {
    loom::model(|| {
        let shared = Shared::new();
        let far = shared.clone();
        let other = thread::spawn(move || visit(&far, 1));
        let (mut lock, lives) = (lock(0), all_alive());
        if lock.try_lock(&*shared, &lives).is_ok() {
            shared.touch();
            let woken = lock.unlock(&*shared, &lives).unwrap();
            if matches!(other.join().unwrap().0, Poll::Wait(_)) {
                assert_eq!(woken, Some(life(1, 1)));
            }
        }
    });
}

/// IL-22, IL-25: an owner that unlocks and a waiter that gives up do not both overlook the next one,
/// though who has given up does nothing when it is woken.
#[test]
fn a_waiter_that_gives_up_passes_its_turn_on() {
    loom::model(|| {
        let (shared, lives) = (Shared::new(), all_alive());
        let (mut owner, mut first, mut second) = (lock(0), lock(1), lock(2));
        owner.try_lock(&*shared, &lives).unwrap();
        first.announce(&*shared, &lives).unwrap();
        second.announce(&*shared, &lives).unwrap();

        let far = shared.clone();
        let leaving = thread::spawn(move || first.withdraw(&*far, &all_alive()).unwrap());
        let by_owner = owner.unlock(&*shared, &lives).unwrap();
        let by_first = leaving.join().unwrap();
        assert!([by_owner, by_first].contains(&Some(life(2, 1))));
    });
}

/// IL-33: one breaker succeeds, or the owner's last unlock does; the mark says which.
#[test]
fn a_dead_owner_is_broken_once_or_has_unlocked() {
    loom::model(|| {
        let shared = Shared::new();
        let mut dead = lock(0);
        dead.try_lock(&*shared, &all_alive()).unwrap();
        shared.touch();

        let (last, breaker) = (shared.clone(), shared.clone());
        // The dead CPU's last store, on its way to memory while others learn of its death.
        let unlocking = thread::spawn(move || dead.unlock(&*last, &all_alive()));
        let breaking = thread::spawn(move || lock(1).recover(&*breaker, &first_dead()).broken);
        let mine = lock(2).recover(&*shared, &first_dead()).broken;

        let unlocked = unlocking.join().unwrap();
        let broken = [breaking.join().unwrap(), mine];
        let count = broken.iter().flatten().count();
        let entry = lock(2).try_lock(&*shared, &first_dead()).unwrap();
        if unlocked == Err(Error::Lost) {
            assert_eq!((count, entry), (1, Entry::MaybeInconsistent));
            assert!(broken.contains(&Some(Broken::Dead(life(0, 1)))));
        } else {
            assert_eq!((count, entry), (0, Entry::Consistent));
        }
    });
}

/// IL-10, IL-33: breakers that want the lock for themselves do not both get it.
#[test]
fn two_breakers_do_not_both_own() {
    loom::model(|| {
        let shared = Shared::new();
        lock(0).try_lock(&*shared, &all_alive()).unwrap();
        shared.touch();
        let enter = |shared: &Shared, vnode| {
            let mut lock = lock(vnode);
            let entry = lock.try_lock(shared, &first_dead());
            if entry.is_ok() {
                shared.touch();
                lock.unlock(shared, &first_dead()).unwrap();
            }
            entry
        };
        let far = shared.clone();
        let other = thread::spawn(move || enter(&far, 1));
        let entries = [enter(&shared, 2), other.join().unwrap()];
        assert!(!entries.contains(&Ok(Entry::Consistent)));
        assert!(entries.contains(&Ok(Entry::MaybeInconsistent)));
    });
}

/// IL-31, IL-34: who clears a dead waiter's place does not clear its successor's.
#[test]
fn the_next_life_keeps_its_place() {
    loom::model(|| {
        let shared = Shared::new();
        lock(2).try_lock(&*shared, &all_alive()).unwrap();
        lock(0).announce(&*shared, &all_alive()).unwrap();

        let far = shared.clone();
        let again = thread::spawn(move || {
            let mut lock = Lock::new(0, life(0, 2));
            lock.announce(&*far, &first_dead()).unwrap();
        });
        lock(1).recover(&*shared, &first_dead());
        again.join().unwrap();
        assert_eq!(shared.load_acquire64(PLACES) as u32, 2);
    });
}
