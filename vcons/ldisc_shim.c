// SPDX-License-Identifier: GPL-2.0
/* A line discipline, as functions (linux/tty_ldisc.h). */
#include <linux/capability.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/tty.h>
#include <linux/tty_driver.h>
#include <linux/tty_ldisc.h>
#include "shim.h"

/* Bytes that a terminal's driver passes on at a time. */
#define ROOM 4096

struct adeos_ldisc {
	struct tty_ldisc_ops table;
	const struct adeos_ldisc_operations *ops;
};

/* The one that is registered: the table is all that a terminal knows of it. */
static struct adeos_ldisc *of(struct tty_struct *tty)
{
	return container_of(tty->ldisc->ops, struct adeos_ldisc, table);
}

static int open(struct tty_struct *tty)
{
	void *line;

	/* Whoever has a terminal can give it another discipline: this one shows all consoles. */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	/* What a console shows must not become what it says. */
	if (!tty->ops->write || adeos_tty_is_own(tty))
		return -EOPNOTSUPP;
	line = of(tty)->ops->open(tty);
	if (IS_ERR(line))
		return PTR_ERR(line);
	tty->disc_data = line;
	tty->receive_room = ROOM;
	return 0;
}

static void close(struct tty_struct *tty)
{
	void *line = tty->disc_data;

	tty->disc_data = NULL;
	of(tty)->ops->close(line);
}

/* Whoever reads waits until the person at the terminal leaves. */
static ssize_t read(struct tty_struct *tty, struct file *file, u8 *to, size_t count,
		    void **cookie, unsigned long offset)
{
	return of(tty)->ops->wait(tty->disc_data);
}

static size_t receive_buf2(struct tty_struct *tty, const u8 *bytes, const u8 *flags, size_t count)
{
	return of(tty)->ops->receive(tty->disc_data, bytes, count);
}

static void write_wakeup(struct tty_struct *tty)
{
	of(tty)->ops->wake(tty->disc_data);
}

static void hangup(struct tty_struct *tty)
{
	of(tty)->ops->hang_up(tty->disc_data);
}

struct adeos_ldisc *adeos_ldisc_register(char *name, int number,
					 const struct adeos_ldisc_operations *ops)
{
	struct adeos_ldisc *it = kzalloc(sizeof(*it), GFP_KERNEL);
	int error;

	if (!it)
		return ERR_PTR(-ENOMEM);
	it->ops = ops;
	it->table.owner = THIS_MODULE;
	it->table.num = number;
	it->table.name = name;
	it->table.open = open;
	it->table.close = close;
	it->table.read = read;
	it->table.receive_buf2 = receive_buf2;
	it->table.write_wakeup = write_wakeup;
	it->table.hangup = hangup;
	error = tty_register_ldisc(&it->table);
	if (error) {
		kfree(it);
		return ERR_PTR(error);
	}
	return it;
}

void adeos_ldisc_unregister(struct adeos_ldisc *it)
{
	tty_unregister_ldisc(&it->table);
	kfree(it);
}

size_t adeos_line_write(struct tty_struct *tty, const u8 *bytes, size_t count)
{
	ssize_t taken;

	set_bit(TTY_DO_WRITE_WAKEUP, &tty->flags);
	taken = tty->ops->write(tty, bytes, count);
	return taken < 0 ? 0 : taken;
}

/* There is room again for what the driver passes on. */
void adeos_line_unthrottle(struct tty_struct *tty)
{
	tty_unthrottle(tty);
	queue_work(tty->port->buf.flip_wq ?: system_dfl_wq, &tty->port->buf.work);
}

void adeos_line_window(struct tty_struct *tty, u16 window[4])
{
	window[0] = tty->winsize.ws_row;
	window[1] = tty->winsize.ws_col;
	window[2] = tty->winsize.ws_xpixel;
	window[3] = tty->winsize.ws_ypixel;
}
