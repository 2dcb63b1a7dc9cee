// SPDX-License-Identifier: GPL-2.0

//! Who waits at a console is woken, under every interleaving and every reordering that C11 allows, by
//! loom.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test --test vcons_loom`. Numbers are those of docs/vcons.md.

#![cfg(loom)]

use adeos_proto::id::VnodeId;
use adeos_proto::membership::bit;
use adeos_proto::vcons::waiters::{announce, take, Concerned, Waiter};
use adeos_proto::window::Window;
use loom::sync::atomic::{fence, AtomicU64, Ordering};
use loom::sync::Arc;

/// The word of those that wait, and one that says that there is something.
struct Shared {
    awaited: AtomicU64,
    brought: AtomicU64,
}

const AWAITED: usize = 0x2800;
const BROUGHT: usize = 0x1010;

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            awaited: AtomicU64::new(0),
            brought: AtomicU64::new(0),
        })
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        match offset {
            AWAITED => &self.awaited,
            BROUGHT => &self.brought,
            _ => unreachable!("there are two such numbers"),
        }
    }
}

impl Window for Shared {
    fn size(&self) -> usize {
        0x20_0000
    }

    fn load_acquire(&self, _: usize) -> u32 {
        unreachable!("who waits is in a wide number")
    }

    fn store_release(&self, _: usize, _: u32) {
        unreachable!("who waits is in a wide number")
    }

    fn load_acquire64(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Acquire)
    }

    fn store_release64(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Release);
    }

    fn raise(&self, _: usize, _: u32) {
        unreachable!("nothing is raised")
    }

    fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
        let before = self.word(offset).fetch_or(bits, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        before
    }

    fn swap64(&self, _: usize, _: u64) -> u64 {
        unreachable!("others may have set bits")
    }

    fn compare_exchange64(&self, offset: usize, current: u64, new: u64) -> Result<u64, u64> {
        self.word(offset)
            .compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
    }

    fn read(&self, _: usize, _: &mut [u8]) {
        unreachable!("there are no bytes")
    }

    fn write(&self, _: usize, _: &[u8]) {
        unreachable!("there are no bytes")
    }

    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}

fn vnode(number: u32) -> VnodeId {
    VnodeId::new(number).unwrap()
}

/// Says that one waits, and looks again: whether it may sleep.
fn waits(shared: &Shared, who: Waiter) -> bool {
    announce(shared, who);
    shared.load_acquire64(BROUGHT) == 0
}

/// VC-20, VC-21: two viewers wait for output, and each that sleeps is woken; no other is.
#[test]
fn no_viewer_sleeps_through_output() {
    loom::model(|| {
        let shared = Shared::new();
        let sleepers: Vec<_> = [1, 2]
            .map(|number| {
                let far = shared.clone();
                loom::thread::spawn(move || waits(&far, Waiter::ForOutput(vnode(number))))
            })
            .into_iter()
            .collect();
        let far = shared.clone();
        let speaker = loom::thread::spawn(move || {
            far.store_release64(BROUGHT, 1);
            take(&*far, Concerned::Viewers)
        });
        let slept: Vec<bool> = sleepers.into_iter().map(|it| it.join().unwrap()).collect();
        let (woken, speaker_too) = speaker.join().unwrap();
        for (sleeps, number) in slept.into_iter().zip([1, 2]) {
            assert!(!sleeps || woken & bit(vnode(number)) != 0);
        }
        assert!(!speaker_too && woken & !(bit(vnode(1)) | bit(vnode(2))) == 0);
    });
}

/// VC-21: who takes the bits of some leaves those of others.
#[test]
fn who_waits_for_something_else_goes_on_waiting() {
    loom::model(|| {
        let shared = Shared::new();
        announce(&*shared, Waiter::ForRoom(vnode(3)));
        let far = shared.clone();
        let speaker = loom::thread::spawn(move || waits(&far, Waiter::Speaker));
        shared.store_release64(BROUGHT, 1);
        let (woken, speaker_is) = take(&*shared, Concerned::Speaker);
        let sleeps = speaker.join().unwrap();
        assert!(woken == 0 && (!sleeps || speaker_is));
        let typist = take(&*shared, Concerned::Typist(vnode(3)));
        assert_eq!(typist, (bit(vnode(3)), false));
        assert_eq!(take(&*shared, Concerned::Typist(vnode(3))), (0, false));
    });
}
