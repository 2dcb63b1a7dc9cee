// SPDX-License-Identifier: GPL-2.0

//! What is done with memory.

use fuzzing::Random;

use super::{Map, Part, Step, LOCKS, PAGE, PAGES, SLOTS};

/// What is touched of what is mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Touch {
    /// Any page of the field, mapped or not.
    Anywhere,
    Load,
    /// With bits of which the number that is stored is made.
    Store(u64),
    /// A word of a lock.
    LoadLock,
    /// The token of what a slot has open is stored there, with these flags.
    StoreLock(u64, u32),
}

/// How memory is read, or written, by others than its program's instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peek {
    /// As another process's.
    Process,
    /// Its pages are put into a pipe.
    Lend,
    /// It is copied into a pipe.
    Carry,
    /// By `/proc/self/mem`.
    Read,
    /// The same to write.
    Write(u64),
}

/// A part of the field: of a few pages, mostly.
pub(super) fn part(random: &mut Random) -> Part {
    let page = random.below(PAGES);
    let length = match random.below(16) {
        0 => 0,
        1 => random.boundary(),
        2 => random.below(PAGE),
        3 | 4 => PAGE * random.below(PAGES),
        _ => PAGE * (1 + random.below(64)),
    };
    let shift = match random.below(24) {
        0 => 1 + random.below(PAGE - 1),
        _ => 0,
    };
    Part {
        page,
        length,
        shift,
    }
}

/// A step with memory.
pub(super) fn step(random: &mut Random) -> Step {
    match random.below(64) {
        0..=11 => Step::Map(random.below(SLOTS), map(random)),
        12 | 13 => Step::Unmap(part(random)),
        14..=16 => Step::Protect(part(random), rights(random)),
        17..=19 => remap(random),
        20..=22 => Step::Advise(part(random), advice(random)),
        23 => {
            let flags = random.pick(&[0, 1, 2, 3, 4, 4, 5, 6, 8]);
            Step::Sync(part(random), flags)
        }
        24 => Step::Lock(part(random), random.once_in(2)),
        25..=28 => {
            let how = match random.below(5) {
                0 => Peek::Process,
                1 => Peek::Lend,
                2 => Peek::Carry,
                3 => Peek::Read,
                _ => Peek::Write(random.any()),
            };
            Step::Peek(random.any(), how)
        }
        _ => {
            let how = match random.below(16) {
                0 => Touch::Anywhere,
                1..=5 => Touch::Load,
                6..=10 => Touch::Store(random.any()),
                11..=12 => Touch::LoadLock,
                _ => Touch::StoreLock(random.below(SLOTS), random.pick(&[0, 0, 1 << 30, 1 << 31])),
            };
            Step::Touch(random.any(), how)
        }
    }
}

/// The place of a lock's word that a number picks.
pub(crate) fn lock_of(pick: u64) -> u64 {
    4 * (pick % LOCKS)
}

/// Mostly to read, or to write as well.
fn rights(random: &mut Random) -> u32 {
    let (read, write, run) = (libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC);
    let both = read | write;
    random.pick(&[
        read,
        read,
        both,
        both,
        both,
        both,
        write,
        0,
        run,
        read | run,
        both | run,
        // Of no meaning to mprotect.
        0x40,
    ]) as u32
}

fn map(random: &mut Random) -> Map {
    let size = 512;
    let page = match random.below(8) {
        0 => None,
        // So that several mappings meet.
        1..=4 => Some(size * random.below(PAGES / size)),
        _ => Some(random.below(PAGES)),
    };
    let length = match random.below(16) {
        0 => random.pick(&[0, 1, 100, PAGE - 1, PAGE + 1]),
        1 => random.boundary(),
        2..=6 => PAGE * size,
        7 => PAGE * (size + 1),
        _ => PAGE * (1 + random.below(size)),
    };
    let offset = match random.below(16) {
        0..=7 => 0,
        8..=12 => PAGE * random.below(size),
        13 => random.pick(&[PAGE * size, PAGE * (size - 1), PAGE * 3 * size, 1, 1 << 63]),
        14 => random.boundary() & !(PAGE - 1),
        _ => random.boundary(),
    };
    let shift = match random.below(40) {
        0 => 1 + random.below(PAGE - 1),
        _ => 0,
    };
    let rights = match rights(random) {
        // What runs is refused; it need not be tried as often.
        rights if rights & libc::PROT_EXEC as u32 != 0 && random.once_in(2) => 3,
        rights => rights,
    };
    let kind = random.pick(&[
        libc::MAP_SHARED,
        libc::MAP_SHARED,
        libc::MAP_SHARED,
        libc::MAP_SHARED,
        libc::MAP_SHARED,
        libc::MAP_SHARED_VALIDATE,
        libc::MAP_PRIVATE,
        0,
        8,
    ]);
    let more = random.pick(&[
        0,
        0,
        0,
        0,
        libc::MAP_POPULATE,
        libc::MAP_NORESERVE,
        libc::MAP_LOCKED,
        libc::MAP_GROWSDOWN,
        libc::MAP_SYNC,
        libc::MAP_STACK,
    ]);
    Map {
        page,
        shift,
        length,
        rights,
        flags: (kind | more) as u32,
        offset,
    }
}

fn remap(random: &mut Random) -> Step {
    let part = part(random);
    let (may, fixed, stay) = (
        libc::MREMAP_MAYMOVE,
        libc::MREMAP_FIXED,
        libc::MREMAP_DONTUNMAP,
    );
    let flags = random.pick(&[
        0,
        may,
        may,
        may | fixed,
        may | fixed,
        may | fixed,
        may | stay,
        may | fixed | stay,
        fixed,
        8,
    ]);
    let length = match random.below(8) {
        0 => random.boundary(),
        1 => part.length.wrapping_add(PAGE),
        2 => part.length / 2,
        3 => PAGE * random.below(64),
        _ => part.length,
    };
    // Now and then what is there is to be doubled.
    let part = Part {
        length: if random.once_in(16) { 0 } else { part.length },
        ..part
    };
    Step::Remap {
        part,
        length,
        flags: flags as u32,
        to: random.below(PAGES),
    }
}

/// All that there is, but what breaks memory on purpose.
fn advice(random: &mut Random) -> i32 {
    random.pick(&[
        libc::MADV_NORMAL,
        libc::MADV_RANDOM,
        libc::MADV_SEQUENTIAL,
        libc::MADV_WILLNEED,
        libc::MADV_DONTNEED,
        libc::MADV_DONTNEED,
        libc::MADV_FREE,
        libc::MADV_REMOVE,
        libc::MADV_REMOVE,
        libc::MADV_DONTFORK,
        libc::MADV_DOFORK,
        libc::MADV_MERGEABLE,
        libc::MADV_UNMERGEABLE,
        libc::MADV_HUGEPAGE,
        libc::MADV_NOHUGEPAGE,
        libc::MADV_DONTDUMP,
        libc::MADV_DODUMP,
        libc::MADV_WIPEONFORK,
        libc::MADV_KEEPONFORK,
        libc::MADV_COLD,
        libc::MADV_PAGEOUT,
        libc::MADV_POPULATE_READ,
        libc::MADV_POPULATE_WRITE,
        libc::MADV_DONTNEED_LOCKED,
        libc::MADV_COLLAPSE,
        // To install guards, and to remove them.
        102,
        103,
        // There is none of these.
        7,
        1000,
        -1,
    ])
}
