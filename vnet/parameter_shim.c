// SPDX-License-Identifier: GPL-2.0
/* What can be changed while the module is there, as parameters of Rust cannot (linux/moduleparam.h). */
#include <linux/moduleparam.h>
#include <linux/module.h>
#include <linux/string.h>
#include "shim.h"

/* Both under the lock of the module's parameters. */
static int (*say)(const char *text);
static char said[4000];

static int set(const char *text, const struct kernel_param *parameter)
{
	int error;

	if (!say)
		return -ENODEV;
	if (strlen(text) >= sizeof(said))
		return -E2BIG;
	error = say(text);
	if (!error)
		strscpy(said, text);
	return error;
}

static int get(char *to, const struct kernel_param *parameter)
{
	return sysfs_emit(to, "%s\n", strim(said));
}

static const struct kernel_param_ops operations = {
	.set = set,
	.get = get,
};

module_param_cb(segments, &operations, NULL, 0600);
MODULE_PARM_DESC(segments, "In the root, once it is loaded: who may be on which segment, as NAME=VNODE.LIFE,... ...");

void adeos_parameter_listen(int (*to)(const char *text))
{
	kernel_param_lock(THIS_MODULE);
	say = to;
	kernel_param_unlock(THIS_MODULE);
}
