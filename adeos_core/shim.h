/* SPDX-License-Identifier: GPL-2.0 */
/* adeos_core/ffi.rs declares the same functions for Rust. */
#ifndef ADEOS_CORE_SHIM_H
#define ADEOS_CORE_SHIM_H

#include <linux/spinlock_types.h>
#include <linux/types.h>
#include <linux/workqueue_types.h>

/* proto/layout.rs, mod cause. */
enum {
	ADEOS_ENDED_PANIC = 1,
	ADEOS_ENDED_RESTART,
	ADEOS_ENDED_EMERGENCY,
	ADEOS_ENDED_POWER_OFF,
	ADEOS_ENDED_HALT,
};

struct mutex;
struct semaphore;
struct seq_file;

void adeos_icr_write(u32 command, u32 apic_id);
u32 adeos_cpu_apic_id(u32 cpu);
bool adeos_cpu_online(u32 cpu);
u32 adeos_this_cpu(void);
u64 adeos_rdtsc(void);
u64 adeos_rdtsc_fenced(void);
bool adeos_tsc_is_sound(void);
u64 adeos_wall_ns(void);
const char *adeos_release(void);
void adeos_cond_resched(void);
u32 adeos_caller_user(void);
u32 adeos_caller_group(void);
bool adeos_in_hard_interrupt(void);
void adeos_hold_soft_interrupts(void);
void adeos_let_soft_interrupts(void);
void adeos_init_work(struct work_struct *work, work_func_t func);
void adeos_raw_spin_lock_init(raw_spinlock_t *lock, const char *name, void *key);
unsigned long adeos_raw_spin_lock(raw_spinlock_t *lock);
bool adeos_raw_spin_trylock(raw_spinlock_t *lock, unsigned long *flags);
void adeos_raw_spin_unlock(raw_spinlock_t *lock, unsigned long flags);
void adeos_raw_spin_assert_held(raw_spinlock_t *lock);
void adeos_mutex_init(struct mutex *mutex, const char *name, void *key);
void adeos_mutex_lock(struct mutex *mutex);
int adeos_mutex_lock_killable(struct mutex *mutex);
bool adeos_mutex_trylock(struct mutex *mutex);
void adeos_sema_init(struct semaphore *semaphore);
void adeos_orderly_poweroff(void);
void adeos_park(void);
int adeos_watch_ends(void);
void adeos_unwatch_ends(void);

void *adeos_create_views(void);
void adeos_create_view(void *dir, const char *name, u32 view);
void adeos_remove_views(void *dir);
void adeos_register_console(void);
void adeos_unregister_console(void);

/* In Rust: debug.rs. */
int adeos_show(u32 view, struct seq_file *file);
/* In Rust: unpatched.rs. */
void adeos_ended(u32 cause, const char *text);
void adeos_printed(const char *text, u32 size);

#endif /* ADEOS_CORE_SHIM_H */
