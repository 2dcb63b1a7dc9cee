// SPDX-License-Identifier: GPL-2.0

//! A region that a program has open: where its memory is, who sleeps for it, and which locks are to be freed.

#![deny(unsafe_code)]

use crate::board::Board;
use crate::desk::{
    Cause,
    Woken, //
};
use crate::event_fd::EventFd;
use crate::hall::DeskUse;
use crate::opening::{
    check,
    entry_of, //
};
use crate::pages::{
    Pages,
    Unusable, //
};
use crate::statics;
use adeos_core::bridge::{
    Access,
    Bridge,
    Entry,
    Id,
    Rights,
    Vnodes, //
};
use adeos_core::open_file::check_signals;
use adeos_core::Core;
use adeos_proto::abi::shm as abi;
use adeos_proto::id::PhysRange;
use adeos_proto::shm::board::{
    Class,
    Matter, //
};
use adeos_proto::shm::lock::{
    self,
    Token, //
};
use adeos_proto::shm::Region;
use adeos_proto::window::Window;
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
use kernel::time::delay::fsleep;
use kernel::time::{
    Delta,
    Instant,
    Monotonic, //
};

/// One sleeps no longer than this without a look (SH-42).
const LOOK_MS: u64 = 1000;
/// The locks of a file are freed when the region can be used; a move is over long before this time is.
const FREE_MS: u64 = 20_000;
const FREE_PAUSE_MS: i64 = 10;

/// An open region.
#[pin_data]
pub(crate) struct Handle {
    core: Arc<Core>,
    board: Arc<Board>,
    desk: DeskUse,
    region: Region,
    bridge: Bridge,
    pages: Arc<Pages>,
    /// Its bytes, when that was looked at last.
    size: Atomic<u64>,
    access: Access,
    /// Whether programs have large pages of it.
    has_large: Atomic<u32>,
    /// Notices that a `read` has told.
    seen: Atomic<u64>,
    /// Deaths that a call has told.
    mourned: Atomic<u64>,
    /// What it writes into the words of locks that it has.
    token: Token,
    /// Where locks lie that are to be freed when it is closed. The pages are held while there are any.
    #[pin]
    guarded: Mutex<KVec<u64>>,
    /// What is signalled when there is news.
    #[pin]
    signalled: Mutex<Option<Arc<EventFd>>>,
}

/// How long one still waits.
pub(crate) struct Patience(Option<(Instant<Monotonic>, u64)>);

impl Patience {
    /// So long from now on; or [`abi::FOR_EVER`].
    pub(crate) fn new(timeout_ms: u64) -> Self {
        Self((timeout_ms != abi::FOR_EVER).then(|| (Instant::now(), timeout_ms)))
    }

    /// The next slice of it in ms; nothing when it is over.
    fn slice(&self) -> Option<u32> {
        let left = match self.0 {
            None => LOOK_MS,
            Some((since, timeout)) => {
                let waited = since.elapsed().as_millis().max(0) as u64;
                timeout.saturating_sub(waited)
            }
        };
        (left > 0).then(|| left.min(LOOK_MS) as u32)
    }

    /// What a signal ends is begun again only where no time is said: it would begin again as well.
    fn of_signal(&self, error: Error) -> Error {
        match self.0 {
            Some(_) if error == ERESTARTSYS => EINTR,
            _ => error,
        }
    }
}

impl Handle {
    /// The file of a region that is open. Process context. ENOTCONN, ENOMEM.
    pub(crate) fn new(
        core: Arc<Core>,
        bridge: Bridge,
        pages: Arc<Pages>,
        access: Access,
    ) -> Result<Arc<Self>> {
        let id = bridge.id();
        let region = Region::new(id.index).ok_or(EPROTO)?;
        let board = statics::board(&core)?;
        let size = entry_of(&bridge)?.range.size();
        let desk = DeskUse::new(id, region, &board)?;
        let token = statics::token(core.own_life());
        Arc::pin_init(
            pin_init!(Self {
                seen: Atomic::new(board.notices(region)),
                mourned: Atomic::new(desk.deaths()),
                core,
                board,
                desk,
                region,
                bridge,
                pages,
                size: Atomic::new(size),
                access,
                has_large: Atomic::new(0),
                token,
                guarded <- kernel::new_mutex!(KVec::new(), "bridge_shm:guarded"),
                signalled <- kernel::new_mutex!(None, "bridge_shm:signalled"),
            }),
            GFP_KERNEL,
        )
    }

    /// Which bridge it is.
    pub(crate) fn id(&self) -> Id {
        self.bridge.id()
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Bytes of the region, when they were looked at last.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Relaxed)
    }

    /// What this file may do.
    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// What it writes into the words of locks that it has.
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// Its memory.
    pub(crate) fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }

    /// Checks that the current process may use the region as this file does (SH-11). EACCES.
    pub(crate) fn check_again(&self) -> Result {
        check(&self.entry()?, self.access)
    }

    /// What is published of it now.
    pub(crate) fn entry(&self) -> Result<Entry> {
        let entry = entry_of(&self.bridge)?;
        self.size.store(entry.range.size(), Relaxed);
        Ok(entry)
    }

    /// A program is about to map a part that ends there; it is counted as an area. EINVAL it is not in the region, EACCES.
    pub(crate) fn begin_area(&self, end: u64) -> Result {
        let entry = self.entry()?;
        if end > entry.range.size() {
            return Err(EINVAL);
        }
        if !entry.allows(self.core.own_life(), self.access) {
            return Err(EACCES);
        }
        check(&entry, self.access)?;
        self.add_area();
        Ok(())
    }

    /// There is one more area of it.
    pub(crate) fn add_area(&self) {
        self.pages.hold();
    }

    /// There is one area less.
    pub(crate) fn end_area(&self) {
        self.pages.release();
    }

    /// Says who may use the region. See [`Bridge::protect`].
    pub(crate) fn set_rights(&self, rights: Rights) -> Result {
        self.bridge.set_rights(rights)
    }

    /// Gives the region another size. See [`Bridge::resize`].
    pub(crate) fn set_size(&self, bytes: u64) -> Result {
        self.bridge.resize(bytes)?;
        self.size.store(bytes, Relaxed);
        Ok(())
    }

    /// Hands out where the region is, for as long as `what` takes.
    pub(crate) fn with_range<R>(&self, what: impl FnOnce(PhysRange) -> R) -> Result<R, Unusable> {
        self.pages.with(|mapped| what(mapped.range()))
    }

    /// Undoes what of the region is in page tables by large pages, if anything is: a child that is about to be given copies has it enter
    /// its own.
    pub(crate) fn unmap_large(&self) {
        if self.has_large.load(Relaxed) != 0 {
            self.pages.unmap_all();
        }
    }

    /// Notes that there is going to be a large page.
    pub(crate) fn note_large(&self) {
        self.has_large.store(1, Relaxed);
    }

    /// Has the region be there for [`Handle::with_range`]. See [`Pages::prepare`].
    pub(crate) fn prepare(&self) -> Result<(), Unusable> {
        self.pages.prepare(&self.bridge)
    }

    /// The word at an offset. EINVAL it is not in the region any more; ETIMEDOUT it could not be looked at in time, EINTR.
    fn word(&self, offset: u64, patience: &Patience) -> Result<u32> {
        let value = loop {
            let found = self.pages.with(|mapped| {
                is_in(offset, mapped.range().size())
                    // Every offset fits that is one of a region.
                    .then(|| mapped.load_acquire(offset as usize))
            });
            if let Ok(value) = found {
                break value.ok_or(EINVAL);
            }
            match self.prepare() {
                Ok(()) => {}
                Err(Unusable::NotYet) => {
                    check_signals().map_err(|error| patience.of_signal(error))?;
                    patience.slice().ok_or(ETIMEDOUT)?;
                }
                Err(Unusable::NoMemory) => return Err(ENOMEM),
                Err(Unusable::Denied) => return Err(EACCES),
                Err(Unusable::Lost) => return Err(EIO),
            }
        };
        self.pages.rest();
        value
    }

    /// Notices so far.
    pub(crate) fn notices(&self) -> u64 {
        self.board.notices(self.region)
    }

    /// Deaths of vnodes that may use it, since it is open in this kernel.
    pub(crate) fn deaths(&self) -> u64 {
        self.desk.deaths()
    }

    /// Where one waits for notices and deaths.
    pub(crate) fn news(&self) -> &PollCondVar {
        self.desk.news()
    }

    /// Whether there are notices that no `read` has told. Who asks is going to wait for [`Handle::news`].
    pub(crate) fn has_notices(&self) -> bool {
        self.board.announce(self.region, Matter::Notices);
        self.notices() != self.seen.load(Acquire)
    }

    /// Whether there are deaths that no call has told.
    pub(crate) fn has_deaths(&self) -> bool {
        self.deaths() != self.mourned.load(Acquire)
    }

    /// EOWNERDEAD once for deaths since the last call.
    fn check_deaths(&self) -> Result {
        let deaths = self.desk.deaths();
        if self.mourned.xchg(deaths, Full) == deaths {
            Ok(())
        } else {
            Err(EOWNERDEAD)
        }
    }

    /// Waits until the region's notices are another number than `seen`: that one. ETIMEDOUT, EINTR, EOWNERDEAD.
    pub(crate) fn wait(&self, seen: u64, patience: &Patience) -> Result<u64> {
        let notices = self.notices();
        if notices != seen {
            return Ok(notices);
        }
        let woken = self.desk.enter(Cause::Notices)?;
        let news = self.sleep(&woken, Cause::Notices, patience, || {
            let notices = self.notices();
            Ok((notices != seen).then_some(notices))
        });
        self.desk.leave(&woken);
        news
    }

    /// Sleeps until there is what `look` looks for; it is looked for each time that somebody is woken here, and once a second. ETIMEDOUT,
    /// EINTR, EOWNERDEAD, and the errors of `look`.
    fn sleep<T>(
        &self,
        woken: &Woken,
        cause: Cause,
        patience: &Patience,
        look: impl Fn() -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            if cause == Cause::Notices {
                woken.forget();
            }
            self.board.announce(self.region, cause.matter());
            if let Some(found) = look()? {
                return Ok(found);
            }
            self.check_deaths()?;
            let slice = patience.slice().ok_or(ETIMEDOUT)?;
            woken
                .event
                .wait_interruptible_ms(slice)
                .map_err(|error| patience.of_signal(error))?;
        }
    }

    /// Waits for notices that no other call of this has had, and takes them: how many. The errors are those of [`Handle::wait`].
    pub(crate) fn take_notices(&self, patience: &Patience) -> Result<u64> {
        loop {
            let seen = self.seen.load(Acquire);
            let notices = self.wait(seen, patience)?;
            // Another thread may have taken them.
            if self.seen.cmpxchg(seen, notices, Full).is_ok() {
                return Ok(notices.wrapping_sub(seen));
            }
        }
    }

    /// Says what is signalled from now on when there are notices, or deaths: at once if there are any. ENOMEM.
    pub(crate) fn set_signalled(&self, event: Option<EventFd>) -> Result {
        let mut signalled = self.signalled.lock();
        let event = match event {
            Some(event) => {
                let event = Arc::new(event, GFP_KERNEL)?;
                self.desk.signal(&event)?;
                if self.has_notices() || self.has_deaths() {
                    event.signal();
                }
                Some(event)
            }
            None => None,
        };
        if let Some(before) = core::mem::replace(&mut *signalled, event) {
            self.desk.signal_no_more(&before);
        }
        Ok(())
    }

    /// Gives a notice.
    pub(crate) fn notify(&self) {
        let vnodes = self.board.notify(self.region);
        self.tell(vnodes, 0);
    }

    /// Has vnodes look: this one now.
    fn tell(&self, vnodes: Vnodes, classes: u64) {
        let own = self.core.identity().vnode;
        if vnodes.has(own) && self.desk.wake_some(classes) {
            self.desk.tell_due(&self.board);
        }
        self.board.raise(&self.core, vnodes.without(own));
    }

    /// Sleeps while a word has a value, until it is woken. EAGAIN it has another one, EINVAL there is no such word; and those of
    /// [`Handle::wait`].
    pub(crate) fn wait_word(&self, offset: u64, value: u32, patience: &Patience) -> Result {
        self.class_of(offset)?;
        let cause = Cause::Word(offset);
        let woken = self.desk.enter(cause)?;
        let result = self.sleep(&woken, cause, patience, || {
            if self.word(offset, patience)? != value {
                return Err(EAGAIN);
            }
            if !woken.is_so() {
                return Ok(None);
            }
            // Who dies may have woken others by it.
            self.check_deaths().map(Some)
        });
        self.desk.leave(&woken);
        // A wake that has met this one is not to be lost.
        match result {
            Err(error) if error == EOWNERDEAD && woken.is_so() => {
                self.wake(offset, Class::of(offset), 1);
                Err(error)
            }
            _ if woken.is_so() => Ok(()),
            result => result,
        }
    }

    /// Wakes those that sleep on a word, so many at least. EINVAL there is no such word.
    pub(crate) fn wake_word(&self, offset: u64, count: u32) -> Result {
        let class = self.class_of(offset)?;
        self.wake(offset, class, count);
        Ok(())
    }

    fn wake(&self, offset: u64, class: Class, count: u32) {
        let woken = self.desk.wake(offset, count);
        if woken < count {
            let vnodes = self.board.tell(self.region, Matter::Word(class));
            self.tell(vnodes, 1 << class.number());
        }
    }

    /// Has a lock freed when the file is closed while it has it. EINVAL there is no such word, ENOSPC, ENOMEM.
    pub(crate) fn guard(&self, offset: u64) -> Result {
        self.class_of(offset)?;
        let mut guarded = self.guarded.lock();
        if guarded.contains(&offset) {
            return Ok(());
        }
        if guarded.len() >= abi::MAX_GUARDS {
            return Err(ENOSPC);
        }
        guarded.reserve(1, GFP_KERNEL)?;
        if guarded.is_empty() {
            // Held until the file is closed, and mapped: it keeps its size.
            self.pages.hold();
            let mapped = self.word(offset, &Patience::new(abi::FOR_EVER));
            if let Err(error) = mapped {
                self.pages.release();
                return Err(error);
            }
        }
        Ok(guarded.push(offset, GFP_KERNEL)?)
    }

    /// Frees the locks that the file has, and wakes who waits for them.
    fn free_locks(&self) {
        let patience = Patience::new(FREE_MS);
        for offset in self.guarded.lock().iter() {
            if self.free_lock(*offset, &patience) {
                self.wake(*offset, Class::of(*offset), 1);
            }
        }
    }

    /// Frees a lock, if the file has it; whether it had. A signal does not end this, nor does a move.
    fn free_lock(&self, offset: u64, patience: &Patience) -> bool {
        while patience.slice().is_some() {
            let freed = self.pages.with(|mapped| {
                is_in(offset, mapped.range().size()) && lock::free(mapped, offset, self.token)
            });
            if let Ok(freed) = freed {
                return freed;
            }
            match self.prepare() {
                Ok(()) => {}
                Err(Unusable::Denied | Unusable::Lost) => return false,
                Err(_) => fsleep(Delta::from_millis(FREE_PAUSE_MS)),
            }
        }
        false
    }

    /// The class of a word, which lies in the region.
    fn class_of(&self, offset: u64) -> Result<Class> {
        // It may be larger than when it was looked at.
        let is_in_it = is_in(offset, self.size()) || is_in(offset, self.entry()?.range.size());
        if offset % 4 != 0 || !is_in_it {
            return Err(EINVAL);
        }
        Ok(Class::of(offset))
    }

    /// The file is closed, and nothing maps it any more.
    pub(crate) fn end(&self) {
        if let Some(signalled) = self.signalled.lock().take() {
            self.desk.signal_no_more(&signalled);
        }
        self.free_locks();
        self.pages.close();
    }
}

/// Whether a word lies in a region.
fn is_in(offset: u64, size: u64) -> bool {
    offset.checked_add(4).is_some_and(|end| end <= size)
}
