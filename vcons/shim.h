/* SPDX-License-Identifier: GPL-2.0 */
/* vcons/ffi.rs declares the same for Rust. */
#ifndef VCONS_SHIM_H
#define VCONS_SHIM_H

#include <linux/types.h>

struct adeos_ldisc;
struct adeos_nbcon;
struct adeos_tty;
struct tty_driver;
struct tty_struct;

/* What a terminal's driver does; the first argument is what was registered with it. */
struct adeos_tty_operations {
	size_t (*write)(void *driver, const u8 *bytes, size_t count);
	size_t (*room)(void *driver);
	void (*listen)(void *driver);
};

struct adeos_tty *adeos_tty_create(const char *name, const struct adeos_tty_operations *ops,
				   void *driver);
int adeos_tty_register(struct adeos_tty *it);
void adeos_tty_destroy(struct adeos_tty *it);
bool adeos_tty_listens(struct adeos_tty *it);
size_t adeos_tty_receive(struct adeos_tty *it, const u8 *bytes, size_t count);
size_t adeos_tty_receive_room(struct adeos_tty *it);
void adeos_tty_receive_break(struct adeos_tty *it);
void adeos_tty_wake_writers(struct adeos_tty *it);
void adeos_tty_hang_up(struct adeos_tty *it);
void adeos_tty_resize(struct adeos_tty *it, u16 rows, u16 columns, u16 width, u16 height);
void adeos_tty_sysrq(u8 key);

/* What a console of the kernel does. */
struct adeos_nbcon_operations {
	void (*write)(void *driver, const char *text, size_t count);
	void (*write_atomic)(void *driver, const char *text, size_t count);
};

struct adeos_nbcon *adeos_nbcon_create(const char *name, bool enabled, bool replay,
				       const struct adeos_nbcon_operations *ops, void *driver,
				       struct adeos_tty *tty);
void adeos_nbcon_register(struct adeos_nbcon *it);
void adeos_nbcon_destroy(struct adeos_nbcon *it);
bool adeos_nbcon_in_panic(void);
bool adeos_nbcon_in_nmi(void);

struct tty_driver *adeos_tty_driver(struct adeos_tty *it);
bool adeos_tty_is_own(struct tty_struct *tty);

/* What a line discipline does; the first argument is what open() has returned. */
struct adeos_ldisc_operations {
	void *(*open)(struct tty_struct *tty);
	void (*close)(void *line);
	int (*wait)(void *line);
	size_t (*receive)(void *line, const u8 *bytes, size_t count);
	void (*wake)(void *line);
	void (*hang_up)(void *line);
};

struct adeos_ldisc *adeos_ldisc_register(char *name, int number,
					 const struct adeos_ldisc_operations *ops);
void adeos_ldisc_unregister(struct adeos_ldisc *it);
size_t adeos_line_write(struct tty_struct *tty, const u8 *bytes, size_t count);
void adeos_line_unthrottle(struct tty_struct *tty);
void adeos_line_window(struct tty_struct *tty, u16 window[4]);

/* The group of the devices in /dev/vcons, which can be changed at any time. */
u32 adeos_parameter_group(void);

#endif
