// SPDX-License-Identifier: GPL-2.0
/* A console of the kernel without big lock, as functions (linux/console.h, nbcon). */
#include <linux/console.h>
#include <linux/err.h>
#include <linux/panic.h>
#include <linux/preempt.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include "shim.h"

struct adeos_nbcon {
	struct console console;
	raw_spinlock_t lock;
	const struct adeos_nbcon_operations *ops;
	void *data;
	struct adeos_tty *tty;
};

static struct adeos_nbcon *of_console(struct console *console)
{
	return container_of(console, struct adeos_nbcon, console);
}

static void write_thread(struct console *console, struct nbcon_write_context *context)
{
	struct adeos_nbcon *it = of_console(console);

	if (!nbcon_enter_unsafe(context))
		return;
	it->ops->write(it->data, context->outbuf, context->len);
	nbcon_exit_unsafe(context);
}

static void write_atomic(struct console *console, struct nbcon_write_context *context)
{
	struct adeos_nbcon *it = of_console(console);

	if (!nbcon_enter_unsafe(context))
		return;
	it->ops->write_atomic(it->data, context->outbuf, context->len);
	nbcon_exit_unsafe(context);
}

/* The driver has a lock of its own: this one only keeps those apart that call it from here. */
static void device_lock(struct console *console, unsigned long *flags)
{
	raw_spin_lock_irqsave(&of_console(console)->lock, *flags);
}

static void device_unlock(struct console *console, unsigned long flags)
{
	raw_spin_unlock_irqrestore(&of_console(console)->lock, flags);
}

static struct tty_driver *device(struct console *console, int *index)
{
	*index = 0;
	return adeos_tty_driver(of_console(console)->tty);
}

struct adeos_nbcon *adeos_nbcon_create(const char *name, bool enabled, bool replay,
				       const struct adeos_nbcon_operations *ops, void *driver,
				       struct adeos_tty *tty)
{
	struct adeos_nbcon *it = kzalloc(sizeof(*it), GFP_KERNEL);

	if (!it)
		return ERR_PTR(-ENOMEM);
	raw_spin_lock_init(&it->lock);
	it->ops = ops;
	it->data = driver;
	it->tty = tty;
	strscpy(it->console.name, name);
	it->console.write_thread = write_thread;
	it->console.write_atomic = write_atomic;
	it->console.device_lock = device_lock;
	it->console.device_unlock = device_unlock;
	it->console.device = device;
	it->console.flags = CON_NBCON | CON_ANYTIME | (enabled ? CON_ENABLED : 0) |
			    (replay ? CON_PRINTBUFFER : 0);
	return it;
}

void adeos_nbcon_register(struct adeos_nbcon *it)
{
	register_console(&it->console);
}

void adeos_nbcon_destroy(struct adeos_nbcon *it)
{
	/* One that nobody has asked for was not registered. */
	if (console_is_registered(&it->console))
		unregister_console(&it->console);
	kfree(it);
}

bool adeos_nbcon_in_panic(void)
{
	return panic_on_this_cpu();
}

bool adeos_nbcon_in_nmi(void)
{
	return in_nmi();
}
