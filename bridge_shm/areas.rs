// SPDX-License-Identifier: GPL-2.0

//! Where programs map regions. Its pages have no `struct page`: they are entered into page tables as they are touched, 2 MiB at
//! once where there is room, else with their neighbours.
//!
//! C headers: `include/linux/mm.h`, `include/linux/huge_mm.h`.

use crate::handle::Handle;
use crate::pages::Unusable;
use adeos_core::open_file::Operations;
use adeos_proto::layout::GRANULE;
use core::ops::Range;
use kernel::bindings;
use kernel::ffi::{
    c_int,
    c_uint,
    c_ulong, //
};
use kernel::fs::File;
use kernel::page::PAGE_SHIFT;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::sync::ArcBorrow;
use kernel::task::Task;

#[expect(improper_ctypes, reason = "the bindings' types are C's own")]
extern "C" {
    /// `shim.h`.
    fn bridge_shm_seal(vma: *mut bindings::vm_area_struct);
    /// `shim.h`.
    fn bridge_shm_release_fault_lock(vmf: *mut bindings::vm_fault);
}

/// Bytes that are entered when one of them is touched, where the area has all of them: as many as Linux itself takes of a
/// file's.
const AROUND: u64 = 64 << 10;

const PAGE: u64 = kernel::page::PAGE_SIZE as u64;

/// What a page table's entry above those of single pages holds: as much as bridges are multiples of.
const LARGE: u64 = 2 << 20;
const _: () = assert!(GRANULE % LARGE == 0);
const LARGE_ORDER: c_uint = (LARGE / PAGE).trailing_zeros();

/// Finds where a region is mapped: so that large pages fit, if any place will do.
#[cfg(CONFIG_TRANSPARENT_HUGEPAGE)]
pub(crate) const PLACE: Place = Some(bindings::thp_get_unmapped_area);
#[cfg(not(CONFIG_TRANSPARENT_HUGEPAGE))]
pub(crate) const PLACE: Place = None;
type Place = Option<
    unsafe extern "C" fn(*mut bindings::file, c_ulong, c_ulong, c_ulong, c_ulong) -> c_ulong,
>;

const MEMORY: bindings::vm_operations_struct = bindings::vm_operations_struct {
    open: Some(open),
    close: Some(close),
    fault: Some(fault),
    #[cfg(CONFIG_TRANSPARENT_HUGEPAGE)]
    huge_fault: Some(huge_fault),
    access: Some(bindings::generic_access_phys),
    ..pin_init::zeroed()
};

/// The region that an area is of.
///
/// # Safety
///
/// The area is one of [`MEMORY`], or is being made for a file of a region; it lives as long as what is returned is used.
unsafe fn of<'a>(vma: *mut bindings::vm_area_struct) -> ArcBorrow<'a, Handle> {
    // SAFETY: By this function's conditions: an area keeps its file open.
    unsafe { Operations::<Handle>::of((*vma).vm_file) }
}

/// Addresses of an area.
///
/// # Safety
///
/// The area is locked against changes.
unsafe fn bounds(vma: *const bindings::vm_area_struct) -> Range<u64> {
    // SAFETY: By this function's conditions.
    let bounds = unsafe { &(*vma).__bindgen_anon_1.__bindgen_anon_1 };
    bounds.vm_start as u64..bounds.vm_end as u64
}

/// Lets a program map a region: shared, not executable, in the region's bounds, and never more than that (SH-30). Linux
/// itself sees to it that a file which is open for reading is mapped so.
///
/// # Safety
///
/// The file is an open one of a region, and the area is being made for it.
pub(crate) unsafe extern "C" fn mmap(
    file: *mut bindings::file,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    // SAFETY: By this function's conditions.
    let handle = unsafe { Operations::<Handle>::of(file) };
    // SAFETY: The area is the caller's alone.
    let (given, from, bounds) = unsafe {
        (
            (*vma).__bindgen_anon_2.vm_flags as u64,
            (*vma).vm_pgoff as u64,
            bounds(vma),
        )
    };
    let end = from
        .checked_shl(PAGE_SHIFT as u32)
        .filter(|bytes| bytes >> PAGE_SHIFT == from)
        .and_then(|bytes| bytes.checked_add(bounds.end - bounds.start));
    let is_shared = given & bindings::VM_MAYSHARE as u64 != 0;
    let Some(end) = end.filter(|_| is_shared) else {
        return EINVAL.to_errno();
    };
    if let Err(error) = handle.begin_area(end) {
        return error.to_errno();
    }
    // SAFETY: The area is the caller's alone, which holds what is to be held for it.
    unsafe {
        bridge_shm_seal(vma);
        (*vma).vm_ops = &MEMORY;
    }
    0
}

/// There is one more area: a part of one that was split, or that of a child.
///
/// # Safety
///
/// The area is a new one of [`MEMORY`].
unsafe extern "C" fn open(vma: *mut bindings::vm_area_struct) {
    // SAFETY: By this function's conditions.
    let (handle, is_childs) = unsafe { (of(vma), is_childs(vma)) };
    handle.add_area();
    if is_childs {
        // Linux copies large pages without a look whether they are still there: a move could come in between. The parent enters none
        // meanwhile, as its areas are locked.
        handle.unmap_large();
    }
}

/// Whether an area is that of a child that is being forked.
///
/// # Safety
///
/// The area is a new one.
unsafe fn is_childs(vma: *const bindings::vm_area_struct) -> bool {
    // SAFETY: By this function's conditions; the current process, which forks or changes its own areas, has a memory of its own.
    unsafe { (*vma).vm_mm != (*Task::current_raw()).mm }
}

/// An area goes.
///
/// # Safety
///
/// The area is one of [`MEMORY`], and nothing of it is in page tables any more.
unsafe extern "C" fn close(vma: *mut bindings::vm_area_struct) {
    // SAFETY: By this function's conditions.
    unsafe { of(vma) }.end_area();
}

/// Enters a page that is touched, and those around it.
///
/// # Safety
///
/// The fault is one in an area of [`MEMORY`].
unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
    // SAFETY: By this function's conditions the fault has an area, which cannot change meanwhile.
    let (vma, place, touched) = unsafe {
        let fault = &(*vmf).__bindgen_anon_1;
        (fault.vma, fault.pgoff as u64, fault.address as u64)
    };
    // SAFETY: As above.
    let (handle, area) = unsafe { (of(vma), bounds(vma)) };
    let touched = touched & !(PAGE - 1);
    let first = area.start.max(touched & !(AROUND - 1));
    let end = area.end.min((touched & !(AROUND - 1)) + AROUND);
    // As far as the area goes before what is touched, so does the region.
    let offset = (place << PAGE_SHIFT).wrapping_sub(touched - first);
    let entered = handle.with_range(|range| {
        // It may have got smaller since the area was made.
        let is_in_it = place < range.size() >> PAGE_SHIFT;
        if !is_in_it || offset >= range.size() {
            return bindings::vm_fault_reason_VM_FAULT_SIGBUS;
        }
        let count = (end - first).min(range.size() - offset) / PAGE;
        let frame = ((range.base() + offset) >> PAGE_SHIFT) as c_ulong;
        let enter = |number: u64| {
            let address = (first + number * PAGE) as c_ulong;
            // SAFETY: The area is one of pages without `struct page`, the address lies in it, and the frame is the bridge's:
            // that it cannot be moved while this runs is what `with_range` sees to. What is entered already stays.
            unsafe { bindings::vmf_insert_pfn(vma, address, frame + number as c_ulong) }
        };
        // What matters is the one that was touched; without memory for the others they are entered when they are.
        let at = (touched - first) / PAGE;
        let result = enter(at);
        if result == bindings::vm_fault_reason_VM_FAULT_NOPAGE {
            let others = (0..count).filter(|number| *number != at);
            others
                .map(enter)
                .take_while(|it| *it == result)
                .for_each(drop);
        }
        result
    });
    match entered {
        Ok(result) => result,
        // SAFETY: By this function's conditions.
        Err(Unusable::NotYet) => unsafe { wait(vmf, &handle) },
        Err(error) => failed(error),
    }
}

/// Enters the large page that is touched, where the area has all of it and the region's pages fit. Where not, or not yet,
/// [`fault`] is called.
///
/// # Safety
///
/// The fault is one in an area of [`MEMORY`], with nothing entered for all of the large page, or that for it.
#[cfg(CONFIG_TRANSPARENT_HUGEPAGE)]
unsafe extern "C" fn huge_fault(
    vmf: *mut bindings::vm_fault,
    order: c_uint,
) -> bindings::vm_fault_t {
    let fallback = bindings::vm_fault_reason_VM_FAULT_FALLBACK;
    // SAFETY: By this function's conditions the fault has an area, which cannot change meanwhile.
    let (vma, place, touched, flags) = unsafe {
        let fault = &(*vmf).__bindgen_anon_1;
        (
            fault.vma,
            fault.pgoff as u64,
            fault.address as u64,
            (*vmf).flags,
        )
    };
    // SAFETY: As above.
    let (handle, area) = unsafe { (of(vma), bounds(vma)) };
    let first = touched & !(LARGE - 1);
    let is_in_it = area.start <= first && area.end - first >= LARGE;
    // An area lies in its region: so does what is in the area.
    let offset = (place << PAGE_SHIFT).wrapping_sub((touched & !(PAGE - 1)) - first);
    if order != LARGE_ORDER || !is_in_it || offset % LARGE != 0 {
        return fallback;
    }
    let is_written = flags & bindings::fault_flag_FAULT_FLAG_WRITE != 0;
    handle.note_large();
    let entered = handle.with_range(|range| {
        let is_there = offset
            .checked_add(LARGE)
            .is_some_and(|end| end <= range.size());
        if !is_there {
            return fallback;
        }
        let frame = ((range.base() + offset) >> PAGE_SHIFT) as c_ulong;
        // SAFETY: The area is one of pages without `struct page` and has all of the large page, whose frame is the bridge's and
        // a multiple of its size, as its offset is and as bridges are; that it cannot be moved while this runs is what
        // `with_range` sees to.
        unsafe { bindings::vmf_insert_pfn_pmd(vmf, frame, is_written) }
    });
    entered.unwrap_or(fallback)
}

/// Has a region that is touched be there, for the instruction that is run again then. The process can change its areas meanwhile, the
/// first time that it waits for this page.
///
/// # Safety
///
/// The fault is one in an area of [`MEMORY`], whose file is that of the region. It must not be used any more where this
/// returns `VM_FAULT_RETRY`.
unsafe fn wait(vmf: *mut bindings::vm_fault, handle: &Handle) -> bindings::vm_fault_t {
    // SAFETY: By this function's conditions.
    let flags = unsafe { (*vmf).flags };
    let has = |flag| flags & flag != 0;
    let may_retry = has(bindings::fault_flag_FAULT_FLAG_ALLOW_RETRY);
    if may_retry && has(bindings::fault_flag_FAULT_FLAG_RETRY_NOWAIT) {
        // Whoever asks so does not wait, and has let go of nothing.
        return bindings::vm_fault_reason_VM_FAULT_RETRY;
    }
    if !may_retry || has(bindings::fault_flag_FAULT_FLAG_TRIED) {
        return match handle.prepare() {
            Ok(()) | Err(Unusable::NotYet) => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
            Err(error) => failed(error),
        };
    }
    // SAFETY: The area's file lives as long as the area does, and after that by this reference.
    let file = unsafe {
        let area = (*vmf).__bindgen_anon_1.vma;
        File::from_raw_file((*area).vm_file)
    };
    let file: ARef<File> = file.into();
    // SAFETY: Linux lets go of it by itself only where this function does not say that it has.
    unsafe { bridge_shm_release_fault_lock(vmf) };
    // What has failed is told the next time, when it is found again.
    let _ = handle.prepare();
    drop(file);
    bindings::vm_fault_reason_VM_FAULT_RETRY
}

fn failed(error: Unusable) -> bindings::vm_fault_t {
    match error {
        Unusable::NotYet => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
        Unusable::NoMemory => bindings::vm_fault_reason_VM_FAULT_OOM,
        Unusable::Denied | Unusable::Lost => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
    }
}
