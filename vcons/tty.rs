// SPDX-License-Identifier: GPL-2.0

//! Terminals: the driver of one line, `/dev/NAME0`.
//!
//! C headers: `include/linux/tty_driver.h`, `include/linux/tty_port.h`, `include/linux/tty_flip.h`.
//! Their tables are full of inlines and of fields that bindgen does not see, so `tty_shim.c` has them.

use crate::ffi;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::error::{
    from_err_ptr,
    to_result, //
};
use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::sync::Arc;

/// What the driver of a terminal does.
pub(crate) trait Driver: Send + Sync + 'static {
    /// Takes what a program writes; how much of it. If that is not all, [`Tty::wake_writers`] comes
    /// when there is room. Process context; a mutex of the terminal is held.
    fn write(&self, bytes: &[u8]) -> usize;

    /// Bytes that [`write`](Self::write) would take now. Process context.
    fn room(&self) -> usize;

    /// There is somebody to listen to what is typed. Process context; must not sleep.
    fn listen(&self);
}

/// A terminal. Once it is registered, its module cannot be removed while it is open, and this is dropped
/// only then: in process context.
pub(crate) struct Tty<T: Driver> {
    raw: NonNull<ffi::Tty>,
    driver: Arc<T>,
}

// SAFETY: The functions that take it may be called from any thread.
unsafe impl<T: Driver> Send for Tty<T> {}
// SAFETY: As above; they lock what they change.
unsafe impl<T: Driver> Sync for Tty<T> {}

impl<T: Driver> Tty<T> {
    /// Makes a terminal of one line, which no program sees yet. The number 0 is put behind the name.
    /// Process context. ENOMEM.
    pub(crate) fn new(name: &'static CStr, driver: Arc<T>) -> Result<Self> {
        let data = Arc::as_ptr(&driver).cast::<c_void>();
        // SAFETY: The name and the table live for ever; the driver is what the table's functions
        // expect, and lives until the terminal is destroyed.
        let raw = from_err_ptr(unsafe {
            ffi::adeos_tty_create(name.as_char_ptr(), &Table::<T>::OPERATIONS, data)
        })?;
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            driver,
        })
    }

    /// Has programs see it. What can fail in the module's initialisation comes before: a program that
    /// has opened it relies on the module. Process context, once.
    pub(crate) fn register(&self) -> Result {
        // SAFETY: `new` made it, and this is called once.
        to_result(unsafe { ffi::adeos_tty_register(self.raw.as_ptr()) })
    }

    /// Its driver.
    pub(crate) fn driver(&self) -> &Arc<T> {
        &self.driver
    }

    /// For consoles of the kernel that name it. It lives as long as this.
    pub(crate) fn as_raw(&self) -> *mut ffi::Tty {
        self.raw.as_ptr()
    }

    /// Whether a program has it open, and is not behind with what was typed.
    pub(crate) fn listens(&self) -> bool {
        // SAFETY: `new` made it, and it lives until this is dropped.
        unsafe { ffi::adeos_tty_listens(self.raw.as_ptr()) }
    }

    /// Bytes that [`receive`](Self::receive) would take now.
    pub(crate) fn receive_room(&self) -> usize {
        // SAFETY: `new` made it, and it lives until this is dropped.
        unsafe { ffi::adeos_tty_receive_room(self.raw.as_ptr()) }
    }

    /// Passes on what was typed; how much of it was taken. By one thread at a time.
    pub(crate) fn receive(&self, bytes: &[u8]) -> usize {
        // SAFETY: `new` made it, and it lives until this is dropped, and the bytes are there meanwhile.
        unsafe { ffi::adeos_tty_receive(self.raw.as_ptr(), bytes.as_ptr(), bytes.len()) }
    }

    /// Passes on a break. By one thread at a time, the same as of [`receive`](Self::receive).
    pub(crate) fn receive_break(&self) {
        // SAFETY: `new` made it, and it lives until this is dropped.
        unsafe { ffi::adeos_tty_receive_break(self.raw.as_ptr()) }
    }

    /// Has programs go on that wait for room.
    pub(crate) fn wake_writers(&self) {
        // SAFETY: `new` made it, and it lives until this is dropped.
        unsafe { ffi::adeos_tty_wake_writers(self.raw.as_ptr()) }
    }

    /// Hangs up: whoever has it open is told so.
    pub(crate) fn hang_up(&self) {
        // SAFETY: `new` made it, and it lives until this is dropped.
        unsafe { ffi::adeos_tty_hang_up(self.raw.as_ptr()) }
    }

    /// Sets the size of the window, in characters and in pixels. Process context.
    pub(crate) fn resize(&self, rows: u16, columns: u16, width: u16, height: u16) {
        // SAFETY: `new` made it, and it lives until this is dropped.
        unsafe { ffi::adeos_tty_resize(self.raw.as_ptr(), rows, columns, width, height) }
    }
}

impl<T: Driver> Drop for Tty<T> {
    fn drop(&mut self) {
        // SAFETY: `new` made it, and it goes once. No program has it open: an open terminal keeps its
        // module.
        unsafe { ffi::adeos_tty_destroy(self.raw.as_ptr()) };
    }
}

/// What the kernel does for a key of the magic kind, if it is enabled. Process context.
pub(crate) fn sysrq(key: u8) {
    // SAFETY: It may be called with any key.
    unsafe { ffi::adeos_tty_sysrq(key) }
}

struct Table<T>(PhantomData<T>);

impl<T: Driver> Table<T> {
    const OPERATIONS: ffi::TtyOperations = ffi::TtyOperations {
        write: Self::write,
        room: Self::room,
        listen: Self::listen,
    };

    /// # Safety
    ///
    /// `driver` is a `T` that lives, and there are `count` bytes.
    unsafe extern "C" fn write(driver: *const c_void, bytes: *const u8, count: usize) -> usize {
        // SAFETY: By this function's conditions.
        let (driver, bytes) = unsafe {
            (
                &*driver.cast::<T>(),
                core::slice::from_raw_parts(bytes, count),
            )
        };
        driver.write(bytes)
    }

    /// # Safety
    ///
    /// `driver` is a `T` that lives.
    unsafe extern "C" fn room(driver: *const c_void) -> usize {
        // SAFETY: By this function's conditions.
        unsafe { &*driver.cast::<T>() }.room()
    }

    /// # Safety
    ///
    /// `driver` is a `T` that lives.
    unsafe extern "C" fn listen(driver: *const c_void) {
        // SAFETY: By this function's conditions.
        unsafe { &*driver.cast::<T>() }.listen();
    }
}
