/* SPDX-License-Identifier: GPL-2.0 */
/* adeos_core/ffi.rs declares the same functions for Rust. */
#ifndef ADEOS_CORE_SHIM_H
#define ADEOS_CORE_SHIM_H

#include <linux/types.h>

/* proto/layout.rs, mod cause. */
enum {
	ADEOS_ENDED_PANIC = 1,
	ADEOS_ENDED_RESTART,
	ADEOS_ENDED_EMERGENCY,
	ADEOS_ENDED_POWER_OFF,
	ADEOS_ENDED_HALT,
};

/* debug.rs. */
enum {
	ADEOS_VIEW_VNODES,
	ADEOS_VIEW_POOL,
	ADEOS_VIEW_PORTALS,
};

struct seq_file;

void adeos_icr_write(u32 command, u32 apic_id);
u32 adeos_cpu_apic_id(u32 cpu);
bool adeos_cpu_online(u32 cpu);
u32 adeos_this_cpu(void);
u64 adeos_rdtsc(void);
u64 adeos_wall_ns(void);
const char *adeos_release(void);
void adeos_cond_resched(void);
void adeos_orderly_poweroff(void);
void adeos_park(void);
int adeos_watch_ends(void);
void adeos_unwatch_ends(void);

void *adeos_create_views(void);
void adeos_remove_views(void *dir);
void adeos_register_console(void);
void adeos_unregister_console(void);

/* In Rust: debug.rs. */
int adeos_show(u32 view, struct seq_file *file);
/* In Rust: unpatched.rs. */
void adeos_ended(u32 cause, const char *text);
void adeos_printed(const char *text, u32 size);

#endif /* ADEOS_CORE_SHIM_H */
