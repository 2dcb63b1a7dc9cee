// SPDX-License-Identifier: GPL-2.0

//! A region as it is mapped.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicU8};

use crate::region::Region;
use crate::sys::Mapping;

/// A mapped region, or a part of one. It stays mapped when its [`Region`] is closed, and keeps it open.
///
/// Others write it at any time, from kernels that may have died in the middle of it: there are atomics and copies here, and no
/// plain references. Offsets count from where this memory begins, which is where the region does if all of it is mapped. One that is not in the
/// memory, or no multiple of the number's size, is [`InvalidInput`](io::ErrorKind::InvalidInput).
///
/// ```no_run
/// use bridge::{Access, Region};
/// use std::sync::atomic::Ordering;
///
/// # fn main() -> std::io::Result<()> {
/// let memory = Region::open("weather", Access::Write)?.map()?;
/// memory.write(64, b"rain")?;
/// // Who sees this number sees what was written before.
/// memory.word(0)?.store(4, Ordering::Release);
/// # Ok(())
/// # }
/// ```
pub struct Memory {
    mapping: Mapping,
    /// Where it begins in the region.
    begin: u64,
    /// That of the open region that was mapped.
    token: u32,
}

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
    /// A part of the open region of a token, mapped.
    pub(crate) fn new(mapping: Mapping, begin: u64, token: u32) -> Self {
        Self {
            mapping,
            begin,
            token,
        }
    }

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        self.mapping.size()
    }

    /// Whether it can be written.
    pub fn is_writable(&self) -> bool {
        self.mapping.is_writable()
    }

    /// Where it begins, for what wants an address. It is good as long as this lives.
    pub fn address(&self) -> NonNull<u8> {
        self.mapping.address()
    }

    /// The 32-bit number at an offset. To store in memory that cannot be written is a fault (SIGSEGV), as with any mapping.
    pub fn word(&self, offset: usize) -> io::Result<&AtomicU32> {
        self.mapping.word(offset).ok_or_else(outside)
    }

    /// The 64-bit number at an offset.
    pub fn word64(&self, offset: usize) -> io::Result<&AtomicU64> {
        self.mapping.word64(offset).ok_or_else(outside)
    }

    /// Some bytes.
    pub fn bytes(&self, offset: usize, length: usize) -> io::Result<&[AtomicU8]> {
        self.mapping.bytes(offset, length).ok_or_else(outside)
    }

    /// Copies bytes out. They are those of several moments where somebody writes meanwhile.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> io::Result<()> {
        let is_read = self.mapping.read(offset, to);
        is_read.then_some(()).ok_or_else(outside)
    }

    /// Copies bytes in.
    pub fn write(&self, offset: usize, from: &[u8]) -> io::Result<()> {
        self.check_writable()?;
        let is_written = self.mapping.write(offset, from);
        is_written.then_some(()).ok_or_else(outside)
    }

    /// Where an offset of the region lies in this memory, if it does not lie before it.
    pub(crate) fn place(&self, offset: u64) -> io::Result<usize> {
        let place = offset.checked_sub(self.begin).ok_or_else(outside)?;
        usize::try_from(place).map_err(|_| outside())
    }

    /// Whether it has all of a part of the region.
    pub(crate) fn has(&self, offset: u64, bytes: u64) -> bool {
        let end = self.begin + self.size() as u64;
        let part_end = offset.checked_add(bytes);
        offset >= self.begin && part_end.is_some_and(|part_end| part_end <= end)
    }

    pub(crate) fn check_writable(&self) -> io::Result<()> {
        self.is_writable().then_some(()).ok_or_else(read_only)
    }

    /// Checks that it is memory of an open region, and can be written.
    pub(crate) fn check_writable_of(&self, region: &Region) -> io::Result<()> {
        if self.token != region.token() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this memory is that of another region",
            ));
        }
        self.check_writable()
    }
}
