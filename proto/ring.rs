// SPDX-License-Identifier: GPL-2.0

//! A ring of bytes in shared memory with one producer and one consumer.
//!
//! Each side keeps its own index to itself and only publishes it; the other side's index is a
//! claim, checked at each use. A hostile peer can therefore send wrong bytes or end the stream,
//! and nothing else. Neither side ever waits.

use crate::window::Window;

/// Where the parts of a ring lie in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Offset of the producer's index, a `u32` that runs freely.
    pub head: usize,
    /// Offset of the consumer's index, a `u32` that runs freely.
    pub tail: usize,
    /// Offset of the bytes.
    pub data: usize,
    /// Room for bytes, a power of two.
    pub size: u32,
}

/// The peer's index makes no sense: the stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

impl Layout {
    /// Where the byte with this index lies, and how many bytes follow it before the ring wraps.
    fn place(&self, index: u32) -> (usize, usize) {
        let at = index & self.size.wrapping_sub(1);
        let until_wrap = self.size.saturating_sub(at) as usize;
        (self.data.saturating_add(at as usize), until_wrap)
    }

    /// Bytes in the ring; more than fit is a lie of whoever wrote the other index.
    fn filled(&self, head: u32, tail: u32) -> Result<u32, Corrupt> {
        let filled = head.wrapping_sub(tail);
        if filled > self.size {
            return Err(Corrupt);
        }
        Ok(filled)
    }
}

/// The side that puts bytes in.
#[derive(Debug)]
pub struct Producer {
    layout: Layout,
    head: u32,
}

impl Producer {
    /// A producer at the start of a stream.
    pub const fn new(layout: Layout) -> Self {
        Self::at(layout, 0)
    }

    /// A producer that goes on at an index, which whoever calls this has published or is about to.
    pub const fn at(layout: Layout, head: u32) -> Self {
        Self { layout, head }
    }

    /// Publishes its index once more; where the next byte goes.
    pub fn publish<W: Window>(&self, window: &W) -> u32 {
        window.store_release(self.layout.head, self.head);
        self.head
    }

    /// Goes back to the start of a stream and publishes that.
    pub fn reset<W: Window>(&mut self, window: &W) {
        self.head = 0;
        window.store_release(self.layout.head, 0);
    }

    /// Bytes that can be pushed now.
    pub fn room<W: Window>(&self, window: &W) -> Result<usize, Corrupt> {
        // Acquire: the consumer has copied the bytes out before we overwrite them.
        let tail = window.load_acquire(self.layout.tail);
        let filled = self.layout.filled(self.head, tail)?;
        Ok(self.layout.size.saturating_sub(filled) as usize)
    }

    /// Puts in as many of the bytes as there is room for, and returns how many.
    pub fn push<W: Window>(&mut self, window: &W, bytes: &[u8]) -> Result<usize, Corrupt> {
        let count = self.room(window)?.min(bytes.len());
        let (at, until_wrap) = self.layout.place(self.head);
        let (first, rest) = split(bytes.get(..count).unwrap_or(&[]), until_wrap);
        if !first.is_empty() {
            window.write(at, first);
        }
        if !rest.is_empty() {
            window.write(self.layout.data, rest);
        }

        self.head = self.head.wrapping_add(count as u32);
        // Release: the bytes are there before the index says so.
        window.store_release(self.layout.head, self.head);
        Ok(count)
    }
}

/// The side that takes bytes out.
#[derive(Debug)]
pub struct Consumer {
    layout: Layout,
    tail: u32,
}

impl Consumer {
    /// A consumer at the start of a stream.
    pub const fn new(layout: Layout) -> Self {
        Self::at(layout, 0)
    }

    /// A consumer that goes on at an index, in the same way.
    pub const fn at(layout: Layout, tail: u32) -> Self {
        Self { layout, tail }
    }

    /// Goes back to the start of a stream and publishes that.
    pub fn reset<W: Window>(&mut self, window: &W) {
        self.tail = 0;
        window.store_release(self.layout.tail, 0);
    }

    /// Bytes that can be popped now.
    pub fn available<W: Window>(&self, window: &W) -> Result<usize, Corrupt> {
        // Acquire: the bytes are read after the index that announces them.
        let head = window.load_acquire(self.layout.head);
        Ok(self.layout.filled(head, self.tail)? as usize)
    }

    /// Takes out as many bytes as there are and fit, and returns how many.
    pub fn pop<W: Window>(&mut self, window: &W, to: &mut [u8]) -> Result<usize, Corrupt> {
        let count = self.peek(window, to)?;
        self.commit(window, count);
        Ok(count)
    }

    /// Copies as many bytes as there are and fit, and leaves them there; how many.
    pub fn peek<W: Window>(&self, window: &W, to: &mut [u8]) -> Result<usize, Corrupt> {
        let count = self.available(window)?.min(to.len());
        let (at, until_wrap) = self.layout.place(self.tail);
        let (first, rest) = split_mut(to.get_mut(..count).unwrap_or(&mut []), until_wrap);
        if !first.is_empty() {
            window.read(at, first);
        }
        if !rest.is_empty() {
            window.read(self.layout.data, rest);
        }
        Ok(count)
    }

    /// Takes bytes out that [`peek`](Self::peek) has copied.
    pub fn commit<W: Window>(&mut self, window: &W, count: usize) {
        self.tail = self.tail.wrapping_add(count as u32);
        // Release: the bytes are copied before the producer may overwrite them.
        window.store_release(self.layout.tail, self.tail);
    }
}

fn split(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

fn split_mut(bytes: &mut [u8], at: usize) -> (&mut [u8], &mut [u8]) {
    let at = at.min(bytes.len());
    bytes.split_at_mut_checked(at).unwrap_or_default()
}

#[cfg(test)]
mod proofs;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_wrap_at_two_to_the_thirty_two() {
        let ring = Layout {
            head: 0,
            tail: 4,
            data: 8,
            size: 16,
        };
        assert_eq!(ring.filled(3, u32::MAX - 4), Ok(8));
        assert_eq!(ring.filled(12, u32::MAX - 4), Err(Corrupt));
        assert_eq!(ring.place(u32::MAX), (8 + 15, 1));
        assert_eq!(ring.place(u32::MAX.wrapping_add(1)), (8, 16));
    }
}
