// SPDX-License-Identifier: GPL-2.0

//! The calls of a region's file, as `proto/abi/shm.rs` defines them: records are read and checked, and who may do what.

#![deny(unsafe_code)]

use crate::event_fd::EventFd;
use crate::files;
use crate::hall;
use crate::handle::{
    Handle,
    Patience, //
};
use crate::opening::{
    check_quota,
    mode_of,
    vnodes_of, //
};
use crate::statics;
use adeos_core::bridge::{
    Access,
    Bridge,
    Entry,
    Rights,
    Scope,
    Vnodes, //
};
use adeos_core::caller::{
    self,
    Capability, //
};
use adeos_core::open_file::{
    is_nonblocking,
    OpenFile,
    READABLE,
    URGENT,
    WRITABLE, //
};
use adeos_core::user;
use adeos_proto::abi::shm as abi;
use adeos_proto::record;
use adeos_proto::shm;
use adeos_proto::shm::label::Label;
use adeos_proto::shm::quota::Amount;
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::poll::PollTable;
use kernel::sync::ArcBorrow;
use kernel::uaccess::{
    UserSliceReader,
    UserSliceWriter, //
};

impl Handle {
    fn wait_for_notice(&self, file: &File, arg: usize) -> Result {
        let mut record = abi::Wait::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == 0)?;
        if is_nonblocking(file) {
            record.timeout_ms = 0;
        }
        record.seen = self.wait(record.seen, &Patience::new(record.timeout_ms))?;
        user::write_record(arg, &record.to_bytes())
    }

    fn sleep_on_word(&self, arg: usize) -> Result {
        let record = abi::Word::from_bytes(&user::read_record(arg)?);
        self.wait_word(
            record.offset,
            record.value,
            &Patience::new(record.timeout_ms),
        )
    }

    fn wake_sleepers(&self, arg: usize) -> Result {
        let record = abi::Word::from_bytes(&user::read_record(arg)?);
        user::zero(record.timeout_ms == 0)?;
        self.wake_word(record.offset, record.value)
    }

    /// SH-61.
    fn guard_lock(&self, arg: usize) -> Result {
        let record = abi::Guard::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == 0)?;
        self.guard(record.offset)
    }

    /// SH-46.
    fn signal_by(&self, arg: usize) -> Result {
        let record = abi::Signal::from_bytes(&user::read_record(arg)?);
        let signalled = match record.descriptor {
            abi::NO_DESCRIPTOR => None,
            descriptor => Some(EventFd::new(descriptor as i32)?),
        };
        self.set_signalled(signalled)
    }

    /// SH-22.
    fn keep(self: ArcBorrow<'_, Self>, arg: usize) -> Result {
        let record = abi::Keep::from_bytes(&user::read_record(arg)?);
        if !caller::may(Capability::Administer) {
            return Err(EPERM);
        }
        match record.keep {
            0 => statics::forget(self.id()),
            1 => statics::keep(self.into()),
            _ => Err(EINVAL),
        }
    }

    #[inline(never)]
    fn stat(&self, file: &File, arg: usize) -> Result {
        user::zero(abi::Stat::from_bytes(&user::read_record(arg)?).reserved == 0)?;
        let entry = self.entry()?;
        files::set_size(file, entry.range.size());
        let label = Label::from_words(entry.rights.label).ok_or(EPROTO)?;
        let (scope, vnode) = match entry.key.scope {
            Scope::Global => (1, 0),
            Scope::Local(vnode) => (2, vnode.number()),
        };
        let answer = abi::Stat {
            size: abi::Stat::SIZE as u32,
            access: match self.access() {
                Access::Read => 1,
                Access::Write => 2,
            },
            bytes: entry.range.size(),
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
            notices: self.notices(),
            deaths: self.deaths(),
            moves: entry.place,
            own_vnode: self.core().identity().vnode.number(),
            users: statics::living(entry.users),
            name: record::set_text(shm::program_name(&entry.key.name).unwrap_or("")),
            token: self.token().word(),
            reserved: 0,
        };
        user::write_record(arg, &answer.to_bytes())
    }

    /// Checks that the caller may change what a region is like: its label. EPERM it may not, EACCES nobody can.
    fn check_its_user(entry: &Entry) -> Result<Label> {
        let label = Label::from_words(entry.rights.label).ok_or(EACCES)?;
        if caller::user() != label.user && !caller::may(Capability::Administer) {
            return Err(EPERM);
        }
        Ok(label)
    }

    /// SH-14.
    fn protect(&self, arg: usize) -> Result {
        let record = abi::Protect::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == 0)?;
        let (readers, writers) = vnodes_of(record.readers, record.writers)?;
        let new = Label::new(record.user, record.group, mode_of(record.mode)?).ok_or(EINVAL)?;
        // What is checked here must not be changed by another one in between.
        hall::one_by_one(|| self.protect_alone(new, readers, writers))
    }

    fn protect_alone(&self, new: Label, readers: Vnodes, writers: Vnodes) -> Result {
        let entry = self.entry()?;
        let old = Self::check_its_user(&entry)?;
        let is_given_away = new.user != old.user;
        let is_moved = new.group != old.group && !caller::is_in_group(new.group);
        if (is_given_away || is_moved) && !caller::may(Capability::GiveAway) {
            return Err(EPERM);
        }
        let rights = Rights {
            readers,
            label: new.to_words(),
            ..Rights::open_to(writers)
        };
        self.set_rights(rights)
    }

    /// SH-26.
    fn resize(&self, file: &File, arg: usize) -> Result {
        let record = abi::Resize::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == 0)?;
        let bytes = record.bytes;
        hall::one_by_one(|| self.resize_alone(bytes))?;
        files::set_size(file, bytes);
        Ok(())
    }

    /// The same, while nobody else in this kernel does it, nor looks how much there is.
    fn resize_alone(&self, bytes: u64) -> Result {
        let entry = self.entry()?;
        let label = Self::check_its_user(&entry)?;
        let has = Amount::of(Bridge::all(self.core()), entry.owner.vnode, label.user);
        if bytes > entry.range.size() {
            check_quota(has.resized(entry.range.size(), bytes))?;
        }
        self.set_size(bytes)
    }
}

impl OpenFile for Handle {
    /// Takes the notices since the last one (SH-5).
    fn read(&self, file: &File, to: &mut UserSliceWriter) -> Result<usize> {
        if to.len() < 8 {
            return Err(EINVAL);
        }
        let timeout_ms = if is_nonblocking(file) {
            0
        } else {
            abi::FOR_EVER
        };
        let taken = match self.take_notices(&Patience::new(timeout_ms)) {
            Err(error) if error == ETIMEDOUT => return Err(EAGAIN),
            result => result?,
        };
        to.write_slice(&taken.to_ne_bytes())?;
        Ok(8)
    }

    /// Gives a notice (SH-5).
    fn write(&self, _file: &File, from: &mut UserSliceReader) -> Result<usize> {
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
    fn poll(&self, file: &File, table: &PollTable<'_>) -> u32 {
        table.register_wait(file, self.news());
        let mut events = 0;
        if self.has_notices() {
            events |= READABLE;
        }
        if self.access() == Access::Write {
            events |= WRITABLE;
        }
        if self.has_deaths() {
            events |= URGENT;
        }
        events
    }

    fn ioctl(self: ArcBorrow<'_, Self>, file: &File, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            abi::SHM_STAT => self.stat(file, arg)?,
            abi::SHM_PROTECT => self.protect(arg)?,
            abi::SHM_WAIT => self.wait_for_notice(file, arg)?,
            abi::SHM_WAIT_WORD => self.sleep_on_word(arg)?,
            abi::SHM_SIGNAL => self.signal_by(arg)?,
            abi::SHM_KEEP => self.keep(arg)?,
            abi::SHM_NOTIFY | abi::SHM_WAKE_WORD | abi::SHM_GUARD | abi::SHM_RESIZE
                if self.access() == Access::Read =>
            {
                return Err(EBADF);
            }
            abi::SHM_NOTIFY => self.notify(),
            abi::SHM_WAKE_WORD => self.wake_sleepers(arg)?,
            abi::SHM_GUARD => self.guard_lock(arg)?,
            abi::SHM_RESIZE => self.resize(file, arg)?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }

    fn close(&self) {
        self.end();
    }
}
