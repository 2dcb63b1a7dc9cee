// SPDX-License-Identifier: GPL-2.0
/*
 * Uses a region as it is told, by tools/libbridge-c/include/bridge.h: see
 * selftests/201-regions-c.sh. What does not go as it is to go ends it with 1.
 */
#define _POSIX_C_SOURCE 200809L

#include <bridge.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GRANULE ((uint64_t)2 << 20)
/* What does not come in this time does not come. */
#define PATIENCE 20000

/* Where things lie in a region. */
enum {
	LOCK = 0,
	CONDITION = 4,
	FIRST = 8,	/* the lock protects these three */
	SECOND = 12,
	VALUE = 16,
	TURN = 64,
	QUEUE = 4096,
	PIPE = 65536,
};

#define QUEUE_SLOTS 8
#define QUEUE_BYTES 100
#define PIPE_SLOTS 4
#define PIPE_BYTES 1000

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static _Noreturn void wrong(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

/* say(): one line, now. */
static void say(const char *text)
{
	if (puts(text) < 0 || fflush(stdout) != 0)
		die("what is said");
}

static void say_number(const char *format, long number)
{
	char text[64];

	snprintf(text, sizeof(text), format, number);
	say(text);
}

/* Waits until this program is killed. */
static _Noreturn void stay(void)
{
	for (;;)
		pause();
}

static long now_ms(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
		die("the clock");
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct bridge_region *opened(const char *name)
{
	struct bridge_region *region = bridge_open(name, BRIDGE_GLOBAL, BRIDGE_WRITE);

	if (!region)
		die(name);
	return region;
}

static _Atomic uint32_t *word(struct bridge_region *region, uint64_t offset)
{
	char *base = bridge_map(region);

	if (!base)
		die("to map it");
	return (_Atomic uint32_t *)(base + offset);
}

static struct bridge_lock *lock_of(struct bridge_region *region)
{
	struct bridge_lock *lock = bridge_lock_open(region, LOCK);

	if (!lock)
		die("a lock");
	return lock;
}

/* Takes the lock; whether who had it before has ended with it. */
static bool acquire(struct bridge_lock *lock)
{
	int result = bridge_lock_acquire(lock, PATIENCE);

	if (result < 0)
		die("to take the lock");
	return result == 1;
}

static void release(struct bridge_lock *lock)
{
	if (bridge_lock_release(lock) != 0)
		die("to release the lock");
}

/* Message `number`: of each length that there can be, one after the other. */
static size_t compose(unsigned char *message, long number, size_t most)
{
	size_t length = (size_t)number % (most + 1);

	for (size_t at = 0; at < length; at++)
		message[at] = (unsigned char)(number + (long)at);
	return length;
}

/* keep NAME: makes the region, with a queue and a pipe in it, and stays. */
static void keep(const char *name, long number)
{
	struct bridge_region *region;
	struct bridge_queue *queue;

	(void)number;
	region = bridge_create(name, BRIDGE_GLOBAL, GRANULE, 0666,
			       BRIDGE_ALL_VNODES, BRIDGE_ALL_VNODES);
	if (!region)
		die(name);
	queue = bridge_queue_create(region, QUEUE, QUEUE_SLOTS, QUEUE_BYTES);
	if (!queue)
		die("a queue");
	bridge_queue_close(queue);
	if (bridge_pipe_create(region, PIPE, PIPE_SLOTS, PIPE_BYTES) != 0)
		die("a pipe");
	say("ready");
	stay();
}

/* serve NAME: gives back by the queue what comes by the pipe, all bits turned. */
static void serve(const char *name, long number)
{
	struct bridge_region *region = opened(name);
	struct bridge_receiver *receiver = bridge_receiver_open(region, PIPE);
	struct bridge_queue *queue = bridge_queue_open(region, QUEUE);
	unsigned char message[PIPE_BYTES];
	long count = 0;

	(void)number;
	if (!receiver || !queue)
		die("the channels");
	/* They keep it open. */
	bridge_close(region);
	say("ready");
	for (;;) {
		ssize_t length = bridge_receive(receiver, message, sizeof(message), PATIENCE);

		if (length < 0)
			die("to receive");
		if (length == PIPE_BYTES)
			break;
		for (ssize_t at = 0; at < length; at++)
			message[at] ^= 0xff;
		if (bridge_queue_send(queue, message, (size_t)length, PATIENCE) != 0)
			die("to answer");
		count++;
	}
	bridge_receiver_close(receiver);
	bridge_queue_close(queue);
	say_number("served %ld", count);
}

/* ask NAME NUMBER: asks who serves so many times, and ends it. */
static void ask(const char *name, long number)
{
	struct bridge_region *region = opened(name);
	struct bridge_sender *sender = bridge_sender_open(region, PIPE);
	struct bridge_queue *queue = bridge_queue_open(region, QUEUE);
	unsigned char message[PIPE_BYTES] = { 0 }, answer[QUEUE_BYTES];

	if (!sender || !queue)
		die("the channels");
	if (bridge_queue_bytes(queue) != QUEUE_BYTES || bridge_sender_bytes(sender) != PIPE_BYTES)
		wrong("the channels have another shape");
	for (long at = 0; at < number; at++) {
		size_t length = compose(message, at, QUEUE_BYTES);
		ssize_t came;

		if (bridge_send(sender, message, length, PATIENCE) != 0)
			die("to ask");
		came = bridge_queue_receive(queue, answer, sizeof(answer), PATIENCE);
		if (came < 0)
			die("the answer");
		if ((size_t)came != length)
			wrong("an answer has another length");
		for (size_t byte = 0; byte < length; byte++)
			if ((answer[byte] ^ 0xff) != message[byte])
				wrong("an answer is another one");
	}
	if (bridge_send(sender, message, PIPE_BYTES, PATIENCE) != 0)
		die("to end it");
	bridge_sender_close(sender);
	bridge_queue_close(queue);
	bridge_close(region);
	say_number("asked %ld", number);
}

/* add NAME NUMBER: counts two numbers up together, so many times. */
static void add(const char *name, long number)
{
	struct bridge_region *region = opened(name);
	struct bridge_lock *lock = lock_of(region);
	_Atomic uint32_t *first = word(region, FIRST), *second = word(region, SECOND);

	for (long at = 0; at < number; at++) {
		uint32_t seen;

		if (acquire(lock))
			wrong("somebody has died with the lock");
		/* Two at once would lose some of it. */
		seen = atomic_load_explicit(first, memory_order_relaxed);
		if (seen != atomic_load_explicit(second, memory_order_relaxed))
			wrong("somebody is in the middle of it");
		atomic_store_explicit(first, seen + 1, memory_order_relaxed);
		atomic_store_explicit(second, seen + 1, memory_order_relaxed);
		release(lock);
	}
	bridge_lock_close(lock);
	bridge_close(region);
	say_number("added %ld", number);
}

/* numbers NAME: these two. */
static void numbers(const char *name, long number)
{
	struct bridge_region *region = opened(name);

	(void)number;
	say_number("%ld", (long)atomic_load(word(region, FIRST)));
	say_number("%ld", (long)atomic_load(word(region, SECOND)));
	bridge_close(region);
}

/* hold NAME: takes the lock, changes one of the numbers, and stays. */
static void hold(const char *name, long number)
{
	struct bridge_region *region = opened(name);
	struct bridge_lock *lock = lock_of(region);

	(void)number;
	if (acquire(lock))
		wrong("somebody has died with the lock");
	atomic_fetch_add(word(region, FIRST), 1);
	say("had");
	stay();
}

/*
 * mend NAME NUMBER: takes the lock, and says whether it is inherited. If the
 * number is not 0, it makes whole what the lock protects.
 */
static void mend(const char *name, long number)
{
	struct bridge_region *region = opened(name);
	struct bridge_lock *lock = lock_of(region);
	bool is_inherited = acquire(lock);

	if (is_inherited && number != 0) {
		atomic_store(word(region, SECOND), atomic_load(word(region, FIRST)));
		if (bridge_lock_recovered(lock) != 0)
			die("to say that all is whole");
	}
	/* It is released by this. */
	bridge_lock_close(lock);
	bridge_close(region);
	say(is_inherited ? "inherited" : "had");
}

/* contended NAME: whether somebody may sleep on the lock. */
static void contended(const char *name, long number)
{
	struct bridge_region *region = opened(name);

	(void)number;
	if (atomic_load(word(region, LOCK)) >> 31 == 0)
		wrong("nobody waits for the lock");
	bridge_close(region);
}

/* await NAME NUMBER: waits until the value is that. */
static void await(const char *name, long number)
{
	struct bridge_region *region = opened(name);
	struct bridge_lock *lock = lock_of(region);
	_Atomic uint32_t *value = word(region, VALUE);
	long end = now_ms() + PATIENCE;

	acquire(lock);
	say("waits");
	while (atomic_load_explicit(value, memory_order_relaxed) != (uint32_t)number) {
		if (now_ms() >= end)
			wrong("nobody tells");
		if (bridge_condition_wait(lock, CONDITION, end - now_ms()) != 0)
			die("to wait");
	}
	release(lock);
	bridge_lock_close(lock);
	bridge_close(region);
	say_number("is %ld", number);
}

/* tell NAME NUMBER: changes the value to that; a negative one, without its sign, for one who waits. */
static void tell(const char *name, long number)
{
	struct bridge_region *region = opened(name);
	struct bridge_lock *lock = lock_of(region);
	int result;

	acquire(lock);
	atomic_store_explicit(word(region, VALUE), (uint32_t)labs(number), memory_order_relaxed);
	release(lock);
	if (number < 0)
		result = bridge_condition_signal(region, CONDITION);
	else
		result = bridge_condition_broadcast(region, CONDITION);
	if (result != 0)
		die("to tell");
	bridge_lock_close(lock);
	bridge_close(region);
}

/*
 * Counts a word up each time that it is this one's turn: that of 0 when it is
 * even.
 */
static void take_turns(const char *name, long rounds, uint32_t own)
{
	struct bridge_region *region = opened(name);
	_Atomic uint32_t *turn = word(region, TURN);
	long begun = now_ms();

	for (long round = 0; round < rounds; round++) {
		uint32_t seen;

		while ((seen = atomic_load(turn)) % 2 != own)
			if (bridge_wait_word(region, TURN, seen, PATIENCE) != 0 && errno != EAGAIN)
				die("to wait on the word");
		atomic_fetch_add(turn, 1);
		if (bridge_wake_word(region, TURN, 1) != 0)
			die("to wake");
	}
	bridge_close(region);
	say_number("%ld", now_ms() - begun);
}

/* ping NAME NUMBER, pong NAME NUMBER: so many turns; how many ms they took. */
static void ping(const char *name, long number)
{
	take_turns(name, number, 0);
}

static void pong(const char *name, long number)
{
	take_turns(name, number, 1);
}

/* wait NAME: waits for a notice. */
static void wait_for_notice(const char *name, long number)
{
	struct bridge_region *region = opened(name);
	int64_t seen = bridge_notices(region), now;

	(void)number;
	if (seen < 0)
		die("the notices");
	say("waits");
	now = bridge_wait(region, (uint64_t)seen, PATIENCE);
	if (now < 0)
		die("to wait");
	bridge_close(region);
	say_number("noticed %ld", (long)(now - seen));
}

/* notify NAME: gives one. */
static void notify(const char *name, long number)
{
	struct bridge_region *region = opened(name);

	(void)number;
	if (bridge_notify(region) != 0)
		die("to give a notice");
	bridge_close(region);
}

/* fill NAME: sends as many messages as the pipe holds, and stays. */
static void fill(const char *name, long number)
{
	struct bridge_sender *sender = bridge_sender_open(opened(name), PIPE);
	unsigned char message[PIPE_BYTES];

	(void)number;
	if (!sender)
		die("the pipe");
	for (long at = 0; at < PIPE_SLOTS; at++)
		if (bridge_send(sender, message, compose(message, at, PIPE_BYTES), 0) != 0)
			die("to send");
	say("full");
	stay();
}

/*
 * drain NAME NUMBER: receives until the sender has died, and says how much came.
 * It waits unless the number is 1.
 */
static void drain(const char *name, long number)
{
	struct bridge_receiver *receiver = bridge_receiver_open(opened(name), PIPE);
	unsigned char message[PIPE_BYTES], wanted[PIPE_BYTES];
	long patience = number == 1 ? 0 : PATIENCE;
	ssize_t length;

	if (!receiver)
		die("the pipe");
	if (bridge_receiver_bytes(receiver) != PIPE_BYTES)
		wrong("the pipe has another shape");
	say("drains");
	for (number = 0;; number++) {
		length = bridge_receive(receiver, message, sizeof(message), patience);
		if (length < 0)
			break;
		if ((size_t)length != compose(wanted, number, PIPE_BYTES) ||
		    memcmp(message, wanted, (size_t)length) != 0)
			wrong("a message is another one");
	}
	if (errno != EPIPE)
		die("to receive");
	bridge_receiver_close(receiver);
	say_number("%ld, then its end", number);
}

static const struct {
	const char *name;
	void (*run)(const char *name, long number);
} commands[] = {
	{ "keep", keep },
	{ "serve", serve },
	{ "ask", ask },
	{ "add", add },
	{ "numbers", numbers },
	{ "hold", hold },
	{ "mend", mend },
	{ "contended", contended },
	{ "await", await },
	{ "tell", tell },
	{ "ping", ping },
	{ "pong", pong },
	{ "wait", wait_for_notice },
	{ "notify", notify },
	{ "fill", fill },
	{ "drain", drain },
};

int main(int argc, char **argv)
{
	if (argc < 3)
		wrong("usage: bridge_c COMMAND REGION [NUMBER]");
	for (size_t at = 0; at < sizeof(commands) / sizeof(commands[0]); at++) {
		if (strcmp(argv[1], commands[at].name) == 0) {
			commands[at].run(argv[2], argc > 3 ? strtol(argv[3], NULL, 10) : 0);
			return 0;
		}
	}
	wrong("there is no such command");
}
