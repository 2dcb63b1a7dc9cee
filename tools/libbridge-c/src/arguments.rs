// SPDX-License-Identifier: GPL-2.0

//! What C says, as values of Rust; and handles, which are boxes that C has.

use std::ffi::{c_char, c_int, c_void, CStr};
use std::io;
use std::slice;
use std::time::Duration;

use bridge::{Access, Name};

use crate::errno::{answer, error};

/// A time in ms; a negative one never ends.
pub(crate) fn timeout(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

/// A number that C has with a sign, so that -1 is an error.
pub(crate) fn signed(value: u64) -> io::Result<i64> {
    i64::try_from(value).map_err(io::Error::other)
}

pub(crate) fn access(number: c_int) -> io::Result<Access> {
    match number {
        1 => Ok(Access::Read),
        2 => Ok(Access::Write),
        _ => Err(error(libc::EINVAL)),
    }
}

/// A name, and whose it is.
///
/// # Safety
///
/// `name` is null, or a string of C for `'a`.
pub(crate) unsafe fn name<'a>(name: *const c_char, scope: c_int) -> io::Result<Name<'a>> {
    if name.is_null() {
        return Err(error(libc::EFAULT));
    }
    // SAFETY: By this function's conditions.
    let name = unsafe { CStr::from_ptr(name) };
    let name = name.to_str().map_err(|_| error(libc::EINVAL))?;
    match scope {
        -1 => Ok(Name::Global(name)),
        -2 => Ok(Name::Own(name)),
        vnode => {
            let vnode = u32::try_from(vnode).map_err(|_| error(libc::EINVAL))?;
            Ok(Name::Local(vnode, name))
        }
    }
}

/// Bytes of C's; none at all may be anywhere.
///
/// # Safety
///
/// `length` bytes are at `from` for `'a`, unless it is null.
pub(crate) unsafe fn bytes<'a>(from: *const c_void, length: usize) -> io::Result<&'a [u8]> {
    check_buffer(from, length)?;
    if length == 0 {
        return Ok(&[]);
    }
    // SAFETY: By this function's conditions; it is not null, and no object has more bytes than a slice can.
    Ok(unsafe { slice::from_raw_parts(from.cast(), length) })
}

/// A buffer of C's.
///
/// # Safety
///
/// `length` bytes are at `to`, unless it is null, and they are the caller's alone for `'a`.
pub(crate) unsafe fn buffer<'a>(to: *mut c_void, length: usize) -> io::Result<&'a mut [u8]> {
    check_buffer(to, length)?;
    if length == 0 {
        return Ok(&mut []);
    }
    // SAFETY: As in `bytes`. What C has not written yet is bytes of any value: Rust cannot know better.
    Ok(unsafe { slice::from_raw_parts_mut(to.cast(), length) })
}

fn check_buffer(at: *const c_void, length: usize) -> io::Result<()> {
    if at.is_null() && length != 0 {
        return Err(error(libc::EFAULT));
    }
    if isize::try_from(length).is_err() {
        return Err(error(libc::EINVAL));
    }
    Ok(())
}

/// Gives C a handle; null for an error.
pub(crate) fn give<T>(result: io::Result<T>) -> *mut T {
    answer(result.map(|value| Box::into_raw(Box::new(value))))
}

/// What a handle is of. EFAULT it is null.
///
/// # Safety
///
/// `handle` is null, or was given by [`give`], and is not taken back for `'a`.
pub(crate) unsafe fn of<'a, T>(handle: *const T) -> io::Result<&'a T> {
    // SAFETY: By this function's conditions.
    unsafe { handle.as_ref() }.ok_or_else(|| error(libc::EFAULT))
}

/// Takes a handle back.
///
/// # Safety
///
/// `handle` is null, or was given by [`give`], and nobody uses it any more.
pub(crate) unsafe fn take_back<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: By this function's conditions it is a box's.
        drop(unsafe { Box::from_raw(handle) });
    }
}
