// SPDX-License-Identifier: GPL-2.0

//! One word of a region, on which programs of all vnodes sleep: a lock, a condition, an end of a pipe.

use std::io;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use adeos_proto::shm::lock::is_alive;

use crate::memory::Memory;
use crate::region::Region;

/// What a lock needs of its word. Tests have threads sleep on words where there is no region.
pub(crate) trait Place {
    /// The word itself.
    fn value(&self) -> &AtomicU32;
    /// Sleeps while the word has a value, or less long.
    fn wait(&self, value: u32, timeout: Duration) -> io::Result<()>;
    /// Wakes some that sleep on the word.
    fn wake(&self, count: u32) -> io::Result<()>;
    /// What stands in the words of locks that this one has.
    fn token(&self) -> u32;
    /// Whether whose token stands in a value may still use the region.
    fn is_alive(&self, value: u32) -> io::Result<bool>;
}

/// A word of a region, as it is mapped.
pub(crate) struct Word<'a> {
    region: &'a Region,
    word: &'a AtomicU32,
    offset: u64,
}

impl<'a> Word<'a> {
    /// The word at an offset of the region, a multiple of 4, in memory of it that can be written.
    pub(crate) fn new(region: &'a Region, memory: &'a Memory, offset: u64) -> io::Result<Self> {
        memory.check_writable_of(region)?;
        let word = memory.word(memory.place(offset)?)?;
        Ok(Self {
            region,
            word,
            offset,
        })
    }

    /// Has the kernel free the lock that this word is if the region has it when it is closed.
    pub(crate) fn guard(&self) -> io::Result<()> {
        self.region.guard(self.offset)
    }
}

impl Place for Word<'_> {
    fn value(&self) -> &AtomicU32 {
        self.word
    }

    fn wait(&self, value: u32, timeout: Duration) -> io::Result<()> {
        self.region.wait_word(self.offset, value, Some(timeout))
    }

    fn wake(&self, count: u32) -> io::Result<()> {
        self.region.wake_word(self.offset, count)
    }

    fn token(&self) -> u32 {
        self.region.token()
    }

    fn is_alive(&self, value: u32) -> io::Result<bool> {
        Ok(is_alive(value, &self.region.stat()?.users))
    }
}
