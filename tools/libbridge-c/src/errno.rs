// SPDX-License-Identifier: GPL-2.0

//! Errors as C has them.

use std::ffi::c_int;
use std::io;
use std::ptr;

/// The number of an error: the kernel's, or one for the kind that the library has found by itself.
fn number(error: &io::Error) -> c_int {
    error.raw_os_error().unwrap_or(match error.kind() {
        io::ErrorKind::AlreadyExists => libc::EEXIST,
        io::ErrorKind::BrokenPipe => libc::EPIPE,
        io::ErrorKind::Interrupted => libc::EINTR,
        io::ErrorKind::InvalidData => libc::EPROTO,
        io::ErrorKind::InvalidInput => libc::EINVAL,
        io::ErrorKind::NotFound => libc::ENOENT,
        io::ErrorKind::OutOfMemory => libc::ENOMEM,
        io::ErrorKind::PermissionDenied => libc::EACCES,
        io::ErrorKind::ResourceBusy => libc::EBUSY,
        io::ErrorKind::TimedOut => libc::ETIMEDOUT,
        io::ErrorKind::WouldBlock => libc::EAGAIN,
        _ => libc::EIO,
    })
}

/// What is said for an error.
pub(crate) trait Failed {
    const FAILED: Self;
}

impl Failed for c_int {
    const FAILED: Self = -1;
}

impl Failed for i64 {
    const FAILED: Self = -1;
}

impl Failed for isize {
    const FAILED: Self = -1;
}

impl<T> Failed for *mut T {
    const FAILED: Self = ptr::null_mut();
}

/// What a function returns; for an error, that and errno.
pub(crate) fn answer<T: Failed>(result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| {
        // SAFETY: It is this thread's own.
        unsafe { *libc::__errno_location() = number(&error) };
        T::FAILED
    })
}

/// The error of a number.
pub(crate) fn error(number: c_int) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// What a function returns that has nothing to tell.
pub(crate) fn done(result: io::Result<()>) -> c_int {
    answer(result.map(|()| 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_number_that_linux_has_for_it() {
        let kinds = [
            io::ErrorKind::AlreadyExists,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::Interrupted,
            io::ErrorKind::InvalidInput,
            io::ErrorKind::NotFound,
            io::ErrorKind::OutOfMemory,
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::ResourceBusy,
            io::ErrorKind::TimedOut,
            io::ErrorKind::WouldBlock,
        ];
        for kind in kinds {
            // The standard library has it the other way round.
            assert_eq!(error(number(&kind.into())).kind(), kind);
        }
        assert_eq!(number(&io::ErrorKind::InvalidData.into()), libc::EPROTO);
        assert_eq!(number(&io::Error::other("something else")), libc::EIO);
    }

    #[test]
    fn the_kernels_number_stays() {
        for number in [libc::EOWNERDEAD, libc::EPERM, libc::EDQUOT, libc::EMSGSIZE] {
            assert_eq!(super::number(&error(number)), number);
        }
    }

    #[test]
    fn an_error_sets_errno_and_what_is_returned() {
        let errno = || io::Error::last_os_error().raw_os_error();
        assert_eq!(answer::<i64>(Err(error(libc::EBUSY))), -1);
        assert_eq!(errno(), Some(libc::EBUSY));
        assert!(answer::<*mut u8>(Err(io::ErrorKind::BrokenPipe.into())).is_null());
        assert_eq!(errno(), Some(libc::EPIPE));
        assert_eq!(answer::<c_int>(Ok(7)), 7);
        assert_eq!(errno(), Some(libc::EPIPE));
        assert_eq!(done(Ok(())), 0);
    }
}
