// SPDX-License-Identifier: GPL-2.0

//! Slots for messages in a region: what both kinds of channels are made of.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::memory::Memory;

/// Says that there is a channel.
const MAGIC: u64 = u64::from_le_bytes(*b"ADEOSCHN");

/// Bytes before the first slot.
pub(crate) const HEADER: u64 = 256;

/// Where numbers lie, from the channel's begin. What the two sides write is in lines of its own.
pub(crate) mod at {
    /// `u64`: says that there is a channel; written last.
    pub(crate) const MAGIC: u64 = 0;
    /// `u32`: slots.
    pub(crate) const SLOTS: u64 = 8;
    /// `u32`: bytes that a message can have.
    pub(crate) const BYTES: u64 = 12;
    /// `u64`: messages that were sent.
    pub(crate) const SENT: u64 = 64;
    /// Word: the sender, or the lock of all.
    pub(crate) const SENDER: u64 = 72;
    /// Word: 1 while who receives sleeps, or the condition for it.
    pub(crate) const NOT_EMPTY: u64 = 76;
    /// `u64`: messages that were received.
    pub(crate) const RECEIVED: u64 = 128;
    /// Word: the receiver.
    pub(crate) const RECEIVER: u64 = 136;
    /// Word: 1 while who sends sleeps, or the condition for it.
    pub(crate) const NOT_FULL: u64 = 140;
}

/// The shape of a channel: how many messages wait in it, and how large they are.
///
/// ```
/// use bridge::Shape;
///
/// // Two channels of this shape, one behind the other, each at a multiple of 64.
/// let shape = Shape { slots: 100, bytes: 1000 };
/// let first = 0;
/// let second = (first + shape.size()).next_multiple_of(64);
/// assert!(second + shape.size() <= 2 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Messages that can wait: at least 1.
    pub slots: u32,
    /// Bytes that a message can have.
    pub bytes: u32,
}

impl Shape {
    /// Bytes of one slot: a length, and what is said.
    fn stride(self) -> u64 {
        (8 + u64::from(self.bytes)).next_multiple_of(8)
    }

    /// Bytes of a region that a channel takes.
    pub fn size(self) -> u64 {
        let slots = u64::from(self.slots).saturating_mul(self.stride());
        slots.saturating_add(HEADER)
    }
}

/// A channel in mapped memory.
#[derive(Clone, Copy)]
pub(crate) struct Slots<'a> {
    memory: &'a Memory,
    /// Where it begins in the region.
    offset: u64,
    shape: Shape,
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.to_owned())
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "what stands in the channel makes no sense",
    )
}

fn too_long() -> io::Error {
    io::Error::from_raw_os_error(libc::EMSGSIZE)
}

impl<'a> Slots<'a> {
    /// Makes a channel where nothing but zeros are. All that use it do so by [`Slots::open`].
    pub(crate) fn create(memory: &'a Memory, offset: u64, shape: Shape) -> io::Result<Self> {
        memory.check_writable()?;
        if shape.slots == 0 || offset % 64 != 0 || !memory.has(offset, shape.size()) {
            return Err(invalid(
                "a channel has a slot, begins at a multiple of 64, and lies in the region",
            ));
        }
        let slots = Self {
            memory,
            offset,
            shape,
        };
        slots.word(at::SLOTS)?.store(shape.slots, Ordering::Relaxed);
        slots.word(at::BYTES)?.store(shape.bytes, Ordering::Relaxed);
        slots.number(at::MAGIC)?.store(MAGIC, Ordering::Release);
        Ok(slots)
    }

    /// Finds the channel at an offset. [`NotFound`](io::ErrorKind::NotFound) there is none (yet).
    pub(crate) fn open(memory: &'a Memory, offset: u64) -> io::Result<Self> {
        if offset % 64 != 0 {
            return Err(invalid("a channel begins at a multiple of 64"));
        }
        let unshaped = Self {
            memory,
            offset,
            shape: Shape { slots: 1, bytes: 0 },
        };
        if unshaped.number(at::MAGIC)?.load(Ordering::Acquire) != MAGIC {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "there is no channel there",
            ));
        }
        let shape = Shape {
            slots: unshaped.word(at::SLOTS)?.load(Ordering::Relaxed),
            bytes: unshaped.word(at::BYTES)?.load(Ordering::Relaxed),
        };
        if shape.slots == 0 || !memory.has(offset, shape.size()) {
            return Err(broken());
        }
        Ok(Self { shape, ..unshaped })
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Where a number of the channel lies in the region.
    pub(crate) fn offset(&self, of: u64) -> u64 {
        self.offset + of
    }

    pub(crate) fn word(&self, of: u64) -> io::Result<&'a AtomicU32> {
        self.memory.word(self.place(of)?)
    }

    pub(crate) fn number(&self, of: u64) -> io::Result<&'a AtomicU64> {
        self.memory.word64(self.place(of)?)
    }

    fn place(&self, of: u64) -> io::Result<usize> {
        self.memory.place(self.offset.saturating_add(of))
    }

    fn slot(&self, number: u64) -> u64 {
        HEADER + number % u64::from(self.shape.slots) * self.shape.stride()
    }

    /// EMSGSIZE a message is larger than the channel's.
    pub(crate) fn check(&self, message: &[u8]) -> io::Result<()> {
        if message.len() > self.shape.bytes as usize {
            return Err(too_long());
        }
        Ok(())
    }

    /// Puts a message into the slot of a number.
    pub(crate) fn put(&self, number: u64, message: &[u8]) -> io::Result<()> {
        self.check(message)?;
        let slot = self.slot(number);
        // It is no larger than 32 bits, as has been seen.
        self.word(slot)?
            .store(message.len() as u32, Ordering::Relaxed);
        self.memory.write(self.place(slot + 8)?, message)
    }

    /// The length of the message in the slot of a number.
    fn length(&self, number: u64) -> io::Result<usize> {
        let length = self.word(self.slot(number))?.load(Ordering::Relaxed);
        if length > self.shape.bytes {
            return Err(broken());
        }
        Ok(length as usize)
    }

    /// Copies the message out of the slot of a number.
    pub(crate) fn get(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut message = vec![0; self.length(number)?];
        let place = self.place(self.slot(number) + 8)?;
        self.memory.read(place, &mut message)?;
        Ok(message)
    }

    /// Copies the message out of the slot of a number to where a buffer begins: its length. EMSGSIZE it does not fit.
    pub(crate) fn get_into(&self, number: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.length(number)?;
        let message = buffer.get_mut(..length).ok_or_else(too_long)?;
        let place = self.place(self.slot(number) + 8)?;
        self.memory.read(place, message)?;
        Ok(length)
    }

    /// Messages that wait, by the two numbers: more than there can be makes no sense.
    pub(crate) fn waiting(&self, sent: u64, received: u64) -> io::Result<u64> {
        let waiting = sent.wrapping_sub(received);
        if waiting > u64::from(self.shape.slots) {
            return Err(broken());
        }
        Ok(waiting)
    }
}

#[cfg(test)]
mod tests;
