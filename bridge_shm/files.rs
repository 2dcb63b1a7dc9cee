// SPDX-License-Identifier: GPL-2.0

//! `/dev/bridge_shm`, and the files of regions that it gives: what is between Linux and [`Handle`].
//!
//! A region's file has an inode of its own, so that what maps it can be found and unmapped. C headers: `include/linux/fs.h`,
//! `include/linux/miscdevice.h`, `include/linux/anon_inodes.h`.

use crate::areas;
use crate::handle::Handle;
use crate::opening;
use adeos_core::open_file::{
    answer,
    Operations, //
};
use core::ptr::NonNull;
use kernel::bindings;
use kernel::error::{
    from_err_ptr,
    to_result, //
};
use kernel::ffi::{
    c_char,
    c_int,
    c_long,
    c_uint,
    c_ulong,
    c_void, //
};
use kernel::fs::file::{
    flags,
    FileDescriptorReservation, //
};
use kernel::fs::File;
use kernel::module::this_module;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::sync::Arc;
use kernel::types::{
    ForeignOwnable,
    Opaque, //
};

#[expect(improper_ctypes, reason = "the bindings' types are C's own")]
extern "C" {
    /// `include/linux/anon_inodes.h`.
    fn anon_inode_create_getfile(
        name: *const c_char,
        fops: *const bindings::file_operations,
        private: *mut c_void,
        flags: c_int,
        context: *const bindings::inode,
    ) -> *mut bindings::file;

    /// `shim.h`.
    fn bridge_shm_set_size(file: *mut bindings::file, bytes: u64);
}

/// The device. Nobody opens it any more once this is dropped; whoever has it open keeps the module.
#[pin_data(PinnedDrop)]
pub(crate) struct Device {
    #[pin]
    device: Opaque<bindings::miscdevice>,
}

// SAFETY: The device is only registered and taken away by this, each once.
unsafe impl Send for Device {}
// SAFETY: No method takes `&self`.
unsafe impl Sync for Device {}

impl Device {
    /// Makes it, with these rights. Process context. EBUSY, ENOMEM.
    pub(crate) fn new(mode: u16) -> impl PinInit<Self, Error> {
        let device = bindings::miscdevice {
            minor: bindings::MISC_DYNAMIC_MINOR as c_int,
            name: c"bridge_shm".as_char_ptr(),
            fops: &DEVICE,
            mode: mode as bindings::umode_t,
            ..pin_init::zeroed()
        };
        try_pin_init!(Self {
            device <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                // SAFETY: The slot is memory for it, and stays where it is until it is taken away.
                unsafe { slot.write(device) };
                // SAFETY: It has just been filled in.
                to_result(unsafe { bindings::misc_register(slot) })
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Device {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `new` has registered it.
        unsafe { bindings::misc_deregister(self.device.get()) };
    }
}

/// Where programs map a region: all mappings of one file.
///
/// # Invariants
///
/// It is the address space of a file that lives until this is dropped.
pub(crate) struct Space(NonNull<bindings::address_space>);

// SAFETY: An address space has its own locks.
unsafe impl Send for Space {}
// SAFETY: As above.
unsafe impl Sync for Space {}

impl Space {
    /// Takes all of the file's pages out of all page tables. Process context.
    pub(crate) fn unmap_all(&self) {
        // SAFETY: By the invariant it lives. A length of 0 means all.
        unsafe { bindings::unmap_mapping_range(self.0.as_ptr(), 0, 0, 1) };
    }
}

/// Makes a file of an open region, and a descriptor of it. Process context. EMFILE, ENFILE, ENOMEM.
pub(crate) fn give(handle: Arc<Handle>, may_write: bool) -> Result<isize> {
    let descriptor = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
    let mode = if may_write {
        flags::O_RDWR
    } else {
        flags::O_RDONLY
    };
    let bytes = handle.size();
    let pages = handle.pages().clone();
    let private = handle.into_foreign();
    // SAFETY: The table lives as long as the module, which files keep; the name is copied. From here on the file has
    // what `into_foreign` gave, if there is a file.
    let file = from_err_ptr(unsafe {
        anon_inode_create_getfile(
            c"[bridge_shm]".as_char_ptr(),
            &REGION,
            private.cast(),
            mode as c_int,
            core::ptr::null(),
        )
    });
    let file = match file {
        Ok(file) => file,
        Err(error) => {
            // SAFETY: No file has it.
            drop(unsafe { Arc::<Handle>::from_foreign(private.cast()) });
            return Err(error);
        }
    };
    // SAFETY: The file is new, and its inode its own. `release` takes the space away before both go.
    let space = unsafe {
        bridge_shm_set_size(file, bytes);
        NonNull::new((*file).f_mapping)
    };
    if let Some(space) = space {
        // INVARIANT: `release` has `close` drop it, before the file is gone.
        pages.set_space(Space(space));
    }
    let number = descriptor.reserved_fd();
    // SAFETY: The one reference to a new file is this one; nobody is at its position.
    let file = unsafe { ARef::from_raw(NonNull::new(file).ok_or(ENOMEM)?.cast::<File>()) };
    descriptor.fd_install(file);
    Ok(number as isize)
}

/// Has `fstat` tell how large a region is, of which this is a file. Any context.
pub(crate) fn set_size(file: &File, bytes: u64) {
    // SAFETY: It is open, and its inode its own.
    unsafe { bridge_shm_set_size(file.as_ptr(), bytes) };
}

const DEVICE: bindings::file_operations = bindings::file_operations {
    owner: this_module::<crate::LocalModule>().as_ptr(),
    unlocked_ioctl: Some(device_ioctl),
    llseek: Some(bindings::noop_llseek),
    ..pin_init::zeroed()
};

// `give` gives each file an `Arc<Handle>`, or there is no file.
const REGION: bindings::file_operations = bindings::file_operations {
    owner: this_module::<crate::LocalModule>().as_ptr(),
    mmap: Some(areas::mmap),
    get_unmapped_area: areas::PLACE,
    llseek: Some(bindings::noop_llseek),
    ..Operations::<Handle>::TABLE
};

/// # Safety
///
/// The file is an open one of the device.
unsafe extern "C" fn device_ioctl(_file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
    answer(opening::device_ioctl(cmd, arg))
}
