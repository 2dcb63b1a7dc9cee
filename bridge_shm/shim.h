/* SPDX-License-Identifier: GPL-2.0 */
/* What bridge_shm's Rust calls that is a macro, or inline, in C. */
#ifndef BRIDGE_SHM_SHIM_H
#define BRIDGE_SHM_SHIM_H

#include <linux/types.h>

struct file;
struct vm_area_struct;
struct vm_fault;

void bridge_shm_set_size(struct file *file, u64 bytes);
void bridge_shm_release_fault_lock(struct vm_fault *vmf);
void bridge_shm_seal(struct vm_area_struct *vma);

#endif
