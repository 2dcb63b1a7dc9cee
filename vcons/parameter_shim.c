// SPDX-License-Identifier: GPL-2.0
/* What can be changed while the module is there, as parameters of Rust cannot (linux/moduleparam.h). */
#include <linux/compiler.h>
#include <linux/moduleparam.h>
#include "shim.h"

static unsigned int group;
module_param(group, uint, 0644);
MODULE_PARM_DESC(group, "Group of the devices in /dev/vcons, as a number; it may do there what root may");

u32 adeos_parameter_group(void)
{
	return READ_ONCE(group);
}
