// SPDX-License-Identifier: GPL-2.0
/* Ethernet devices, as functions: what linux/netdevice.h and its like have as tables and inlines. */
#include <linux/err.h>
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <net/rtnetlink.h>
#include <net/sch_generic.h>
#include "netdev.h"

/* How often the others are told of addresses, as what is for all may be lost, and how far apart. */
#define ANNOUNCEMENTS 3
#define ANNOUNCE_MS 50

enum {
	IFLA_VNET_UNSPEC,
	IFLA_VNET_SEGMENT,
	__IFLA_VNET_MAX,
};

const struct adeos_netdev_operations *adeos_netdev_driver;

static void *data_of(struct net_device *dev)
{
	return ((struct adeos_netdev *)netdev_priv(dev))->data;
}

static int open(struct net_device *dev)
{
	struct adeos_netdev *it = netdev_priv(dev);
	u32 number;
	int error;

	for (number = 0; number < it->nr_lanes; number++)
		napi_enable(&it->lanes[number].napi);
	netif_tx_start_all_queues(dev);
	/* From here on there may be a carrier. */
	error = adeos_netdev_driver->open(it->data, dev->dev_addr);
	for (number = 0; error && number < it->nr_lanes; number++)
		napi_disable(&it->lanes[number].napi);
	return error;
}

static int stop(struct net_device *dev)
{
	struct adeos_netdev *it = netdev_priv(dev);

	adeos_netdev_driver->stop(it->data);
	netif_tx_disable(dev);
	for (u32 number = 0; number < it->nr_lanes; number++) {
		struct lane *lane = &it->lanes[number];

		napi_disable(&lane->napi);
		/* Nothing starts it any more. */
		hrtimer_cancel(&lane->timer);
		/* What another CPU is still to do ends within its interrupt, which is waited for before the device goes. */
		while (test_bit(0, &lane->is_called))
			cond_resched();
	}
	return 0;
}

/*
 * One queue of a lane for each receiver: whoever takes nothing holds up nobody else's packets. A flow
 * stays on its lane, and so in order.
 */
static u16 select_queue(struct net_device *dev, struct sk_buff *skb, struct net_device *sb_dev)
{
	struct adeos_netdev *it = netdev_priv(dev);
	u32 lane = it->nr_lanes > 1 ? skb_get_hash(skb) & (it->nr_lanes - 1) : 0;

	return lane * adeos_netdev_driver->queues +
	       adeos_netdev_driver->queue_of(it->data, ((struct ethhdr *)skb->data)->h_dest);
}

static netdev_tx_t start_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct adeos_netdev *it = netdev_priv(dev);
	u16 queue = skb_get_queue_mapping(skb);

	switch (adeos_netdev_driver->transmit(it->data, skb, queue)) {
	case ADEOS_PACKET_SENT:
		it->tx[queue].packets += skb_is_gso(skb) ? skb_shinfo(skb)->gso_segs : 1;
		it->tx[queue].bytes += skb->len;
		skb_tx_timestamp(skb);
		consume_skb(skb);
		return NETDEV_TX_OK;
	case ADEOS_PACKET_WAITS:
		return NETDEV_TX_BUSY;
	default:
		it->tx[queue].dropped++;
		dev_kfree_skb_any(skb);
		return NETDEV_TX_OK;
	}
}

static void tx_timeout(struct net_device *dev, unsigned int queue)
{
	adeos_netdev_driver->time_out(data_of(dev), queue);
}

static u32 number_of(const struct lane *lane)
{
	return lane - lane->of->lanes;
}

static int poll(struct napi_struct *napi, int budget)
{
	struct lane *lane = container_of(napi, struct lane, napi);
	void *data = lane->of->data;
	int done = adeos_netdev_driver->poll(data, number_of(lane), budget);

	/* Whoever sends from now on, or has sent meanwhile, finds it awake or asleep. */
	if (done < budget && napi_complete_done(napi, done) &&
	    !adeos_netdev_driver->sleep(data, number_of(lane)))
		napi_schedule(napi);
	return done;
}

/* In an interrupt of the lane's CPU, mostly. */
static void on_call(void *info)
{
	struct lane *lane = info;

	/* First: who comes from here on may be too late for this poll. */
	clear_bit(0, &lane->is_called);
	smp_mb__after_atomic();
	napi_schedule(&lane->napi);
}

/*
 * In an interrupt, or with soft interrupts held off. Each lane is polled on a CPU of its own, the first
 * one where portals are taken.
 */
static void schedule_lane(struct lane *lane)
{
	u32 number = number_of(lane);
	unsigned int cpu = cpumask_nth(number % num_online_cpus(), cpu_online_mask);

	if (cpu == smp_processor_id())
		napi_schedule(&lane->napi);
	else if (!test_and_set_bit(0, &lane->is_called) &&
		 smp_call_function_single_async(cpu, &lane->call))
		/* That CPU has just gone. */
		on_call(lane);
}

static enum hrtimer_restart on_timer(struct hrtimer *timer)
{
	schedule_lane(container_of(timer, struct lane, timer));
	return HRTIMER_NORESTART;
}

/* Without Linux's lock of network devices: it waits for the root. */
static void follow(struct work_struct *work)
{
	struct adeos_netdev *it = container_of(to_delayed_work(work), struct adeos_netdev, following);
	u32 ms = adeos_netdev_driver->follow(it->data);

	/*
	 * Linux sends nothing before it has seen the carrier itself. And whoever makes or removes a
	 * device waits for this with the lock held: nobody waits for the lock here.
	 */
	if (atomic_read(&it->announcements) > 0) {
		ms = ANNOUNCE_MS;
		if (!qdisc_tx_is_noop(it->dev) && rtnl_trylock()) {
			if (atomic_dec_if_positive(&it->announcements) >= 0)
				__netdev_notify_peers(it->dev);
			rtnl_unlock();
		}
	}
	if (ms)
		queue_delayed_work(system_dfl_long_wq, &it->following, msecs_to_jiffies(ms));
}

static int set_mac_address(struct net_device *dev, void *address)
{
	int error = eth_mac_addr(dev, address);

	if (!error)
		adeos_netdev_driver->set_address(data_of(dev), dev->dev_addr);
	return error;
}

static void set_rx_mode(struct net_device *dev)
{
	/* Addresses beside its own: for so few it is no pity to hear all. */
	bool all = dev->flags & IFF_PROMISC || !netdev_uc_empty(dev);
	struct netdev_hw_addr *group;
	u64 filter = 0;

	netdev_for_each_mc_addr(group, dev)
		filter |= adeos_netdev_driver->filter_bit(group->addr);
	adeos_netdev_driver->listen(data_of(dev), all, dev->flags & IFF_ALLMULTI, filter);
}

static void get_stats64(struct net_device *dev, struct rtnl_link_stats64 *stats)
{
	struct adeos_netdev *it = netdev_priv(dev);
	u64 counters[32] = {};

	adeos_netdev_driver->count(it->data, counters);
	for (u32 queue = 0; queue < it->nr_lanes * adeos_netdev_driver->queues; queue++) {
		stats->tx_packets += it->tx[queue].packets;
		stats->tx_bytes += it->tx[queue].bytes;
		stats->tx_dropped += it->tx[queue].dropped;
	}
	stats->tx_errors = counters[adeos_netdev_driver->aborted];
	stats->tx_aborted_errors = counters[adeos_netdev_driver->aborted];
	stats->tx_fifo_errors = counters[adeos_netdev_driver->missed];
	stats->collisions = counters[adeos_netdev_driver->collisions];
	for (u32 number = 0; number < it->nr_lanes; number++) {
		const struct lane *lane = &it->lanes[number];

		stats->rx_packets += lane->rx_packets;
		stats->rx_bytes += lane->rx_bytes;
		stats->rx_dropped += lane->rx_dropped;
		stats->rx_length_errors += lane->rx_length_errors;
		stats->rx_frame_errors += lane->rx_frame_errors;
	}
	stats->rx_frame_errors += counters[adeos_netdev_driver->frame_errors];
	stats->rx_errors = stats->rx_length_errors + stats->rx_frame_errors;
}

static const struct net_device_ops operations = {
	.ndo_open = open,
	.ndo_stop = stop,
	.ndo_start_xmit = start_xmit,
	.ndo_select_queue = select_queue,
	.ndo_tx_timeout = tx_timeout,
	.ndo_set_mac_address = set_mac_address,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_set_rx_mode = set_rx_mode,
	.ndo_get_stats64 = get_stats64,
};

/*
 * Linux calls it for some failures of registration, and whoever has registered for others. A device
 * that has been open is closed, and Linux's lock of network devices let go: this may wait for the root.
 */
static void abandon(struct net_device *dev)
{
	struct adeos_netdev *it = netdev_priv(dev);

	cancel_delayed_work_sync(&it->following);
	if (it->data)
		adeos_netdev_driver->destroy(it->data);
	it->data = NULL;
}

static void setup(struct net_device *dev)
{
	struct adeos_netdev *it = netdev_priv(dev);

	ether_setup(dev);
	it->dev = dev;
	for (u32 number = 0; number < MAX_LANES; number++) {
		struct lane *lane = &it->lanes[number];

		lane->of = it;
		hrtimer_setup(&lane->timer, on_timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_SOFT);
		spin_lock_init(&lane->starting);
		INIT_CSD(&lane->call, on_call, lane);
	}
	INIT_DELAYED_WORK(&it->following, follow);
	dev->netdev_ops = &operations;
	dev->ethtool_ops = &adeos_netdev_ethtool;
	dev->watchdog_timeo = msecs_to_jiffies(adeos_netdev_driver->watchdog_ms);
	dev->needs_free_netdev = true;
	dev->priv_destructor = abandon;
	dev->min_mtu = ETH_MIN_MTU;
	dev->max_mtu = ETH_MAX_MTU;
	/* A console of the kernel's would send with interrupts off. */
	dev->priv_flags |= IFF_LIVE_ADDR_CHANGE | IFF_DISABLE_NETPOLL;
	dev->priv_flags &= ~IFF_TX_SKB_SHARING;
	/* What never leaves the machine needs neither checksums nor small packets. */
	dev->features = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_RXCSUM | NETIF_F_HIGHDMA |
			NETIF_F_TSO | NETIF_F_TSO6 | NETIF_F_TSO_ECN | NETIF_F_GSO_UDP_L4;
	dev->hw_features = dev->features & ~NETIF_F_HIGHDMA;
	dev->vlan_features = dev->features;
}

/* Lanes of a device that is made now: no more than there are CPUs to serve them. */
static unsigned int get_num_rx_queues(void)
{
	return rounddown_pow_of_two(min(num_online_cpus(), adeos_netdev_driver->lanes));
}

static unsigned int get_num_tx_queues(void)
{
	return get_num_rx_queues() * adeos_netdev_driver->queues;
}

/*
 * Whoever has it made may have said numbers of queues: then there are lanes for which these are enough,
 * one at least.
 */
static int set_lanes(struct net_device *dev)
{
	struct adeos_netdev *it = netdev_priv(dev);
	u32 most = min(dev->num_rx_queues, dev->num_tx_queues / adeos_netdev_driver->queues);

	if (!most)
		return -ERANGE;
	it->nr_lanes = rounddown_pow_of_two(min(most, get_num_rx_queues()));
	return netif_set_real_num_queues(dev, it->nr_lanes * adeos_netdev_driver->queues, it->nr_lanes);
}

/* Everything of a new device but its registration; the destructor undoes it. */
static int prepare(struct net_device *dev, const char *segment)
{
	struct adeos_netdev *it = netdev_priv(dev);
	u8 address[ETH_ALEN];
	int error;

	if (strscpy(it->segment, segment, sizeof(it->segment)) <= 0)
		return -EINVAL;
	error = set_lanes(dev);
	if (error)
		return error;
	it->data = adeos_netdev_driver->create(it, it->segment, it->nr_lanes, address);
	if (IS_ERR(it->data)) {
		error = PTR_ERR(it->data);
		it->data = NULL;
		return error;
	}
	for (u32 number = 0; number < it->nr_lanes; number++)
		netif_napi_add(dev, &it->lanes[number].napi, poll);
	netif_carrier_off(dev);
	if (dev->addr_assign_type != NET_ADDR_SET)
		eth_hw_addr_set(dev, address);
	return 0;
}

/* Whoever names no segment is on the one of the number behind the device's name. */
static const char *segment_of(const char *name)
{
	const char *at = name + strlen(name);

	while (at > name && isdigit(at[-1]))
		at--;
	return at;
}

static int newlink(struct net_device *dev, struct rtnl_newlink_params *params,
		   struct netlink_ext_ack *extack)
{
	char name[SEGMENT_SIZE];
	int error;

	/* Segments are the machine's, whatever a user namespace has of its own. */
	if (!capable(CAP_NET_ADMIN))
		return -EPERM;
	if (params->data && params->data[IFLA_VNET_SEGMENT]) {
		nla_strscpy(name, params->data[IFLA_VNET_SEGMENT], sizeof(name));
	} else {
		strscpy(name, segment_of(dev->name), sizeof(name));
		if (!*name) {
			NL_SET_ERR_MSG(extack, "name a segment, or a device with a number at its end");
			return -EINVAL;
		}
	}
	error = prepare(dev, name);
	if (error) {
		switch (error) {
		case -EINVAL:
			NL_SET_ERR_MSG(extack, "this is no name of a segment");
			break;
		case -EBUSY:
			NL_SET_ERR_MSG(extack, "this vnode has a device on that segment already");
			break;
		case -ERANGE:
			NL_SET_ERR_MSG(extack, "a lane takes 16 queues to send by and one to receive by");
			break;
		case -EACCES:
			NL_SET_ERR_MSG(extack, "this vnode may not be on that segment");
			break;
		default:
			NL_SET_ERR_MSG(extack, "there can be no station");
		}
		return error;
	}
	error = register_netdevice(dev);
	if (error)
		abandon(dev);
	return error;
}

static const struct nla_policy policy[__IFLA_VNET_MAX] = {
	[IFLA_VNET_SEGMENT] = { .type = NLA_NUL_STRING, .len = SEGMENT_SIZE - 1 },
};

static size_t get_size(const struct net_device *dev)
{
	return nla_total_size(SEGMENT_SIZE);
}

static int fill_info(struct sk_buff *skb, const struct net_device *dev)
{
	const struct adeos_netdev *it = netdev_priv(dev);

	return nla_put_string(skb, IFLA_VNET_SEGMENT, it->segment);
}

static struct rtnl_link_ops link_operations __read_mostly = {
	.kind = KIND,
	.priv_size = sizeof(struct adeos_netdev),
	.setup = setup,
	.maxtype = __IFLA_VNET_MAX - 1,
	.policy = policy,
	.newlink = newlink,
	.get_num_tx_queues = get_num_tx_queues,
	.get_num_rx_queues = get_num_rx_queues,
	.get_size = get_size,
	.fill_info = fill_info,
};

MODULE_ALIAS_RTNL_LINK(KIND);

int adeos_netdev_register(const struct adeos_netdev_operations *ops)
{
	if (ops->queues > MAX_QUEUES || ops->lanes > MAX_LANES)
		return -EINVAL;
	adeos_netdev_driver = ops;
	return rtnl_link_register(&link_operations);
}

/* All devices go with it. */
void adeos_netdev_unregister(void)
{
	rtnl_link_unregister(&link_operations);
}

/* A device that nobody has asked for. */
int adeos_netdev_add(const char *segment)
{
	struct net_device *dev = alloc_netdev_mqs(sizeof(struct adeos_netdev), KIND "%d", NET_NAME_ENUM,
						  setup, get_num_tx_queues(), get_num_rx_queues());
	int error;

	if (!dev)
		return -ENOMEM;
	dev->rtnl_link_ops = &link_operations;
	error = prepare(dev, segment);
	if (!error)
		error = register_netdev(dev);
	if (error) {
		abandon(dev);
		free_netdev(dev);
	}
	return error;
}

/* Any context but threads with interrupts off. A lane that the device does not have has nothing to poll. */
void adeos_netdev_schedule(struct adeos_netdev *it, u32 lane)
{
	bool in_thread = !in_interrupt();

	if (lane >= it->nr_lanes)
		return;
	if (in_thread)
		local_bh_disable();
	schedule_lane(&it->lanes[lane]);
	if (in_thread)
		local_bh_enable();
}

void adeos_netdev_follow(struct adeos_netdev *it)
{
	mod_delayed_work(system_dfl_long_wq, &it->following, 0);
}

void adeos_netdev_carrier_on(struct adeos_netdev *it)
{
	netif_tx_wake_all_queues(it->dev);
	netif_carrier_on(it->dev);
	atomic_set(&it->announcements, ANNOUNCEMENTS);
}

void adeos_netdev_carrier_off(struct adeos_netdev *it)
{
	netif_carrier_off(it->dev);
	atomic_set(&it->announcements, 0);
}

void adeos_netdev_stop_queue(struct adeos_netdev *it, u32 queue)
{
	if (queue < it->dev->real_num_tx_queues)
		netif_stop_subqueue(it->dev, queue);
}

void adeos_netdev_wake_queue(struct adeos_netdev *it, u32 queue)
{
	if (queue < it->dev->real_num_tx_queues)
		netif_wake_subqueue(it->dev, queue);
}

/* With soft interrupts held off. */
void adeos_netdev_poll_within(struct adeos_netdev *it, u32 number, u64 delay_ns)
{
	struct lane *lane = &it->lanes[number];
	struct hrtimer *timer = &lane->timer;
	ktime_t then = ktime_add_ns(ktime_get(), delay_ns);

	spin_lock(&lane->starting);
	if (!hrtimer_is_queued(timer) || ktime_after(hrtimer_get_expires(timer), then))
		hrtimer_start(timer, then, HRTIMER_MODE_ABS_SOFT);
	spin_unlock(&lane->starting);
}

void adeos_netdev_hold_soft_interrupts(void)
{
	local_bh_disable();
}

void adeos_netdev_let_soft_interrupts(void)
{
	local_bh_enable();
}
