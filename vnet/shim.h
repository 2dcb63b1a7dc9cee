/* SPDX-License-Identifier: GPL-2.0 */
/* vnet/ffi.rs declares the same for Rust. */
#ifndef VNET_SHIM_H
#define VNET_SHIM_H

#include <linux/types.h>

struct adeos_netdev;
struct sk_buff;

/* What has become of a packet that was to be sent; vnet/netdev.rs, Fate. */
enum {
	ADEOS_PACKET_SENT,
	ADEOS_PACKET_LOST,
	ADEOS_PACKET_WAITS,
};

/* What a driver of Ethernet devices does; `device` is what create() has returned. */
struct adeos_netdev_operations {
	void *(*create)(struct adeos_netdev *it, const char *segment, u32 lanes, u8 *address);
	void (*destroy)(void *device);
	int (*open)(void *device, const u8 *address);
	void (*stop)(void *device);
	u32 (*follow)(void *device);
	u32 (*queue_of)(void *device, const u8 *address);
	u32 (*transmit)(void *device, struct sk_buff *skb, u32 queue);
	void (*time_out)(void *device, u32 queue);
	int (*poll)(void *device, u32 lane, int budget);
	bool (*sleep)(void *device, u32 lane);
	void (*set_address)(void *device, const u8 *address);
	void (*listen)(void *device, bool all, bool all_groups, u64 filter);
	u64 (*filter_bit)(const u8 *address);
	void (*count)(void *device, u64 *counters);
	/* What count() counts, 32 bytes each. */
	const u8 (*names)[32];
	u32 nr_names;
	/* Which of them Linux has places of its own for. */
	u32 collisions;
	u32 aborted;
	u32 missed;
	u32 frame_errors;
	u32 packets;
	u32 places;
	u32 lanes;
	/* Of each lane. */
	u32 queues;
	u32 watchdog_ms;
};

int adeos_netdev_register(const struct adeos_netdev_operations *ops);
void adeos_netdev_unregister(void);
int adeos_netdev_add(const char *segment);

void adeos_netdev_schedule(struct adeos_netdev *it, u32 lane);
void adeos_netdev_follow(struct adeos_netdev *it);
void adeos_netdev_carrier_on(struct adeos_netdev *it);
void adeos_netdev_carrier_off(struct adeos_netdev *it);
void adeos_netdev_stop_queue(struct adeos_netdev *it, u32 queue);
void adeos_netdev_wake_queue(struct adeos_netdev *it, u32 queue);
void adeos_netdev_poll_within(struct adeos_netdev *it, u32 lane, u64 delay_ns);
void adeos_netdev_hold_soft_interrupts(void);
void adeos_netdev_let_soft_interrupts(void);

/* What is to be called with each text that is written to the parameter `segments`; NULL for nothing. */
void adeos_parameter_listen(int (*to)(const char *text));

u32 adeos_packet_length(struct sk_buff *skb);
bool adeos_packet_piece(struct sk_buff *skb, u32 number, u8 **bytes, u32 *count);
bool adeos_packet_offload(struct sk_buff *skb, u8 *offload);
struct sk_buff *adeos_packet_create(struct adeos_netdev *it, u32 lane, u32 length);
void adeos_packet_receive(struct adeos_netdev *it, u32 lane, struct sk_buff *skb, const u8 *offload);
void adeos_packet_drop(struct sk_buff *skb);

#endif
