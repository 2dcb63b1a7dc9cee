/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From real mode to the 64-bit entry of an image: where a vnode's first CPU
 * starts, whether its image sends it there or the root (paper section 6.1,
 * footnote 11). kmb copies it to the vnode's low memory and fills in the data:
 * entry, parameters, stack, page tables. The CPU goes to long mode in one step
 * (SDM volume 3, section 10.8.5).
 *
 * There is one pass through here in a life, whoever comes first takes it. The
 * second STARTUP of a start is dropped by a CPU that runs (section 10.4.4), but
 * where it is kept until the CPU takes notice, as QEMU does, an INIT in between
 * lets it begin the CPU anew, in an image that has overwritten itself.
 */
#include <linux/linkage.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

	.section ".rodata", "a", @progbits
	.balign 16
	.code16
SYM_DATA_START(kmb_trampoline)
	cli
	cld
	movw	%cs, %ax
	movw	%ax, %ds
	xorl	%ecx, %ecx
	xchgl	%ecx, .Lpass - kmb_trampoline
	jecxz	.Lstop
	xorl	%ebx, %ebx
	movw	%ax, %bx
	shll	$4, %ebx
	lgdtl	kmb_trampoline_gdt - kmb_trampoline
	movl	$X86_CR4_PAE, %eax
	movl	%eax, %cr4
	movl	.Ldata + 24 - kmb_trampoline, %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	leal	.Llong - kmb_trampoline(%ebx), %eax
	movl	%eax, .Lfar - kmb_trampoline
	movl	$(X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | X86_CR0_PG), %eax
	movl	%eax, %cr0
	ljmpl	*(.Lfar - kmb_trampoline)
.Lstop:
	hlt
	jmp	.Lstop

	.code64
.Llong:
	movl	$16, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movq	.Ldata + 16(%rip), %rsp
	movq	.Ldata + 8(%rip), %rsi
	movq	.Ldata(%rip), %rax
	jmp	*%rax

	.balign 8
.Lpass:
	.long	1, 0
.Lfar:
	.long	0, 8
SYM_INNER_LABEL(kmb_trampoline_gdt, SYM_L_GLOBAL)
	.word	23
	.long	.Lgdt - kmb_trampoline
	.balign 8
.Lgdt:
	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
SYM_INNER_LABEL(kmb_trampoline_data, SYM_L_GLOBAL)
.Ldata:
	.quad	0, 0, 0, 0
SYM_DATA_END_LABEL(kmb_trampoline, SYM_L_GLOBAL, kmb_trampoline_end)
