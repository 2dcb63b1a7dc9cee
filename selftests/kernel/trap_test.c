// SPDX-License-Identifier: GPL-2.0
/*
 * Panics in the middle of whatever is the first to store to an address of this kernel, for
 * selftests/182-console-waits.sh. In C: the kernel crate knows nothing of breakpoints
 * (linux/hw_breakpoint.h).
 */
#include <linux/hw_breakpoint.h>
#include <linux/module.h>
#include <linux/perf_event.h>

static unsigned long address;
module_param(address, ulong, 0);
MODULE_PARM_DESC(address, "Where 8 bytes are going to be stored");

static struct perf_event * __percpu *watch;

static void on_store(struct perf_event *event, struct perf_sample_data *data, struct pt_regs *regs)
{
	panic("trap_test: in the middle of a store");
}

static int __init trap_test_init(void)
{
	struct perf_event_attr attr;

	hw_breakpoint_init(&attr);
	attr.bp_addr = address;
	attr.bp_len = HW_BREAKPOINT_LEN_8;
	attr.bp_type = HW_BREAKPOINT_W;
	watch = register_wide_hw_breakpoint(&attr, on_store, NULL);
	return PTR_ERR_OR_ZERO((void __force *)watch);
}
module_init(trap_test_init);

static void __exit trap_test_exit(void)
{
	unregister_wide_hw_breakpoint(watch);
}
module_exit(trap_test_exit);

MODULE_AUTHOR("The Adeos cluster project");
MODULE_DESCRIPTION("Test of a panic at any place");
MODULE_LICENSE("GPL");
