/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where stopped CPUs wait, in real mode: a CPU that comes here writes its APIC
 * id where the root can read it, and halts. The id is found as Linux finds it
 * (arch/x86/kernel/cpu/topology_ext.c): by leaf 0xb of CPUID if that has
 * something to say, else by leaf 1. There is no stack.
 */
#include <linux/linkage.h>

	.section ".rodata", "a", @progbits
	.balign 16
	.code16
SYM_DATA_START(adeos_waiting_room)
	cli
	xorl	%eax, %eax
	cpuid
	cmpl	$0xb, %eax
	jb	.Lold
	movl	$0xb, %eax
	xorl	%ecx, %ecx
	cpuid
	testw	%bx, %bx
	jnz	.Lsay
.Lold:
	movl	$1, %eax
	cpuid
	movl	%ebx, %edx
	shrl	$24, %edx
.Lsay:
	movl	%edx, %cs:adeos_waiting_room_guest - adeos_waiting_room
.Lwait:
	hlt
	jmp	.Lwait

	.balign 4
SYM_INNER_LABEL(adeos_waiting_room_guest, SYM_L_GLOBAL)
	.long	0
SYM_DATA_END_LABEL(adeos_waiting_room, SYM_L_GLOBAL, adeos_waiting_room_end)
