// SPDX-License-Identifier: GPL-2.0

//! Open files of modules' devices: what is between Linux's `struct file` and an object of a module's.
//!
//! C headers: `include/linux/fs.h`, `include/linux/poll.h`.

use core::marker::PhantomData;
use kernel::bindings;
use kernel::ffi::{
    c_char,
    c_int,
    c_long,
    c_uint,
    c_ulong, //
};
use kernel::fs::file::flags;
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::poll::PollTable;
use kernel::sync::{
    Arc,
    ArcBorrow, //
};
use kernel::types::ForeignOwnable;
use kernel::uaccess::{
    UserPtr,
    UserSlice,
    UserSliceReader,
    UserSliceWriter, //
};

/// What [`OpenFile::poll`] tells: there is something to read.
pub const READABLE: u32 = bindings::POLLIN | bindings::POLLRDNORM;
/// Something can be written.
pub const WRITABLE: u32 = bindings::POLLOUT | bindings::POLLWRNORM;
/// Something has happened that is neither.
pub const URGENT: u32 = bindings::POLLPRI;
/// Nothing more will come.
pub const HUNG_UP: u32 = bindings::POLLHUP;

/// What belongs to an open file. All of it runs in process context.
pub trait OpenFile: Send + Sync + Sized + 'static {
    /// Fills the buffer as far as there is something; how much. 0 is the end.
    fn read(&self, file: &File, to: &mut UserSliceWriter) -> Result<usize>;

    /// Takes what is in the buffer; how much.
    fn write(&self, file: &File, from: &mut UserSliceReader) -> Result<usize>;

    /// Registers for news, and tells what can be done now.
    fn poll(&self, file: &File, table: &PollTable<'_>) -> u32;

    /// Does what a number stands for.
    fn ioctl(self: ArcBorrow<'_, Self>, file: &File, cmd: u32, arg: usize) -> Result<isize>;

    /// The file is closed for the last time.
    fn close(&self);
}

/// The functions of a table of Linux's, for files to which an `F` belongs.
pub struct Operations<F>(PhantomData<F>);

impl<F: OpenFile> Operations<F> {
    /// All but what gives a file its object, `open`; and but the module whose files they are.
    ///
    /// They must be used only for files whose private data is that of an `Arc<F>` ([`ForeignOwnable::into_foreign`]).
    pub const TABLE: bindings::file_operations = bindings::file_operations {
        release: Some(Self::release),
        read: Some(Self::read),
        write: Some(Self::write),
        poll: Some(Self::poll),
        unlocked_ioctl: Some(Self::ioctl),
        ..pin_init::zeroed()
    };

    /// What belongs to a file.
    ///
    /// # Safety
    ///
    /// The file has this table, and is open for as long as what is returned is used.
    pub unsafe fn of<'a>(file: *mut bindings::file) -> ArcBorrow<'a, F> {
        // SAFETY: By the conditions of the table it is there, and `release`, which takes it away, comes last.
        unsafe { <Arc<F> as ForeignOwnable>::borrow((*file).private_data.cast()) }
    }

    /// # Safety
    ///
    /// The file has this table, and nobody uses it any more.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the conditions of the table it is there, for this to take.
        let open = unsafe { Arc::<F>::from_foreign((*file).private_data.cast()) };
        open.close();
        0
    }

    /// # Safety
    ///
    /// The file has this table, and is open.
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
    /// The file has this table, and is open.
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
    /// The file has this table, and is open.
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
    /// The file has this table, and is open.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: By this function's conditions.
        let (open, file) = unsafe { (Self::of(file), File::from_raw_file(file)) };
        answer(open.ioctl(file, cmd, arg))
    }
}

/// What a call of Linux's returns: a number, or the error. Any context.
pub fn answer(result: Result<isize>) -> isize {
    result.unwrap_or_else(|error| error.to_errno() as isize)
}

fn length(result: Result<usize>) -> isize {
    answer(result.map(|count| count as isize))
}

/// Whether a file is not to be waited for (O_NONBLOCK). Any context.
pub fn is_nonblocking(file: &File) -> bool {
    file.flags() & flags::O_NONBLOCK != 0
}

/// ERESTARTSYS when the current process has a signal to take. Process context.
pub fn check_signals() -> Result {
    match kernel::current!().signal_pending() {
        true => Err(ERESTARTSYS),
        false => Ok(()),
    }
}
