// SPDX-License-Identifier: GPL-2.0

//! A region that a program has open: what the calls of `proto/abi/shm.rs` do.

#![deny(unsafe_code)]

use crate::board::Board;
use crate::caller;
use crate::files;
use crate::opening::{
    check,
    entry_of,
    mode_of,
    vnodes_of, //
};
use crate::pages::{
    Pages,
    Unusable, //
};
use crate::statics::{
    self,
    DeskUse, //
};
use adeos_core::bridge::{
    mode,
    Access,
    Bridge,
    Entry,
    Id,
    Key,
    Rights,
    Scope,
    Vnodes, //
};
use adeos_core::user;
use adeos_core::Core;
use adeos_proto::abi::shm as abi;
use adeos_proto::record;
use adeos_proto::shm::board::{
    Class,
    Matter, //
};
use adeos_proto::shm::label::Label;
use adeos_proto::shm::lock::{
    self,
    Token, //
};
use adeos_proto::shm::{
    self,
    Region, //
};
use adeos_proto::window::Window;
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full, //
};
use kernel::sync::poll::PollTable;
use kernel::sync::{
    Arc,
    ArcBorrow,
    Mutex, //
};
use kernel::time::delay::fsleep;
use kernel::time::{
    Delta,
    Instant,
    Monotonic, //
};
use kernel::uaccess::{
    UserSliceReader,
    UserSliceWriter, //
};

/// One sleeps no longer than this without a look (SH-42).
const LOOK_MS: u64 = 1000;
/// A lock is freed when the region can be used, for which one looks so often; a move is over long before.
const FREE_TRIES: u32 = 1000;
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
    key: Key,
    size: u64,
    access: Access,
    /// Notices that a `read` has told.
    seen: Atomic<u64>,
    /// Deaths that a call has told.
    mourned: Atomic<u64>,
    /// What it writes into the words of locks that it has.
    token: Token,
    /// Where locks lie that are to be freed when it is closed.
    #[pin]
    guarded: Mutex<KVec<u64>>,
}

/// How long one still waits.
struct Patience(Option<(Instant<Monotonic>, u64)>);

impl Patience {
    fn new(timeout_ms: u64) -> Self {
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
        key: Key,
        access: Access,
    ) -> Result<Arc<Self>> {
        let id = bridge.id();
        let region = Region::new(id.index).ok_or(EPROTO)?;
        let board = statics::board(&core)?;
        let size = entry_of(&bridge)?.range.size();
        let desk = DeskUse::new(id, key)?;
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
                key,
                size,
                access,
                token,
                guarded <- kernel::new_mutex!(KVec::new(), "bridge_shm:guarded"),
            }),
            GFP_KERNEL,
        )
    }

    /// Bytes of the region.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Its memory.
    pub(crate) fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }

    /// Checks that the current process may use the region as this file does (SH-11). EACCES.
    pub(crate) fn check_again(&self) -> Result {
        check(&self.entry()?, self.access)
    }

    fn entry(&self) -> Result<Entry> {
        entry_of(&self.bridge)
    }

    /// Hands out where a part of the region is, for as long as `what` takes; no byte of it lies outside of the region.
    pub(crate) fn with_place<R>(
        &self,
        offset: u64,
        length: u64,
        what: impl FnOnce(u64) -> R,
    ) -> Result<R, Unusable> {
        let found = self.pages.with(|mapped| {
            let range = mapped.range();
            let is_in_it = offset
                .checked_add(length)
                .is_some_and(|end| end <= range.size());
            is_in_it.then(|| what(range.base() + offset))
        })?;
        found.ok_or(Unusable::Lost)
    }

    /// Has the region be there for [`Handle::with_place`]. See [`Pages::prepare`].
    pub(crate) fn prepare(&self) -> Result<(), Unusable> {
        self.pages.prepare(&self.bridge)
    }

    /// The word at an offset.
    fn word(&self, offset: u64) -> Result<u32> {
        loop {
            // Every offset fits that is one of a region.
            match self
                .pages
                .with(|mapped| mapped.load_acquire(offset as usize))
            {
                Ok(value) => return Ok(value),
                Err(_) => self.prepare_or_fail()?,
            }
        }
    }

    fn prepare_or_fail(&self) -> Result {
        match self.prepare() {
            Ok(()) => Ok(()),
            Err(Unusable::NotYet) => check_signals(),
            Err(Unusable::NoMemory) => Err(ENOMEM),
            Err(Unusable::Lost) => Err(EIO),
        }
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

    /// Waits until the region's notices are another number than `seen`: that one.
    fn wait(&self, seen: u64, patience: &Patience) -> Result<u64> {
        loop {
            let mut guard = self.desk.quiet();
            self.board.announce(self.region, Matter::Notices);
            let notices = self.board.notices(self.region);
            if notices != seen {
                return Ok(notices);
            }
            self.check_deaths()?;
            let slice = patience.slice().ok_or(ETIMEDOUT)?;
            self.desk
                .wait(&mut guard, slice)
                .map_err(|error| patience.of_signal(error))?;
        }
    }

    fn notify(&self) {
        let vnodes = self.board.notify(self.region);
        self.tell(vnodes, 0);
    }

    /// Has vnodes look: this one now.
    fn tell(&self, vnodes: Vnodes, classes: u64) {
        let own = self.core.identity().vnode;
        if vnodes.has(own) {
            self.desk.tell();
            self.desk.wake_classes(classes);
        }
        self.board.raise(&self.core, vnodes.without(own));
    }

    fn wait_word(&self, record: &abi::Word) -> Result {
        let class = self.class_of(record.offset)?;
        let patience = Patience::new(record.timeout_ms);
        let woken = self.desk.enter(record.offset)?;
        let result = loop {
            self.board.announce(self.region, Matter::Word(class));
            match self.word(record.offset) {
                Ok(value) if value != record.value => break Err(EAGAIN),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
            if woken.is_so() {
                break Ok(());
            }
            if let Err(error) = self.check_deaths() {
                break Err(error);
            }
            let Some(slice) = patience.slice() else {
                break Err(ETIMEDOUT);
            };
            if let Err(error) = woken.event.wait_interruptible_ms(slice) {
                break Err(error);
            }
            if woken.is_so() {
                break Ok(());
            }
        };
        self.desk.leave(&woken);
        // A wake that has met this one is not to be lost to the others.
        if woken.is_so() {
            return Ok(());
        }
        result.map_err(|error| patience.of_signal(error))
    }

    fn wake_word(&self, record: &abi::Word) -> Result {
        let class = self.class_of(record.offset)?;
        self.wake(record.offset, class, record.value);
        Ok(())
    }

    fn wake(&self, offset: u64, class: Class, count: u32) {
        let woken = self.desk.wake(offset, count);
        if woken < count {
            let vnodes = self.board.tell(self.region, Matter::Word(class));
            self.tell(vnodes, 1 << class.number());
        }
    }

    /// SH-61.
    fn guard(&self, arg: usize) -> Result {
        let record = abi::Guard::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == 0)?;
        self.class_of(record.offset)?;
        let mut guarded = self.guarded.lock();
        if guarded.contains(&record.offset) {
            return Ok(());
        }
        if guarded.len() >= abi::MAX_GUARDS {
            return Err(ENOSPC);
        }
        Ok(guarded.push(record.offset, GFP_KERNEL)?)
    }

    /// SH-22.
    fn keep(self: ArcBorrow<'_, Self>, arg: usize) -> Result {
        let record = abi::Keep::from_bytes(&user::read_record(arg)?);
        if !caller::may_administer() {
            return Err(EPERM);
        }
        match record.keep {
            0 => statics::forget(self.bridge.id()),
            1 => statics::keep(self.into()),
            _ => Err(EINVAL),
        }
    }

    /// Which bridge it is.
    pub(crate) fn id(&self) -> Id {
        self.bridge.id()
    }

    /// Frees the locks that the file has, and wakes who waits for them.
    fn free_locks(&self) {
        for offset in self.guarded.lock().iter() {
            let mut tries = 0..FREE_TRIES;
            let freed = loop {
                let freed = self
                    .pages
                    .with(|mapped| lock::free(mapped, *offset, self.token));
                match freed {
                    Ok(freed) => break freed,
                    // It is being moved. A signal does not end this.
                    Err(_) if tries.next().is_some() => {
                        if self.prepare().is_err() {
                            fsleep(Delta::from_millis(FREE_PAUSE_MS));
                        }
                    }
                    Err(_) => break false,
                }
            };
            if freed {
                self.wake(*offset, Class::of(*offset), 1);
            }
        }
    }

    fn class_of(&self, offset: u64) -> Result<Class> {
        let is_in_it = offset.checked_add(4).is_some_and(|end| end <= self.size);
        if offset % 4 != 0 || !is_in_it {
            return Err(EINVAL);
        }
        Ok(Class::of(offset))
    }

    #[inline(never)]
    fn stat(&self, arg: usize) -> Result {
        user::read_record::<{ abi::Stat::SIZE }>(arg)?;
        let entry = self.entry()?;
        let label = Label::from_words(entry.rights.label).ok_or(EPROTO)?;
        let (scope, vnode) = match self.key.scope {
            Scope::Global => (1, 0),
            Scope::Local(vnode) => (2, vnode.number()),
        };
        let answer = abi::Stat {
            size: abi::Stat::SIZE as u32,
            access: if self.access == Access::Write { 2 } else { 1 },
            bytes: self.size,
            user: label.user,
            group: label.group,
            mode: label.mode.into(),
            scope,
            vnode,
            owner: entry.owner.vnode.number(),
            owner_life: entry.owner.generation.0,
            is_orphan: entry.is_orphan.into(),
            readers: entry.rights.readers.0.into(),
            writers: entry.rights.writers.0.into(),
            notices: self.board.notices(self.region),
            deaths: self.desk.deaths(),
            moves: entry.place,
            own_vnode: self.core.identity().vnode.number(),
            users: statics::living(entry.users),
            name: record::set_text(shm::program_name(&self.key.name).unwrap_or("")),
            token: self.token.word(),
            reserved: 0,
        };
        user::write_record(arg, &answer.to_bytes())
    }

    /// SH-14.
    fn protect(&self, arg: usize) -> Result {
        let record = abi::Protect::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == 0)?;
        let (readers, writers) = vnodes_of(record.readers, record.writers)?;
        let new = Label::new(record.user, record.group, mode_of(record.mode)?).ok_or(EINVAL)?;
        let entry = self.entry()?;
        let old = Label::from_words(entry.rights.label).ok_or(EACCES)?;
        let is_its_user = caller::user() == old.user;
        if !is_its_user && !caller::may_administer() {
            return Err(EPERM);
        }
        let is_given_away = new.user != old.user;
        let is_moved = new.group != old.group && !caller::is_in_group(new.group);
        if (is_given_away || is_moved) && !caller::may_give_away() {
            return Err(EPERM);
        }
        let rights = Rights {
            mode: mode::ALL,
            readers,
            writers,
            label: new.to_words(),
        };
        Bridge::protect(&self.core, &self.key, rights)
    }

    /// Does what is asked of the region's file. Process context.
    pub(crate) fn ioctl(
        self: ArcBorrow<'_, Self>,
        is_nonblocking: bool,
        cmd: u32,
        arg: usize,
    ) -> Result<isize> {
        match cmd {
            abi::SHM_STAT => self.stat(arg)?,
            abi::SHM_PROTECT => self.protect(arg)?,
            abi::SHM_WAIT => {
                let mut record = abi::Wait::from_bytes(&user::read_record(arg)?);
                user::zero(record.reserved == 0)?;
                if is_nonblocking {
                    record.timeout_ms = 0;
                }
                record.seen = self.wait(record.seen, &Patience::new(record.timeout_ms))?;
                user::write_record(arg, &record.to_bytes())?;
            }
            abi::SHM_WAIT_WORD => {
                self.wait_word(&abi::Word::from_bytes(&user::read_record(arg)?))?;
            }
            abi::SHM_NOTIFY | abi::SHM_WAKE_WORD | abi::SHM_GUARD
                if self.access == Access::Read =>
            {
                return Err(EBADF);
            }
            abi::SHM_NOTIFY => self.notify(),
            abi::SHM_WAKE_WORD => {
                let record = abi::Word::from_bytes(&user::read_record(arg)?);
                user::zero(record.timeout_ms == 0)?;
                self.wake_word(&record)?;
            }
            abi::SHM_GUARD => self.guard(arg)?,
            abi::SHM_KEEP => self.keep(arg)?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }

    /// Takes the notices since the last one (SH-5). Process context.
    pub(crate) fn read(&self, is_nonblocking: bool, to: &mut UserSliceWriter) -> Result<isize> {
        if to.len() < 8 {
            return Err(EINVAL);
        }
        let patience = Patience::new(if is_nonblocking { 0 } else { abi::FOR_EVER });
        loop {
            let seen = self.seen.load(Acquire);
            let notices = match self.wait(seen, &patience) {
                Err(error) if error == ETIMEDOUT => return Err(EAGAIN),
                result => result?,
            };
            // Another thread may have taken them.
            if self.seen.cmpxchg(seen, notices, Full).is_ok() {
                to.write_slice(&notices.wrapping_sub(seen).to_ne_bytes())?;
                return Ok(8);
            }
        }
    }

    /// Gives a notice (SH-5). Process context.
    pub(crate) fn write(&self, from: &mut UserSliceReader) -> Result<isize> {
        if from.len() < 8 {
            return Err(EINVAL);
        }
        let mut number = [0; 8];
        from.read_slice(&mut number)?;
        if u64::from_ne_bytes(number) != 0 {
            self.notify();
        }
        Ok(8)
    }

    /// Registers for notices and deaths, and tells what there is (SH-5).
    pub(crate) fn poll(&self, file: &File, table: &PollTable<'_>) -> u32 {
        table.register_wait(file, self.desk.news());
        self.board.announce(self.region, Matter::Notices);
        let mut events = 0;
        if self.board.notices(self.region) != self.seen.load(Acquire) {
            events |= files::READABLE;
        }
        if self.access == Access::Write {
            events |= files::WRITABLE;
        }
        if self.desk.deaths() != self.mourned.load(Acquire) {
            events |= files::URGENT;
        }
        events
    }

    /// The file is closed, and nothing maps it any more.
    pub(crate) fn close(&self) {
        self.free_locks();
        self.pages.close();
    }
}

/// ERESTARTSYS when there is a signal.
fn check_signals() -> Result {
    match kernel::current!().signal_pending() {
        true => Err(ERESTARTSYS),
        false => Ok(()),
    }
}
