// SPDX-License-Identifier: GPL-2.0

//! Regular files given by descriptor: the kernel image and the initial RAM disk. The one wrapper of
//! `kernel_read` and of what an open file is.

use adeos_core::Mapping;
use kernel::bindings;
use kernel::fs::LocalFile;
use kernel::prelude::*;
use kernel::sync::aref::ARef;

/// Bytes that are read in one go, so that others get to run in between.
const STEP: usize = 1 << 20;

/// An open regular file, with the size that it had when it was looked at.
pub(crate) struct ImageFile {
    file: ARef<LocalFile>,
    size: u64,
}

impl ImageFile {
    /// Takes a descriptor of the calling process. EBADF when it is none or not readable, EINVAL
    /// when it is not a regular file, or was
    /// opened with O_DIRECT.
    pub(crate) fn from_fd(fd: i32) -> Result<Self> {
        let file = LocalFile::fget(u32::try_from(fd).map_err(|_| EBADF)?)?;
        // SAFETY: The file is open, and its mode does not change.
        let mode = unsafe { (*file.as_ptr()).f_mode };
        if mode & (1 << 0) == 0 {
            return Err(EBADF);
        }
        // Into memory that has no page structures, a file cannot be read past the page cache.
        // SAFETY: As above; a flag that changes meanwhile is as if it had changed later.
        let flags = unsafe { (*file.as_ptr()).f_flags };
        if flags & bindings::O_DIRECT != 0 {
            return Err(EINVAL);
        }
        // SAFETY: An open file has an inode, which lives as long as the file.
        let inode = unsafe { (*file.as_ptr()).f_inode };
        // SAFETY: As above; the type of an inode does not change.
        let kind = u32::from(unsafe { (*inode).i_mode }) & bindings::S_IFMT;
        if kind != bindings::S_IFREG {
            return Err(EINVAL);
        }
        // SAFETY: As above; a size that changes meanwhile gives an old or a new value.
        let size = unsafe { core::ptr::read_volatile(&raw const (*inode).i_size) };
        Ok(Self {
            file,
            size: u64::try_from(size)?,
        })
    }

    /// Bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Reads as much of the file's start as there is, at most `to`; how many bytes.
    pub(crate) fn read_start(&self, to: &mut [u8]) -> Result<usize> {
        let len = to.len().min(usize::try_from(self.size)?);
        // SAFETY: `to` has room for `len` bytes.
        unsafe { self.read_at(0, to.as_mut_ptr(), len) }?;
        Ok(len)
    }

    /// Reads the little-endian number at `position`. ENODATA when the file ends before.
    pub(crate) fn read_number(&self, position: u64) -> Result<u32> {
        let mut bytes = [0; 4];
        // SAFETY: `bytes` has room for its length.
        unsafe { self.read_at(position, bytes.as_mut_ptr(), bytes.len()) }?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads `size` bytes from `position` into memory at `offset` of a mapping. ENODATA when the
    /// file ends before, EINTR on a signal.
    pub(crate) fn load(&self, position: u64, size: u64, to: &Mapping, offset: usize) -> Result {
        let mut done = 0;
        let size = usize::try_from(size)?;
        while done < size {
            if kernel::current!().signal_pending() {
                return Err(EINTR);
            }
            let step = STEP.min(size - done);
            let address = to.at(offset + done, step).ok_or(EINVAL)?;
            // SAFETY: `at` says that `step` bytes are mapped there, and nobody borrows them.
            unsafe { self.read_at(position + done as u64, address, step) }?;
            done += step;
        }
        Ok(())
    }

    /// # Safety
    ///
    /// `to` is valid for writes of `len` bytes.
    unsafe fn read_at(&self, position: u64, to: *mut u8, len: usize) -> Result {
        let mut position = i64::try_from(position)?;
        let mut done = 0;
        while done < len {
            // SAFETY: The file is open for reading; `to` is valid for `len` bytes, of which `done`
            // are behind.
            let read = unsafe {
                bindings::kernel_read(
                    self.file.as_ptr(),
                    to.add(done).cast(),
                    len - done,
                    &mut position,
                )
            };
            match usize::try_from(read) {
                Ok(0) => return Err(ENODATA),
                Ok(read) => done += read,
                Err(_) => return Err(kernel::error::Error::from_errno(read as i32)),
            }
        }
        Ok(())
    }
}
