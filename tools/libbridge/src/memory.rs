// SPDX-License-Identifier: GPL-2.0

//! A region as it is mapped.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicU8};

use crate::sys::Mapping;

/// A mapped region, or a part of one. It stays mapped when its [`Region`](crate::Region) is closed, and keeps it open.
///
/// Others write it at any time, from kernels that may have died in the middle of it: there are atomics and copies here, and no
/// plain references. An offset that is not in the memory, or no multiple of the number's size, is
/// [`InvalidInput`](io::ErrorKind::InvalidInput).
pub struct Memory(pub(crate) Mapping);

fn outside() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "this is not in the region, or not aligned",
    )
}

fn read_only() -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        "the region is open for reading",
    )
}

impl Memory {
    /// How many bytes it has.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// Whether it can be written.
    pub fn is_writable(&self) -> bool {
        self.0.is_writable()
    }

    /// Where it begins, for what wants an address. It is good as long as this lives.
    pub fn address(&self) -> NonNull<u8> {
        self.0.address()
    }

    /// The 32-bit number at an offset. To store in memory that cannot be written is a fault (SIGSEGV), as with any mapping.
    pub fn word(&self, offset: usize) -> io::Result<&AtomicU32> {
        self.0.word(offset).ok_or_else(outside)
    }

    /// The 64-bit number at an offset.
    pub fn word64(&self, offset: usize) -> io::Result<&AtomicU64> {
        self.0.word64(offset).ok_or_else(outside)
    }

    /// Some bytes.
    pub fn bytes(&self, offset: usize, length: usize) -> io::Result<&[AtomicU8]> {
        self.0.bytes(offset, length).ok_or_else(outside)
    }

    /// Copies bytes out. They are those of several moments where somebody writes meanwhile.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, to).then_some(()).ok_or_else(outside)
    }

    /// Copies bytes in.
    pub fn write(&self, offset: usize, from: &[u8]) -> io::Result<()> {
        if !self.is_writable() {
            return Err(read_only());
        }
        self.0.write(offset, from).then_some(()).ok_or_else(outside)
    }
}
