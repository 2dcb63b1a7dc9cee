// SPDX-License-Identifier: GPL-2.0
/* Macros, inlines and per-CPU data of the kernel, as functions: no logic. */
#include <linux/bottom_half.h>
#include <linux/console.h>
#include <linux/cred.h>
#include <linux/debugfs.h>
#include <linux/kmsg_dump.h>
#include <linux/mutex.h>
#include <linux/panic_notifier.h>
#include <linux/preempt.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/semaphore.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>
#include <linux/utsname.h>
#include <linux/workqueue.h>
#include <asm/apic.h>
#include <asm/processor.h>
#include <asm/smp.h>
#include <asm/tsc.h>
#include "shim.h"

/* The APIC takes a destination and a command in two writes: nothing in between. */
void adeos_icr_write(u32 command, u32 apic_id)
{
	unsigned long flags;

	local_irq_save(flags);
	apic->icr_write(command, apic_id);
	local_irq_restore(flags);
}

u32 adeos_cpu_apic_id(u32 cpu)
{
	return per_cpu(x86_cpu_to_apicid, cpu);
}

bool adeos_cpu_online(u32 cpu)
{
	return cpu < nr_cpu_ids && cpu_online(cpu);
}

u32 adeos_this_cpu(void)
{
	return raw_smp_processor_id();
}

u64 adeos_rdtsc(void)
{
	return rdtsc();
}

/* LFENCE, RDTSC, LFENCE. */
u64 adeos_rdtsc_fenced(void)
{
	u64 tsc;

	rmb();
	tsc = rdtsc();
	rmb();
	return tsc;
}

bool adeos_tsc_is_sound(void)
{
	return !check_tsc_unstable();
}

u64 adeos_wall_ns(void)
{
	return ktime_get_real_ns();
}

const char *adeos_release(void)
{
	return init_utsname()->release;
}

void adeos_cond_resched(void)
{
	cond_resched();
}

u32 adeos_caller_user(void)
{
	return from_kuid(&init_user_ns, current_fsuid());
}

u32 adeos_caller_group(void)
{
	return from_kgid(&init_user_ns, current_fsgid());
}

bool adeos_in_hard_interrupt(void)
{
	return in_hardirq();
}

void adeos_hold_soft_interrupts(void)
{
	local_bh_disable();
}

void adeos_let_soft_interrupts(void)
{
	local_bh_enable();
}

void adeos_init_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

void adeos_raw_spin_lock_init(raw_spinlock_t *lock, const char *name, void *key)
{
#ifdef CONFIG_DEBUG_SPINLOCK
	__raw_spin_lock_init(lock, name, key, LD_WAIT_SPIN);
#else
	*lock = __RAW_SPIN_LOCK_UNLOCKED(lock);
#endif
}

unsigned long adeos_raw_spin_lock(raw_spinlock_t *lock)
{
	unsigned long flags;

	raw_spin_lock_irqsave(lock, flags);
	return flags;
}

bool adeos_raw_spin_trylock(raw_spinlock_t *lock, unsigned long *flags)
{
	return raw_spin_trylock_irqsave(lock, *flags);
}

void adeos_raw_spin_unlock(raw_spinlock_t *lock, unsigned long flags)
{
	raw_spin_unlock_irqrestore(lock, flags);
}

void adeos_raw_spin_assert_held(raw_spinlock_t *lock)
{
	lockdep_assert_held(lock);
}

void adeos_mutex_init(struct mutex *mutex, const char *name, void *key)
{
	__mutex_init(mutex, name, key);
}

void adeos_mutex_lock(struct mutex *mutex)
{
	mutex_lock(mutex);
}

int adeos_mutex_lock_killable(struct mutex *mutex)
{
	return mutex_lock_killable(mutex);
}

bool adeos_mutex_trylock(struct mutex *mutex)
{
	return mutex_trylock(mutex);
}

void adeos_sema_init(struct semaphore *semaphore)
{
	sema_init(semaphore, 1);
}

void adeos_orderly_poweroff(void)
{
	orderly_poweroff(true);
}

void adeos_park(void)
{
	local_irq_disable();
	for (;;)
		native_halt();
}

/* Files of debugfs that hold on to this module while they are open. */
static int adeos_view_show(struct seq_file *file, void *unused)
{
	return adeos_show((unsigned long)file->private, file);
}
DEFINE_SHOW_ATTRIBUTE(adeos_view);

void *adeos_create_views(void)
{
	return debugfs_create_dir("adeos", NULL);
}

void adeos_create_view(void *dir, const char *name, u32 view)
{
	debugfs_create_file(name, 0400, dir, (void *)(unsigned long)view, &adeos_view_fops);
}

void adeos_remove_views(void *dir)
{
	debugfs_remove(dir);
}

/* The console of a kernel without the patches; it starts with what was logged before. */
static void adeos_console(struct console *console, const char *text, unsigned int size)
{
	adeos_printed(text, size);
}

static struct console console = {
	.name	= "adeos",
	.write	= adeos_console,
	.flags	= CON_PRINTBUFFER | CON_ANYTIME | CON_ENABLED,
	.index	= -1,
};

void adeos_register_console(void)
{
	register_console(&console);
}

void adeos_unregister_console(void)
{
	unregister_console(&console);
}

/* The ways in which a kernel without the patches ends. */
static int adeos_on_panic(struct notifier_block *nb, unsigned long event, void *text)
{
	adeos_ended(ADEOS_ENDED_PANIC, text);
	return NOTIFY_DONE;
}

static int adeos_on_reboot(struct notifier_block *nb, unsigned long event, void *command)
{
	adeos_ended(event == SYS_RESTART ? ADEOS_ENDED_RESTART :
		    event == SYS_HALT ? ADEOS_ENDED_HALT : ADEOS_ENDED_POWER_OFF, NULL);
	return NOTIFY_DONE;
}

static void adeos_on_emergency(struct kmsg_dumper *dumper, struct kmsg_dump_detail *detail)
{
	if (detail->reason == KMSG_DUMP_EMERG)
		adeos_ended(ADEOS_ENDED_EMERGENCY, NULL);
}

static struct notifier_block panic_block = { .notifier_call = adeos_on_panic, .priority = INT_MIN };
static struct notifier_block reboot_block = { .notifier_call = adeos_on_reboot, .priority = INT_MIN };
static struct kmsg_dumper dumper = { .dump = adeos_on_emergency, .max_reason = KMSG_DUMP_EMERG };

int adeos_watch_ends(void)
{
	atomic_notifier_chain_register(&panic_notifier_list, &panic_block);
	register_reboot_notifier(&reboot_block);
	return kmsg_dump_register(&dumper);
}

void adeos_unwatch_ends(void)
{
	kmsg_dump_unregister(&dumper);
	unregister_reboot_notifier(&reboot_block);
	atomic_notifier_chain_unregister(&panic_notifier_list, &panic_block);
}
