// SPDX-License-Identifier: GPL-2.0

//! Memory as a program sees it: a region that is mapped, and what shm_open gives, which is a file of a tmpfs.

use anyhow::{ensure, Context, Result};
use bridge::{Access, Memory, Options, Region};
use rustix::fs::{ftruncate, Mode};
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};
use rustix::shm;
use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::ptr::{null_mut, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// Words of 64 bits from one page to the next.
const PAGE_WORDS: usize = 4096 / 8;

/// Memory of shm_open, mapped.
///
/// # Invariants
///
/// `size` bytes are mapped at `address`, for reading and writing, until this is dropped.
pub(super) struct Shared {
    address: NonNull<u8>,
    size: usize,
}

impl Shared {
    /// A new file of zeros.
    pub(super) fn file(size: usize) -> Result<OwnedFd> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("/shmtest.{}.{number}", std::process::id());
        let flags = shm::OFlags::CREATE | shm::OFlags::EXCL | shm::OFlags::RDWR;
        let file = shm::open(&*name, flags, Mode::RUSR | Mode::WUSR)?;
        shm::unlink(&*name)?;
        ftruncate(&file, size as u64)?;
        Ok(file)
    }

    /// Maps a file, which has so many bytes.
    pub(super) fn map(file: OwnedFd, size: usize) -> Result<Self> {
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: Linux chooses the address: nothing of this process is there.
        let address = unsafe { mmap(null_mut(), size, rights, MapFlags::SHARED, file, 0) }?;
        // INVARIANT: It has just been mapped.
        Ok(Self {
            address: NonNull::new(address.cast()).context("it is mapped at zero")?,
            size,
        })
    }

    /// The first word.
    pub(super) fn word(&self) -> &AtomicU32 {
        // SAFETY: By the invariant it is mapped as long as this is borrowed; a page is aligned, and has a word.
        unsafe { self.address.cast().as_ref() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: By the invariant this is mapped, and all that borrows it is gone.
        let unmapped = unsafe { munmap(self.address.as_ptr().cast(), self.size) };
        debug_assert!(unmapped.is_ok());
    }
}

/// What is measured.
enum Mapped {
    Region(Memory),
    Shared(Shared),
}

impl Mapped {
    /// New memory of shm_open.
    fn shared(size: usize) -> Result<Self> {
        Ok(Self::Shared(Shared::map(Shared::file(size)?, size)?))
    }

    /// Its words, `size` bytes of them.
    fn words(&self, size: usize) -> Result<&[AtomicU64]> {
        let (address, has) = match self {
            Self::Region(memory) => (memory.address(), memory.size()),
            Self::Shared(shared) => (shared.address, shared.size),
        };
        ensure!(size <= has, "it has {has} bytes");
        // SAFETY: So many bytes are mapped as long as this is borrowed, for writing too, for regions are open so here; pages are aligned; all
        // access is by atomics or by copies.
        Ok(unsafe { std::slice::from_raw_parts(address.cast().as_ptr(), size / 8) })
    }
}

/// Reads all words.
fn read(words: &[AtomicU64]) {
    let values = words.iter().map(|word| word.load(Ordering::Relaxed));
    black_box(values.fold(0, u64::wrapping_add));
}

/// Writes all words.
fn write(words: &[AtomicU64]) {
    let value = black_box(0x5a5a);
    for word in words {
        word.store(value, Ordering::Relaxed);
    }
}

/// Copies the first half to the second one, as memory is copied.
fn copy(words: &[AtomicU64]) {
    let (from, to) = words.split_at(words.len() / 2);
    let to: *const AtomicU64 = black_box(to.as_ptr());
    // SAFETY: The second half is at least as long, does not overlap the first one, and may be written: it is of atomics. Who
    // writes it meanwhile is another program, and then it is that one's as well that it may be torn.
    unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.cast_mut(), from.len()) };
}

/// The middle one.
fn median(mut times: Vec<Duration>) -> u128 {
    times.sort_unstable();
    let middle = times.get(times.len() / 2);
    middle.map_or(0, Duration::as_nanos)
}

/// How long something takes.
fn time(what: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    what();
    begun.elapsed()
}

/// What is measured of one and of the other, which take turns; the first time does not count. `measure` is told how often it was before.
fn in_turn<T: Copy, M>(
    passes: usize,
    both: [T; 2],
    mut measure: impl FnMut(T, usize) -> Result<M>,
) -> Result<[Vec<M>; 2]> {
    ensure!(passes > 0, "there is nothing to measure");
    let [one, other] = both;
    let mut measured = [Vec::new(), Vec::new()];
    for pass in 0..=passes {
        let [of_one, of_other] = &mut measured;
        let mut turns = [(one, of_one), (other, of_other)];
        if pass % 2 == 1 {
            turns.reverse();
        }
        for (which, to) in turns {
            let what = measure(which, pass)?;
            if pass > 0 {
                to.push(what);
            }
        }
    }
    Ok(measured)
}

/// Prints what reading, writing and copying a MiB take, each in a region and in memory of shm_open.
pub(super) fn passes(name: &str, mib: usize, count: usize) -> Result<()> {
    ensure!(mib > 0, "there is nothing to measure");
    let size = mib * MIB;
    let region = Mapped::Region(Region::open(name, Access::Write)?.map()?);
    let shared = Mapped::shared(size)?;
    let (region, shared) = (region.words(size)?, shared.words(size)?);
    // All pages are there before anything is measured.
    write(region);
    write(shared);
    let all = [
        ("read", read as fn(&[AtomicU64]), 1),
        ("write", write, 1),
        // Half of it is copied.
        ("copy", copy, 2),
    ];
    for (name, what, parts) in all {
        // A MiB at once: what comes in between then concerns few of them.
        let times = in_turn(count * mib, [region, shared], |words, pass| {
            let piece = words.chunks(MIB / 8).nth(pass % mib);
            let piece = piece.context("there are as many pieces as MiB")?;
            Ok(time(|| what(piece)))
        })?;
        let [of_region, of_shared] = times.map(|times| median(times) * parts);
        println!("{name} {of_region} {of_shared}");
    }
    Ok(())
}

/// Where new memory comes from.
#[derive(Clone, Copy)]
enum Source {
    Region,
    Shared,
}

/// How long it took to map new memory and to touch each page of it; and the same with making it.
#[derive(Clone, Copy)]
struct Touched {
    touch: Duration,
    all: Duration,
}

impl Touched {
    /// Touches new memory.
    fn new(size: usize, source: Source) -> Result<Self> {
        let begun = Instant::now();
        let (mapped, made) = match source {
            Source::Region => {
                let region = Region::create("bench.touch", &Options::new(size as u64))?;
                let made = begun.elapsed();
                (Mapped::Region(region.map()?), made)
            }
            Source::Shared => {
                let file = Shared::file(size)?;
                let made = begun.elapsed();
                (Mapped::Shared(Shared::map(file, size)?), made)
            }
        };
        for word in mapped.words(size)?.iter().step_by(PAGE_WORDS) {
            word.store(1, Ordering::Relaxed);
        }
        let all = begun.elapsed();
        Ok(Self {
            touch: all - made,
            all,
        })
    }
}

/// Prints what it takes to touch each page of a new region and of new memory of shm_open for the first time, and the same from
/// before it is made.
pub(super) fn touches(mib: usize, passes: usize) -> Result<()> {
    let sources = [Source::Region, Source::Shared];
    let touched = in_turn(passes, sources, |source, _| Touched::new(mib * MIB, source))?;
    let tell = |name, time: fn(&Touched) -> Duration| {
        let medians = touched
            .each_ref()
            .map(|of| median(of.iter().map(time).collect()));
        let [of_region, of_shared] = medians;
        println!("{name} {of_region} {of_shared}");
    };
    tell("touch", |touched| touched.touch);
    tell("make", |touched| touched.all);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_measured_in_turn() {
        let mut order = Vec::new();
        let measured = in_turn(2, ['a', 'b'], |which, _| {
            order.push(which);
            Ok(order.len())
        });
        let measured = measured.unwrap();
        assert_eq!(order, ['a', 'b', 'b', 'a', 'a', 'b']);
        assert_eq!(measured, [vec![4, 5], vec![3, 6]]);
    }

    #[test]
    fn the_median_is_the_middle_one() {
        let times = |times: &[u64]| times.iter().copied().map(Duration::from_nanos).collect();
        assert_eq!(median(times(&[9, 1, 2])), 2);
        assert_eq!(median(times(&[7])), 7);
    }

    #[test]
    fn all_words_are_read_written_and_copied() {
        let mapped = Mapped::shared(MIB).unwrap();
        let words = mapped.words(MIB).unwrap();
        assert_eq!(words.len(), MIB / 8);
        write(&words[..words.len() / 2]);
        copy(words);
        read(words);
        let is_written = |word: &AtomicU64| word.load(Ordering::Relaxed) == 0x5a5a;
        assert!(words.iter().all(is_written));
        assert!(mapped.words(MIB + 1).is_err());
    }

    #[test]
    fn touching_is_a_part_of_making() {
        let touched = Touched::new(MIB, Source::Shared).unwrap();
        assert!(touched.touch > Duration::ZERO && touched.touch <= touched.all);
    }
}
