// SPDX-License-Identifier: GPL-2.0

//! A console: a ring of bytes in shared memory that keeps the latest output.
//!
//! The writer never waits and overwrites what is oldest; readers, any number of them, keep their
//! own positions and learn what they missed. Positions count bytes for ever. The writer says
//! first how far it is going to write (`reserved`), then writes, then says that it has
//! (`written`); a reader looks at `reserved` after it has copied, and throws away what may have
//! been overwritten meanwhile. [`SLOT`] is the one of a vnode's slot.

use crate::layout::slot::{CONSOLE, CONSOLE_DATA, CONSOLE_SIZE};
use crate::layout::{ConsoleHeader, CONSOLE_MAGIC, PLATFORM_VERSION};
use crate::window::Window;

/// Where a console lies in a window, and what its header says for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Offset of the [`ConsoleHeader`].
    pub header: usize,
    /// Offset of the ring.
    pub data: usize,
    /// Bytes of the ring, a power of two.
    pub size: u32,
    /// Version of the header.
    pub version: u32,
}

/// The console in a vnode's slot (see [`crate::layout::slot`]), which is the window.
pub const SLOT: Layout = Layout {
    header: CONSOLE,
    data: CONSOLE_DATA,
    size: CONSOLE_SIZE as u32,
    version: PLATFORM_VERSION,
};

/// The header makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// What a read has copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Position of the first byte after the copied ones: where to go on.
    pub next: u64,
    /// Bytes copied. It can be 0 while there is more, when the writer was quicker.
    pub copied: usize,
    /// Bytes before the copied ones that were overwritten before they could be read.
    pub lost: u64,
}

/// Bytes that no console comes to write. Beyond it nothing would be left to count by.
const MOST: u64 = u64::MAX / 2;

const MAGIC: usize = ConsoleHeader::OFFSETS.magic;
const VERSION: usize = ConsoleHeader::OFFSETS.version;
const SIZE: usize = ConsoleHeader::OFFSETS.size;
const WRITTEN: usize = ConsoleHeader::OFFSETS.written;
const RESERVED: usize = ConsoleHeader::OFFSETS.reserved;

impl Layout {
    /// Makes the console ready for a new writer, while nobody writes.
    ///
    /// What is there is kept if it makes sense. A writer that died while it wrote has left bytes of
    /// which nobody knows whether they are its own; they become ends of lines.
    pub fn format<W: Window>(&self, window: &W) {
        let Ok((written, reserved)) = self.counts(window) else {
            window.store_release64(self.at(MAGIC), 0);
            window.store_release64(self.at(WRITTEN), 0);
            window.store_release64(self.at(RESERVED), 0);
            window.store_release(self.at(VERSION), self.version);
            window.store_release(self.at(SIZE), self.size);
            window.store_release64(self.at(MAGIC), CONSOLE_MAGIC);
            return;
        };
        for position in written..reserved {
            window.write(self.place(position), b"\n");
        }
        window.store_release64(self.at(WRITTEN), reserved);
    }

    /// Forgets what was said: the next [`format`](Self::format) begins at 0. While nobody writes.
    pub fn clear<W: Window>(&self, window: &W) {
        window.store_release64(self.at(MAGIC), 0);
    }

    /// Bytes written so far.
    pub fn written<W: Window>(&self, window: &W) -> Result<u64, Corrupt> {
        self.check(window)?;
        Ok(window.load_acquire64(self.at(WRITTEN)))
    }

    /// Copies what was written from `position` on, as far as it is still there, has been written and
    /// fits. A position that is yet to be written counts as the end.
    pub fn read<W: Window>(
        &self,
        window: &W,
        position: u64,
        to: &mut [u8],
    ) -> Result<Chunk, Corrupt> {
        let written = self.written(window)?;
        let position = position.min(written);
        let from = position.max(written.saturating_sub(self.size()));
        let ready = usize::try_from(written.wrapping_sub(from)).unwrap_or(usize::MAX);
        let count = ready.min(to.len());
        self.copy_out(window, from, to.get_mut(..count).unwrap_or(&mut []));

        // What the writer reserves after this it also writes after this, and so after the copy.
        window.full_barrier();
        let reserved = window.load_acquire64(self.at(RESERVED));
        if reserved < written {
            return Err(Corrupt);
        }
        let torn = reserved.saturating_sub(self.size()).saturating_sub(from);
        let torn = usize::try_from(torn).unwrap_or(usize::MAX).min(count);
        drop_front(to.get_mut(..count).unwrap_or(&mut []), torn);
        Ok(Chunk {
            next: from.wrapping_add(count as u64),
            copied: count.wrapping_sub(torn),
            lost: from.wrapping_add(torn as u64).wrapping_sub(position),
        })
    }

    /// Writes bytes; the oldest make room. Only one writes at a time.
    pub fn write<W: Window>(&self, window: &W, bytes: &[u8]) -> Result<(), Corrupt> {
        let (written, reserved) = self.counts(window)?;
        self.append(window, written, reserved, bytes);
        Ok(())
    }

    /// Writes bytes from a position on, for a writer that keeps its counts to itself: what it has
    /// written and touched so far. The position that it has reached.
    pub fn append<W: Window>(&self, window: &W, written: u64, reserved: u64, bytes: &[u8]) -> u64 {
        let mut written = written;
        for step in bytes.chunks(self.step()) {
            let end = written.wrapping_add(step.len() as u64);
            // It must not shrink: what a former writer has touched beyond `written` stays touched.
            window.store_release64(self.at(RESERVED), end.max(reserved));
            // The store before is seen by others before the bytes are; a release alone would let
            // the bytes overtake it.
            window.full_barrier();
            self.copy_in(window, written, step);
            window.store_release64(self.at(WRITTEN), end);
            written = end;
        }
        written
    }

    /// The most that is written in one go: the rest of the ring stays readable meanwhile.
    fn step(&self) -> usize {
        (self.size as usize / 4).max(1)
    }

    /// Where a field of the header lies.
    fn at(&self, field: usize) -> usize {
        self.header.wrapping_add(field)
    }

    fn size(&self) -> u64 {
        self.size.into()
    }

    /// Checks what does not change.
    fn check<W: Window>(&self, window: &W) -> Result<(), Corrupt> {
        let is_valid = window.load_acquire64(self.at(MAGIC)) == CONSOLE_MAGIC
            && window.load_acquire(self.at(VERSION)) == self.version
            && window.load_acquire(self.at(SIZE)) == self.size;
        is_valid.then_some(()).ok_or(Corrupt)
    }

    /// Bytes written and bytes touched, checked against each other; for the writer, as they move for
    /// others.
    pub fn counts<W: Window>(&self, window: &W) -> Result<(u64, u64), Corrupt> {
        self.check(window)?;
        let written = window.load_acquire64(self.at(WRITTEN));
        let reserved = window.load_acquire64(self.at(RESERVED));
        match reserved.checked_sub(written) {
            Some(ahead) if ahead <= self.size() && reserved <= MOST => Ok((written, reserved)),
            _ => Err(Corrupt),
        }
    }

    /// Where the byte with this position lies in the window.
    fn place(&self, position: u64) -> usize {
        self.data
            .wrapping_add((position & (self.size() - 1)) as usize)
    }

    /// Bytes from a position to where the ring wraps.
    fn until_wrap(&self, position: u64) -> usize {
        (self.size as usize).wrapping_sub((position & (self.size() - 1)) as usize)
    }

    fn copy_out<W: Window>(&self, window: &W, from: u64, to: &mut [u8]) {
        let middle = self.until_wrap(from).min(to.len());
        let (first, rest) = to.split_at_mut_checked(middle).unwrap_or_default();
        window.read(self.place(from), first);
        window.read(self.data, rest);
    }

    fn copy_in<W: Window>(&self, window: &W, at: u64, bytes: &[u8]) {
        let middle = self.until_wrap(at).min(bytes.len());
        let (first, rest) = bytes.split_at_checked(middle).unwrap_or_default();
        window.write(self.place(at), first);
        window.write(self.data, rest);
    }
}

/// Moves what follows the first `count` bytes to the front.
fn drop_front(bytes: &mut [u8], count: usize) {
    if count == 0 {
        return;
    }
    for from in count..bytes.len() {
        let byte = bytes.get(from).copied().unwrap_or(0);
        if let Some(to) = bytes.get_mut(from.wrapping_sub(count)) {
            *to = byte;
        }
    }
}
