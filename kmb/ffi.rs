// SPDX-License-Identifier: GPL-2.0

//! The C functions and the code of `shim.c` and `trampoline.S`, declared; nothing else.

extern "C" {
    pub(crate) fn kmb_call_entry(pgd: *mut u64, pgd_address: u64, entry: u64, params: u64) -> i64;
    pub(crate) fn kmb_five_levels() -> bool;
    pub(crate) fn kmb_lapic_address() -> u64;
    pub(crate) fn kmb_pm_timer_port() -> u32;

    pub(crate) static kmb_trampoline: u8;
    pub(crate) static kmb_trampoline_end: u8;
    pub(crate) static kmb_trampoline_gdt: u8;
    pub(crate) static kmb_trampoline_data: u8;
}
