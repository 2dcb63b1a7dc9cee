/* SPDX-License-Identifier: GPL-2.0 */
/* kmb/ffi.rs declares the same functions for Rust. */
#ifndef KMB_SHIM_H
#define KMB_SHIM_H

#include <linux/types.h>

long kmb_call_entry(u64 *pgd, u64 pgd_address, u64 entry, u64 params);
bool kmb_five_levels(void);
u64 kmb_lapic_address(void);
u32 kmb_pm_timer_port(void);

extern const u8 kmb_trampoline[], kmb_trampoline_end[];
extern const u8 kmb_trampoline_gdt[], kmb_trampoline_data[];

#endif /* KMB_SHIM_H */
