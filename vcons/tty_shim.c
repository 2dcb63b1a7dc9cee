// SPDX-License-Identifier: GPL-2.0
/* A terminal with one line, as functions: what linux/tty_driver.h has as tables and inlines. */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/sysrq.h>
#include <linux/tty.h>
#include <linux/tty_driver.h>
#include <linux/tty_flip.h>
#include "shim.h"

struct adeos_tty {
	struct tty_driver *driver;
	struct tty_port port;
	struct winsize size;
	const struct adeos_tty_operations *ops;
	void *data;
	bool registered;
};

static struct adeos_tty *of_port(struct tty_port *port)
{
	return container_of(port, struct adeos_tty, port);
}

static int open(struct tty_struct *tty, struct file *file)
{
	struct adeos_tty *it = tty->driver->driver_state;

	tty->driver_data = it;
	return tty_port_open(&it->port, tty, file);
}

static void close(struct tty_struct *tty, struct file *file)
{
	struct adeos_tty *it = tty->driver->driver_state;

	tty_port_close(&it->port, tty, file);
}

static void hangup(struct tty_struct *tty)
{
	struct adeos_tty *it = tty->driver->driver_state;

	tty_port_hangup(&it->port);
}

static ssize_t write(struct tty_struct *tty, const u8 *bytes, size_t count)
{
	struct adeos_tty *it = tty->driver->driver_state;

	if (tty->flow.stopped)
		return 0;
	return it->ops->write(it->data, bytes, count);
}

static unsigned int write_room(struct tty_struct *tty)
{
	struct adeos_tty *it = tty->driver->driver_state;

	if (tty->flow.stopped)
		return 0;
	return it->ops->room(it->data);
}

static void unthrottle(struct tty_struct *tty)
{
	struct adeos_tty *it = tty->driver->driver_state;

	it->ops->listen(it->data);
}

static const struct tty_operations operations = {
	.open = open,
	.close = close,
	.hangup = hangup,
	.write = write,
	.write_room = write_room,
	.unthrottle = unthrottle,
};

/* Whether a terminal is one of those that are registered here. */
bool adeos_tty_is_own(struct tty_struct *tty)
{
	return tty->ops == &operations;
}

/* The first program has opened it: what was typed until now is for it. */
static int activate(struct tty_port *port, struct tty_struct *tty)
{
	struct adeos_tty *it = of_port(port);

	tty->winsize = it->size;
	it->ops->listen(it->data);
	return 0;
}

static const struct tty_port_operations port_operations = {
	.activate = activate,
};

struct adeos_tty *adeos_tty_create(const char *name, const struct adeos_tty_operations *ops,
				   void *driver)
{
	struct adeos_tty *it = kzalloc(sizeof(*it), GFP_KERNEL);
	int error;

	if (!it)
		return ERR_PTR(-ENOMEM);
	it->ops = ops;
	it->data = driver;
	it->driver = tty_alloc_driver(1, TTY_DRIVER_REAL_RAW);
	if (IS_ERR(it->driver)) {
		error = PTR_ERR(it->driver);
		kfree(it);
		return ERR_PTR(error);
	}
	tty_port_init(&it->port);
	it->port.ops = &port_operations;
	it->driver->driver_name = name;
	it->driver->name = name;
	it->driver->type = TTY_DRIVER_TYPE_CONSOLE;
	it->driver->init_termios = tty_std_termios;
	it->driver->driver_state = it;
	tty_set_operations(it->driver, &operations);
	tty_port_link_device(&it->port, it->driver, 0);
	return it;
}

/* From here on programs can open it. */
int adeos_tty_register(struct adeos_tty *it)
{
	int error = tty_register_driver(it->driver);

	it->registered = !error;
	return error;
}

void adeos_tty_destroy(struct adeos_tty *it)
{
	if (it->registered)
		tty_unregister_driver(it->driver);
	tty_driver_kref_put(it->driver);
	tty_port_destroy(&it->port);
	kfree(it);
}

struct tty_driver *adeos_tty_driver(struct adeos_tty *it)
{
	return it->driver;
}

/* Whether a program has it open, and is not behind with what was typed. */
bool adeos_tty_listens(struct adeos_tty *it)
{
	struct tty_struct *tty = tty_port_tty_get(&it->port);
	bool listens = tty && tty_port_initialized(&it->port) && !tty_throttled(tty);

	tty_kref_put(tty);
	return listens;
}

size_t adeos_tty_receive_room(struct adeos_tty *it)
{
	return tty_buffer_space_avail(&it->port);
}

size_t adeos_tty_receive(struct adeos_tty *it, const u8 *bytes, size_t count)
{
	size_t taken = tty_insert_flip_string(&it->port, bytes, count);

	tty_flip_buffer_push(&it->port);
	return taken;
}

void adeos_tty_receive_break(struct adeos_tty *it)
{
	tty_insert_flip_char(&it->port, 0, TTY_BREAK);
	tty_flip_buffer_push(&it->port);
}

void adeos_tty_wake_writers(struct adeos_tty *it)
{
	tty_port_tty_wakeup(&it->port);
}

void adeos_tty_hang_up(struct adeos_tty *it)
{
	tty_port_tty_hangup(&it->port, false);
}

void adeos_tty_resize(struct adeos_tty *it, u16 rows, u16 columns, u16 width, u16 height)
{
	struct winsize size = {
		.ws_row = rows, .ws_col = columns, .ws_xpixel = width, .ws_ypixel = height,
	};
	struct tty_struct *tty = tty_port_tty_get(&it->port);

	it->size = size;
	if (tty)
		tty_do_resize(tty, &size);
	tty_kref_put(tty);
}

void adeos_tty_sysrq(u8 key)
{
	handle_sysrq(key);
}
