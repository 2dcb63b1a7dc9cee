// SPDX-License-Identifier: GPL-2.0

//! What is done with memory.

use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use fuzzing::{Allowed, Arena};
use libc::{EAGAIN, EFAULT, EINVAL, EIO, ENOSYS, EPERM, SIGBUS, SIGSEGV};

use super::super::field::{Area, Map, Part, PAGE, PAGES};
use super::super::model::{mark, Mapped, Which};
use super::super::plan::{lock_of, Peek, Step, Touch, LOCKS};
use super::super::probe::{self, Signal};
use super::super::sys::{self, code, Answer};
use super::Hand;

/// A number in a region that is mapped.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) area: Area,
    pub(super) which: Which,
    pub(super) address: u64,
    /// Where in the region that is.
    pub(super) offset: u64,
}

impl Hand {
    pub(super) fn memory_step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Map(slot, map) => self.map(*slot, *map),
            Step::Unmap(part) => self.unmap(*part),
            Step::Protect(part, rights) => {
                let part = self.field.cut(*part);
                let areas = self.areas()?;
                let allowed = self.model.protect_area(&self.mapped(&areas, part), *rights);
                let answer = self.field.protect(part, *rights);
                self.changed("mprotect", answer, &allowed)
            }
            Step::Remap {
                part,
                length,
                flags,
                to,
            } => self.remap(*part, *length, *flags, *to),
            Step::Advise(part, advice) => {
                let part = self.field.cut(*part);
                let areas = self.areas()?;
                let allowed = self.mapped(&areas, part).advise(*advice);
                let answer = self.field.advise(part, *advice);
                self.changed("madvise", answer, &allowed)
            }
            Step::Sync(part, flags) => {
                let part = self.field.cut(*part);
                let allowed = self.mapped(&[], part).sync(*flags);
                let answer = self.field.sync(part, *flags);
                self.changed("msync", answer, &allowed)
            }
            Step::Lock(part, is_locked) => {
                let part = self.field.cut(*part);
                let allowed = self.mapped(&[], part).lock();
                let answer = self.field.lock(part, *is_locked);
                self.changed("mlock", answer, &allowed)
            }
            Step::Touch(pick, how) => self.touch(*pick, *how),
            Step::Peek(pick, how) => self.peek(*pick, *how),
            _ => Ok(()),
        }
    }

    fn mapped<'a>(&self, areas: &'a [Area], part: Part) -> Mapped<'a> {
        Mapped {
            areas,
            start: self.field.start(part),
            part,
        }
    }

    /// Notes an answer of a call after which what is mapped is looked at.
    fn changed(&self, call: &'static str, answer: Answer, allowed: &Allowed) -> Result<(), String> {
        self.judge(call, code(answer), allowed)?;
        self.areas().map(drop)
    }

    /// Whether a region of this thread's own is mapped: it may go with what maps it.
    fn maps_own(&self, areas: &[Area]) -> bool {
        areas.iter().any(|area| {
            let open = self.model.mapped(area);
            open.is_some_and(|open| matches!(open.which, Which::Own(_)))
        })
    }

    fn map(&mut self, slot: u64, map: Map) -> Result<(), String> {
        let map = self.field.place(map);
        let address = map.page.map(|page| self.field.address(page) + map.shift);
        let allowed = self.model.map(self.open_file(slot), address, &map);
        let before = self.areas()?;
        let children = self.common.children.clone();
        let alone = Self::alone(&children, self.maps_own(&before));
        let answer = self.field.map(self.descriptor(slot), map);
        self.judge("mmap", code(answer), &allowed)?;
        // What was refused late has taken away what was there.
        self.settle()?;
        drop(alone);
        let Ok(found) = answer else {
            return self.areas().map(drop);
        };
        self.common.book.open().reached.mapped += 1;
        match address {
            Some(address) if address == found => self.areas().map(drop),
            Some(address) => Err(format!("mapped at {found:#x}, not at {address:#x}")),
            None => self.elsewhere(slot, found, map),
        }
    }

    /// Linux has chosen the place: it is touched, and left.
    fn elsewhere(&mut self, slot: u64, found: u64, map: Map) -> Result<(), String> {
        let which = self.open_file(slot).map(|open| open.which);
        let loaded = probe::load64(found);
        let unmapped = self.field.unmap_elsewhere(found, map.length);
        self.judge("munmap", code(unmapped), &Allowed::fails(Vec::new()))?;
        match loaded {
            Ok(number) if map.rights & 7 != 0 => which.map_or(Ok(()), |which| {
                self.model.check_number(which, map.offset, number)
            }),
            Err(SIGSEGV) if map.rights & 7 == 0 => Ok(()),
            // SH-33: this vnode may not use another's region any more.
            Err(SIGBUS) if which.is_some_and(|which| self.model.own(which).is_none()) => Ok(()),
            told => Err(format!("a load has come to {told:x?}")),
        }
    }

    fn unmap(&mut self, part: Part) -> Result<(), String> {
        let part = self.field.cut(part);
        let areas = self.areas()?;
        let allowed = self.mapped(&areas, part).unmap();
        let children = self.common.children.clone();
        let _alone = Self::alone(&children, self.maps_own(&areas));
        let answer = self.field.unmap(part);
        self.changed("munmap", answer, &allowed)?;
        self.settle()
    }

    fn remap(&mut self, part: Part, length: u64, flags: u32, to: u64) -> Result<(), String> {
        let part = self.field.cut(part);
        let is_fixed = flags & libc::MREMAP_FIXED as u32 != 0;
        if is_fixed && !self.field.has_room(to, length) {
            return Ok(());
        }
        let areas = self.areas()?;
        let allowed = self.mapped(&areas, part).remap(length, flags);
        let children = self.common.children.clone();
        let _alone = Self::alone(&children, self.maps_own(&areas));
        let from = self.field.start(part);
        let answer = self.field.remap(part, length, flags, to);
        let wanted = if is_fixed {
            self.field.address(to)
        } else {
            from
        };
        if answer.is_ok_and(|found| found != wanted) {
            return Err(format!("moved to {answer:x?}, not to {wanted:#x}"));
        }
        self.changed("mremap", answer, &allowed)?;
        self.settle()
    }

    /// One of the numbers that are mapped: the one that this picks.
    pub(super) fn place(&self, pick: u64) -> Result<Option<Place>, String> {
        let areas = self.areas()?;
        let Some(area) = nth(&areas, pick) else {
            return Ok(None);
        };
        let within = offset_in(area, pick >> 16) - area.offset;
        Ok(self.place_at(area, area.place.start + within))
    }

    fn place_at(&self, area: &Area, address: u64) -> Option<Place> {
        Some(Place {
            area: area.clone(),
            which: self.model.mapped(area)?.which,
            address,
            offset: area.offset_of(address),
        })
    }

    /// The word of one of the locks that are mapped.
    fn lock_place(&self, pick: u64) -> Result<Option<Place>, String> {
        let areas = self.areas()?;
        let first: Vec<_> = areas.into_iter().filter(|area| area.offset == 0).collect();
        let area = nth(&first, pick);
        Ok(area.and_then(|area| self.place_at(area, area.place.start + lock_of(pick >> 16))))
    }

    fn touch(&mut self, pick: u64, how: Touch) -> Result<(), String> {
        match how {
            Touch::Anywhere => {
                let address = self.field.address(pick % PAGES);
                let areas = self.areas()?;
                let area = areas.iter().find(|area| area.place.contains(&address));
                let place = area.and_then(|area| self.place_at(area, address));
                let loaded = probe::load64(address);
                self.loaded(place.as_ref(), loaded)
            }
            Touch::Load => match self.place(pick)? {
                Some(place) => self.loaded(Some(&place), probe::load64(place.address)),
                None => Ok(()),
            },
            Touch::Store(bits) => self.store(pick, bits),
            Touch::LoadLock => match self.lock_place(pick)? {
                Some(place) => self.load_lock(&place),
                None => Ok(()),
            },
            Touch::StoreLock(slot, flags) => self.store_lock(pick, slot, flags),
        }
    }

    /// Checks what a load has come to.
    fn loaded(&self, place: Option<&Place>, loaded: Result<u64, Signal>) -> Result<(), String> {
        let may_load = place.is_some_and(|place| place.area.may_load());
        let is_shared = place.is_some_and(|place| self.model.own(place.which).is_none());
        self.check_fault("load", may_load, is_shared, loaded.err())?;
        match (place, loaded) {
            (Some(place), Ok(number)) => self.found(place, number),
            _ => Ok(()),
        }
    }

    /// A fault is one where nothing is mapped so, and only there; but that another's region, which this vnode may not use any more, may have gone
    /// in a move (SH-33).
    fn check_fault(
        &self,
        call: &'static str,
        may: bool,
        is_shared: bool,
        signal: Option<Signal>,
    ) -> Result<(), String> {
        let mut book = self.common.book.open();
        book.note(call, signal.unwrap_or(0));
        book.reached.faults += u64::from(signal.is_some());
        let wanted = if may { None } else { Some(SIGSEGV) };
        match signal == wanted || (is_shared && signal == Some(SIGBUS)) {
            true => Ok(()),
            false => Err(format!("{call}: signal {signal:?}, not {wanted:?}")),
        }
    }

    /// A number was found in a region.
    fn found(&self, place: &Place, number: u64) -> Result<(), String> {
        let Place { which, offset, .. } = *place;
        self.model
            .check_number(which, offset, number)
            .map_err(|what| format!("{what}, at {:#x}", place.address))?;
        let reached = &mut self.common.book.open().reached;
        match which {
            _ if offset < PAGE => {}
            Which::Own(_) if self.model.is_fresh(which, offset) => reached.zeros += 1,
            Which::Own(_) => reached.kept += 1,
            Which::Shared(_) => reached.shared += u64::from(number != 0),
        }
        Ok(())
    }

    fn store(&mut self, pick: u64, bits: u64) -> Result<(), String> {
        let place = self.place(pick)?;
        let Some(place) = place.filter(|place| place.offset >= PAGE) else {
            return Ok(());
        };
        let number = mark(place.which, bits);
        let stored = probe::store64(place.address, number);
        let is_shared = self.model.own(place.which).is_none();
        self.check_fault("store", place.area.may_write, is_shared, stored.err())?;
        if stored.is_ok() {
            self.model.stored(place.which, place.offset, number);
        }
        Ok(())
    }

    fn load_lock(&self, place: &Place) -> Result<(), String> {
        let loaded = probe::load32(place.address);
        let is_shared = self.model.own(place.which).is_none();
        self.check_fault("load", place.area.may_load(), is_shared, loaded.err())?;
        match loaded {
            Ok(word) => {
                self.model.check_lock(place.which, place.offset, word)?;
                let is_own = self.model.own(place.which).is_some();
                self.common.book.open().reached.kept += u64::from(is_own);
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    /// All words of locks that are mapped of regions of this thread's own.
    pub(super) fn check_locks(&self, areas: &[Area]) -> Result<(), String> {
        for area in areas
            .iter()
            .filter(|area| area.offset == 0 && area.may_load())
        {
            for lock in 0..LOCKS {
                let address = area.place.start + lock_of(lock);
                if let Some(place) = self.place_at(area, address) {
                    self.load_lock(&place)?;
                }
            }
        }
        Ok(())
    }

    fn store_lock(&mut self, pick: u64, slot: u64, flags: u32) -> Result<(), String> {
        let Some(place) = self.lock_place(pick)? else {
            return Ok(());
        };
        let holder = self
            .open_file(slot)
            .filter(|open| open.which == place.which);
        let holder = holder.or_else(|| self.model.mapped(&place.area));
        let word = holder.map_or(0, |open| open.token) | flags;
        let stored = probe::store32(place.address, word);
        let is_shared = self.model.own(place.which).is_none();
        self.check_fault("store", place.area.may_write, is_shared, stored.err())?;
        if stored.is_ok() {
            self.model.stored_lock(place.which, place.offset, word);
        }
        Ok(())
    }

    fn peek(&mut self, pick: u64, how: Peek) -> Result<(), String> {
        let Some(place) = self.place(pick)? else {
            return Ok(());
        };
        let address = place.address;
        match how {
            // SH-35: there is no page that could be held.
            Peek::Process => {
                let to = self.arena.address(Arena::BUFFER);
                let answer = sys::read_process(address, to, 8);
                let errors = vec![EFAULT, ENOSYS, EPERM];
                self.judge("process_vm_readv", code(answer), &Allowed::fails(errors))
            }
            Peek::Lend => {
                let answer = sys::lend(self.pipe.1.as_raw_fd(), address, 8);
                let errors = vec![EFAULT, EAGAIN];
                self.judge("vmsplice", code(answer), &Allowed::fails(errors))
            }
            Peek::Carry => self.carry(&place),
            Peek::Read => {
                let mut bytes = [0; 8];
                let answer = self.memory.read_at(&mut bytes, address);
                let errno = answer.err().and_then(|error| error.raw_os_error());
                // What was not touched yet is not there for others.
                self.judge("mem read", errno.unwrap_or(0), &Allowed::maybe(&[EIO]))?;
                match errno {
                    None => self.found(&place, u64::from_le_bytes(bytes)),
                    Some(_) => Ok(()),
                }
            }
            Peek::Write(bits) => self.write_memory(&place, bits),
        }
    }

    /// Linux itself loads from the region.
    fn carry(&self, place: &Place) -> Result<(), String> {
        let (from, to) = (self.pipe.0.as_raw_fd(), self.pipe.1.as_raw_fd());
        let arguments = [place.address, 8, 0, 0, 0];
        let answer = sys::file_call(libc::SYS_write, to, arguments);
        let allowed = match place.area.may_load() {
            // SH-33, as for loads.
            true if self.model.own(place.which).is_none() => Allowed::maybe(&[EFAULT]),
            true => Allowed::fails(Vec::new()),
            false => Allowed::fails(vec![EFAULT]),
        };
        self.judge("write of it", code(answer), &allowed)?;
        if answer != Ok(8) {
            return Ok(());
        }
        let mut bytes = [0; 8];
        let buffer = self.arena.address(Arena::BUFFER);
        let read = sys::file_call(libc::SYS_read, from, [buffer, 8, 0, 0, 0]);
        if read != Ok(8) {
            return Err(format!("a pipe gives {read:?}"));
        }
        self.arena.read(Arena::BUFFER, &mut bytes);
        self.found(place, u64::from_le_bytes(bytes))
    }

    /// What may not be stored may not be so by this detour either.
    fn write_memory(&mut self, place: &Place, bits: u64) -> Result<(), String> {
        if place.offset < PAGE {
            return Ok(());
        }
        let number = mark(place.which, bits);
        let answer = self.memory.write_at(&number.to_le_bytes(), place.address);
        let errno = answer
            .err()
            .map(|error| error.raw_os_error().unwrap_or(EINVAL));
        let mut allowed = Allowed::maybe(&[EIO]);
        allowed.success = place.area.may_write;
        self.judge("mem write", errno.unwrap_or(0), &allowed)?;
        if errno.is_none() {
            self.model.stored(place.which, place.offset, number);
        }
        Ok(())
    }
}

/// Where in an area's file a number is that this picks: mostly one of a few, so that what was stored is found again.
fn offset_in(area: &Area, pick: u64) -> u64 {
    const APART: u64 = 64;
    let (page, word) = (pick >> 2, pick >> 32);
    let first = area.offset / PAGE;
    let end = first + (area.place.end - area.place.start) / PAGE;
    // Pages with the number 1, 65 and so on that are in it.
    let from = (first + APART - 2) / APART;
    let until = (end + APART - 2) / APART;
    match page.checked_rem(until - from) {
        Some(at) if pick % 4 != 0 => ((from + at) * APART + 1) * PAGE + word % 4 * 8,
        _ => (first + page % (end - first)) * PAGE + word % (PAGE / 8) * 8,
    }
}

fn nth(areas: &[Area], pick: u64) -> Option<&Area> {
    let count = areas.len() as u64;
    let at = pick.checked_rem(count)?;
    areas.get(at as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_numbers_of_an_area_are_picked_and_some_often() {
        for (first, pages) in [
            (0, 1),
            (1, 1),
            (0, 512),
            (65, 1),
            (66, 63),
            (66, 64),
            (500, 12),
        ] {
            let area = Area {
                place: 0..pages * PAGE,
                may_read: true,
                may_write: true,
                may_run: false,
                is_shared: true,
                offset: first * PAGE,
                inode: 1,
            };
            let hot = (first..first + pages).filter(|page| page % 64 == 1).count();
            let mut random = fuzzing::Random::new(first, pages);
            let mut often = std::collections::BTreeSet::new();
            for _ in 0..4000 {
                let offset = offset_in(&area, random.any() >> 16);
                assert!(offset % 8 == 0 && offset >= area.offset);
                assert!(offset < area.offset + pages * PAGE);
                if offset / PAGE % 64 == 1 && offset % PAGE < 32 {
                    often.insert(offset);
                }
            }
            assert_eq!(often.len(), 4 * hot, "{first} {pages}");
        }
    }
}
