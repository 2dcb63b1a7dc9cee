// SPDX-License-Identifier: GPL-2.0

//! The fuzzer's bytes as numbers and choices, taken one after the other.

use std::cell::Cell;

/// What is left of the fuzzer's bytes. Behind their end all is zero.
pub struct Input<'a>(Cell<&'a [u8]>);

impl<'a> Input<'a> {
    /// All of the bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Cell::new(bytes))
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.0.get().is_empty()
    }

    /// Up to `count` bytes.
    pub fn take(&self, count: usize) -> &'a [u8] {
        let left = self.0.get();
        let (taken, left) = left.split_at(count.min(left.len()));
        self.0.set(left);
        taken
    }

    /// As many bytes as there is room for, and zeros behind the end.
    pub fn array<const N: usize>(&self) -> [u8; N] {
        let mut array = [0; N];
        for (to, from) in array.iter_mut().zip(self.take(N)) {
            *to = *from;
        }
        array
    }

    /// One byte.
    pub fn byte(&self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    /// A 16-bit number.
    pub fn u16(&self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// A 32-bit number.
    pub fn u32(&self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A 64-bit number.
    pub fn u64(&self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `bound`, which is at most 65536; 0 if that is 0.
    pub fn below(&self, bound: usize) -> usize {
        let number = if bound <= 256 {
            usize::from(self.byte())
        } else {
            usize::from(self.u16())
        };
        number.checked_rem(bound).unwrap_or(0)
    }

    /// Yes or no.
    pub fn yes(&self) -> bool {
        self.byte() % 2 == 1
    }
}
