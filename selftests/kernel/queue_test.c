// SPDX-License-Identifier: GPL-2.0
/* Stops a queue of a network device for good, as one is that nobody wakes, for selftests/190-network.sh. */
#include <linux/module.h>
#include <linux/netdevice.h>

static char *device = "";
module_param(device, charp, 0);
MODULE_PARM_DESC(device, "Name of the device");

static unsigned int queue;
module_param(queue, uint, 0);
MODULE_PARM_DESC(queue, "Number of the queue");

static int __init queue_test_init(void)
{
	struct net_device *dev = dev_get_by_name(&init_net, device);
	int error = -ENODEV;

	if (dev && queue < dev->real_num_tx_queues) {
		netif_stop_subqueue(dev, queue);
		error = 0;
	}
	dev_put(dev);
	return error;
}

static void __exit queue_test_exit(void)
{
}

module_init(queue_test_init);
module_exit(queue_test_exit);
MODULE_DESCRIPTION("Test of the network: a queue that is stopped");
MODULE_LICENSE("GPL");
