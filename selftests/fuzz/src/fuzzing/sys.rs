// SPDX-License-Identifier: GPL-2.0

//! What the standard library does not do: requests to a device that nobody has checked, and memory
//! that ends where it is wanted to. Of this package the only file with unsafe code.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::ptr::NonNull;

use crate::Spot;

/// Bytes of a page.
const PAGE: usize = 4096;

/// An open device.
pub struct Device(File);

impl Device {
    /// Opens it for reading and writing, without waiting.
    pub fn open(path: &str) -> io::Result<Self> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map(Self)
    }

    /// Sends a request; its error number, 0 for success.
    ///
    /// `argument` and the addresses in the record there are those of an [`Arena`] or of memory that
    /// this process has not mapped: the kernel writes to them.
    pub fn ask(&self, number: u32, argument: u64) -> i32 {
        ask(self.0.as_raw_fd(), number, argument).err().unwrap_or(0)
    }

    /// The file, to read and write it.
    pub fn file(&self) -> &File {
        &self.0
    }
}

/// Sends a request to a descriptor, which need not be an open one; what it returns, or its error number. The argument is as
/// that of [`Device::ask`].
pub fn ask(file: RawFd, number: u32, argument: u64) -> Result<i32, i32> {
    // SAFETY: What the kernel may write to is none of the memory that Rust knows of, as the callers see to.
    let result = unsafe { libc::ioctl(file, number.into(), argument) };
    if result >= 0 {
        return Ok(result);
    }
    Err(io::Error::last_os_error().raw_os_error().unwrap_or(-1))
}

/// The reading and the writing end of a pipe.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: There is room for two descriptors.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let [read, write] = ends;
    // SAFETY: The call has just opened it, for nobody else.
    let read = unsafe { OwnedFd::from_raw_fd(read) };
    // SAFETY: As above.
    let write = unsafe { OwnedFd::from_raw_fd(write) };
    Ok((read, write))
}

/// CPUs that the machine has, online or not.
pub fn cpus() -> u32 {
    // SAFETY: The function only reads.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    u32::try_from(count).unwrap_or(1)
}

/// Memory for the records and buffers of requests. Behind its end there is nothing.
///
/// # Invariants
///
/// `base` is the start of [`Arena::SIZE`] mapped bytes to which no reference is ever made; a page
/// that cannot be accessed follows. But for the record's pages they can always be written.
pub struct Arena {
    base: NonNull<u8>,
}

// SAFETY: The mapping belongs to the process, not to a thread, and has one owner.
unsafe impl Send for Arena {}

impl Arena {
    /// Where a record goes; the pages there can be made read-only.
    pub const RECORD: usize = 0;
    /// Room for a record of any size that a request's number can carry.
    const RECORD_SIZE: usize = 4 * PAGE;
    /// Where text goes.
    pub const TEXT: usize = Self::RECORD_SIZE;
    /// Where consoles are copied to.
    pub const BUFFER: usize = 8 * PAGE;
    /// Room there: more than is ever copied at once.
    pub const BUFFER_SIZE: usize = Self::SIZE - Self::BUFFER;
    /// Bytes of all of it.
    pub const SIZE: usize = 32 * PAGE;

    /// Maps the memory.
    pub fn new() -> io::Result<Self> {
        // SAFETY: A new mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::SIZE + PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let arena = Self { base };
        arena.protect(Self::SIZE, PAGE, libc::PROT_NONE)?;
        // INVARIANT: The pages were mapped above, and the last one was closed.
        Ok(arena)
    }

    /// Address of an offset.
    pub fn address(&self, offset: usize) -> u64 {
        (self.base.as_ptr() as u64).wrapping_add(offset as u64)
    }

    /// Puts bytes where they are wanted, `offset` if that is in memory; the address.
    pub fn lay(&self, offset: usize, bytes: &[u8], spot: Spot) -> u64 {
        let offset = match spot {
            Spot::Nowhere(address) => return address,
            Spot::Partly(there) => Self::SIZE - (bytes.len() as u64).min(there) as usize,
            Spot::Mapped | Spot::ReadOnly => offset,
        };
        self.write(offset, bytes);
        self.address(offset)
    }

    /// Whether the record's pages can only be read, from now on.
    pub fn close_record(&self, closed: bool) -> io::Result<()> {
        let write = if closed { 0 } else { libc::PROT_WRITE };
        self.protect(Self::RECORD, Self::RECORD_SIZE, libc::PROT_READ | write)
    }

    fn protect(&self, offset: usize, size: usize, protection: i32) -> io::Result<()> {
        // SAFETY: The pages are the arena's, to which there are no references.
        let result =
            unsafe { libc::mprotect(self.base.as_ptr().add(offset).cast(), size, protection) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Copies bytes there, as many as there is room for. The record's pages are not closed.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let len = bytes.len().min(Self::SIZE.saturating_sub(offset));
        // SAFETY: `len` bytes are mapped there or `len` is 0; `bytes` is other memory.
        unsafe { std::ptr::copy(bytes.as_ptr(), self.at(offset), len) };
    }

    /// Copies bytes from there; those beyond the end are as they were.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        let len = bytes.len().min(Self::SIZE.saturating_sub(offset));
        // SAFETY: As in `write`.
        unsafe { std::ptr::copy(self.at(offset), bytes.as_mut_ptr(), len) };
    }

    fn at(&self, offset: usize) -> *mut u8 {
        // SAFETY: The offset lies in the arena or at its end.
        unsafe { self.base.as_ptr().add(offset.min(Self::SIZE)) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: By the invariant this is a mapping of that size, to which there are no references.
        unsafe { libc::munmap(self.base.as_ptr().cast(), Self::SIZE + PAGE) };
    }
}
