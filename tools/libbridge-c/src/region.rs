// SPDX-License-Identifier: GPL-2.0

//! Regions, notices and words.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, OnceLock};

use bridge::{Condition, Memory, Options, Region, Vnodes};

use crate::arguments::{access, give, name, of, signed, take_back, timeout};
use crate::errno::{answer, done, error};

/// A region, and all of it mapped, from when somebody wants that.
pub(crate) struct Opened {
    pub(crate) region: Region,
    memory: OnceLock<Memory>,
}

/// `struct bridge_region`: it stays open while something that was made of it is.
pub(crate) struct Handle(pub(crate) Arc<Opened>);

impl From<Region> for Handle {
    fn from(region: Region) -> Self {
        Self(Arc::new(Opened {
            region,
            memory: OnceLock::new(),
        }))
    }
}

impl Opened {
    pub(crate) fn memory(&self) -> io::Result<&Memory> {
        if let Some(memory) = self.memory.get() {
            return Ok(memory);
        }
        let memory = self.region.map()?;
        // Another thread may have been faster.
        Ok(self.memory.get_or_init(|| memory))
    }

    pub(crate) fn condition(&self, offset: u64) -> io::Result<Condition<'_>> {
        Condition::new(&self.region, self.memory()?, offset)
    }
}

/// `struct bridge_stat`.
#[repr(C)]
pub(crate) struct Stat {
    pub(crate) name: [u8; 32],
    pub(crate) bytes: u64,
    pub(crate) notices: u64,
    pub(crate) deaths: u64,
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) mode: u32,
    pub(crate) owner: u32,
    pub(crate) owner_life: u32,
    pub(crate) is_orphan: u32,
    pub(crate) moves: u32,
    pub(crate) vnode: u32,
    pub(crate) users: [u32; 16],
    pub(crate) readers: u16,
    pub(crate) writers: u16,
    pub(crate) reserved: u32,
}

// There are no bytes between or behind the fields.
const _: () = assert!(offset_of!(Stat, reserved) == 156 && size_of::<Stat>() == 160);

impl From<bridge::Stat> for Stat {
    fn from(stat: bridge::Stat) -> Self {
        let mut name = [0; 32];
        // A name has 27 bytes at most.
        for (to, from) in name.iter_mut().zip(stat.name.bytes()) {
            *to = from;
        }
        let (owner, owner_life) = stat.owner;
        Self {
            name,
            bytes: stat.bytes,
            notices: stat.notices,
            deaths: stat.deaths,
            user: stat.user,
            group: stat.group,
            mode: stat.mode,
            owner,
            owner_life,
            is_orphan: stat.is_orphan.into(),
            moves: stat.moves,
            vnode: stat.vnode,
            users: stat.users,
            readers: stat.readers.0,
            writers: stat.writers.0,
            reserved: 0,
        }
    }
}

fn options(bytes: u64, mode: c_uint, readers: u16, writers: u16) -> Options {
    Options::new(bytes)
        .mode(mode)
        .readers(Vnodes(readers))
        .writers(Vnodes(writers))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_create(
    called: *const c_char,
    scope: c_int,
    bytes: u64,
    mode: c_uint,
    readers: u16,
    writers: u16,
) -> *mut Handle {
    let options = options(bytes, mode, readers, writers);
    // SAFETY: bridge.h wants a string.
    let called = unsafe { name(called, scope) };
    give(
        called
            .and_then(|name| Region::create(name, &options))
            .map(Handle::from),
    )
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_open(
    called: *const c_char,
    scope: c_int,
    how: c_int,
) -> *mut Handle {
    // SAFETY: bridge.h wants a string.
    let called = unsafe { name(called, scope) };
    let region = called.and_then(|name| Region::open(name, access(how)?));
    give(region.map(Handle::from))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_from_fd(descriptor: c_int) -> *mut Handle {
    if descriptor < 0 {
        return answer(Err(error(libc::EBADF)));
    }
    // SAFETY: It is not -1, and open, if it is that at all, until this returns: that is what C says.
    let file = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let region = file.try_clone_to_owned().and_then(Region::try_from);
    give(region.map(Handle::from))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_close(region: *mut Handle) {
    // SAFETY: bridge.h says that nobody uses it any more.
    unsafe { take_back(region) };
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_fd(region: *mut Handle) -> c_int {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    answer(region.map(|handle| handle.0.region.as_fd().as_raw_fd()))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_size(region: *mut Handle) -> i64 {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    answer(region.and_then(|handle| signed(handle.0.region.size()?)))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_map(region: *mut Handle) -> *mut c_void {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    answer(region.and_then(|handle| Ok(handle.0.memory()?.address().as_ptr().cast())))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_stat(region: *mut Handle, stat: *mut Stat) -> c_int {
    if stat.is_null() {
        return answer(Err(error(libc::EFAULT)));
    }
    // SAFETY: bridge.h wants a handle.
    let found = unsafe { of(region) }.and_then(|handle| handle.0.region.stat());
    // SAFETY: It is not null, and C has room for one there.
    done(found.map(|found| unsafe { stat.write(found.into()) }))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_protect(
    region: *mut Handle,
    user: u32,
    group: u32,
    mode: c_uint,
    readers: u16,
    writers: u16,
) -> c_int {
    let options = options(0, mode, readers, writers);
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    done(region.and_then(|handle| handle.0.region.protect(user, group, &options)))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_keep(region: *mut Handle, keep: c_int) -> c_int {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    done(region.and_then(|handle| handle.0.region.keep(keep != 0)))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_resize(region: *mut Handle, bytes: u64) -> c_int {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    done(region.and_then(|handle| handle.0.region.resize(bytes)))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_signal(region: *mut Handle, eventfd: c_int) -> c_int {
    // SAFETY: bridge.h wants a handle; what is no descriptor is borrowed for this call only.
    let (region, event) = unsafe {
        let event = (eventfd >= 0).then(|| BorrowedFd::borrow_raw(eventfd));
        (of(region), event)
    };
    done(region.and_then(|handle| handle.0.region.signal(event)))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_notify(region: *mut Handle) -> c_int {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    done(region.and_then(|handle| handle.0.region.notify()))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_notices(region: *mut Handle) -> i64 {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    answer(region.and_then(|handle| signed(handle.0.region.stat()?.notices)))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_wait(region: *mut Handle, seen: u64, ms: i64) -> i64 {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    answer(region.and_then(|handle| signed(handle.0.region.wait(seen, timeout(ms))?)))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_wait_word(
    region: *mut Handle,
    offset: u64,
    value: u32,
    ms: i64,
) -> c_int {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    done(region.and_then(|handle| handle.0.region.wait_word(offset, value, timeout(ms))))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_wake_word(
    region: *mut Handle,
    offset: u64,
    count: u32,
) -> c_int {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    done(region.and_then(|handle| handle.0.region.wake_word(offset, count)))
}
