// SPDX-License-Identifier: GPL-2.0

//! The C functions of `shim.c` and of the kernel patches and the code of `waiting_room.S`, declared; nothing else.

use kernel::bindings;
use kernel::ffi::{
    c_char,
    c_ulong,
    c_void, //
};

extern "C" {
    pub(crate) fn adeos_icr_write(command: u32, apic_id: u32);
    pub(crate) fn adeos_cpu_apic_id(cpu: u32) -> u32;
    pub(crate) fn adeos_cpu_online(cpu: u32) -> bool;
    pub(crate) fn adeos_this_cpu() -> u32;
    pub(crate) fn adeos_rdtsc() -> u64;
    pub(crate) fn adeos_rdtsc_fenced() -> u64;
    pub(crate) fn adeos_tsc_is_sound() -> bool;
    pub(crate) fn adeos_wall_ns() -> u64;
    pub(crate) fn adeos_release() -> *const c_char;
    pub(crate) fn adeos_cond_resched();
    pub(crate) fn adeos_caller_user() -> u32;
    pub(crate) fn adeos_caller_group() -> u32;
    pub(crate) fn adeos_in_hard_interrupt() -> bool;
    pub(crate) fn adeos_hold_soft_interrupts();
    pub(crate) fn adeos_let_soft_interrupts();
    pub(crate) fn adeos_init_work(
        work: *mut bindings::work_struct,
        func: Option<unsafe extern "C" fn(*mut bindings::work_struct)>,
    );
    pub(crate) fn adeos_raw_spin_lock_init(
        lock: *mut bindings::raw_spinlock_t,
        name: *const c_char,
        key: *mut c_void,
    );
    pub(crate) fn adeos_raw_spin_lock(lock: *mut bindings::raw_spinlock_t) -> c_ulong;
    pub(crate) fn adeos_raw_spin_trylock(
        lock: *mut bindings::raw_spinlock_t,
        flags: *mut c_ulong,
    ) -> bool;
    pub(crate) fn adeos_raw_spin_unlock(lock: *mut bindings::raw_spinlock_t, flags: c_ulong);
    pub(crate) fn adeos_raw_spin_assert_held(lock: *mut bindings::raw_spinlock_t);
    pub(crate) fn adeos_mutex_init(
        mutex: *mut bindings::mutex,
        name: *const c_char,
        key: *mut c_void,
    );
    pub(crate) fn adeos_mutex_lock(mutex: *mut bindings::mutex);
    pub(crate) fn adeos_mutex_lock_killable(mutex: *mut bindings::mutex) -> i32;
    pub(crate) fn adeos_mutex_trylock(mutex: *mut bindings::mutex) -> bool;
    pub(crate) fn adeos_sema_init(semaphore: *mut bindings::semaphore);
    pub(crate) fn adeos_orderly_poweroff();
    pub(crate) fn adeos_park();
    pub(crate) fn adeos_watch_ends() -> i32;
    pub(crate) fn adeos_unwatch_ends();
    pub(crate) fn adeos_create_views() -> *mut c_void;
    pub(crate) fn adeos_create_view(dir: *mut c_void, name: *const c_char, view: u32);
    pub(crate) fn adeos_remove_views(dir: *mut c_void);
    pub(crate) fn adeos_register_console();
    pub(crate) fn adeos_unregister_console();
}

// waiting_room.S
extern "C" {
    pub(crate) static adeos_waiting_room: u8;
    pub(crate) static adeos_waiting_room_end: u8;
    pub(crate) static adeos_waiting_room_guest: u8;
}

// arch/x86/include/asm/adeos.h
#[cfg(CONFIG_ADEOS)]
extern "C" {
    pub(crate) fn adeos_boot_address() -> u64;
    pub(crate) fn adeos_pool_range(n: u32, base: *mut u64, size: *mut u64) -> bool;
    pub(crate) fn adeos_lapic_khz() -> u32;
    pub(crate) fn adeos_shorthand_enabled() -> bool;
    pub(crate) fn adeos_send_interrupt(apic_id: u32, vector: u8);
    pub(crate) fn adeos_vector_is_free(vector: u32) -> bool;
    pub(crate) fn adeos_set_interrupt_handler(
        handler: Option<unsafe extern "C" fn(u32) -> bool>,
    ) -> i32;
}
