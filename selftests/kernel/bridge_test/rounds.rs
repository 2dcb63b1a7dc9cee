// SPDX-License-Identifier: GPL-2.0

//! Rounds: a bridge comes and goes again and again, and so do its users, in several kernels at once.

use adeos_core::bridge::{
    Access,
    Bridge,
    Follow,
    Key,
    Mapped,
    Rights,
    Spec,
    Vnodes, //
};
use adeos_core::Core;
use adeos_proto::layout::GRANULE;
use adeos_proto::window::Window;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::Arc;
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// How often a round tries to get in, a millisecond apart: the bridge may be coming or going.
const TRIES: u32 = 10_000;

/// Rounds so far, and those of them that have created the bridge.
pub(crate) struct Rounds {
    rounds: Atomic<u64>,
    created: Atomic<u64>,
}

impl Rounds {
    pub(crate) const fn new() -> Self {
        Self {
            rounds: Atomic::new(0),
            created: Atomic::new(0),
        }
    }

    /// Rounds, and those that have created the bridge.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.rounds.load(Relaxed), self.created.load(Relaxed))
    }

    /// Each round creates the bridge, or opens it if it is there; maps it, writes to each page, reads
    /// it again, and closes it. EILSEQ when what is read is not what was written, or what a new bridge
    /// holds is not zero; EINTR when a signal ends it.
    pub(crate) fn run(&self, core: &Arc<Core>, key: &Key, count: u64) -> Result {
        for round in 1..=count {
            if kernel::current!().signal_pending() {
                return Err(EINTR);
            }
            let (bridge, is_new) = enter(core, key)?;
            let mapped = bridge.map()?;
            // Each kernel has words of its own, so that the others' rounds do not matter.
            let word = core.identity().vnode.index().wrapping_mul(8);
            if is_new {
                self.created.add(1, Relaxed);
                compare(&mapped, word, 0)?;
            }
            write(&mapped, word, round);
            compare(&mapped, word, round)?;
            self.rounds.add(1, Relaxed);
        }
        Ok(())
    }
}

/// Creates a bridge, or opens it; and which it was. ETIMEDOUT when neither works out in time.
fn enter(core: &Arc<Core>, key: &Key) -> Result<(Bridge, bool)> {
    let spec = Spec {
        key: *key,
        size: GRANULE,
        rights: Rights {
            mode: 0xf,
            readers: Vnodes::ALL,
            writers: Vnodes::ALL,
            label: [0; 2],
        },
        follow: Follow::Moves,
    };
    for _ in 0..TRIES {
        match Bridge::create(core, &spec, None) {
            Err(error) if error == EEXIST => {}
            result => return result.map(|bridge| (bridge, true)),
        }
        match Bridge::open(core, key, Access::Write, Follow::Moves, None) {
            Err(error) if error == ENOENT => fsleep(Delta::from_millis(1)),
            result => return result.map(|bridge| (bridge, false)),
        }
    }
    Err(ETIMEDOUT)
}

fn write(mapped: &Mapped, word: usize, number: u64) {
    for page in (0..mapped.size()).step_by(PAGE_SIZE) {
        mapped.store_release64(page.wrapping_add(word), number);
    }
}

/// EILSEQ when that word of some page is not this number.
fn compare(mapped: &Mapped, word: usize, number: u64) -> Result {
    let mut pages = (0..mapped.size()).step_by(PAGE_SIZE);
    let is_same = pages.all(|page| mapped.load_acquire64(page.wrapping_add(word)) == number);
    is_same.then_some(()).ok_or(EILSEQ)
}
