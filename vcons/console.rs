// SPDX-License-Identifier: GPL-2.0

//! Consoles of the kernel: where printk's messages go.
//!
//! C header: `include/linux/console.h`, whose kind without big lock (nbcon) this is.

use crate::ffi;
use crate::tty::{
    self,
    Tty, //
};
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::error::from_err_ptr;
use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::sync::Arc;

/// What a console of the kernel does with messages.
pub(crate) trait Driver: Send + Sync + 'static {
    /// Takes a message. With interrupts off; must not wait for long. Never two at once.
    fn write(&self, text: &[u8]);

    /// Takes a message in any context: in a non-maskable interrupt, in the middle of
    /// [`write`](Self::write), in a panic. Must not wait.
    fn write_atomic(&self, text: &[u8]);
}

/// When a console is used, and from where on.
pub(crate) struct Use {
    /// Whether it is used without being asked for on the kernel's command line.
    pub(crate) always: bool,
    /// Whether it begins with the oldest message that the kernel has kept.
    pub(crate) replay: bool,
}

/// A console of the kernel, which is the terminal's. Dropped in process context.
pub(crate) struct Console<D: Driver, T: tty::Driver> {
    raw: NonNull<ffi::Nbcon>,
    _driver: Arc<D>,
    _tty: Arc<Tty<T>>,
}

// SAFETY: It may be registered and destroyed by any thread.
unsafe impl<D: Driver, T: tty::Driver> Send for Console<D, T> {}
// SAFETY: As above; it is registered once.
unsafe impl<D: Driver, T: tty::Driver> Sync for Console<D, T> {}

impl<D: Driver, T: tty::Driver> Console<D, T> {
    /// Makes a console of this name, with the number 0, for a terminal; it gets no messages yet. Process
    /// context. ENOMEM.
    pub(crate) fn new(
        name: &'static CStr,
        how: Use,
        driver: Arc<D>,
        tty: Arc<Tty<T>>,
    ) -> Result<Self> {
        let data = Arc::as_ptr(&driver).cast::<c_void>();
        // SAFETY: The name and the table live for ever; driver and terminal live until the console is
        // destroyed, and the driver is what the table's functions expect.
        let raw = from_err_ptr(unsafe {
            ffi::adeos_nbcon_create(
                name.as_char_ptr(),
                how.always,
                how.replay,
                &Table::<D>::OPERATIONS,
                data,
                tty.as_raw(),
            )
        })?;
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            _driver: driver,
            _tty: tty,
        })
    }

    /// Has it get messages. Process context, once.
    pub(crate) fn register(&self) {
        // SAFETY: `new` made it, and this is called once.
        unsafe { ffi::adeos_nbcon_register(self.raw.as_ptr()) }
    }
}

impl<D: Driver, T: tty::Driver> Drop for Console<D, T> {
    fn drop(&mut self) {
        // SAFETY: `new` made it, and it goes once.
        unsafe { ffi::adeos_nbcon_destroy(self.raw.as_ptr()) };
    }
}

/// Whether this CPU is the one that panics: the others stand still, whatever they hold.
pub(crate) fn in_panic() -> bool {
    // SAFETY: It may be called in any context.
    unsafe { ffi::adeos_nbcon_in_panic() }
}

/// Whether this is a non-maskable interrupt.
pub(crate) fn in_nmi() -> bool {
    // SAFETY: It may be called in any context.
    unsafe { ffi::adeos_nbcon_in_nmi() }
}

struct Table<D>(PhantomData<D>);

impl<D: Driver> Table<D> {
    const OPERATIONS: ffi::NbconOperations = ffi::NbconOperations {
        write: Self::write,
        write_atomic: Self::write_atomic,
    };

    /// # Safety
    ///
    /// `driver` is a `D` that lives, and there are `count` bytes.
    unsafe extern "C" fn write(driver: *const c_void, text: *const u8, count: usize) {
        // SAFETY: By this function's conditions.
        let (driver, text) = unsafe {
            (
                &*driver.cast::<D>(),
                core::slice::from_raw_parts(text, count),
            )
        };
        driver.write(text);
    }

    /// # Safety
    ///
    /// As of `write`.
    unsafe extern "C" fn write_atomic(driver: *const c_void, text: *const u8, count: usize) {
        // SAFETY: By this function's conditions.
        let (driver, text) = unsafe {
            (
                &*driver.cast::<D>(),
                core::slice::from_raw_parts(text, count),
            )
        };
        driver.write_atomic(text);
    }
}
