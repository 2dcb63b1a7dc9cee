// SPDX-License-Identifier: GPL-2.0

//! What programs share that ask a device for what no honest program would: random numbers that a seed repeats, memory for
//! requests that ends where it is wanted to, and the answers that a request may get.

mod allowed;
mod random;
mod sys;

pub use allowed::Allowed;
pub use random::Random;
pub use sys::{ask, cpus, pipe, Arena, Device};

use std::fmt;

/// Where something lies that a request gives the address of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// In memory, all of it.
    Mapped,
    /// In memory that can be read only.
    ReadOnly,
    /// Only so many bytes of it are in memory.
    Partly(u64),
    /// At this address, where there is nothing.
    Nowhere(u64),
}

impl Spot {
    /// Mostly where something of so many bytes belongs.
    pub fn any(random: &mut Random, size: usize) -> Self {
        match random.below(40) {
            0 => Self::Nowhere(random.nowhere()),
            1 => Self::Partly(random.below(size as u64)),
            2 => Self::ReadOnly,
            _ => Self::Mapped,
        }
    }
}

/// Bytes of a record, shown in hexadecimal up to where only zeros follow.
#[derive(Clone)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.iter().rposition(|byte| *byte != 0);
        write!(to, "{} bytes ", self.0.len())?;
        let shown = last.map_or(0, |last| last + 1);
        self.0
            .iter()
            .take(shown)
            .try_for_each(|byte| write!(to, "{byte:02x}"))
    }
}

/// The number at an offset; what is missing is zero.
pub fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut raw = [0; 4];
    for (to, from) in raw.iter_mut().zip(bytes.iter().skip(offset)) {
        *to = *from;
    }
    u32::from_le_bytes(raw)
}

/// Puts a number at an offset, as far as there is room.
pub fn put64(bytes: &mut [u8], offset: usize, number: u64) {
    for (to, from) in bytes.iter_mut().skip(offset).zip(number.to_le_bytes()) {
        *to = from;
    }
}

/// Puts the size of a record where it says that.
pub fn put_size(bytes: &mut [u8], size: u32) {
    for (to, from) in bytes.iter_mut().zip(size.to_le_bytes()) {
        *to = from;
    }
}

/// The bytes of a record for an ioctl's number whatever that is: numbers of the kind that checks forget, behind the size.
pub fn noise(random: &mut Random, number: u32) -> Vec<u8> {
    let size = (number >> 16) & 0x3fff;
    let mut bytes = vec![0; size as usize];
    for offset in (0..bytes.len()).step_by(8) {
        put64(&mut bytes, offset, random.boundary());
    }
    put_size(&mut bytes, size);
    bytes
}
