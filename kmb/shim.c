// SPDX-License-Identifier: GPL-2.0
/* What only C can say of page tables and calls: no logic. */
#include <linux/acpi.h>
#include <linux/irqflags.h>
#include <linux/string.h>
#include <asm/apicdef.h>
#include <asm/nospec-branch.h>
#include <asm/pgtable.h>
#include <asm/special_insns.h>
#include "shim.h"

/*
 * Calls an image's entry (paper section 5, step 6) under page tables that have
 * its memory one to one in entry 0 and all of this kernel in the others, so
 * that even an NMI finds what it needs.
 */
long kmb_call_entry(u64 *pgd, u64 pgd_address, u64 entry, u64 params)
{
	unsigned long flags, cr3;
	long result;

	local_irq_save(flags);
	cr3 = __read_cr3();
	memcpy(pgd + 1, (u64 *)__va(cr3 & CR3_ADDR_MASK) + 1, PAGE_SIZE - sizeof(*pgd));
	native_write_cr3(pgd_address);
	asm volatile(ANNOTATE_RETPOLINE_SAFE "\n\tcall *%[entry]"
		     : "=a" (result), "+S" (params), ASM_CALL_CONSTRAINT
		     : [entry] "0" (entry)
		     : "rcx", "rdx", "rdi", "r8", "r9", "r10", "r11", "cc", "memory");
	native_write_cr3(cr3);
	local_irq_restore(flags);
	return (int)result;
}

bool kmb_five_levels(void)
{
	return pgtable_l5_enabled();
}

u64 kmb_lapic_address(void)
{
	return APIC_DEFAULT_PHYS_BASE;
}

u32 kmb_pm_timer_port(void)
{
	return acpi_gbl_FADT.xpm_timer_block.address ?: acpi_gbl_FADT.pm_timer_block;
}
