// SPDX-License-Identifier: GPL-2.0

//! Who sleeps in this kernel for a region: one place for all files that have it open (docs/bridge-shm.md, section 5).
//!
//! Locks: `sleepers`, which hard interrupts take as well, and `signalled`, a mutex; both are leaves.

#![deny(unsafe_code)]

use crate::board::Board;
use crate::event_fd::EventFd;
use adeos_core::bridge::Id;
use adeos_core::{
    Event,
    RawSpinLock, //
};
use adeos_proto::shm::board::{
    Class,
    Matter, //
};
use adeos_proto::shm::Region;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full,
    Relaxed, //
};
use kernel::sync::poll::PollCondVar;
use kernel::sync::{
    Arc,
    Mutex, //
};

/// Sleepers that are woken with interrupts off before others get the CPU.
const AT_ONCE: usize = 64;

/// What one sleeps for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Notices, and deaths.
    Notices,
    /// The word at an offset.
    Word(u64),
}

impl Cause {
    /// The same as the board knows it.
    pub(crate) fn matter(self) -> Matter {
        match self {
            Self::Notices => Matter::Notices,
            Self::Word(offset) => Matter::Word(Class::of(offset)),
        }
    }
}

/// One who sleeps.
struct Sleeper {
    cause: Cause,
    woken: Arc<Woken>,
}

/// That a sleeper was woken.
#[pin_data]
pub(crate) struct Woken {
    #[pin]
    pub(crate) event: Event,
    is_so: Atomic<u32>,
}

impl Woken {
    /// Whether it was.
    pub(crate) fn is_so(&self) -> bool {
        self.is_so.load(Acquire) != 0
    }

    /// Forgets it: who was woken looks, and sleeps on.
    pub(crate) fn forget(&self) {
        self.is_so.xchg(0, Full);
    }

    fn set(&self) {
        self.is_so.xchg(1, Full);
        self.event.raise();
    }
}

/// The sleepers of a region.
#[pin_data]
pub(crate) struct Desk {
    id: Id,
    region: Region,
    /// How many files of this kernel have it open; the hall guards it.
    files: Atomic<u32>,
    /// Counts deaths.
    deaths: Atomic<u64>,
    #[pin]
    sleepers: RawSpinLock<KVec<Sleeper>>,
    /// Whether somebody was ever to be told by `news`, or by an eventfd.
    is_polled: Atomic<u32>,
    /// Whether they, or others, are to be told now.
    is_due: Atomic<u32>,
    /// Classes of words whose sleepers were too many to be woken at once.
    pending: Atomic<u64>,
    /// Notices that have been signalled.
    told: Atomic<u64>,
    /// There may be a notice, or a death.
    #[pin]
    news: PollCondVar,
    /// What is signalled then.
    #[pin]
    signalled: Mutex<KVec<Arc<EventFd>>>,
}

impl Desk {
    /// That of a region. Process context. ENOMEM.
    pub(crate) fn new(id: Id, region: Region, board: &Board) -> Result<Arc<Self>> {
        let told = board.notices(region);
        Arc::pin_init(
            pin_init!(Self {
                id,
                region,
                files: Atomic::new(0),
                deaths: Atomic::new(0),
                sleepers <- RawSpinLock::new(
                    KVec::new(),
                    c"bridge_shm:sleepers",
                    kernel::static_lock_class!(),
                ),
                is_polled: Atomic::new(0),
                is_due: Atomic::new(0),
                pending: Atomic::new(0),
                told: Atomic::new(told),
                news <- kernel::new_poll_condvar!("bridge_shm:news"),
                signalled <- kernel::new_mutex!(KVec::new(), "bridge_shm:signalled"),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn region(&self) -> Region {
        self.region
    }

    /// One more file has it open.
    pub(crate) fn add_file(&self) {
        self.files.fetch_add(1, Full);
    }

    /// One file less has it open; whether that was the last one.
    pub(crate) fn end_file(&self) -> bool {
        self.files.fetch_sub(1, Full) == 1
    }

    /// Deaths of vnodes that may use the region, since it is open here.
    pub(crate) fn deaths(&self) -> u64 {
        self.deaths.load(Acquire)
    }

    /// Where one waits for notices and deaths by a poll.
    pub(crate) fn news(&self) -> &PollCondVar {
        self.is_polled.xchg(1, Full);
        &self.news
    }

    /// Adds one who is going to sleep. Process context. ENOMEM.
    pub(crate) fn enter(&self, cause: Cause) -> Result<Arc<Woken>> {
        let woken = Arc::pin_init(
            pin_init!(Woken {
                event <- Event::new(),
                is_so: Atomic::new(0),
            }),
            GFP_KERNEL,
        )?;
        let mut sleeper = Sleeper {
            cause,
            woken: woken.clone(),
        };
        // What there was before is freed without the lock.
        let mut room = KVec::new();
        loop {
            let mut sleepers = self.sleepers.lock();
            match sleepers.push_within_capacity(sleeper) {
                Ok(()) => break,
                Err(full) => sleeper = full.0,
            }
            let wanted = sleepers.len() * 2 + 4;
            if room.capacity() >= wanted {
                for other in sleepers.drain_all() {
                    // It has room for all of them.
                    let _ = room.push_within_capacity(other);
                }
                core::mem::swap(&mut *sleepers, &mut room);
                continue;
            }
            drop(sleepers);
            room = KVec::with_capacity(wanted, GFP_KERNEL)?;
        }
        Ok(woken)
    }

    /// Takes away one who does not sleep any more.
    pub(crate) fn leave(&self, woken: &Arc<Woken>) {
        let mut sleepers = self.sleepers.lock();
        sleepers.retain(|other| !Arc::ptr_eq(&other.woken, woken));
    }

    /// Wakes those that sleep on a word, the first ones first; how many, `count` at most. Any context.
    pub(crate) fn wake(&self, offset: u64, count: u32) -> u32 {
        let sleepers = self.sleepers.lock();
        let on_it = sleepers
            .iter()
            .filter(|it| it.cause == Cause::Word(offset) && !it.woken.is_so());
        let mut done = 0;
        for sleeper in on_it.take(count as usize) {
            sleeper.woken.set();
            done += 1;
        }
        done
    }

    /// Wakes those that sleep for notices, and on words of these classes: so many at most as may be woken with interrupts off. Whether there is
    /// more to be done by [`Desk::tell_due`]: others to wake, or those that poll to be told. Any context.
    pub(crate) fn wake_some(&self, classes: u64) -> bool {
        let is_of = |cause| match cause {
            Cause::Notices => true,
            Cause::Word(offset) => classes >> Class::of(offset).number() & 1 != 0,
        };
        let sleepers = self.sleepers.lock();
        let concerned = sleepers
            .iter()
            .filter(|it| is_of(it.cause) && !it.woken.is_so());
        let mut left = AT_ONCE;
        for sleeper in concerned {
            if left == 0 {
                break;
            }
            sleeper.woken.set();
            left -= 1;
        }
        drop(sleepers);
        let has_more = left == 0;
        if has_more {
            insert(&self.pending, classes);
        }
        let is_due = has_more || self.is_polled.load(Relaxed) != 0;
        if is_due {
            self.is_due.xchg(1, Full);
        }
        is_due
    }

    /// Does what [`Desk::wake_some`] has left, if anything. Process context.
    pub(crate) fn tell_due(&self, board: &Board) {
        while self.is_due.xchg(0, Full) != 0 {
            let classes = self.pending.xchg(0, Full);
            self.news.notify_all();
            self.signal_all(board, false);
            if classes == 0 || !self.wake_some(classes) {
                return;
            }
        }
    }

    /// A vnode that may use the region has died. All that sleep look, and find that out. Process context.
    pub(crate) fn mourn(&self, board: &Board) {
        self.deaths.fetch_add(1, Full);
        for sleeper in self.sleepers.lock().iter() {
            sleeper.woken.event.raise();
        }
        self.news.notify_all();
        self.signal_all(board, true);
    }

    fn signal_all(&self, board: &Board, is_death: bool) {
        let signalled = self.signalled.lock();
        if signalled.is_empty() {
            return;
        }
        // What comes behind this is told again; what came before is seen here.
        board.announce(self.region, Matter::Notices);
        let notices = board.notices(self.region);
        let is_news = self.told.xchg(notices, Full) != notices;
        if is_news || is_death {
            for event in signalled.iter() {
                event.signal();
            }
        }
    }

    /// Has an eventfd signalled when there is news. Process context. ENOMEM.
    pub(crate) fn signal(&self, event: &Arc<EventFd>) -> Result {
        self.is_polled.xchg(1, Full);
        Ok(self.signalled.lock().push(event.clone(), GFP_KERNEL)?)
    }

    /// Has it signalled no more. Process context.
    pub(crate) fn signal_no_more(&self, event: &Arc<EventFd>) {
        let mut signalled = self.signalled.lock();
        signalled.retain(|other| !Arc::ptr_eq(other, event));
    }
}

fn insert(word: &Atomic<u64>, bits: u64) {
    let mut seen = word.load(Relaxed);
    while let Err(now) = word.cmpxchg(seen, seen | bits, Full) {
        seen = now;
    }
}
