/* SPDX-License-Identifier: GPL-2.0 */
/* What the C files of a device share; nothing of it is for Rust. */
#ifndef VNET_NETDEV_H
#define VNET_NETDEV_H

#include <linux/hrtimer.h>
#include <linux/netdevice.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include "shim.h"

#define KIND "vnet"
#define SEGMENT_SIZE 27
/* Lanes, and queues of each. */
#define MAX_LANES 4
#define MAX_QUEUES 16

struct lane {
	struct adeos_netdev *of;
	struct napi_struct napi;
	struct hrtimer timer;
	/* Held while it is started: two CPUs may want it at different times. */
	spinlock_t starting;
	/* How its CPU is told to poll; bit 0 while that is on its way. */
	call_single_data_t call;
	unsigned long is_called;
	/* Written by who polls. */
	u64 rx_packets, rx_bytes, rx_dropped, rx_length_errors, rx_frame_errors;
} ____cacheline_aligned_in_smp;

struct adeos_netdev {
	struct net_device *dev;
	struct delayed_work following;
	void *data;
	char segment[SEGMENT_SIZE];
	u32 nr_lanes;
	/*
	 * How often the others are still to be told of addresses (ARP, neighbour discovery). A vnode
	 * that comes again may have another number, and so not the Ethernet address that they know.
	 */
	atomic_t announcements;
	/* By queue; each is written under the queue's lock. */
	struct {
		u64 packets, bytes, dropped;
	} tx[MAX_LANES * MAX_QUEUES];
	struct lane lanes[MAX_LANES];
};

extern const struct adeos_netdev_operations *adeos_netdev_driver;
extern const struct ethtool_ops adeos_netdev_ethtool;

#endif
