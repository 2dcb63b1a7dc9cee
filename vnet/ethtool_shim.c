// SPDX-License-Identifier: GPL-2.0
/* What ethtool asks of a device. */
#include <linux/ethtool.h>
#include "netdev.h"

static void get_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	struct adeos_netdev *it = netdev_priv(dev);

	strscpy(info->driver, KIND, sizeof(info->driver));
	snprintf(info->bus_info, sizeof(info->bus_info), "segment %s", it->segment);
}

static int get_sset_count(struct net_device *dev, int set)
{
	return set == ETH_SS_STATS ? adeos_netdev_driver->nr_names : -EOPNOTSUPP;
}

static void get_strings(struct net_device *dev, u32 set, u8 *to)
{
	if (set == ETH_SS_STATS)
		memcpy(to, adeos_netdev_driver->names, adeos_netdev_driver->nr_names * ETH_GSTRING_LEN);
}

static void get_ethtool_stats(struct net_device *dev, struct ethtool_stats *stats, u64 *to)
{
	struct adeos_netdev *it = netdev_priv(dev);

	adeos_netdev_driver->count(it->data, to);
}

static void get_ringparam(struct net_device *dev, struct ethtool_ringparam *ring,
			  struct kernel_ethtool_ringparam *kernel, struct netlink_ext_ack *extack)
{
	struct adeos_netdev *it = netdev_priv(dev);

	/* Of each lane. */
	ring->rx_max_pending = adeos_netdev_driver->places;
	ring->rx_pending = adeos_netdev_driver->places;
	ring->tx_max_pending = adeos_netdev_driver->packets / it->nr_lanes;
	ring->tx_pending = adeos_netdev_driver->packets / it->nr_lanes;
}

static void get_channels(struct net_device *dev, struct ethtool_channels *channels)
{
	channels->max_tx = dev->real_num_tx_queues;
	channels->tx_count = dev->real_num_tx_queues;
	channels->max_rx = dev->real_num_rx_queues;
	channels->rx_count = dev->real_num_rx_queues;
}

static int get_link_ksettings(struct net_device *dev, struct ethtool_link_ksettings *settings)
{
	/* There is no clock on this wire; it takes what its CPUs can copy. */
	settings->base.speed = SPEED_UNKNOWN;
	settings->base.duplex = DUPLEX_FULL;
	settings->base.port = PORT_OTHER;
	return 0;
}

const struct ethtool_ops adeos_netdev_ethtool = {
	.get_drvinfo = get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_sset_count = get_sset_count,
	.get_strings = get_strings,
	.get_ethtool_stats = get_ethtool_stats,
	.get_ringparam = get_ringparam,
	.get_channels = get_channels,
	.get_link_ksettings = get_link_ksettings,
	.get_ts_info = ethtool_op_get_ts_info,
};
