// SPDX-License-Identifier: GPL-2.0

//! What the kernel crate's bindings lack, and what `shim.h` declares.

use kernel::bindings;
use kernel::ffi::{
    c_char,
    c_int,
    c_void, //
};

#[expect(improper_ctypes, reason = "the bindings' types are C's own")]
extern "C" {
    /// `include/linux/anon_inodes.h`.
    pub(crate) fn anon_inode_create_getfile(
        name: *const c_char,
        fops: *const bindings::file_operations,
        private: *mut c_void,
        flags: c_int,
        context: *const bindings::inode,
    ) -> *mut bindings::file;

    pub(crate) fn bridge_shm_user() -> u32;
    pub(crate) fn bridge_shm_group() -> u32;
    pub(crate) fn bridge_shm_set_size(file: *mut bindings::file, bytes: u64);
    pub(crate) fn bridge_shm_release_fault_lock(vmf: *mut bindings::vm_fault);
    pub(crate) fn bridge_shm_seal(vma: *mut bindings::vm_area_struct);
}
