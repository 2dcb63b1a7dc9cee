// SPDX-License-Identifier: GPL-2.0

//! Character devices whose names are made up as they come, and that can be polled.
//!
//! The kernel crate's `miscdevice` has neither. C headers: `include/linux/miscdevice.h`,
//! `include/linux/fs.h`, `include/linux/poll.h`.

use core::marker::PhantomData;
use core::mem::offset_of;
use kernel::bindings;
use kernel::error::to_result;
use kernel::ffi::{
    c_char,
    c_int,
    c_long,
    c_uint,
    c_ulong, //
};
use kernel::fs::File;
use kernel::module::this_module;
use kernel::prelude::*;
use kernel::str::CString;
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
    UserSlice,
    UserSliceReader,
    UserSliceWriter, //
};

/// What [`OpenFile::poll`] tells: there is something to read.
pub(crate) const READABLE: u32 = bindings::POLLIN | bindings::POLLRDNORM;
/// Something can be written.
pub(crate) const WRITABLE: u32 = bindings::POLLOUT | bindings::POLLWRNORM;
/// Nothing more will come.
pub(crate) const HUNG_UP: u32 = bindings::POLLHUP;

/// A file that is open on such a device. All of it runs in process context.
pub(crate) trait OpenFile: Send + Sync + Sized + 'static {
    /// What the device is of.
    type Subject: Send + Sync + 'static;

    /// The device is opened. A mutex of all such devices is held.
    fn open(subject: &Arc<Self::Subject>, file: &File) -> Result<Arc<Self>>;

    /// Fills the buffer as far as there is something; how much. 0 is the end.
    fn read(&self, file: &File, to: &mut UserSliceWriter) -> Result<usize>;

    /// Takes what is in the buffer; how much.
    fn write(&self, file: &File, from: &mut UserSliceReader) -> Result<usize>;

    /// Registers for news, and tells what can be done now.
    fn poll(&self, file: &File, table: &PollTable<'_>) -> u32;

    /// Does what a number stands for.
    fn ioctl(&self, file: &File, cmd: u32, arg: usize) -> Result<isize>;

    /// The file is closed for the last time.
    fn close(&self);
}

/// A registered device: no file is opened on it once this is dropped, while those that are open
/// stay. Dropped in process context.
#[pin_data(PinnedDrop)]
pub(crate) struct Device<F: OpenFile> {
    #[pin]
    misc: Opaque<bindings::miscdevice>,
    subject: Arc<F::Subject>,
    _name: CString,
    _place: CString,
}

// SAFETY: What is in it can be used by all threads; the device is its registration's own.
unsafe impl<F: OpenFile> Send for Device<F> {}
// SAFETY: As above.
unsafe impl<F: OpenFile> Sync for Device<F> {}

impl<F: OpenFile> Device<F> {
    /// Registers a device of this name, which the kernel shows at `place` in `/dev`. Process context.
    /// EEXIST, ENOMEM, EBUSY when there are no more numbers.
    pub(crate) fn register(
        name: CString,
        place: CString,
        mode: u16,
        subject: Arc<F::Subject>,
    ) -> Result<Pin<KBox<Self>>> {
        let (name_at, place_at) = (name.as_char_ptr(), place.as_char_ptr());
        KBox::try_pin_init(
            // What an opener looks at comes first: the device can be opened before `misc_register` returns.
            try_pin_init!(Self {
                subject,
                _name: name,
                _place: place,
                misc <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                    let misc = describe::<F>(name_at, place_at, mode);
                    // SAFETY: The slot is memory for it.
                    unsafe { slot.write(misc) };
                    // SAFETY: What it points to lives until it is deregistered: the names in this
                    // object, the table for ever.
                    to_result(unsafe { bindings::misc_register(slot) })
                }),
            }? Error),
            GFP_KERNEL,
        )
    }
}

fn describe<F: OpenFile>(
    name: *const c_char,
    place: *const c_char,
    mode: u16,
) -> bindings::miscdevice {
    bindings::miscdevice {
        minor: bindings::MISC_DYNAMIC_MINOR as c_int,
        name,
        nodename: place,
        mode,
        fops: &Table::<F>::OPERATIONS,
        ..pin_init::zeroed()
    }
}

#[pinned_drop]
impl<F: OpenFile> PinnedDrop for Device<F> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: It is registered, since there is no other way to make one; once, here.
        unsafe { bindings::misc_deregister(self.misc.get()) };
    }
}

struct Table<F>(PhantomData<F>);

impl<F: OpenFile> Table<F> {
    const OPERATIONS: bindings::file_operations = bindings::file_operations {
        owner: this_module::<crate::LocalModule>().as_ptr(),
        open: Some(Self::open),
        release: Some(Self::release),
        read: Some(Self::read),
        write: Some(Self::write),
        poll: Some(Self::poll),
        unlocked_ioctl: Some(Self::ioctl),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// The file is being opened, on a device of this kind.
    unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `misc_open` has put the device there, and keeps it registered meanwhile.
        let misc = unsafe { (*file).private_data }.cast::<u8>();
        let device = misc
            .wrapping_sub(offset_of!(Device<F>, misc))
            .cast::<Device<F>>();
        // SAFETY: All devices with this table are in such an object, and the file is the caller's.
        let (subject, opened) = unsafe { (&(*device).subject, File::from_raw_file(file)) };
        match F::open(subject, opened) {
            Ok(open) => {
                // SAFETY: Who opens a file may say what belongs to it.
                unsafe { (*file).private_data = open.into_foreign().cast() };
                0
            }
            Err(error) => error.to_errno(),
        }
    }

    /// # Safety
    ///
    /// The file is open on a device of this kind.
    unsafe fn of<'a>(file: *mut bindings::file) -> ArcBorrow<'a, F> {
        // SAFETY: `open` has put it there, and `release`, which takes it away, comes last.
        unsafe { <Arc<F> as ForeignOwnable>::borrow((*file).private_data.cast()) }
    }

    /// # Safety
    ///
    /// The file is open on a device of this kind, and nobody uses it any more.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `open` has put it there, for this to take.
        let open = unsafe { Arc::<F>::from_foreign((*file).private_data.cast()) };
        open.close();
        0
    }

    /// # Safety
    ///
    /// The file is open on a device of this kind.
    unsafe extern "C" fn read(
        file: *mut bindings::file,
        to: *mut c_char,
        count: usize,
        _offset: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: By this function's conditions.
        let (open, file) = unsafe { (Self::of(file), File::from_raw_file(file)) };
        let mut to = UserSlice::new(UserPtr::from_ptr(to.cast()), count).writer();
        length(open.read(file, &mut to))
    }

    /// # Safety
    ///
    /// The file is open on a device of this kind.
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        from: *const c_char,
        count: usize,
        _offset: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: By this function's conditions.
        let (open, file) = unsafe { (Self::of(file), File::from_raw_file(file)) };
        let mut from = UserSlice::new(UserPtr::from_ptr(from.cast_mut().cast()), count).reader();
        length(open.write(file, &mut from))
    }

    /// # Safety
    ///
    /// The file is open on a device of this kind.
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> bindings::__poll_t {
        // SAFETY: By this function's conditions.
        let (open, file) = unsafe { (Self::of(file), File::from_raw_file(file)) };
        // SAFETY: The caller's table is there meanwhile.
        open.poll(file, &unsafe { PollTable::from_raw(table) })
    }

    /// # Safety
    ///
    /// The file is open on a device of this kind.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: By this function's conditions.
        let (open, file) = unsafe { (Self::of(file), File::from_raw_file(file)) };
        match open.ioctl(file, cmd, arg) {
            Ok(value) => value as c_long,
            Err(error) => error.to_errno() as c_long,
        }
    }
}

/// Whether the process that runs may administer the machine (CAP_SYS_ADMIN). Process context.
pub(crate) fn may_administer() -> bool {
    // SAFETY: It looks at the current process only.
    unsafe { bindings::capable(bindings::CAP_SYS_ADMIN as c_int) }
}

fn length(result: Result<usize>) -> isize {
    match result {
        Ok(count) => count as isize,
        Err(error) => error.to_errno() as isize,
    }
}
