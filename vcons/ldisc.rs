// SPDX-License-Identifier: GPL-2.0

//! Line disciplines: what becomes of the bytes that come in at a terminal, whatever its driver.
//!
//! C header: `include/linux/tty_ldisc.h`; its table is in `ldisc_shim.c`.

use crate::ffi;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::error::from_err_ptr;
use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::types::ForeignOwnable;

/// `N_DEVELOPMENT` of `include/uapi/linux/tty.h`, the number for disciplines that are not Linux's own.
pub(crate) const NUMBER: i32 = 29;

/// The terminal that a discipline was attached to.
pub(crate) struct Terminal {
    raw: NonNull<ffi::TtyStruct>,
}

// SAFETY: The functions that take it may be called from any thread.
unsafe impl Send for Terminal {}
// SAFETY: As above; the driver locks what it changes.
unsafe impl Sync for Terminal {}

impl Terminal {
    /// Has it show bytes; how many it takes. If those are not all, [`Line::wake`] comes when there is
    /// room. Process context, by one thread at a time.
    pub(crate) fn write(&self, bytes: &[u8]) -> usize {
        // SAFETY: The terminal is there until its discipline is closed, and this with it.
        unsafe { ffi::adeos_line_write(self.raw.as_ptr(), bytes.as_ptr(), bytes.len()) }
    }

    /// Has its driver go on with what came in and was not taken.
    pub(crate) fn unthrottle(&self) {
        // SAFETY: The terminal is there until its discipline is closed, and this with it.
        unsafe { ffi::adeos_line_unthrottle(self.raw.as_ptr()) }
    }

    /// Rows, columns, width and height in pixels of its window.
    pub(crate) fn window(&self) -> [u16; 4] {
        let mut window = [0; 4];
        // SAFETY: The terminal is there until its discipline is closed, and this with it; there is
        // room for four numbers.
        unsafe { ffi::adeos_line_window(self.raw.as_ptr(), window.as_mut_ptr()) };
        window
    }
}

/// One terminal with the discipline.
pub(crate) trait Line: Send + Sync + Sized + 'static {
    /// The discipline is attached to a terminal. Process context.
    fn open(terminal: Terminal) -> Result<Arc<Self>>;

    /// It is detached: nothing touches the terminal any more when this returns. Process context.
    fn close(&self);

    /// A program reads from the terminal: waits until that is over. ERESTARTSYS on a signal.
    fn wait(&self) -> Result;

    /// Takes what came in; how much. For the rest [`Terminal::unthrottle`] has to be called. Process
    /// context.
    fn receive(&self, bytes: &[u8]) -> usize;

    /// The terminal can show more. Any context.
    fn wake(&self);

    /// The terminal has hung up. Process context.
    fn hang_up(&self);
}

/// A registered discipline. Its module cannot be removed while a terminal has it.
pub(crate) struct Registration<L: Line> {
    raw: NonNull<ffi::Ldisc>,
    _line: PhantomData<L>,
}

// SAFETY: It is used only to unregister, which may be done by any thread.
unsafe impl<L: Line> Send for Registration<L> {}
// SAFETY: No method takes `&self`.
unsafe impl<L: Line> Sync for Registration<L> {}

impl<L: Line> Registration<L> {
    /// Registers a discipline under [`NUMBER`]. Process context.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name and the table live for ever.
        let raw = from_err_ptr(unsafe {
            ffi::adeos_ldisc_register(name.as_char_ptr(), NUMBER, &Table::<L>::OPERATIONS)
        })?;
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            _line: PhantomData,
        })
    }
}

impl<L: Line> Drop for Registration<L> {
    fn drop(&mut self) {
        // SAFETY: `new` registered it, and it goes once; no terminal has it, which would keep the module.
        unsafe { ffi::adeos_ldisc_unregister(self.raw.as_ptr()) };
    }
}

struct Table<L>(PhantomData<L>);

impl<L: Line> Table<L> {
    const OPERATIONS: ffi::LdiscOperations = ffi::LdiscOperations {
        open: Self::open,
        close: Self::close,
        wait: Self::wait,
        receive: Self::receive,
        wake: Self::wake,
        hang_up: Self::hang_up,
    };

    /// # Safety
    ///
    /// The terminal is there until `close` has returned.
    unsafe extern "C" fn open(tty: *mut ffi::TtyStruct) -> *mut c_void {
        let opened = NonNull::new(tty)
            .ok_or(EINVAL)
            .and_then(|raw| L::open(Terminal { raw }));
        match opened {
            Ok(line) => line.into_foreign().cast(),
            Err(error) => error.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// `line` is what `open` has returned, and nobody else uses it any more.
    unsafe extern "C" fn close(line: *mut c_void) {
        // SAFETY: By this function's conditions.
        let line = unsafe { Arc::<L>::from_foreign(line.cast()) };
        line.close();
    }

    /// # Safety
    ///
    /// `line` is what `open` has returned, and `close` comes after this.
    unsafe extern "C" fn wait(line: *const c_void) -> i32 {
        // SAFETY: By this function's conditions.
        let line = unsafe { <Arc<L> as ForeignOwnable>::borrow(line.cast_mut().cast()) };
        line.wait().map_or_else(Error::to_errno, |()| 0)
    }

    /// # Safety
    ///
    /// As of `wait`, and there are `count` bytes.
    unsafe extern "C" fn receive(line: *const c_void, bytes: *const u8, count: usize) -> usize {
        // SAFETY: By this function's conditions.
        let (line, bytes) = unsafe {
            (
                <Arc<L> as ForeignOwnable>::borrow(line.cast_mut().cast()),
                core::slice::from_raw_parts(bytes, count),
            )
        };
        line.receive(bytes)
    }

    /// # Safety
    ///
    /// As of `wait`.
    unsafe extern "C" fn wake(line: *const c_void) {
        // SAFETY: By this function's conditions.
        let line = unsafe { <Arc<L> as ForeignOwnable>::borrow(line.cast_mut().cast()) };
        line.wake();
    }

    /// # Safety
    ///
    /// As of `wait`.
    unsafe extern "C" fn hang_up(line: *const c_void) {
        // SAFETY: By this function's conditions.
        let line = unsafe { <Arc<L> as ForeignOwnable>::borrow(line.cast_mut().cast()) };
        line.hang_up();
    }
}
