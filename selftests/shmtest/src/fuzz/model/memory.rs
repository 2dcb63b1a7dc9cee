// SPDX-License-Identifier: GPL-2.0

//! Which answers calls may get that map a region, or change what is mapped: SH-30, and what Linux says of areas without
//! `struct page`.

use fuzzing::Allowed;
use libc::{
    EACCES, EAGAIN, EBADF, EBUSY, EFAULT, EINVAL, ENODEV, ENOMEM, EOPNOTSUPP, EOVERFLOW, EPERM,
};

use super::{Model, Open};
use crate::fuzz::field::{Area, Map, Part, END, PAGE};

/// What is mapped in a part that one asks about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapped<'a> {
    pub(crate) areas: &'a [Area],
    pub(crate) start: u64,
    pub(crate) part: Part,
}

fn fails(error: i32) -> Allowed {
    Allowed::fails(vec![error])
}

fn succeeds() -> Allowed {
    Allowed::fails(Vec::new())
}

impl Mapped<'_> {
    /// Where it ends, as whole pages; nothing where addresses would begin anew.
    fn end(&self) -> Option<u64> {
        let length = self.part.length.checked_next_multiple_of(PAGE)?;
        self.start.checked_add(length)
    }

    /// What is mapped of it, in order.
    fn areas(&self) -> impl Iterator<Item = &Area> {
        let end = self.end().unwrap_or(self.start);
        self.areas
            .iter()
            .filter(move |area| area.place.start < end && area.place.end > self.start)
    }

    /// Whether something of it is not mapped.
    fn has_hole(&self) -> bool {
        let end = self.end().unwrap_or(self.start);
        let mut at = self.start;
        for area in self.areas() {
            if area.place.start > at {
                return true;
            }
            at = area.place.end;
        }
        at < end
    }

    /// What is said of it before anybody looks at what is mapped: nothing is to be done, or it is no part.
    fn plain(&self) -> Option<Allowed> {
        if self.start % PAGE != 0 {
            return Some(fails(EINVAL));
        }
        (self.part.length == 0).then(succeeds)
    }

    /// Which answers `munmap` may give.
    pub(crate) fn unmap(&self) -> Allowed {
        match self.plain() {
            Some(allowed) if !allowed.success => allowed,
            Some(_) => fails(EINVAL),
            None if self.end().is_none() => fails(EINVAL),
            None => succeeds(),
        }
    }

    /// Which answers advice may get. What would change pages, or who has them, is refused.
    pub(crate) fn advise(&self, advice: i32) -> Allowed {
        const HARMLESS: [i32; 7] = [
            libc::MADV_NORMAL,
            libc::MADV_RANDOM,
            libc::MADV_SEQUENTIAL,
            libc::MADV_WILLNEED,
            libc::MADV_DONTFORK,
            libc::MADV_DONTDUMP,
            libc::MADV_KEEPONFORK,
        ];
        // A kernel need not have these.
        const UNSURE: [i32; 4] = [
            libc::MADV_MERGEABLE,
            libc::MADV_UNMERGEABLE,
            libc::MADV_HUGEPAGE,
            libc::MADV_NOHUGEPAGE,
        ];
        let is_aligned = self.start % PAGE == 0;
        if UNSURE.contains(&advice) {
            return Allowed::maybe(&[EINVAL, ENOMEM]);
        }
        if !HARMLESS.contains(&advice) {
            // What is not known is so whatever it is for.
            let mut allowed = fails(EINVAL);
            allowed.success = is_aligned && self.part.length == 0;
            if self.has_hole() || self.areas().next().is_some() {
                allowed
                    .errors
                    .extend([ENOMEM, EACCES, ENODEV, EFAULT, EBUSY]);
            }
            return allowed;
        }
        match () {
            () if !is_aligned || (self.end().is_none()) => fails(EINVAL),
            () if self.part.length == 0 => succeeds(),
            () if self.has_hole() => fails(ENOMEM),
            () => succeeds(),
        }
    }

    /// Which answers `msync` may give. Nothing is written back, so to wait for it is refused.
    pub(crate) fn sync(&self, flags: i32) -> Allowed {
        let (now, drop, wait) = (libc::MS_ASYNC, libc::MS_INVALIDATE, libc::MS_SYNC);
        let is_wrong = flags & !(now | drop | wait) != 0 || flags & (now | wait) == now | wait;
        if is_wrong || self.start % PAGE != 0 {
            return fails(EINVAL);
        }
        Allowed::maybe(&[ENOMEM, EINVAL])
    }

    /// Which answers `mlock` and `munlock` may give. There is nothing to be locked.
    pub(crate) fn lock(&self) -> Allowed {
        Allowed::maybe(&[ENOMEM, EAGAIN, EPERM, EINVAL])
    }

    /// Which answers `mremap` may give. No area grows, none is doubled, and none stays where it is moved away from.
    pub(crate) fn remap(&self, length: u64, flags: u32) -> Allowed {
        let errors = vec![EINVAL, EFAULT, ENOMEM, EAGAIN];
        let (may, fixed, stay) = (
            libc::MREMAP_MAYMOVE as u32,
            libc::MREMAP_FIXED as u32,
            libc::MREMAP_DONTUNMAP as u32,
        );
        let before = self.part.length.checked_next_multiple_of(PAGE).unwrap_or(0);
        let after = length.checked_next_multiple_of(PAGE).unwrap_or(0);
        let is_wrong = self.start % PAGE != 0
            || after == 0
            || flags & !(may | fixed | stay) != 0
            || (flags & fixed != 0 && flags & may == 0);
        if is_wrong {
            return fails(EINVAL);
        }
        let is_refused = after > before || flags & stay != 0 || self.areas().next().is_none();
        Allowed {
            success: !is_refused,
            errors,
        }
    }
}

impl Model {
    /// The file that an area maps; nothing for one of somebody else.
    pub(crate) fn mapped(&self, area: &Area) -> Option<&Open> {
        self.files.get(&area.inode)
    }

    /// Checks that an area is one that there may be (SH-30).
    pub(crate) fn check_area(&self, area: &Area) -> Result<(), String> {
        let Some(open) = self.mapped(area) else {
            return Err(format!("{area:x?} is of a file that nobody has"));
        };
        let end = area.offset + (area.place.end - area.place.start);
        let holds = area.is_shared
            && !area.may_run
            && end <= open.bytes
            && (open.can_write || !area.may_write);
        holds
            .then_some(())
            .ok_or_else(|| format!("{area:x?} of a file with {open:?}"))
    }

    /// Which answers `mmap` may give: what Linux itself refuses, in its order, and then what the region's file does.
    pub(crate) fn map(&self, file: Option<&Open>, address: Option<u64>, map: &Map) -> Allowed {
        let kind = (map.flags & libc::MAP_TYPE as u32) as i32;
        let has = |flag: i32| map.flags & flag as u32 != 0;
        let may = |right: i32| map.rights & right as u32 != 0;
        if map.offset % PAGE != 0 {
            return fails(EINVAL);
        }
        let Some(open) = file else {
            return fails(EBADF);
        };
        if map.length == 0 {
            return fails(EINVAL);
        }
        let Some(length) = map.length.checked_next_multiple_of(PAGE) else {
            return fails(ENOMEM);
        };
        // Pages are counted, so that none of these sums is too large.
        if length > END || address.is_some_and(|address| address > END - length) {
            return fails(ENOMEM);
        }
        if address.is_some_and(|address| address % PAGE != 0) {
            return fails(EINVAL);
        }
        let mut allowed = match map.offset.checked_add(length) {
            None => fails(EOVERFLOW),
            Some(end) => match kind {
                libc::MAP_SHARED | libc::MAP_SHARED_VALIDATE | libc::MAP_PRIVATE => {
                    let is_shared = kind != libc::MAP_PRIVATE;
                    if kind == libc::MAP_SHARED_VALIDATE && has(libc::MAP_SYNC) {
                        fails(EOPNOTSUPP)
                    } else if is_shared && may(libc::PROT_WRITE) && !open.can_write {
                        fails(EACCES)
                    } else if may(libc::PROT_EXEC) {
                        fails(EPERM)
                    } else if has(libc::MAP_GROWSDOWN) || !is_shared || end > open.bytes {
                        fails(EINVAL)
                    } else {
                        self.allows_again(open)
                    }
                }
                _ => fails(EINVAL),
            },
        };
        if has(libc::MAP_LOCKED) {
            allowed.errors.extend([EAGAIN, EPERM]);
        }
        // There may be less memory than a copy of all of it would take.
        if kind == libc::MAP_PRIVATE && may(libc::PROT_WRITE) && length > 1 << 24 {
            allowed.errors.push(ENOMEM);
        }
        // Linux need not find so much room.
        if address.is_none() && length > 1 << 40 {
            allowed.success = false;
            allowed.errors.push(ENOMEM);
        }
        allowed
    }

    /// SH-11: who maps is looked at anew.
    fn allows_again(&self, open: &Open) -> Allowed {
        match self.own(open.which) {
            None => Allowed::maybe(&[EACCES]),
            Some(own) if self.may(own, open.can_write) => succeeds(),
            Some(_) => fails(EACCES),
        }
    }

    /// Which answers `mprotect` may give: it goes from area to area, and stops at what is not mapped, or may not be so.
    pub(crate) fn protect_area(&self, mapped: &Mapped<'_>, rights: u32) -> Allowed {
        let known = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        if let Some(allowed) = mapped.plain() {
            return allowed;
        }
        let Some(end) = mapped.end() else {
            return fails(ENOMEM);
        };
        if rights & !(known as u32) != 0 {
            return fails(EINVAL);
        }
        let mut at = mapped.start;
        for area in mapped.areas() {
            if area.place.start > at {
                return fails(ENOMEM);
            }
            let can_write = self.mapped(area).is_some_and(|open| open.can_write);
            let is_more = rights & libc::PROT_EXEC as u32 != 0
                || (rights & libc::PROT_WRITE as u32 != 0 && !can_write);
            if is_more {
                return fails(EACCES);
            }
            at = area.place.end;
        }
        if at < end {
            return fails(ENOMEM);
        }
        succeeds()
    }
}
