// SPDX-License-Identifier: GPL-2.0

//! A device and its ioctls, sent without a check: the only file with unsafe code.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

use crate::requests::{Argument, Request};

/// An open device.
pub(crate) struct Device(File);

impl Device {
    /// Opens it for reading and writing, without waiting.
    pub(crate) fn open(path: &str) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map(Self)
    }

    /// Sends a request; its error number, 0 for success.
    pub(crate) fn ask(&self, request: &Request) -> i32 {
        let mut record = Vec::new();
        let argument = match &request.argument {
            Argument::Number(number) => *number,
            Argument::Record(bytes) => {
                // The kernel may write as much as the number of any request says: 16 KiB less one.
                record.resize(1 << 14, 0xa5);
                for (to, from) in record.iter_mut().zip(bytes) {
                    *to = *from;
                }
                record.as_mut_ptr() as u64
            }
        };
        // SAFETY: 1. The descriptor is open as long as `self` is borrowed. 2. An argument that is
        // an address is that of `record`, which has room for every size that a request's number
        // can carry, or one that this process has not mapped, see `requests::address`. 3. So have
        // the addresses inside records: what the kernel writes to is none of this program's memory.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::c_ulong::from(request.number) as _,
                argument,
            )
        };
        if result >= 0 {
            return 0;
        }
        io::Error::last_os_error().raw_os_error().unwrap_or(-1)
    }
}
