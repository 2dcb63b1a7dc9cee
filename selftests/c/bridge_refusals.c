// SPDX-License-Identifier: GPL-2.0
/*
 * Tries what tools/libbridge-c/include/bridge.h says that fails, and that
 * nothing is lost by it, in a region of its own: bridge_refusals NAME. Says what
 * does not go as it is to go, and "done".
 */
#define _POSIX_C_SOURCE 200809L

#include <bridge.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRANULE ((uint64_t)2 << 20)

static bool is_all_well = true;

static void judge(int line, const char *what, bool is_so)
{
	if (is_so)
		return;
	printf("line %d: %s (errno: %s)\n", line, what, strerror(errno));
	is_all_well = false;
}

/* What is so. */
#define IS(what) judge(__LINE__, #what, (what))
/* A call that returns -1 and sets errno; one that returns no handle. */
#define FAILS(number, call) (errno = 0, judge(__LINE__, #call, (call) == -1 && errno == (number)))
#define NONE(number, call) (errno = 0, judge(__LINE__, #call, !(call) && errno == (number)))

/* A handle that there has to be, or there is nothing to go on with. */
#define HAVE(call) have(__LINE__, #call, (call))

static void *have(int line, const char *what, void *handle)
{
	judge(line, what, handle != NULL);
	if (!handle)
		exit(1);
	return handle;
}

static void regions(struct bridge_region *region, const char *name)
{
	struct bridge_region *other, *own;
	struct bridge_stat stat;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	NONE(EEXIST, bridge_create(name, BRIDGE_GLOBAL, GRANULE, 0600, 0, 0));
	NONE(EINVAL, bridge_create("odd", BRIDGE_GLOBAL, 4096, 0600, 0, 0));
	NONE(EINVAL, bridge_create("none", BRIDGE_GLOBAL, 0, 0600, 0, 0));
	NONE(EINVAL, bridge_create("mode", BRIDGE_GLOBAL, GRANULE, 0700, 0, 0));
	NONE(EINVAL, bridge_create("a+b", BRIDGE_GLOBAL, GRANULE, 0600, 0, 0));
	NONE(EINVAL, bridge_create("scope", -3, GRANULE, 0600, 0, 0));
	NONE(EINVAL, bridge_create("", BRIDGE_GLOBAL, GRANULE, 0600, 0, 0));
	NONE(EFAULT, bridge_create(NULL, BRIDGE_GLOBAL, GRANULE, 0600, 0, 0));
	NONE(ENOENT, bridge_open("nothing", BRIDGE_GLOBAL, BRIDGE_READ));
	NONE(ENOENT, bridge_open(name, BRIDGE_OWN, BRIDGE_READ));
	NONE(EINVAL, bridge_open(name, BRIDGE_GLOBAL, 3));
	NONE(EFAULT, bridge_open(NULL, BRIDGE_GLOBAL, BRIDGE_READ));
	NONE(EBADF, bridge_from_fd(-1));
	IS(null >= 0);
	NONE(ENOTTY, bridge_from_fd(null));
	close(null);

	other = HAVE(bridge_from_fd(bridge_fd(region)));
	IS(bridge_fd(other) != bridge_fd(region));
	IS(bridge_size(other) == (int64_t)GRANULE);
	IS(bridge_map(other) != bridge_map(region));
	bridge_close(other);
	IS(bridge_map(region) == bridge_map(region));

	IS(bridge_protect(region, geteuid(), getegid(), 0640, BRIDGE_ALL_VNODES, 1) == 0);
	IS(bridge_stat(region, &stat) == 0);
	IS(strcmp(stat.name, name) == 0);
	IS(stat.bytes == GRANULE);
	IS(stat.user == geteuid() && stat.group == getegid() && stat.mode == 0640);
	IS(stat.readers == BRIDGE_ALL_VNODES && stat.writers == 1);
	IS(stat.owner == stat.vnode && stat.is_orphan == 0);
	IS(stat.vnode < 16 && stat.users[stat.vnode] == stat.owner_life);
	IS(stat.notices == (uint64_t)bridge_notices(region));
	FAILS(EINVAL, bridge_protect(region, geteuid(), getegid(), 0777, 0, 0));
	FAILS(EFAULT, bridge_stat(region, NULL));
	IS(bridge_keep(region, 1) == 0);
	IS(bridge_keep(region, 0) == 0);
	FAILS(ENOENT, bridge_keep(region, 0));

	own = HAVE(bridge_create(name, BRIDGE_OWN, GRANULE, 0600, 0, 0));
	other = HAVE(bridge_open(name, BRIDGE_OWN, BRIDGE_READ));
	bridge_close(other);
	other = HAVE(bridge_open(name, (int)stat.vnode, BRIDGE_WRITE));
	bridge_close(other);
	bridge_close(own);
}

/* What one who reads may not. */
static void readers(const char *name)
{
	struct bridge_region *region = HAVE(bridge_open(name, BRIDGE_GLOBAL, BRIDGE_READ));

	IS(bridge_map(region) != NULL);
	FAILS(EBADF, bridge_notify(region));
	FAILS(EBADF, bridge_wake_word(region, 0, 1));
	NONE(EACCES, bridge_lock_open(region, 0));
	FAILS(EACCES, bridge_condition_signal(region, 0));
	NONE(EACCES, bridge_queue_create(region, 4096, 1, 1));
	FAILS(EACCES, bridge_pipe_create(region, 4096, 1, 1));
	bridge_close(region);
}

static void waits(struct bridge_region *region)
{
	int64_t notices = bridge_notices(region);

	FAILS(ETIMEDOUT, bridge_wait(region, (uint64_t)notices, 0));
	FAILS(ETIMEDOUT, bridge_wait(region, (uint64_t)notices, 20));
	IS(bridge_notify(region) == 0);
	IS(bridge_wait(region, (uint64_t)notices, -1) == notices + 1);
	FAILS(EAGAIN, bridge_wait_word(region, 0, 1, -1));
	FAILS(ETIMEDOUT, bridge_wait_word(region, 0, 0, 20));
	FAILS(EINVAL, bridge_wait_word(region, 2, 0, 0));
	FAILS(EINVAL, bridge_wait_word(region, GRANULE, 0, 0));
	FAILS(EINVAL, bridge_wake_word(region, GRANULE, 1));
	IS(bridge_wake_word(region, 0, 1) == 0);
}

static void locks(struct bridge_region *region)
{
	struct bridge_lock *lock = HAVE(bridge_lock_open(region, 0)), *same, *others[64];

	NONE(EINVAL, bridge_lock_open(region, 2));
	NONE(EINVAL, bridge_lock_open(region, GRANULE));
	FAILS(EPERM, bridge_lock_release(lock));
	FAILS(EPERM, bridge_lock_recovered(lock));
	FAILS(EPERM, bridge_condition_wait(lock, 4, 0));
	IS(bridge_lock_acquire(lock, -1) == 0);
	FAILS(ETIMEDOUT, bridge_lock_acquire(lock, 0));
	FAILS(ETIMEDOUT, bridge_lock_acquire(lock, 20));
	same = HAVE(bridge_lock_open(region, 0));
	FAILS(ETIMEDOUT, bridge_lock_acquire(same, 0));
	FAILS(EPERM, bridge_lock_release(same));
	FAILS(EINVAL, bridge_condition_wait(lock, 2, 0));
	/* It is held still. */
	IS(bridge_condition_wait(lock, 4, 0) == 0);
	IS(bridge_condition_wait(lock, 4, 20) == 0);
	IS(bridge_lock_recovered(lock) == 0);
	IS(bridge_lock_release(lock) == 0);
	FAILS(EPERM, bridge_lock_release(lock));
	IS(bridge_lock_acquire(same, 0) == 0);
	/* What is closed is released. */
	bridge_lock_close(same);
	IS(bridge_lock_acquire(lock, 0) == 0);
	bridge_lock_close(lock);

	/* One there is already. */
	for (int at = 1; at < 64; at++)
		others[at] = HAVE(bridge_lock_open(region, 1024 + 4 * (uint64_t)at));
	NONE(ENOSPC, bridge_lock_open(region, 2048));
	for (int at = 1; at < 64; at++)
		bridge_lock_close(others[at]);
}

static void queues(struct bridge_region *region)
{
	struct bridge_queue *queue;
	char buffer[32];

	NONE(ENOENT, bridge_queue_open(region, 4096));
	NONE(EINVAL, bridge_queue_create(region, 4096 + 32, 2, 16));
	NONE(EINVAL, bridge_queue_create(region, GRANULE - 64, 2, 16));
	NONE(EINVAL, bridge_queue_create(region, 4096, 0, 16));
	NONE(EINVAL, bridge_queue_create(region, 4096, UINT32_MAX, UINT32_MAX));
	IS(bridge_channel_size(2, 16) == 256 + 2 * 24);
	queue = HAVE(bridge_queue_create(region, 4096, 2, 16));
	IS(bridge_queue_bytes(queue) == 16);
	FAILS(ETIMEDOUT, bridge_queue_receive(queue, buffer, sizeof(buffer), 0));
	FAILS(ETIMEDOUT, bridge_queue_receive(queue, buffer, sizeof(buffer), 20));
	FAILS(EMSGSIZE, bridge_queue_send(queue, "seventeen letters", 17, 0));
	FAILS(EFAULT, bridge_queue_send(queue, NULL, 1, 0));
	IS(bridge_queue_send(queue, "twelve bytes", 12, 0) == 0);
	IS(bridge_queue_send(queue, NULL, 0, 0) == 0);
	FAILS(ETIMEDOUT, bridge_queue_send(queue, "no room", 7, 0));
	FAILS(EMSGSIZE, bridge_queue_receive(queue, buffer, 11, 0));
	FAILS(EFAULT, bridge_queue_receive(queue, NULL, 16, 0));
	IS(bridge_queue_receive(queue, buffer, 12, 0) == 12);
	IS(memcmp(buffer, "twelve bytes", 12) == 0);
	IS(bridge_queue_receive(queue, NULL, 0, 0) == 0);
	bridge_queue_close(queue);
	queue = HAVE(bridge_queue_open(region, 4096));
	FAILS(ETIMEDOUT, bridge_queue_receive(queue, buffer, sizeof(buffer), 0));
	bridge_queue_close(queue);
}

static void pipes(struct bridge_region *region)
{
	struct bridge_sender *sender;
	struct bridge_receiver *receiver;
	char buffer[32];

	NONE(ENOENT, bridge_sender_open(region, 8192));
	NONE(ENOENT, bridge_receiver_open(region, 8192));
	FAILS(EINVAL, bridge_pipe_create(region, 8192 + 32, 1, 16));
	IS(bridge_pipe_create(region, 8192, 1, 16) == 0);
	sender = HAVE(bridge_sender_open(region, 8192));
	NONE(EBUSY, bridge_sender_open(region, 8192));
	receiver = HAVE(bridge_receiver_open(region, 8192));
	NONE(EBUSY, bridge_receiver_open(region, 8192));
	IS(bridge_sender_bytes(sender) == 16 && bridge_receiver_bytes(receiver) == 16);
	FAILS(ETIMEDOUT, bridge_receive(receiver, buffer, sizeof(buffer), 20));
	FAILS(EMSGSIZE, bridge_send(sender, "seventeen letters", 17, 0));
	IS(bridge_send(sender, "twelve bytes", 12, 0) == 0);
	FAILS(ETIMEDOUT, bridge_send(sender, "no room", 7, 20));
	FAILS(EMSGSIZE, bridge_receive(receiver, buffer, 11, 0));
	FAILS(EFAULT, bridge_receive(receiver, NULL, 16, 0));
	bridge_sender_close(sender);
	IS(bridge_receive(receiver, buffer, 12, 0) == 12);
	IS(memcmp(buffer, "twelve bytes", 12) == 0);
	/* Who has gone, and not died, may come back. */
	FAILS(ETIMEDOUT, bridge_receive(receiver, buffer, sizeof(buffer), 0));
	sender = HAVE(bridge_sender_open(region, 8192));
	IS(bridge_send(sender, "more", 4, 0) == 0);
	IS(bridge_receive(receiver, buffer, sizeof(buffer), 0) == 4);
	bridge_sender_close(sender);
	bridge_receiver_close(receiver);
}

int main(int argc, char **argv)
{
	struct bridge_region *region, *again;
	struct bridge_lock *lock;

	if (argc != 2)
		return 2;
	region = HAVE(bridge_create(argv[1], BRIDGE_GLOBAL, GRANULE, 0600, 0, 0));
	regions(region, argv[1]);
	readers(argv[1]);
	waits(region);
	locks(region);
	/* That has as many locks as it may have. */
	again = HAVE(bridge_open(argv[1], BRIDGE_GLOBAL, BRIDGE_WRITE));
	bridge_close(region);
	queues(again);
	pipes(again);
	/* What was made of it keeps it open. */
	lock = HAVE(bridge_lock_open(again, 0));
	bridge_close(again);
	IS(bridge_lock_acquire(lock, 0) == 0);
	again = HAVE(bridge_open(argv[1], BRIDGE_GLOBAL, BRIDGE_WRITE));
	bridge_lock_close(lock);
	bridge_close(again);
	if (is_all_well)
		puts("done");
	return !is_all_well;
}
