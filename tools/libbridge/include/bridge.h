/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that programs share across the kernels of one machine: C over the
 * library of tools/libbridge, whose documentation says more.
 *
 * A region is a file descriptor: map it with mmap(MAP_SHARED), wait for it with
 * poll or epoll, pass it on, close it. Functions return -1 and set errno when
 * they fail. Names are global ones. Times are in milliseconds; a negative one
 * never comes.
 */
#ifndef ADEOS_BRIDGE_H
#define ADEOS_BRIDGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sets of vnodes: bit n for vnode n; the root is 0. */
#define BRIDGE_NO_VNODES 0
#define BRIDGE_ALL_VNODES 0xffff

/*
 * Makes a region of zeros, a multiple of 2 MiB, and opens it to write. Programs
 * of these vnodes, beside this one, may use it as the mode says (0600, ...).
 */
int bridge_create(const char *name, uint64_t bytes, unsigned int mode,
		  uint16_t vnodes);

/* Opens the region of a name; to write as well if `write` is not 0. */
int bridge_open(const char *name, int write);

/* Its size in bytes. */
int64_t bridge_size(int region);

/* Gives a notice: wakes all that wait for one, in every vnode. */
int bridge_notify(int region);

/* How many notices there have been. */
int64_t bridge_notices(int region);

/* Waits until the notices are another number than `seen`: that one. */
int64_t bridge_wait(int region, uint64_t seen, int64_t timeout);

/*
 * Sleeps while the 32-bit word at an offset has a value, until somebody wakes
 * who sleeps on it, or sooner. EAGAIN: it has another one. EOWNERDEAD: a vnode
 * that may use the region has died.
 */
int bridge_wait_word(int region, uint64_t offset, uint32_t value,
		     int64_t timeout);

/* Wakes `count` of those that sleep on a word, or more. */
int bridge_wake_word(int region, uint64_t offset, uint32_t count);

/*
 * Locks: four bytes of the mapped region, zero at first. `base` is where all of
 * the region is mapped, `offset` where the lock lies. bridge_lock returns 1
 * when who had it before has ended with it, so that what it protects may be
 * half-done: call bridge_unlock with `is_whole` not 0 when it is whole again.
 */
int bridge_lock(int region, void *base, uint64_t offset, int64_t timeout);
int bridge_unlock(int region, void *base, uint64_t offset, int is_whole);

#ifdef __cplusplus
}
#endif

#endif
