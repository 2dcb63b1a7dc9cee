// SPDX-License-Identifier: GPL-2.0

//! The calls of `proto/abi/shm.rs`, and mappings: all of this library that is unsafe.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicU8};

use rustix::mm::{MapFlags, ProtFlags};

/// Does a call whose argument is a record of `N` bytes, which says its size first; what it returns.
fn call<const N: usize>(
    file: BorrowedFd<'_>,
    number: u32,
    record: &mut [u8; N],
) -> io::Result<i32> {
    // SAFETY: The number says that the call reads and writes so many bytes at most, and they are there.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), number.into(), record.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Does a call that changes a record.
pub(crate) fn ioctl<const N: usize>(
    file: BorrowedFd<'_>,
    number: u32,
    record: &mut [u8; N],
) -> io::Result<()> {
    call(file, number, record).map(drop)
}

/// Does a call that gives a new descriptor.
pub(crate) fn ioctl_open<const N: usize>(
    file: BorrowedFd<'_>,
    number: u32,
    record: &mut [u8; N],
) -> io::Result<OwnedFd> {
    let descriptor = call(file, number, record)?;
    // SAFETY: It is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Memory that others write, in kernels of their own too: to be used by atomics and copies only.
///
/// # Invariants
///
/// `size` bytes are mapped at `address`, for reading, and for writing if `is_writable`, until this is dropped.
pub(crate) struct Mapping {
    address: NonNull<u8>,
    size: usize,
    is_writable: bool,
}

// SAFETY: The mapping is the process's, not a thread's.
unsafe impl Send for Mapping {}
// SAFETY: All access is by atomics, or by copies that may tear.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a part of a region.
    pub(crate) fn new(
        file: BorrowedFd<'_>,
        offset: u64,
        size: usize,
        is_writable: bool,
    ) -> io::Result<Self> {
        let mut rights = ProtFlags::READ;
        if is_writable {
            rights |= ProtFlags::WRITE;
        }
        // SAFETY: Linux chooses the address: nothing of this process is there.
        let address = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                size,
                rights,
                MapFlags::SHARED,
                file,
                offset,
            )
        }?;
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        // INVARIANT: It has just been mapped.
        Ok(Self {
            address,
            size,
            is_writable,
        })
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.is_writable
    }

    pub(crate) fn address(&self) -> NonNull<u8> {
        self.address
    }

    /// Where something of so many bytes lies, if it is in the mapping and aligned.
    fn at<T>(&self, offset: usize) -> Option<NonNull<T>> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.size || offset % align_of::<T>() != 0 {
            return None;
        }
        // SAFETY: It lies in the mapping.
        Some(unsafe { self.address.add(offset) }.cast())
    }

    pub(crate) fn word(&self, offset: usize) -> Option<&AtomicU32> {
        // SAFETY: Mapped, aligned, as long as this is borrowed; all access it as an atomic, or it is theirs that goes wrong.
        self.at(offset).map(|word| unsafe { word.as_ref() })
    }

    pub(crate) fn word64(&self, offset: usize) -> Option<&AtomicU64> {
        // SAFETY: As in `word`.
        self.at(offset).map(|word| unsafe { word.as_ref() })
    }

    /// Bytes as atomics.
    pub(crate) fn bytes(&self, offset: usize, length: usize) -> Option<&[AtomicU8]> {
        let end = offset.checked_add(length)?;
        if end > self.size {
            return None;
        }
        // SAFETY: As in `word`; one byte is always aligned.
        Some(unsafe {
            std::slice::from_raw_parts(self.address.add(offset).cast().as_ptr(), length)
        })
    }

    /// Copies out what is there, as fast as memory is copied. It may be torn where somebody writes.
    pub(crate) fn read(&self, offset: usize, to: &mut [u8]) -> bool {
        let Some(from) = self.bytes(offset, to.len()) else {
            return false;
        };
        // SAFETY: As many bytes are mapped there, `to` is this process's alone, and no reference to a byte that is not an
        // atomic is made.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr().cast(), to.as_mut_ptr(), to.len()) };
        true
    }

    /// Copies in.
    pub(crate) fn write(&self, offset: usize, from: &[u8]) -> bool {
        let Some(to) = self.bytes(offset, from.len()).filter(|_| self.is_writable) else {
            return false;
        };
        let to: *const u8 = to.as_ptr().cast();
        // SAFETY: As in `read`; it is mapped for writing.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.cast_mut(), from.len()) };
        true
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: By the invariant this is mapped, and all that borrows it is gone.
        let unmapped =
            unsafe { rustix::mm::munmap(self.address.as_ptr().cast::<c_void>(), self.size) };
        debug_assert!(unmapped.is_ok());
    }
}
