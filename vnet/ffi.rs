// SPDX-License-Identifier: GPL-2.0

//! What `shim.h` declares; nothing else.

use kernel::ffi::{
    c_char,
    c_int,
    c_void, //
};

/// `struct adeos_netdev`, which only C looks into.
#[repr(C)]
pub(crate) struct NetDev {
    _opaque: [u8; 0],
}

/// `struct sk_buff`, which only C looks into.
#[repr(C)]
pub(crate) struct SkBuff {
    _opaque: [u8; 0],
}

/// `struct adeos_netdev_operations`.
#[repr(C)]
pub(crate) struct Operations {
    pub(crate) create:
        unsafe extern "C" fn(*mut NetDev, *const c_char, u32, *mut [u8; 6]) -> *mut c_void,
    pub(crate) destroy: unsafe extern "C" fn(*mut c_void),
    pub(crate) open: unsafe extern "C" fn(*const c_void, *const [u8; 6]) -> c_int,
    pub(crate) stop: unsafe extern "C" fn(*const c_void),
    pub(crate) follow: unsafe extern "C" fn(*const c_void) -> u32,
    pub(crate) queue_of: unsafe extern "C" fn(*const c_void, *const [u8; 6]) -> u32,
    pub(crate) transmit: unsafe extern "C" fn(*const c_void, *mut SkBuff, u32) -> u32,
    pub(crate) time_out: unsafe extern "C" fn(*const c_void, u32),
    pub(crate) poll: unsafe extern "C" fn(*const c_void, u32, c_int) -> c_int,
    pub(crate) sleep: unsafe extern "C" fn(*const c_void, u32) -> bool,
    pub(crate) set_address: unsafe extern "C" fn(*const c_void, *const [u8; 6]),
    pub(crate) listen: unsafe extern "C" fn(*const c_void, bool, bool, u64),
    pub(crate) filter_bit: unsafe extern "C" fn(*const [u8; 6]) -> u64,
    pub(crate) count: unsafe extern "C" fn(*const c_void, *mut u64),
    pub(crate) names: *const [u8; 32],
    pub(crate) nr_names: u32,
    pub(crate) collisions: u32,
    pub(crate) aborted: u32,
    pub(crate) missed: u32,
    pub(crate) frame_errors: u32,
    pub(crate) packets: u32,
    pub(crate) places: u32,
    pub(crate) lanes: u32,
    pub(crate) queues: u32,
    pub(crate) watchdog_ms: u32,
}

// SAFETY: It is a table that nobody writes.
unsafe impl Sync for Operations {}

extern "C" {
    pub(crate) fn adeos_netdev_register(ops: *const Operations) -> c_int;
    pub(crate) fn adeos_netdev_unregister();
    pub(crate) fn adeos_netdev_add(segment: *const c_char) -> c_int;

    pub(crate) fn adeos_netdev_schedule(it: *mut NetDev, lane: u32);
    pub(crate) fn adeos_netdev_follow(it: *mut NetDev);
    pub(crate) fn adeos_netdev_carrier_on(it: *mut NetDev);
    pub(crate) fn adeos_netdev_carrier_off(it: *mut NetDev);
    pub(crate) fn adeos_netdev_stop_queue(it: *mut NetDev, queue: u32);
    pub(crate) fn adeos_netdev_wake_queue(it: *mut NetDev, queue: u32);
    pub(crate) fn adeos_netdev_poll_within(it: *mut NetDev, lane: u32, delay_ns: u64);
    pub(crate) fn adeos_netdev_hold_soft_interrupts();
    pub(crate) fn adeos_netdev_let_soft_interrupts();

    pub(crate) fn adeos_parameter_listen(to: Option<unsafe extern "C" fn(*const c_char) -> c_int>);

    pub(crate) fn adeos_packet_length(skb: *mut SkBuff) -> u32;
    pub(crate) fn adeos_packet_piece(
        skb: *mut SkBuff,
        number: u32,
        bytes: *mut *mut u8,
        count: *mut u32,
    ) -> bool;
    pub(crate) fn adeos_packet_offload(skb: *mut SkBuff, offload: *mut [u8; 16]) -> bool;
    pub(crate) fn adeos_packet_create(it: *mut NetDev, lane: u32, length: u32) -> *mut SkBuff;
    pub(crate) fn adeos_packet_receive(
        it: *mut NetDev,
        lane: u32,
        skb: *mut SkBuff,
        offload: *const [u8; 16],
    );
    pub(crate) fn adeos_packet_drop(skb: *mut SkBuff);
}
