// SPDX-License-Identifier: GPL-2.0

//! Addresses at which one thread maps regions, takes them away, and touches what is there: nobody else has any memory there.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::OnceLock;

use super::sys::{map_call, Answer};

/// Bytes of a page.
pub(super) const PAGE: u64 = 4096;
/// Pages of a thread's addresses.
pub(super) const PAGES: u64 = 4096;
/// Where those of the first thread begin. Linux puts what it chooses a place for as high as it can, and a program's own parts
/// are below, or far above.
const FIRST: u64 = 0x20_0000_0000;
/// From one thread's to the next one's.
const STRIDE: u64 = 1 << 32;
/// Programs' addresses end below this, where page tables have five levels; where they have four, sooner.
pub(super) const END: u64 = 0xff_ffff_ffff_f000;

/// Where they end in this kernel, which says by a flag of its processors how many levels it uses.
pub(super) fn end() -> u64 {
    static END_HERE: OnceLock<u64> = OnceLock::new();
    *END_HERE.get_or_init(|| {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        match processors.split_whitespace().any(|flag| flag == "la57") {
            true => END,
            false => 0x7fff_ffff_f000,
        }
    })
}

/// A part of the field that may not be one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Its first page.
    pub(super) page: u64,
    /// Bytes from there.
    pub(super) length: u64,
    /// How far it begins behind the page's beginning.
    pub(super) shift: u64,
}

/// What is to be mapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Map {
    /// Where; nothing for where Linux likes.
    pub(super) page: Option<u64>,
    /// How far behind the page's beginning that is.
    pub(super) shift: u64,
    pub(super) length: u64,
    pub(super) rights: u32,
    /// But for MAP_FIXED.
    pub(super) flags: u32,
    pub(super) offset: u64,
}

/// What is mapped in one piece, as Linux tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) place: Range<u64>,
    pub(super) may_read: bool,
    pub(super) may_write: bool,
    pub(super) may_run: bool,
    pub(super) is_shared: bool,
    /// Where in the file it begins.
    pub(super) offset: u64,
    pub(super) inode: u64,
}

impl Area {
    /// A line of `/proc/self/maps`.
    fn read(line: &str) -> Option<Self> {
        let number = |word| u64::from_str_radix(word, 16).ok();
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let rights = words.next()?;
        let offset = number(words.next()?)?;
        let inode = words.nth(1)?.parse().ok()?;
        Some(Self {
            place: number(start)?..number(end)?,
            may_read: rights.contains('r'),
            may_write: rights.contains('w'),
            may_run: rights.contains('x'),
            is_shared: rights.contains('s'),
            offset,
            inode,
        })
    }

    /// Whether it can be touched at all: on x86 who may write may read.
    pub(super) fn may_load(&self) -> bool {
        self.may_read || self.may_write || self.may_run
    }

    /// Where in the file an address of it is.
    pub(super) fn offset_of(&self, address: u64) -> u64 {
        address - self.place.start + self.offset
    }
}

/// The addresses.
///
/// # Invariants
///
/// From `base` on are [`PAGES`] pages that are none of Rust's memory, nor anybody else's.
pub(super) struct Field {
    base: u64,
    /// Pages that a child may not have though its parent has.
    unforked: Vec<bool>,
}

/// Where so many bytes end, as whole pages.
fn ends(start: u64, length: u64) -> Option<u64> {
    start.checked_add(length.checked_next_multiple_of(PAGE)?)
}

fn round(length: u64) -> u64 {
    length.next_multiple_of(PAGE)
}

impl Field {
    /// That of a thread. An error if there is something.
    pub(super) fn new(thread: u64) -> io::Result<Self> {
        let base = FIRST + thread * STRIDE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let arguments = [base, PAGES * PAGE, 0, flags as u64, u64::MAX, 0];
        // SAFETY: It replaces nothing.
        let found = unsafe { map_call(libc::SYS_mmap, arguments) };
        if found != Ok(base) {
            return Err(io::Error::from_raw_os_error(found.err().unwrap_or(0)));
        }
        // INVARIANT: There is nothing, and nobody else maps there.
        let mut field = Self {
            base,
            unforked: vec![false; PAGES as usize],
        };
        field.clear();
        Ok(field)
    }

    /// Address of a page, which is in the field.
    pub(super) fn address(&self, page: u64) -> u64 {
        self.base + page % PAGES * PAGE
    }

    /// Address of a part.
    pub(super) fn start(&self, part: Part) -> u64 {
        self.address(part.page) + part.shift
    }

    /// Whether so many bytes lie in the field, or are so many that addresses begin anew. Advice is followed beyond what is not
    /// mapped, so nothing less will do.
    fn is_safe(&self, start: u64, length: u64) -> bool {
        match ends(start, length) {
            Some(there) => self.base <= start && there <= self.base + PAGES * PAGE,
            None => true,
        }
    }

    /// A part of it with an end that is in the field, if there is one.
    pub(super) fn cut(&self, part: Part) -> Part {
        let start = self.start(part);
        let room = self.base + PAGES * PAGE - (start - part.shift);
        let length = if self.is_safe(start, part.length) {
            part.length
        } else {
            (part.length % room) / PAGE * PAGE
        };
        Part { length, ..part }
    }

    /// The same for what is to be mapped: what has no room is left to Linux.
    pub(super) fn place(&self, map: Map) -> Map {
        let fits = map.page.is_some_and(|page| {
            let start = self.address(page) + map.shift;
            // Nothing is mapped where there are no addresses.
            let is_nowhere = ends(start, map.length).is_some_and(|there| there > END);
            is_nowhere || self.is_safe(start, map.length)
        });
        Map {
            page: map.page.filter(|_| fits).map(|page| page % PAGES),
            ..map
        }
    }

    /// What is mapped here, in order.
    pub(super) fn areas(&self) -> io::Result<Vec<Area>> {
        let end = self.base + PAGES * PAGE;
        let text = fs::read_to_string("/proc/self/maps")?;
        let all = text.lines().filter_map(Area::read);
        Ok(all
            .filter(|area| area.place.start < end && area.place.end > self.base)
            .collect())
    }

    /// Maps a part of a file: the address. `map` is one of [`Field::place`].
    pub(super) fn map(&mut self, file: RawFd, map: Map) -> Answer {
        let fixed = if map.page.is_some() {
            libc::MAP_FIXED as u32
        } else {
            0
        };
        let address = map.page.map_or(0, |page| self.address(page) + map.shift);
        let arguments = [
            address,
            map.length,
            map.rights.into(),
            (map.flags | fixed).into(),
            file as u64,
            map.offset,
        ];
        // SAFETY: It replaces what is in the field, as `place` has seen to.
        let answer = unsafe { map_call(libc::SYS_mmap, arguments) };
        if answer.is_ok() && map.page.is_some() {
            self.mark(address, map.length, false);
        }
        answer
    }

    /// Takes away what Linux has found a place for.
    pub(super) fn unmap_elsewhere(&self, address: u64, length: u64) -> Answer {
        // SAFETY: It has just been mapped for this thread, and nobody refers to it.
        unsafe { map_call(libc::SYS_munmap, [address, round(length), 0, 0, 0, 0]) }
    }

    /// Takes away what is mapped in a part. Parts are those of [`Field::cut`].
    pub(super) fn unmap(&mut self, part: Part) -> Answer {
        let start = self.start(part);
        // SAFETY: It is in the field, or nowhere.
        let answer = unsafe { map_call(libc::SYS_munmap, [start, part.length, 0, 0, 0, 0]) };
        if answer.is_ok() {
            self.mark(start, part.length, false);
        }
        answer
    }

    /// Takes away all.
    pub(super) fn clear(&mut self) {
        let all = Part {
            page: 0,
            length: PAGES * PAGE,
            shift: 0,
        };
        let answer = self.unmap(all);
        debug_assert!(answer.is_ok());
    }

    /// Says anew what can be done with a part.
    pub(super) fn protect(&self, part: Part, rights: u32) -> Answer {
        let arguments = [self.start(part), part.length, rights.into(), 0, 0, 0];
        // SAFETY: As in `unmap`.
        unsafe { map_call(libc::SYS_mprotect, arguments) }
    }

    /// Changes the size of what is in a part, or moves it to a page, if that and what is mapped there lies in the field.
    pub(super) fn remap(&mut self, part: Part, length: u64, flags: u32, to: u64) -> Answer {
        let (from, to) = (self.start(part), self.address(to));
        let arguments = [from, part.length, length, flags.into(), to, 0];
        // SAFETY: As in `unmap`; `to` counts only where it is told, and is in the field, too.
        let answer = unsafe { map_call(libc::SYS_mremap, arguments) };
        if flags & libc::MREMAP_FIXED as u32 != 0 {
            // What has not been moved as a whole may have been in part.
            let moved = self.is_marked(from, part.length);
            self.mark(to, length, moved);
        }
        answer
    }

    /// Whether a page can be moved there by `remap`.
    pub(super) fn has_room(&self, to: u64, length: u64) -> bool {
        self.is_safe(self.address(to), length)
    }

    /// Gives Linux advice of a part.
    pub(super) fn advise(&mut self, part: Part, advice: i32) -> Answer {
        let start = self.start(part);
        let arguments = [start, part.length, advice as u64, 0, 0, 0];
        // SAFETY: As in `unmap`.
        let answer = unsafe { map_call(libc::SYS_madvise, arguments) };
        if advice == libc::MADV_DONTFORK {
            self.mark(start, part.length, true);
        }
        answer
    }

    /// Has a part written back, as `msync` has it.
    pub(super) fn sync(&self, part: Part, flags: i32) -> Answer {
        let arguments = [self.start(part), part.length, flags as u64, 0, 0, 0];
        // SAFETY: As in `unmap`.
        unsafe { map_call(libc::SYS_msync, arguments) }
    }

    /// Keeps a part in memory, or does so no more.
    pub(super) fn lock(&self, part: Part, is_locked: bool) -> Answer {
        let number = if is_locked {
            libc::SYS_mlock
        } else {
            libc::SYS_munlock
        };
        // SAFETY: As in `unmap`.
        unsafe { map_call(number, [self.start(part), part.length, 0, 0, 0, 0]) }
    }

    /// Whether a child may be without some of this.
    pub(super) fn is_marked(&self, start: u64, length: u64) -> bool {
        let pages = self.unforked.get(self.pages(start, length));
        pages.is_none_or(|pages| pages.contains(&true))
    }

    fn mark(&mut self, start: u64, length: u64, mark: bool) {
        let pages = self.pages(start, length);
        for page in self.unforked.get_mut(pages).unwrap_or_default() {
            *page = mark;
        }
    }

    fn pages(&self, start: u64, length: u64) -> Range<usize> {
        let page = |address: u64| ((address.saturating_sub(self.base)) / PAGE).min(PAGES) as usize;
        let end = start.saturating_add(length).saturating_add(PAGE - 1);
        page(start)..page(end)
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn part(page: u64, length: u64) -> Part {
        Part {
            page,
            length,
            shift: 0,
        }
    }

    fn shared(page: u64, length: u64, offset: u64) -> Map {
        Map {
            page: Some(page),
            shift: 0,
            length,
            rights: (libc::PROT_READ | libc::PROT_WRITE) as u32,
            flags: libc::MAP_SHARED as u32,
            offset,
        }
    }

    #[test]
    fn what_linux_tells_is_what_was_mapped() {
        let name = c"fuzz";
        // SAFETY: The name ends in a zero; the descriptor is closed with the process.
        let file = unsafe { libc::memfd_create(name.as_ptr(), 0) };
        // SAFETY: It is open.
        assert_eq!(unsafe { libc::ftruncate(file, 1 << 20) }, 0);
        let mut field = Field::new(1000).unwrap();
        assert!(field.areas().unwrap().is_empty());
        let at = field.address(10);
        assert_eq!(
            field.map(file.as_raw_fd(), shared(10, 8 * PAGE, PAGE)),
            Ok(at)
        );
        assert_eq!(field.unmap(part(12, PAGE)), Ok(0));
        assert_eq!(field.protect(part(13, PAGE), libc::PROT_READ as u32), Ok(0));
        let areas = field.areas().unwrap();
        let places: Vec<_> = areas
            .iter()
            .map(|it| {
                (
                    it.place.start - at,
                    it.place.end - at,
                    it.offset,
                    it.may_write,
                )
            })
            .collect();
        let wanted = [
            (0, 2 * PAGE, PAGE, true),
            (3 * PAGE, 4 * PAGE, 4 * PAGE, false),
            (4 * PAGE, 8 * PAGE, 5 * PAGE, true),
        ];
        assert_eq!(places, wanted);
        assert!(areas
            .iter()
            .all(|it| it.is_shared && it.may_load() && !it.may_run));
        assert_eq!(areas[1].offset_of(at + 3 * PAGE + 8), 4 * PAGE + 8);
        drop(field);
        assert!(Field::new(1000).unwrap().areas().unwrap().is_empty());
    }

    #[test]
    fn nothing_but_the_field_can_be_meant() {
        let field = Field::new(1001).unwrap();
        let whole = PAGES * PAGE;
        assert_eq!(field.cut(part(1, whole - PAGE)).length, whole - PAGE);
        assert!(field.cut(part(1, whole)).length <= whole - PAGE);
        assert!(field.cut(part(4095, 1 << 40)).length <= PAGE);
        for length in [1 << 56, 1 << 63, u64::MAX, u64::MAX - 4095] {
            // Nobody has addresses there.
            assert!(field.place(shared(7, length, 0)).page.is_some());
            let begins_anew = length > 1 << 63;
            assert_eq!(field.cut(part(7, length)).length == length, begins_anew);
        }
        assert_eq!(field.place(shared(7, 1 << 40, 0)).page, None);
        assert_eq!(field.place(shared(4095, 2 * PAGE, 0)).page, None);
        assert_eq!(field.place(shared(4095, PAGE, 0)).page, Some(4095));
        assert!(field.has_room(4095, PAGE) && !field.has_room(4095, PAGE + 1));
    }

    #[test]
    fn what_a_child_may_not_have_is_known() {
        let mut field = Field::new(1002).unwrap();
        field
            .advise(part(3, 2 * PAGE), libc::MADV_DONTFORK)
            .unwrap_err();
        let marked = |field: &Field, page| field.is_marked(field.address(page), PAGE);
        assert_eq!(
            [2, 3, 4, 5].map(|page| marked(&field, page)),
            [false, true, true, false]
        );
        let fixed = (libc::MREMAP_FIXED | libc::MREMAP_MAYMOVE) as u32;
        field.remap(part(4, PAGE), PAGE, fixed, 9).unwrap_err();
        assert!(marked(&field, 9) && !marked(&field, 10));
        assert_eq!(field.unmap(part(0, 20 * PAGE)), Ok(0));
        assert!(!field.is_marked(field.address(0), 20 * PAGE));
    }
}
