// SPDX-License-Identifier: GPL-2.0

//! What `include/bridge.h` declares.

use std::ffi::{c_char, c_int, c_uint, c_void, CStr};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use adeos_proto::shm::lock::is_alive;

use crate::lock::{self, Place, Taken};
use crate::region::{stat, Access, Options, Region, Vnodes};

/// Sets errno, and returns -1, for an error.
fn answer<T: From<i8>>(result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| {
        let number = error.raw_os_error().unwrap_or(match error.kind() {
            io::ErrorKind::InvalidInput => libc::EINVAL,
            io::ErrorKind::TimedOut => libc::ETIMEDOUT,
            io::ErrorKind::PermissionDenied => libc::EACCES,
            _ => libc::EIO,
        });
        // SAFETY: It is this thread's own.
        unsafe { *libc::__errno_location() = number };
        T::from(-1)
    })
}

fn timeout(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

/// # Safety
///
/// `name` is a string of C.
unsafe fn text<'a>(name: *const c_char) -> io::Result<&'a str> {
    if name.is_null() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: By this function's conditions.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_str()
        .map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn number(value: u64) -> io::Result<i64> {
    i64::try_from(value).map_err(io::Error::other)
}

/// The region of a descriptor, which stays the caller's.
///
/// # Safety
///
/// The descriptor is open for as long as what is returned is used.
unsafe fn region(descriptor: RawFd) -> io::Result<ManuallyDrop<Region>> {
    if descriptor < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: By this function's conditions.
    let stat = stat(unsafe { BorrowedFd::borrow_raw(descriptor) })?;
    // SAFETY: By this function's conditions it is open; as it is never dropped, it is not closed.
    let file = unsafe { OwnedFd::from_raw_fd(descriptor) };
    Ok(ManuallyDrop::new(Region::with(file, &stat)))
}

/// Does something with the region of a descriptor.
///
/// # Safety
///
/// If the descriptor is one of a region, it is open meanwhile.
unsafe fn with<T: From<i8>>(descriptor: RawFd, what: impl FnOnce(&Region) -> io::Result<T>) -> T {
    // SAFETY: By this function's conditions.
    answer(unsafe { region(descriptor) }.and_then(|region| what(&region)))
}

/// # Safety
///
/// `name` is a string of C.
#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_create(
    name: *const c_char,
    bytes: u64,
    mode: c_uint,
    vnodes: u16,
) -> c_int {
    let options = Options::new(bytes).mode(mode).vnodes(Vnodes(vnodes));
    // SAFETY: By this function's conditions.
    let made = unsafe { text(name) }.and_then(|name| Region::create(name, &options));
    answer(made.map(Region::into_raw_fd))
}

/// # Safety
///
/// `name` is a string of C.
#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_open(name: *const c_char, write: c_int) -> c_int {
    let access = if write != 0 {
        Access::Write
    } else {
        Access::Read
    };
    // SAFETY: By this function's conditions.
    let opened = unsafe { text(name) }.and_then(|name| Region::open(name, access));
    answer(opened.map(Region::into_raw_fd))
}

/// # Safety
///
/// No other thread closes the descriptor meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_size(descriptor: c_int) -> i64 {
    // SAFETY: By this function's conditions.
    unsafe { with(descriptor, |region| number(region.size()?)) }
}

/// # Safety
///
/// No other thread closes the descriptor meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_notify(descriptor: c_int) -> c_int {
    // SAFETY: By this function's conditions.
    unsafe { with(descriptor, |region| region.notify().map(|()| 0)) }
}

/// # Safety
///
/// No other thread closes the descriptor meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_notices(descriptor: c_int) -> i64 {
    // SAFETY: By this function's conditions.
    unsafe { with(descriptor, |region| number(region.stat()?.notices)) }
}

/// # Safety
///
/// No other thread closes the descriptor meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_wait(descriptor: c_int, seen: u64, ms: i64) -> i64 {
    // SAFETY: By this function's conditions.
    unsafe { with(descriptor, |region| number(region.wait(seen, timeout(ms))?)) }
}

/// # Safety
///
/// No other thread closes the descriptor meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_wait_word(
    descriptor: c_int,
    offset: u64,
    value: u32,
    ms: i64,
) -> c_int {
    let wait = |region: &Region| region.wait_word(offset, value, timeout(ms)).map(|()| 0);
    // SAFETY: By this function's conditions.
    unsafe { with(descriptor, wait) }
}

/// # Safety
///
/// No other thread closes the descriptor meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_wake_word(
    descriptor: c_int,
    offset: u64,
    count: u32,
) -> c_int {
    // SAFETY: By this function's conditions.
    unsafe {
        with(descriptor, |region| {
            region.wake_word(offset, count).map(|()| 0)
        })
    }
}

/// A lock where the caller has mapped the region.
struct Given<'a> {
    region: &'a Region,
    word: &'a AtomicU32,
}

impl Place for Given<'_> {
    fn word(&self, _: u64) -> io::Result<&AtomicU32> {
        Ok(self.word)
    }

    fn wait(&self, offset: u64, value: u32, timeout: Duration) -> io::Result<()> {
        self.region.wait_word(offset, value, Some(timeout))
    }

    fn wake(&self, offset: u64, count: u32) -> io::Result<()> {
        self.region.wake_word(offset, count)
    }

    fn token(&self) -> u32 {
        self.region.token()
    }

    fn is_alive(&self, word: u32) -> io::Result<bool> {
        Ok(is_alive(word, &self.region.stat()?.users))
    }
}

impl<'a> Given<'a> {
    /// # Safety
    ///
    /// All of the region is mapped at `base` for `'a`, to be written.
    unsafe fn new(region: &'a Region, base: *mut c_void, offset: u64) -> io::Result<Self> {
        let is_in_it = offset
            .checked_add(4)
            .is_some_and(|end| region.size().is_ok_and(|size| end <= size));
        if base.is_null() || offset % 4 != 0 || !is_in_it {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: It lies in the mapping, by this function's conditions and the check, and is aligned, as mappings are. An offset in what is
        // mapped fits in an address.
        let word = unsafe { &*base.byte_add(offset as usize).cast::<AtomicU32>() };
        Ok(Self { region, word })
    }
}

/// # Safety
///
/// All of the region is mapped at `base`, to be written, and neither is undone meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_lock(
    descriptor: c_int,
    base: *mut c_void,
    offset: u64,
    ms: i64,
) -> c_int {
    let lock = |region: &Region| {
        region.guard(offset)?;
        // SAFETY: By this function's conditions.
        let place = unsafe { Given::new(region, base, offset) }?;
        match lock::take(&place, offset, timeout(ms))? {
            Some(Taken::Had) => Ok(0),
            Some(Taken::Inherited) => Ok(1),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    };
    // SAFETY: By this function's conditions.
    unsafe { with(descriptor, lock) }
}

/// # Safety
///
/// As for [`bridge_lock`].
#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_unlock(
    descriptor: c_int,
    base: *mut c_void,
    offset: u64,
    is_whole: c_int,
) -> c_int {
    let unlock = |region: &Region| {
        // SAFETY: By this function's conditions.
        let place = unsafe { Given::new(region, base, offset) }?;
        lock::free(&place, offset, is_whole == 0).map(|()| 0)
    };
    // SAFETY: By this function's conditions.
    unsafe { with(descriptor, unlock) }
}
