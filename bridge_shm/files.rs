// SPDX-License-Identifier: GPL-2.0

//! `/dev/bridge_shm`, and the files of regions that it gives: what is between Linux and [`Handle`].
//!
//! A region's file has an inode of its own, so that what maps it can be found and unmapped. Its pages have no
//! `struct page`: they are entered into page tables as they are touched, with their neighbours. C headers: `include/linux/fs.h`,
//! `include/linux/mm.h`, `include/linux/miscdevice.h`, `include/linux/anon_inodes.h`.

use crate::ffi;
use crate::handle::Handle;
use crate::opening;
use crate::pages::Unusable;
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
    c_ulong, //
};
use kernel::fs::file::{
    flags,
    FileDescriptorReservation, //
};
use kernel::fs::File;
use kernel::module::this_module;
use kernel::page::PAGE_SHIFT;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::sync::poll::PollTable;
use kernel::sync::{
    Arc,
    ArcBorrow, //
};
use kernel::types::{
    ForeignOwnable,
    Opaque, //
};
use kernel::uaccess::{
    UserPtr,
    UserSlice, //
};

/// What a poll tells: there is something to read.
pub(crate) const READABLE: u32 = bindings::POLLIN | bindings::POLLRDNORM;
/// Something can be written.
pub(crate) const WRITABLE: u32 = bindings::POLLOUT | bindings::POLLWRNORM;
/// A vnode has died.
pub(crate) const URGENT: u32 = bindings::POLLPRI;

/// Bytes that are entered when one of them is touched, where the area has all of them: as many as Linux itself takes of a
/// file's.
const AROUND: u64 = 64 << 10;

const PAGE: u64 = kernel::page::PAGE_SIZE as u64;

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
        ffi::anon_inode_create_getfile(
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
        ffi::bridge_shm_set_size(file, bytes);
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

const DEVICE: bindings::file_operations = bindings::file_operations {
    owner: this_module::<crate::LocalModule>().as_ptr(),
    unlocked_ioctl: Some(device_ioctl),
    llseek: Some(bindings::noop_llseek),
    ..pin_init::zeroed()
};

const REGION: bindings::file_operations = bindings::file_operations {
    owner: this_module::<crate::LocalModule>().as_ptr(),
    release: Some(release),
    read: Some(read),
    write: Some(write),
    poll: Some(poll),
    unlocked_ioctl: Some(region_ioctl),
    mmap: Some(mmap),
    llseek: Some(bindings::noop_llseek),
    ..pin_init::zeroed()
};

const MEMORY: bindings::vm_operations_struct = bindings::vm_operations_struct {
    fault: Some(fault),
    access: Some(bindings::generic_access_phys),
    ..pin_init::zeroed()
};

/// # Safety
///
/// The file is an open one of the device.
unsafe extern "C" fn device_ioctl(_file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
    long(opening::device_ioctl(cmd, arg))
}

/// # Safety
///
/// The file is an open one of a region.
unsafe fn of<'a>(file: *mut bindings::file) -> ArcBorrow<'a, Handle> {
    // SAFETY: `give` has put it there, and `release`, which takes it away, comes last.
    unsafe { <Arc<Handle> as ForeignOwnable>::borrow((*file).private_data.cast()) }
}

/// # Safety
///
/// The file is an open one of a region, and nobody uses it any more.
unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: `give` has put it there, for this to take.
    let handle = unsafe { Arc::<Handle>::from_foreign((*file).private_data.cast()) };
    handle.close();
    0
}

/// # Safety
///
/// The file is an open one of a region.
unsafe extern "C" fn read(
    file: *mut bindings::file,
    to: *mut c_char,
    count: usize,
    _offset: *mut bindings::loff_t,
) -> isize {
    // SAFETY: By this function's conditions.
    let (handle, file) = unsafe { (of(file), File::from_raw_file(file)) };
    let mut to = UserSlice::new(UserPtr::from_ptr(to.cast()), count).writer();
    long(handle.read(is_nonblocking(file), &mut to))
}

/// # Safety
///
/// The file is an open one of a region.
unsafe extern "C" fn write(
    file: *mut bindings::file,
    from: *const c_char,
    count: usize,
    _offset: *mut bindings::loff_t,
) -> isize {
    // SAFETY: By this function's conditions.
    let handle = unsafe { of(file) };
    let mut from = UserSlice::new(UserPtr::from_ptr(from.cast_mut().cast()), count).reader();
    long(handle.write(&mut from))
}

/// # Safety
///
/// The file is an open one of a region.
unsafe extern "C" fn poll(
    file: *mut bindings::file,
    table: *mut bindings::poll_table_struct,
) -> bindings::__poll_t {
    // SAFETY: By this function's conditions.
    let (handle, file) = unsafe { (of(file), File::from_raw_file(file)) };
    // SAFETY: The caller's table is there meanwhile.
    handle.poll(file, &unsafe { PollTable::from_raw(table) })
}

/// # Safety
///
/// The file is an open one of a region.
unsafe extern "C" fn region_ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
    // SAFETY: By this function's conditions.
    let (handle, file) = unsafe { (of(file), File::from_raw_file(file)) };
    long(handle.ioctl(is_nonblocking(file), cmd, arg))
}

/// Lets a program map a region: shared, not executable, in the region's bounds, and never more than that (SH-30). Linux
/// itself sees to it that a file which is open for reading is mapped so.
///
/// # Safety
///
/// The file is an open one of a region, and the area is being made for it.
unsafe extern "C" fn mmap(file: *mut bindings::file, vma: *mut bindings::vm_area_struct) -> c_int {
    // SAFETY: By this function's conditions.
    let handle = unsafe { of(file) };
    // SAFETY: The area is the caller's alone.
    let (given, from, length) = unsafe {
        let bounds = &(*vma).__bindgen_anon_1.__bindgen_anon_1;
        (
            (*vma).__bindgen_anon_2.vm_flags as u64,
            (*vma).vm_pgoff as u64,
            (bounds.vm_end - bounds.vm_start) as u64,
        )
    };
    let is_in_it = from
        .checked_shl(PAGE_SHIFT as u32)
        .filter(|bytes| bytes >> PAGE_SHIFT == from)
        .and_then(|bytes| bytes.checked_add(length))
        .is_some_and(|end| end <= handle.size());
    if given & bindings::VM_MAYSHARE as u64 == 0 || !is_in_it {
        return EINVAL.to_errno();
    }
    if let Err(error) = handle.check_again() {
        return error.to_errno();
    }
    // SAFETY: The area is the caller's alone, which holds what is to be held for it.
    unsafe {
        ffi::bridge_shm_seal(vma);
        (*vma).vm_ops = &MEMORY;
    }
    0
}

/// Enters a page that is touched, and those around it.
///
/// # Safety
///
/// The fault is one in an area of [`MEMORY`].
unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
    // SAFETY: By this function's conditions the fault has an area, that its file, and the file a region.
    let (vma, place, touched, handle) = unsafe {
        let fault = &(*vmf).__bindgen_anon_1;
        let file = (*fault.vma).vm_file;
        (
            fault.vma,
            fault.pgoff as u64,
            fault.address as u64,
            of(file),
        )
    };
    // SAFETY: As above.
    let (start, end) = unsafe {
        let bounds = &(*vma).__bindgen_anon_1.__bindgen_anon_1;
        (bounds.vm_start as u64, bounds.vm_end as u64)
    };
    let touched = touched & !(PAGE - 1);
    let first = start.max(touched & !(AROUND - 1));
    let count = (end.min((touched & !(AROUND - 1)) + AROUND) - first) / PAGE;
    // An area lies in its region: so does what is in the area.
    let offset = (place << PAGE_SHIFT).wrapping_sub(touched - first);
    let entered = handle.with_place(offset, count * PAGE, |physical| {
        let frame = (physical >> PAGE_SHIFT) as c_ulong;
        let enter = |number: u64| {
            let address = (first + number * PAGE) as c_ulong;
            // SAFETY: The area is one of pages without `struct page`, the address lies in it, and the frame is the bridge's:
            // that it cannot be moved while this runs is what `with_place` sees to. What is entered already stays.
            unsafe { bindings::vmf_insert_pfn(vma, address, frame + number as c_ulong) }
        };
        // What matters is the one that was touched; without memory for the others they are entered when they are.
        let at = (touched - first) / PAGE;
        let result = enter(at);
        if result == bindings::vm_fault_reason_VM_FAULT_NOPAGE {
            let others = (0..count).filter(|number| *number != at);
            others
                .map(enter)
                .take_while(|it| *it == result)
                .for_each(drop);
        }
        result
    });
    match entered {
        Ok(result) => result,
        // SAFETY: By this function's conditions.
        Err(Unusable::NotYet) => unsafe { wait(vmf, &handle) },
        Err(error) => failed(error),
    }
}

/// Has a region that is touched be there, for the instruction that is run again then. The process can change its areas meanwhile, the
/// first time that it waits for this page.
///
/// # Safety
///
/// The fault is one in an area of [`MEMORY`], whose file is that of the region. It must not be used any more where this
/// returns `VM_FAULT_RETRY`.
unsafe fn wait(vmf: *mut bindings::vm_fault, handle: &Handle) -> bindings::vm_fault_t {
    // SAFETY: By this function's conditions.
    let flags = unsafe { (*vmf).flags };
    let may_let_go = flags & bindings::fault_flag_FAULT_FLAG_ALLOW_RETRY != 0
        && flags
            & (bindings::fault_flag_FAULT_FLAG_RETRY_NOWAIT
                | bindings::fault_flag_FAULT_FLAG_TRIED)
            == 0;
    if !may_let_go {
        return match handle.prepare() {
            Ok(()) | Err(Unusable::NotYet) => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
            Err(error) => failed(error),
        };
    }
    // SAFETY: The area's file lives as long as the area does, and after that by this reference.
    let file = unsafe {
        let area = (*vmf).__bindgen_anon_1.vma;
        File::from_raw_file((*area).vm_file)
    };
    let file: ARef<File> = file.into();
    // SAFETY: Linux lets go of it by itself only where this function does not say that it has.
    unsafe { ffi::bridge_shm_release_fault_lock(vmf) };
    // What has failed is told the next time, when it is found again.
    let _ = handle.prepare();
    drop(file);
    bindings::vm_fault_reason_VM_FAULT_RETRY
}

fn failed(error: Unusable) -> bindings::vm_fault_t {
    match error {
        Unusable::NotYet => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
        Unusable::NoMemory => bindings::vm_fault_reason_VM_FAULT_OOM,
        Unusable::Lost => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
    }
}

fn is_nonblocking(file: &File) -> bool {
    file.flags() & flags::O_NONBLOCK != 0
}

fn long(result: Result<isize>) -> isize {
    match result {
        Ok(value) => value,
        Err(error) => error.to_errno() as isize,
    }
}
