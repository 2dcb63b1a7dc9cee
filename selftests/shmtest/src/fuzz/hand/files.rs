// SPDX-License-Identifier: GPL-2.0

//! What is done with descriptors.

use std::os::fd::AsRawFd;

use fuzzing::{Allowed, Arena, Spot};
use libc::{EAGAIN, EBADF, EEXIST, EFAULT, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, EOWNERDEAD, ESPIPE};
use rustix::fs::OFlags;

use super::super::field::end;
use super::super::model::Open;
use super::super::plan::{Odd, Watch, SLOTS};
use super::super::sys::{self, code, file_call};
use super::{said, Hand, Slot};

/// What a poll may tell of a region's file, if it is open to write.
fn known_events(can_write: bool) -> i16 {
    let always = libc::POLLIN | libc::POLLRDNORM | libc::POLLPRI;
    let more = libc::POLLOUT | libc::POLLWRNORM;
    always | if can_write { more } else { 0 }
}

/// Whether nothing can be at an address, or not as many bytes as are to be.
fn is_bad(spot: Spot) -> bool {
    matches!(spot, Spot::Nowhere(_) | Spot::Partly(_))
}

/// Whether so many bytes cannot be there: where page tables have four levels, addresses end not far behind. Then it is for their number to
/// be found wrong, before anything is done.
fn long(length: u64, spot: Spot) -> (Spot, bool) {
    match length > 1 << 20 {
        true => (Spot::Mapped, true),
        false => (spot, false),
    }
}

/// What a call that moves 8 bytes may answer, by where they are and how many it is told of.
fn carried(mut allowed: Allowed, length: u64, spot: Spot, is_long: bool) -> Allowed {
    if length < 8 {
        allowed = Allowed::fails(vec![EINVAL]);
    }
    if is_bad(spot) {
        allowed.success = false;
    }
    if is_bad(spot) || is_long {
        allowed.errors.push(EFAULT);
    }
    if is_long {
        allowed.errors.push(EINVAL);
    }
    allowed
}

impl Hand {
    /// SH-5. Without sleeping: nobody promises that there is a notice.
    pub(super) fn read(&mut self, slot: u64, length: u64, spot: Spot) -> Result<(), String> {
        let (spot, is_long) = long(length, spot);
        let address = self.arena.lay(Arena::BUFFER, &[0; 8], spot);
        let is_there = match self.slot(slot) {
            Some(slot) => {
                rustix::fs::fcntl_setfl(&slot.file, OFlags::NONBLOCK).map_err(said)?;
                true
            }
            None => false,
        };
        let arguments = [address, length, 0, 0, 0];
        let answer = file_call(libc::SYS_read, self.descriptor(slot), arguments);
        if let Some(slot) = self.slot(slot).filter(|_| is_there) {
            rustix::fs::fcntl_setfl(&slot.file, OFlags::empty()).map_err(said)?;
        }
        let Some(open) = self.open_file(slot) else {
            return self.judge("read", code(answer), &Allowed::fails(vec![EBADF]));
        };
        let unread = self.model.own(open.which).map(|_| open.unread);
        let mut allowed = Allowed::maybe(&[EAGAIN, EOWNERDEAD]);
        match unread {
            Some(0) => allowed.success = false,
            Some(_) => allowed.errors.clear(),
            None => {}
        }
        let allowed = carried(allowed, length, spot, is_long);
        self.judge("read", code(answer), &allowed)?;
        let inode = self.slot(slot).map(|slot| slot.inode);
        let taken = inode.and_then(|inode| self.model.files.get_mut(&inode));
        match answer {
            Ok(count) => {
                let mut number = [0; 8];
                self.arena.read(Arena::BUFFER, &mut number);
                let number = u64::from_le_bytes(number);
                let is_right = count == 8 && unread.map_or(number != 0, |wanted| number == wanted);
                if let Some(open) = taken {
                    open.unread = 0;
                }
                if !is_right {
                    return Err(format!("read {count} bytes: {number}, not {unread:?}"));
                }
            }
            // As with an eventfd what could not be told is told no more. What is no address of a program's is found before.
            Err(EFAULT) if length >= 8 && !is_long && address < end() => {
                if let Some(open) = taken {
                    open.unread = 0;
                }
            }
            Err(EOWNERDEAD) => self.common.book.open().reached.deaths += 1,
            Err(_) => {}
        }
        Ok(())
    }

    pub(super) fn write(
        &mut self,
        slot: u64,
        length: u64,
        number: u64,
        spot: Spot,
    ) -> Result<(), String> {
        let (spot, is_long) = long(length, spot);
        let address = self.arena.lay(Arena::BUFFER, &number.to_le_bytes(), spot);
        let arguments = [address, length, 0, 0, 0];
        let answer = file_call(libc::SYS_write, self.descriptor(slot), arguments);
        let Some(open) = self.open_file(slot) else {
            return self.judge("write", code(answer), &Allowed::fails(vec![EBADF]));
        };
        let which = open.which;
        let mut allowed = carried(Allowed::fails(Vec::new()), length, spot, is_long);
        if !open.can_write {
            allowed = Allowed::fails(vec![EBADF]);
        }
        self.judge("write", code(answer), &allowed)?;
        match answer {
            Ok(8) if number != 0 => self.model.notified(which),
            Ok(8) | Err(_) => {}
            Ok(count) => return Err(format!("wrote {count} bytes")),
        }
        Ok(())
    }

    pub(super) fn poll(&self, slot: u64, ms: i32) -> Result<(), String> {
        let wanted = libc::POLLIN | libc::POLLPRI | if ms == 0 { libc::POLLOUT } else { 0 };
        let told = sys::poll(self.descriptor(slot), wanted, ms);
        self.common
            .book
            .open()
            .note("poll", told.err().unwrap_or(0));
        let told = told.map_err(|errno| format!("poll gives error {errno}"))?;
        // What is no descriptor is left out.
        let Some(open) = self.open_file(slot) else {
            return Ok(());
        };
        self.check_events(open, told, ms == 0)
    }

    /// SH-5.
    fn check_events(&self, open: &Open, told: i16, is_out_wanted: bool) -> Result<(), String> {
        let unread = self.model.own(open.which).map(|_| open.unread > 0);
        let is_readable = told & libc::POLLIN != 0;
        let is_writable = told & libc::POLLOUT != 0;
        let holds = told & !known_events(open.can_write) == 0
            && unread.is_none_or(|unread| unread == is_readable)
            && (!is_out_wanted || is_writable == open.can_write);
        holds
            .then_some(())
            .ok_or_else(|| format!("poll tells {told:#x} of {open:?}"))
    }

    pub(super) fn watch(&self, slot: u64, how: Watch) -> Result<(), String> {
        let (epoll, file) = (self.epoll.as_raw_fd(), self.descriptor(slot));
        let is_there = self.slot(slot).is_some();
        let errors = |known| {
            if is_there {
                Allowed::maybe(&[known])
            } else {
                Allowed::fails(vec![EBADF])
            }
        };
        match how {
            Watch::Add => {
                let answer = sys::watch(epoll, libc::EPOLL_CTL_ADD, file);
                self.judge("epoll_ctl", code(answer), &errors(EEXIST))
            }
            Watch::Remove => {
                let answer = sys::watch(epoll, libc::EPOLL_CTL_DEL, file);
                self.judge("epoll_ctl", code(answer), &errors(ENOENT))
            }
            Watch::Look => {
                let told = sys::watched(epoll);
                let errno = told.err().unwrap_or(0);
                self.judge("epoll_wait", errno, &Allowed::fails(Vec::new()))?;
                let events = told.ok().flatten().unwrap_or(0);
                let known = (libc::EPOLLIN | libc::EPOLLPRI) as u32;
                match events & !known {
                    0 => Ok(()),
                    _ => Err(format!("epoll tells {events:#x}")),
                }
            }
        }
    }

    pub(super) fn duplicate(&mut self, slot: u64, to: u64) -> Result<(), String> {
        let Some(from) = self.slot(slot).filter(|_| slot % SLOTS != to % SLOTS) else {
            return Ok(());
        };
        let copy = Slot {
            file: from.file.try_clone().map_err(said)?,
            inode: from.inode,
        };
        if let Some(open) = self.model.files.get_mut(&copy.inode) {
            open.descriptors += 1;
        }
        self.common.book.open().note("dup", 0);
        self.put(to, Some(copy))
    }

    /// Calls that a region's file does not have: all but those that mean nothing fail, and none moves a byte.
    pub(super) fn odd(&self, slot: u64, odd: Odd) -> Result<(), String> {
        let file = self.descriptor(slot);
        let (read, write) = (self.pipe.0.as_raw_fd(), self.pipe.1.as_raw_fd());
        let null = self.null.as_raw_fd();
        let buffer = self.arena.address(Arena::BUFFER);
        let call = |number, arguments| file_call(number, file, arguments);
        let odd_pipe = [EINVAL, ESPIPE, EFAULT];
        let (name, answer, errors): (_, _, &[i32]) = match odd {
            Odd::Seek(offset, whence) => {
                let answer = call(libc::SYS_lseek, [offset, whence, 0, 0, 0]);
                ("lseek", answer, &[EINVAL])
            }
            Odd::Advise(offset, length, advice) => {
                let arguments = [offset, length, advice, 0, 0];
                let answer = call(libc::SYS_fadvise64, arguments);
                ("fadvise", answer, &[EINVAL])
            }
            Odd::Allocate(mode, offset, length) => {
                let arguments = [mode, offset, length, 0, 0];
                let answer = call(libc::SYS_fallocate, arguments);
                ("fallocate", answer, &[EINVAL, EOPNOTSUPP, EBADF, ENODEV])
            }
            Odd::Truncate(length) => {
                let answer = call(libc::SYS_ftruncate, [length, 0, 0, 0, 0]);
                ("ftruncate", answer, &[EINVAL])
            }
            Odd::Sync => ("fsync", call(libc::SYS_fsync, [0; 5]), &[EINVAL]),
            Odd::ReadAt(length, offset) => {
                let answer = call(libc::SYS_pread64, [buffer, length, offset, 0, 0]);
                ("pread", answer, &odd_pipe)
            }
            Odd::WriteAt(length, offset) => {
                let answer = call(libc::SYS_pwrite64, [buffer, length, offset, 0, 0]);
                ("pwrite", answer, &odd_pipe)
            }
            Odd::Splice(length, flags) => {
                let arguments = [0, write as u64, 0, length, flags];
                ("splice", call(libc::SYS_splice, arguments), &[EINVAL])
            }
            Odd::SpliceFrom(length, flags) => {
                let arguments = [0, file as u64, 0, length, flags];
                let answer = file_call(libc::SYS_splice, read, arguments);
                ("splice", answer, &[EINVAL, EBADF, EAGAIN])
            }
            Odd::Send(length) => {
                let arguments = [file as u64, 0, length, 0, 0];
                let answer = file_call(libc::SYS_sendfile, null, arguments);
                ("sendfile", answer, &[EINVAL])
            }
            Odd::SendFrom(length) => {
                let arguments = [self.program.as_raw_fd() as u64, 0, length, 0, 0];
                let answer = call(libc::SYS_sendfile, arguments);
                ("sendfile", answer, &[EINVAL, EBADF])
            }
        };
        let mut allowed = Allowed::maybe(errors);
        let is_open = self.slot(slot).is_some();
        if !is_open {
            // Lengths and flags that make no sense may be told first.
            allowed = Allowed::maybe(&[EBADF, EINVAL]);
        }
        let is_advice = is_open && matches!(odd, Odd::Seek(..) | Odd::Advise(..));
        let can_be_nothing = matches!(
            odd,
            Odd::Splice(0, _) | Odd::SpliceFrom(0, _) | Odd::Send(0) | Odd::SendFrom(0)
        );
        allowed.success &= is_advice || can_be_nothing;
        self.judge(name, code(answer), &allowed)?;
        match answer {
            Ok(0) | Err(_) => Ok(()),
            Ok(count) => Err(format!("{name} tells of {count}")),
        }
    }
}
