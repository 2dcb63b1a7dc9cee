// SPDX-License-Identifier: GPL-2.0

//! Writes over the board what it likes, by `/dev/mem`: what a kernel that means harm can do to it, or one that goes wrong.

use adeos_proto::bridge::BRIDGES;
use adeos_proto::id::MAX_VNODES;
use adeos_proto::shm::board::{SIGNATURE, SIZE};
use anyhow::{ensure, Context, Result};
use fuzzing::Random;
use rustix::mm::{MapFlags, ProtFlags};
use std::fs::OpenOptions;
use std::ptr::{null_mut, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often one of the words is counted up without a pause.
const WITHOUT_PAUSE: u64 = 5000;
/// How many stores go between two looks at the clock.
const AT_ONCE: u64 = 1000;

/// The board, as physical memory has it.
///
/// # Invariants
///
/// [`SIZE`] bytes are mapped there until this is dropped.
struct Board(NonNull<AtomicU64>);

impl Board {
    fn map(address: u64) -> Result<Self> {
        let memory = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/mem")
            .context("cannot open /dev/mem")?;
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: Linux chooses the address: nothing of this process is there.
        let mapped = unsafe {
            rustix::mm::mmap(null_mut(), SIZE, rights, MapFlags::SHARED, &memory, address)
        }
        .context("cannot map the board")?;
        // INVARIANT: It has just been mapped.
        let board = Self(NonNull::new(mapped.cast()).context("it is mapped nowhere")?);
        let magic = board.word(0).load(Ordering::Relaxed);
        ensure!(
            magic == SIGNATURE.magic,
            "there is no board at {address:#x}"
        );
        Ok(board)
    }

    /// A word; there is none beyond the last.
    fn word(&self, number: usize) -> &AtomicU64 {
        // SAFETY: By the invariant it is mapped, as long as this is borrowed; all that others do there is atomic as well.
        unsafe { self.0.add(number % (SIZE / 8)).as_ref() }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: By the invariant it is mapped, and nothing refers to it any more.
        let unmapped = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), SIZE) };
        debug_assert!(unmapped.is_ok());
    }
}

/// A word that means something (docs/bridge-shm.md, section 5), mostly; those of the first regions most of all.
fn place(random: &mut Random) -> usize {
    let few = random.pick(&[4, 4, 16, BRIDGES as u64]);
    let region = random.below(few);
    let vnode = random.below(MAX_VNODES as u64);
    let offset = match random.below(8) {
        0..=2 => 0x1_0000 + 0x400 * region + 8 * random.pick(&[0, 0, 1, 1, 1]),
        3 => 0x1_0200 + 0x400 * region + 8 * random.below(64),
        4 | 5 => 0x6_0000 + 0x20 * vnode + 8 * random.below(4),
        6 => 0x8_0000 + 0x800 * vnode + 8 * region,
        _ => random.below(SIZE as u64),
    };
    (offset / 8) as usize
}

/// Stores for some time; how often.
pub(crate) fn scribble(address: u64, seconds: u64, seed: u64) -> Result<u64> {
    let board = Board::map(address)?;
    let mut random = Random::new(seed, 0);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut stores = 0;
    while Instant::now() < end {
        for _ in 0..AT_ONCE {
            let word = board.word(place(&mut random));
            let number = random.boundary();
            match random.below(64) {
                0 => word.store(number, Ordering::Relaxed),
                1..=20 => word.store(0, Ordering::Relaxed),
                _ => word.store(random.any(), Ordering::Relaxed),
            }
        }
        let word = board.word(place(&mut random));
        for _ in 0..WITHOUT_PAUSE {
            word.fetch_add(1, Ordering::Relaxed);
        }
        stores += AT_ONCE + WITHOUT_PAUSE;
    }
    Ok(stores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_means_something_is_written() {
        let mut random = Random::new(1, 0);
        let places: std::collections::BTreeSet<_> =
            (0..200_000).map(|_| 8 * place(&mut random)).collect();
        assert!(places.iter().all(|offset| *offset < SIZE));
        // Of region 0: notices, who sleeps for them, and on words; of vnode 2: its news, and what was woken.
        for offset in [
            0x1_0000, 0x1_0008, 0x1_0200, 0x1_03f8, 0x6_0040, 0x6_0058, 0x8_1000,
        ] {
            assert!(places.contains(&offset), "{offset:#x}");
        }
    }
}
