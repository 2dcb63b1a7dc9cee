// SPDX-License-Identifier: GPL-2.0

//! What `shim.h` declares; nothing else.

use kernel::ffi::{
    c_char,
    c_void, //
};

/// `struct adeos_tty`, which only C looks into.
#[repr(C)]
pub(crate) struct Tty {
    _opaque: [u8; 0],
}

/// `struct adeos_nbcon`, which only C looks into.
#[repr(C)]
pub(crate) struct Nbcon {
    _opaque: [u8; 0],
}

/// `struct adeos_tty_operations`.
#[repr(C)]
pub(crate) struct TtyOperations {
    pub(crate) write: unsafe extern "C" fn(*const c_void, *const u8, usize) -> usize,
    pub(crate) room: unsafe extern "C" fn(*const c_void) -> usize,
    pub(crate) listen: unsafe extern "C" fn(*const c_void),
}

/// `struct adeos_nbcon_operations`.
#[repr(C)]
pub(crate) struct NbconOperations {
    pub(crate) write: unsafe extern "C" fn(*const c_void, *const u8, usize),
    pub(crate) write_atomic: unsafe extern "C" fn(*const c_void, *const u8, usize),
}

/// `struct tty_struct`, a terminal of whatever driver.
#[repr(C)]
pub(crate) struct TtyStruct {
    _opaque: [u8; 0],
}

/// `struct adeos_ldisc`, which only C looks into.
#[repr(C)]
pub(crate) struct Ldisc {
    _opaque: [u8; 0],
}

/// `struct adeos_ldisc_operations`.
#[repr(C)]
pub(crate) struct LdiscOperations {
    pub(crate) open: unsafe extern "C" fn(*mut TtyStruct) -> *mut c_void,
    pub(crate) close: unsafe extern "C" fn(*mut c_void),
    pub(crate) wait: unsafe extern "C" fn(*const c_void) -> i32,
    pub(crate) receive: unsafe extern "C" fn(*const c_void, *const u8, usize) -> usize,
    pub(crate) wake: unsafe extern "C" fn(*const c_void),
    pub(crate) hang_up: unsafe extern "C" fn(*const c_void),
}

extern "C" {
    pub(crate) fn adeos_tty_create(
        name: *const c_char,
        ops: *const TtyOperations,
        driver: *const c_void,
    ) -> *mut Tty;
    pub(crate) fn adeos_tty_register(it: *mut Tty) -> i32;
    pub(crate) fn adeos_tty_destroy(it: *mut Tty);
    pub(crate) fn adeos_tty_listens(it: *mut Tty) -> bool;
    pub(crate) fn adeos_tty_receive(it: *mut Tty, bytes: *const u8, count: usize) -> usize;
    pub(crate) fn adeos_tty_receive_room(it: *mut Tty) -> usize;
    pub(crate) fn adeos_tty_receive_break(it: *mut Tty);
    pub(crate) fn adeos_tty_wake_writers(it: *mut Tty);
    pub(crate) fn adeos_tty_hang_up(it: *mut Tty);
    pub(crate) fn adeos_tty_resize(it: *mut Tty, rows: u16, columns: u16, width: u16, height: u16);
    pub(crate) fn adeos_tty_sysrq(key: u8);

    pub(crate) fn adeos_nbcon_create(
        name: *const c_char,
        enabled: bool,
        replay: bool,
        ops: *const NbconOperations,
        driver: *const c_void,
        tty: *mut Tty,
    ) -> *mut Nbcon;
    pub(crate) fn adeos_nbcon_register(it: *mut Nbcon);
    pub(crate) fn adeos_nbcon_destroy(it: *mut Nbcon);
    pub(crate) fn adeos_nbcon_in_panic() -> bool;
    pub(crate) fn adeos_nbcon_in_nmi() -> bool;

    pub(crate) fn adeos_parameter_group() -> u32;

    pub(crate) fn adeos_ldisc_register(
        name: *const c_char,
        number: i32,
        ops: *const LdiscOperations,
    ) -> *mut Ldisc;
    pub(crate) fn adeos_ldisc_unregister(it: *mut Ldisc);
    pub(crate) fn adeos_line_write(tty: *mut TtyStruct, bytes: *const u8, count: usize) -> usize;
    pub(crate) fn adeos_line_unthrottle(tty: *mut TtyStruct);
    pub(crate) fn adeos_line_window(tty: *mut TtyStruct, window: *mut u16);
}
