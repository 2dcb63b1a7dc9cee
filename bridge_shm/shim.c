// SPDX-License-Identifier: GPL-2.0

#include <linux/fs.h>
#include <linux/mm.h>

#include "shim.h"

/* What fstat tells of a file that is new. */
void bridge_shm_set_size(struct file *file, u64 bytes)
{
	i_size_write(file_inode(file), bytes);
}

/* An area of pages without struct page, which is not to grow, nor to be made executable. */
void bridge_shm_seal(struct vm_area_struct *vma)
{
	vm_flags_mod(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP,
		     VM_MAYEXEC);
}

/* Lets go of what a fault holds, for one that waits; it has to say so. */
void bridge_shm_release_fault_lock(struct vm_fault *vmf)
{
	release_fault_lock(vmf);
}
