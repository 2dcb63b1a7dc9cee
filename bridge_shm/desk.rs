// SPDX-License-Identifier: GPL-2.0

//! Who sleeps in this kernel for a region: one place for all files that have it open (docs/bridge-shm.md, section 5).
//!
//! Locks: `quiet`, `sleepers` and `signalled`, mutexes; all are leaves, but that the board is looked at with `quiet`.

#![deny(unsafe_code)]

use crate::board::Board;
use crate::event_fd::EventFd;
use adeos_core::bridge::Id;
use adeos_core::Event;
use adeos_proto::shm::board::{
    Class,
    Matter, //
};
use adeos_proto::shm::Region;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full, //
};
use kernel::sync::lock::mutex::MutexBackend;
use kernel::sync::lock::Guard;
use kernel::sync::poll::PollCondVar;
use kernel::sync::{
    Arc,
    CondVarTimeoutResult,
    Mutex, //
};
use kernel::time::msecs_to_jiffies;

/// One who sleeps on a word.
struct Sleeper {
    offset: u64,
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
    region: Region,
    board: Arc<Board>,
    /// Counts deaths.
    deaths: Atomic<u64>,
    /// Notices that have been signalled.
    told: Atomic<u64>,
    /// There may be a notice, or a death.
    #[pin]
    news: PollCondVar,
    #[pin]
    quiet: Mutex<()>,
    #[pin]
    sleepers: Mutex<KVec<Sleeper>>,
    /// What is signalled when there is news.
    #[pin]
    signalled: Mutex<KVec<Arc<EventFd>>>,
}

impl Desk {
    pub(crate) fn new(id: Id, region: Region, board: Arc<Board>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                told: Atomic::new(board.notices(region)),
                id,
                region,
                board,
                deaths: Atomic::new(0),
                news <- kernel::new_poll_condvar!("bridge_shm:news"),
                quiet <- kernel::new_mutex!((), "bridge_shm:quiet"),
                sleepers <- kernel::new_mutex!(KVec::new(), "bridge_shm:sleepers"),
                signalled <- kernel::new_mutex!(KVec::new(), "bridge_shm:signalled"),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    /// Deaths of vnodes that may use the region, since it is open here.
    pub(crate) fn deaths(&self) -> u64 {
        self.deaths.load(Acquire)
    }

    /// Where one waits for notices and deaths.
    pub(crate) fn news(&self) -> &PollCondVar {
        &self.news
    }

    /// A vnode that may use the region has died. All that sleep look.
    pub(crate) fn mourn(&self) {
        self.deaths.fetch_add(1, Full);
        self.tell();
        self.signal_all(true);
        self.wake_classes(u64::MAX);
    }

    /// Notices were given. All that wait for them look.
    pub(crate) fn tell(&self) {
        // Who has looked before, and is not asleep yet, has the lock.
        drop(self.quiet.lock());
        self.news.notify_all();
        self.signal_all(false);
    }

    fn signal_all(&self, is_death: bool) {
        let signalled = self.signalled.lock();
        if signalled.is_empty() {
            return;
        }
        // What comes behind this is told again; what came before is seen here.
        self.board.announce(self.region, Matter::Notices);
        let notices = self.board.notices(self.region);
        let is_news = self.told.xchg(notices, Full) != notices;
        if is_news || is_death {
            for event in signalled.iter() {
                event.signal();
            }
        }
    }

    /// Has an eventfd signalled when there is news. ENOMEM.
    pub(crate) fn signal(&self, event: &Arc<EventFd>) -> Result {
        Ok(self.signalled.lock().push(event.clone(), GFP_KERNEL)?)
    }

    /// Has it signalled no more.
    pub(crate) fn signal_no_more(&self, event: &Arc<EventFd>) {
        let mut signalled = self.signalled.lock();
        signalled.retain(|other| !Arc::ptr_eq(other, event));
    }

    /// Keeps news back: one looks with it, and sleeps with it, so that nothing is told in between.
    pub(crate) fn quiet(&self) -> Guard<'_, (), MutexBackend> {
        self.quiet.lock()
    }

    /// Sleeps until there are news, for some time at most. EINTR a signal has come.
    pub(crate) fn wait(&self, quiet: &mut Guard<'_, (), MutexBackend>, time_ms: u32) -> Result {
        let jiffies = msecs_to_jiffies(time_ms).max(1);
        match self.news.wait_interruptible_timeout(quiet, jiffies) {
            CondVarTimeoutResult::Signal { .. } => Err(ERESTARTSYS),
            CondVarTimeoutResult::Woken { .. } | CondVarTimeoutResult::Timeout => Ok(()),
        }
    }

    /// Adds one who is going to sleep on a word. ENOMEM.
    pub(crate) fn enter(&self, offset: u64) -> Result<Arc<Woken>> {
        let woken = Arc::pin_init(
            pin_init!(Woken {
                event <- Event::new(),
                is_so: Atomic::new(0),
            }),
            GFP_KERNEL,
        )?;
        let sleeper = Sleeper {
            offset,
            woken: woken.clone(),
        };
        self.sleepers.lock().push(sleeper, GFP_KERNEL)?;
        Ok(woken)
    }

    /// Takes away one who does not sleep any more.
    pub(crate) fn leave(&self, woken: &Arc<Woken>) {
        let mut sleepers = self.sleepers.lock();
        sleepers.retain(|other| !Arc::ptr_eq(&other.woken, woken));
    }

    /// Wakes those that sleep on a word, the first ones first; how many, `count` at most.
    pub(crate) fn wake(&self, offset: u64, count: u32) -> u32 {
        let sleepers = self.sleepers.lock();
        let on_it = sleepers
            .iter()
            .filter(|it| it.offset == offset && !it.woken.is_so());
        let mut done = 0;
        for sleeper in on_it.take(count as usize) {
            sleeper.woken.set();
            done += 1;
        }
        done
    }

    /// Wakes all that sleep on words of these classes.
    pub(crate) fn wake_classes(&self, classes: u64) {
        if classes == 0 {
            return;
        }
        for sleeper in self.sleepers.lock().iter() {
            if classes >> Class::of(sleeper.offset).number() & 1 != 0 {
                sleeper.woken.set();
            }
        }
    }
}
