/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that programs share across the kernels of one machine: the library
 * over /dev/bridge_shm, for C. docs/bridge-shm.md is the specification.
 *
 *	struct bridge_region *region = bridge_open("counter", BRIDGE_GLOBAL,
 *						   BRIDGE_WRITE);
 *	_Atomic uint64_t *counter = bridge_map(region);
 *
 *	atomic_fetch_add(counter, 1);
 *	bridge_notify(region);
 *
 * Errors. What fails returns -1, or a null pointer, and sets errno. EFAULT: a
 * pointer is null where this header does not say that it may be. EINVAL: what
 * is said makes no sense.
 *
 * Times are in milliseconds. A negative one never ends, and with 0 nothing is
 * waited for: ETIMEDOUT. A wait for notices or on a word ends with EINTR when
 * a signal is caught, one that has no end only if the handler is without
 * SA_RESTART. All other waits go on then.
 *
 * Handles are the caller's to close, and good for all threads of the process.
 * Nobody else may use one while it is closed; a null one may be closed. What
 * was made of a region keeps it open, and mapped, until it is closed itself.
 *
 * Offsets are bytes from the region's begin. What lies there begins as zeros.
 *
 * Deaths. It is the open file of a region that has a lock or an end of a pipe:
 * when it is closed for the last time, or its vnode dies, they go to whoever
 * wants them next. A child that was forked shares its parent's files, so it
 * opens its regions itself.
 */
#ifndef ADEOS_BRIDGE_H
#define ADEOS_BRIDGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An open region. */
struct bridge_region;
/* A lock of a region. */
struct bridge_lock;
/* A channel for any number of senders and receivers. */
struct bridge_queue;
/* The two ends of a channel without a lock. */
struct bridge_sender;
struct bridge_receiver;

/* Sets of vnodes: bit n for vnode n; the root is 0. */
#define BRIDGE_NO_VNODES 0
#define BRIDGE_ALL_VNODES 0xffff

/*
 * Whose a name is: the cluster's, this vnode's, or, from 0 on, that of the
 * vnode with this number.
 */
#define BRIDGE_GLOBAL (-1)
#define BRIDGE_OWN (-2)

/* What a region is open for: to read and wait, or to write and wake as well. */
#define BRIDGE_READ 1
#define BRIDGE_WRITE 2

/*
 * Regions
 */

/*
 * Makes a region of zeros, and opens it to write. Its size is a multiple of
 * 2 MiB. Its user and group are the caller's, and its mode has the bits that a
 * file's has to be read and written (0600, ...). Beside this vnode, programs of
 * `readers` may read it and those of `writers` write it as well, if the mode
 * lets them.
 *
 * EEXIST: there is one of this name. EACCES: the name is another vnode's.
 * EDQUOT: the user or the vnode has as much as it may have. ENOMEM: no memory
 * is found. ENOSPC: there can be no more regions. ENOENT: this kernel has no
 * /dev/bridge_shm; ENOTCONN: the root has none.
 */
struct bridge_region *bridge_create(const char *name, int scope, uint64_t bytes,
				    unsigned int mode, uint16_t readers,
				    uint16_t writers);

/*
 * Opens the region of a name.
 *
 * ENOENT: there is none, or this kernel has no /dev/bridge_shm. EACCES: user,
 * group or vnode may not.
 */
struct bridge_region *bridge_open(const char *name, int scope, int access);

/*
 * A region of a descriptor that was inherited or received. The descriptor stays
 * the caller's.
 *
 * EBADF: it is none. ENOTTY: it is that of something else.
 */
struct bridge_region *bridge_from_fd(int fd);

/* Closes it. The last one who does so, in all vnodes, ends the region. */
void bridge_close(struct bridge_region *region);

/*
 * Its descriptor, which stays the region's: to be waited for with poll or
 * epoll, as one of eventfd, passed on, or mapped with MAP_SHARED.
 */
int bridge_fd(struct bridge_region *region);

/* Its size in bytes. */
int64_t bridge_size(struct bridge_region *region);

/*
 * Maps all of it, to be written if it is open to write; the second time this
 * returns the same address. Others write there at any time, so what matters is
 * read and written by atomics. It stays mapped until the region, and what was
 * made of it, is closed.
 */
void *bridge_map(struct bridge_region *region);

/* What there is to know of a region. */
struct bridge_stat {
	char name[32];		/* ends with a zero */
	uint64_t bytes;
	uint64_t notices;	/* so far */
	uint64_t deaths;	/* of vnodes that may use it, seen from here */
	uint32_t user;
	uint32_t group;
	uint32_t mode;
	uint32_t owner;		/* the vnode that has made it */
	uint32_t owner_life;	/* and which of its lives that was */
	uint32_t is_orphan;	/* 1: that life has ended */
	uint32_t moves;		/* how often it was put into another place */
	uint32_t vnode;		/* this one */
	uint32_t users[16];	/* which life of a vnode uses it; 0: none */
	uint16_t readers;
	uint16_t writers;
	uint32_t reserved;
};

int bridge_stat(struct bridge_region *region, struct bridge_stat *stat);

/*
 * Says anew who may use it. What is open stays so.
 *
 * EPERM: it is another user's, or would become so. EACCES: it is another
 * vnode's, and this is not the root.
 */
int bridge_protect(struct bridge_region *region, uint32_t user,
		   uint32_t group, unsigned int mode, uint16_t readers,
		   uint16_t writers);

/*
 * Keeps it when nobody has it open any more, or, with `keep` 0, does so no
 * longer.
 *
 * EPERM: this wants CAP_SYS_ADMIN. ENOENT: it is not kept in this vnode.
 */
int bridge_keep(struct bridge_region *region, int keep);

/*
 * Gives it another size, a multiple of 2 MiB, in the vnode that owns it or in
 * the root: what it has stays as far as there is room, and the rest is zeros.
 *
 * EBUSY: somebody has it mapped, this region not excepted, or has locks in it.
 * EPERM: the caller is not its user. EACCES: this vnode is not its owner.
 * EDQUOT, ENOMEM: there is no room for both sizes at once.
 */
int bridge_resize(struct bridge_region *region, uint64_t bytes);

/*
 * Has an eventfd signalled when there are notices, or a death, instead of the
 * one that was said before; at once, if there are some. With -1 none is.
 *
 * EBADF, EINVAL: it is no eventfd.
 */
int bridge_signal(struct bridge_region *region, int eventfd);

/*
 * Notices and words. What wakes others wants a region that is open to write:
 * EBADF.
 */

/* Gives a notice: wakes all that wait for one, in every vnode. */
int bridge_notify(struct bridge_region *region);

/* How many notices there have been. */
int64_t bridge_notices(struct bridge_region *region);

/*
 * Waits until the notices are another number than `seen`: that one.
 *
 * EOWNERDEAD: a vnode that may use the region has died since this region was
 * told of a death; once.
 */
int64_t bridge_wait(struct bridge_region *region, uint64_t seen,
		    int64_t timeout);

/*
 * Sleeps while the 32-bit word at an offset, a multiple of 4, has a value,
 * until somebody wakes who sleeps on it. It may return sooner.
 *
 * EAGAIN: the word has another value. EOWNERDEAD: as above.
 */
int bridge_wait_word(struct bridge_region *region, uint64_t offset,
		     uint32_t value, int64_t timeout);

/* Wakes `count` of those that sleep on a word, or more. */
int bridge_wake_word(struct bridge_region *region, uint64_t offset,
		     uint32_t count);

/*
 * Locks and conditions: four bytes of the region each, at a multiple of 4.
 * EACCES: the region is open for reading.
 */

/* The lock at an offset. ENOSPC: this region has 64 others. */
struct bridge_lock *bridge_lock_open(struct bridge_region *region,
				     uint64_t offset);

/* Closes it, and releases it if it is held. Nobody may wait for it. */
void bridge_lock_close(struct bridge_lock *lock);

/*
 * Takes the lock. 0: it is held. 1: it is held, and who had it before has ended
 * with it, so that what it protects may be half-done. The next one is told the
 * same, unless bridge_lock_recovered says that all is whole again.
 *
 * A thread that takes it twice waits for itself.
 */
int bridge_lock_acquire(struct bridge_lock *lock, int64_t timeout);

/* Says that what it protects is whole again. EPERM: it is not held. */
int bridge_lock_recovered(struct bridge_lock *lock);

/* Gives it back, and wakes one who waits for it. EPERM: it is not held. */
int bridge_lock_release(struct bridge_lock *lock);

/*
 * Releases a lock, sleeps until the condition at an offset is told of, or until
 * the time is over, and takes the lock again, however long that lasts. 0 or 1,
 * as bridge_lock_acquire has it: look again at what you wait for, since one may
 * wake for nothing, and the end of the time is not told.
 *
 * EPERM: the lock is not held. After another error it is not held any more.
 */
int bridge_condition_wait(struct bridge_lock *lock, uint64_t offset,
			  int64_t timeout);

/* Wakes one that waits for the condition at an offset; wakes all that do. */
int bridge_condition_signal(struct bridge_region *region, uint64_t offset);
int bridge_condition_broadcast(struct bridge_region *region, uint64_t offset);

/*
 * Channels: messages in a region. A channel begins at a multiple of 64, and is
 * made once, where nothing but zeros are.
 *
 * Who sends waits for room, who receives for a message. EMSGSIZE: the message
 * is larger than those of the channel, or than the buffer, and is not lost.
 * ENOENT: there is no channel (yet). EACCES: the region is open for reading.
 * EPROTO: somebody has written nonsense into it.
 */

/* Bytes of a region that a channel takes. */
uint64_t bridge_channel_size(uint32_t slots, uint32_t bytes);

/*
 * Queues: each message comes to one of the receivers, in the order in which
 * they were sent. Who ends in the middle of it takes nothing with it. A queue
 * has a lock, one of the 64 of a region.
 */

/* Makes a queue for so many messages of so many bytes at most, and opens it. */
struct bridge_queue *bridge_queue_create(struct bridge_region *region,
					 uint64_t offset, uint32_t slots,
					 uint32_t bytes);

/* Opens the one that there is. */
struct bridge_queue *bridge_queue_open(struct bridge_region *region,
				       uint64_t offset);

void bridge_queue_close(struct bridge_queue *queue);

/* Bytes that a message can have. */
int64_t bridge_queue_bytes(struct bridge_queue *queue);

int bridge_queue_send(struct bridge_queue *queue, const void *message,
		      size_t length, int64_t timeout);

/* The length of the message that is in the buffer now. */
ssize_t bridge_queue_receive(struct bridge_queue *queue, void *buffer,
			     size_t size, int64_t timeout);

/*
 * Pipes: one sender, one receiver. EBUSY: somebody has this end, or another
 * thread is using it. EPIPE: the other end has died with its program or its
 * vnode, and there is no message, or no room, any more; it may take a second
 * until that is known. Each end counts as one of the 64 locks of a region.
 */

/* Makes a pipe for so many messages of so many bytes at most. */
int bridge_pipe_create(struct bridge_region *region, uint64_t offset,
		       uint32_t slots, uint32_t bytes);

/* Takes the sending end. */
struct bridge_sender *bridge_sender_open(struct bridge_region *region,
					 uint64_t offset);

/* Gives it up: another one can have it, and the other end does not mind. */
void bridge_sender_close(struct bridge_sender *sender);

/* Bytes that a message can have. */
int64_t bridge_sender_bytes(struct bridge_sender *sender);

int bridge_send(struct bridge_sender *sender, const void *message,
		size_t length, int64_t timeout);

/* Takes the receiving end. */
struct bridge_receiver *bridge_receiver_open(struct bridge_region *region,
					     uint64_t offset);

/* Gives it up, as above. */
void bridge_receiver_close(struct bridge_receiver *receiver);

/* Bytes that a message can have. */
int64_t bridge_receiver_bytes(struct bridge_receiver *receiver);

/* The length of the message that is in the buffer now. */
ssize_t bridge_receive(struct bridge_receiver *receiver, void *buffer,
		       size_t size, int64_t timeout);

#ifdef __cplusplus
}
#endif

#endif
