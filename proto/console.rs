// SPDX-License-Identifier: GPL-2.0

//! The console of a vnode: a ring of bytes in its slot that keeps the latest output.
//!
//! The writer never waits and overwrites what is oldest; readers, any number of them, keep their
//! own positions and learn what they missed. Positions count bytes for ever. The writer says
//! first how far it is going to write (`reserved`), then writes, then says that it has
//! (`written`); a reader looks at `reserved` after it has copied, and throws away what may have
//! been overwritten meanwhile. The window is a vnode's slot (see [`crate::layout::slot`]).

use crate::layout::slot::{CONSOLE, CONSOLE_DATA, CONSOLE_SIZE};
use crate::layout::{ConsoleHeader, CONSOLE_MAGIC, PLATFORM_VERSION};
use crate::window::Window;

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

const SIZE: u64 = CONSOLE_SIZE as u64;
const MAGIC_AT: usize = CONSOLE + ConsoleHeader::OFFSETS.magic;
const VERSION_AT: usize = CONSOLE + ConsoleHeader::OFFSETS.version;
const SIZE_AT: usize = CONSOLE + ConsoleHeader::OFFSETS.size;
const WRITTEN_AT: usize = CONSOLE + ConsoleHeader::OFFSETS.written;
const RESERVED_AT: usize = CONSOLE + ConsoleHeader::OFFSETS.reserved;

/// The most that is written in one go: the rest of the ring stays readable meanwhile.
const MAX_STEP: usize = CONSOLE_SIZE / 4;

/// Makes the console ready for a new writer, while nobody writes.
///
/// What is there is kept if it makes sense. A writer that died while it wrote has left bytes of
/// which nobody knows whether they are its own; they become ends of lines.
pub fn format<W: Window>(window: &W) {
    let Ok((written, reserved)) = counts(window) else {
        window.store_release64(MAGIC_AT, 0);
        window.store_release64(WRITTEN_AT, 0);
        window.store_release64(RESERVED_AT, 0);
        window.store_release(VERSION_AT, PLATFORM_VERSION);
        window.store_release(SIZE_AT, CONSOLE_SIZE as u32);
        window.store_release64(MAGIC_AT, CONSOLE_MAGIC);
        return;
    };
    for position in written..reserved {
        window.write(place(position), b"\n");
    }
    window.store_release64(WRITTEN_AT, reserved);
}

/// Bytes written so far.
pub fn written<W: Window>(window: &W) -> Result<u64, Corrupt> {
    check(window)?;
    Ok(window.load_acquire64(WRITTEN_AT))
}

/// Copies what was written from `position` on, as far as it is still there, has been written and
/// fits. A position that is yet to be written counts as the end.
pub fn read<W: Window>(window: &W, position: u64, to: &mut [u8]) -> Result<Chunk, Corrupt> {
    let written = written(window)?;
    let position = position.min(written);
    let from = position.max(written.saturating_sub(SIZE));
    let ready = usize::try_from(written.wrapping_sub(from)).unwrap_or(usize::MAX);
    let count = ready.min(to.len());
    copy_out(window, from, to.get_mut(..count).unwrap_or(&mut []));

    // What the writer reserves after this it also writes after this, and so after the copy.
    window.full_barrier();
    let reserved = window.load_acquire64(RESERVED_AT);
    if reserved < written {
        return Err(Corrupt);
    }
    let torn = reserved.saturating_sub(SIZE).saturating_sub(from);
    let torn = usize::try_from(torn).unwrap_or(usize::MAX).min(count);
    drop_front(to.get_mut(..count).unwrap_or(&mut []), torn);
    Ok(Chunk {
        next: from.wrapping_add(count as u64),
        copied: count.wrapping_sub(torn),
        lost: from.wrapping_add(torn as u64).wrapping_sub(position),
    })
}

/// Writes bytes; the oldest make room. Only one writes at a time.
pub fn write<W: Window>(window: &W, bytes: &[u8]) -> Result<(), Corrupt> {
    for step in bytes.chunks(MAX_STEP) {
        let (written, reserved) = counts(window)?;
        let end = written.checked_add(step.len() as u64).ok_or(Corrupt)?;

        // It must not shrink: what a former writer has touched beyond `written` stays touched.
        window.store_release64(RESERVED_AT, end.max(reserved));
        // The store before is seen by others before the bytes are; a release alone would let
        // the bytes overtake it.
        window.full_barrier();
        copy_in(window, written, step);
        window.store_release64(WRITTEN_AT, end);
    }
    Ok(())
}

/// Checks what does not change.
fn check<W: Window>(window: &W) -> Result<(), Corrupt> {
    let is_valid = window.load_acquire64(MAGIC_AT) == CONSOLE_MAGIC
        && window.load_acquire(VERSION_AT) == PLATFORM_VERSION
        && window.load_acquire(SIZE_AT) == CONSOLE_SIZE as u32;
    is_valid.then_some(()).ok_or(Corrupt)
}

/// Both counts, checked against each other; for the writer, as they move for others.
fn counts<W: Window>(window: &W) -> Result<(u64, u64), Corrupt> {
    check(window)?;
    let written = window.load_acquire64(WRITTEN_AT);
    let reserved = window.load_acquire64(RESERVED_AT);
    match reserved.checked_sub(written) {
        Some(ahead) if ahead <= SIZE => Ok((written, reserved)),
        _ => Err(Corrupt),
    }
}

/// Where the byte with this position lies in the window.
fn place(position: u64) -> usize {
    CONSOLE_DATA.wrapping_add((position & (SIZE - 1)) as usize)
}

/// Bytes from a position to where the ring wraps.
fn until_wrap(position: u64) -> usize {
    CONSOLE_SIZE.wrapping_sub((position & (SIZE - 1)) as usize)
}

fn copy_out<W: Window>(window: &W, from: u64, to: &mut [u8]) {
    let middle = until_wrap(from).min(to.len());
    let (first, rest) = to.split_at_mut_checked(middle).unwrap_or_default();
    window.read(place(from), first);
    window.read(CONSOLE_DATA, rest);
}

fn copy_in<W: Window>(window: &W, at: u64, bytes: &[u8]) {
    let middle = until_wrap(at).min(bytes.len());
    let (first, rest) = bytes.split_at_checked(middle).unwrap_or_default();
    window.write(place(at), first);
    window.write(CONSOLE_DATA, rest);
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
