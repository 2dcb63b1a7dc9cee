// SPDX-License-Identifier: GPL-2.0

//! Who sleeps in this kernel for a region: one place for all files that have it open (docs/bridge-shm.md, section 5).
//!
//! Locks: `sleepers`, which hard interrupts take as well, and `signalled`, a mutex; both are leaves.

#![deny(unsafe_code)]

use crate::board::Board;
use crate::event_fd::EventFd;
use adeos_core::bridge::{
    Id,
    Key, //
};
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

    fn set(&self) {
        self.is_so.xchg(1, Full);
        self.event.raise();
    }
}

/// The sleepers of a region.
#[pin_data]
pub(crate) struct Desk {
    id: Id,
    key: Key,
    region: Region,
    /// How many files of this kernel have it open; the hall guards it.
    files: Atomic<u32>,
    /// Counts deaths.
    deaths: Atomic<u64>,
    #[pin]
    sleepers: RawSpinLock<KVec<Sleeper>>,
    /// Whether somebody was ever to be told by `news`, or by an eventfd.
    is_polled: Atomic<u32>,
    /// Whether they are to be told now.
    is_due: Atomic<u32>,
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
    /// That of a region of a name. Process context. ENOMEM.
    pub(crate) fn new(id: Id, key: Key, region: Region, board: &Board) -> Result<Arc<Self>> {
        let told = board.notices(region);
        Arc::pin_init(
            pin_init!(Self {
                id,
                key,
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

    pub(crate) fn key(&self) -> &Key {
        &self.key
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

    /// Wakes all that sleep for notices, and all that do on words of these classes. Whether others are to be told by
    /// [`Desk::tell_due`], who are told in process context only. Any context.
    pub(crate) fn wake_all(&self, classes: u64) -> bool {
        let is_of = |offset| classes >> Class::of(offset).number() & 1 != 0;
        for sleeper in self.sleepers.lock().iter() {
            match sleeper.cause {
                Cause::Word(offset) if !is_of(offset) => {}
                _ => sleeper.woken.set(),
            }
        }
        let is_polled = self.is_polled.load(Relaxed) != 0;
        if is_polled {
            self.is_due.xchg(1, Full);
        }
        is_polled
    }

    /// Tells those that poll, and signals eventfds, if that is due. Process context.
    pub(crate) fn tell_due(&self, board: &Board) {
        if self.is_due.xchg(0, Full) == 0 {
            return;
        }
        self.news.notify_all();
        self.signal_all(board, false);
    }

    /// A vnode that may use the region has died. All that sleep look. Process context.
    pub(crate) fn mourn(&self, board: &Board) {
        self.deaths.fetch_add(1, Full);
        self.wake_all(u64::MAX);
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
