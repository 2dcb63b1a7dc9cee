// SPDX-License-Identifier: GPL-2.0

//! Handing a CPU over to an image: the call of its entry, or INIT and STARTUP.

use crate::ffi;
use crate::load::boot_block_address;
use adeos_core::cpu::StartCpus;
use adeos_core::{
    Core,
    Mapping, //
};
use adeos_proto::boot::image::{
    Image,
    CALLABLE_ENTRY,
    ENTRY_OFFSET, //
};
use adeos_proto::boot::place::Placement;
use adeos_proto::boot::tables::{
    self,
    Levels, //
};
use adeos_proto::id::VnodeId;
use adeos_proto::layout;
use adeos_proto::window::Window;
use kernel::prelude::*;
use kernel::time::delay::udelay;
use kernel::time::Delta;

// SAFETY: This module sends INIT and STARTUP only to CPUs that it has taken from the root for the
// vnode concerned.
pub(crate) const START_CPUS: StartCpus = unsafe { StartCpus::new() };

/// Where the page tables for the call of the entry are: in the vnode's memory, above the boot
/// parameters and below the image. Aligned to two pages, as kernel page tables are with PTI.
const TABLES_OFFSET: usize = 1 << 20;
/// Room for them.
const TABLES_SIZE: usize = 64 << 10;
/// The trampoline's page tables in the low-memory slot, after its code.
const LOW_TABLES_OFFSET: usize = 0x1000;
/// Room for them.
const LOW_TABLES_SIZE: usize = layout::LOW_WAITING_ROOM as usize - LOW_TABLES_OFFSET;

/// Addresses that the entry touches before it has page tables of its own.
pub(crate) fn reached(
    core: &Core,
    vnode: VnodeId,
    placement: &Placement,
    image: &Image,
) -> [u64; 5] {
    [
        layout::low_slot(vnode),
        placement.image,
        placement.image + image.init_size,
        placement.params,
        boot_block_address(core, vnode),
    ]
}

/// Writes the page tables for [`call_entry`].
pub(crate) fn write_tables(memory: &Mapping, reached: &[u64; 5]) -> Result {
    // SAFETY: The function returns a constant of the architecture.
    let lapic = unsafe { ffi::kmb_lapic_address() };
    // SAFETY: The function only reads how this kernel walks its page tables.
    let levels = if unsafe { ffi::kmb_five_levels() } {
        Levels::Five
    } else {
        Levels::Four
    };
    let [a, b, c, d, e] = *reached;
    let part = memory.part(TABLES_OFFSET, TABLES_SIZE);
    let base = memory.range().base() + TABLES_OFFSET as u64;
    tables::build(&part, base, levels, &[a, b, c, d, e, lapic]).map_err(|_| EINVAL)?;
    Ok(())
}

/// Whether the image's entry may be called. ENOEXEC, with the reason in the log, when not.
fn check_callable(memory: &Mapping, placement: &Placement) -> Result {
    let offset = usize::try_from(placement.image + ENTRY_OFFSET - memory.range().base())?;
    let mut found = [0; CALLABLE_ENTRY.len()];
    memory.part(offset, found.len()).read(0, &mut found);
    if found != CALLABLE_ENTRY {
        pr_warn!("the kernel image is not patched to start its own CPU: use entry \"sipi\"\n");
        return Err(ENOEXEC);
    }
    Ok(())
}

/// Calls the image's entry, which sends its own CPU there and returns. Interrupts are off for as
/// long as that takes, less than a millisecond. EIO when the image refuses, ENOEXEC when it is not
/// one that can be called.
pub(crate) fn call_entry(memory: &Mapping, placement: &Placement) -> Result {
    check_callable(memory, placement)?;
    let tables = memory
        .at(TABLES_OFFSET, TABLES_SIZE)
        .ok_or(EINVAL)?
        .cast::<u64>();
    let address = memory.range().base() + TABLES_OFFSET as u64;
    let entry = placement.image + ENTRY_OFFSET;
    // SAFETY: `write_tables` has put page tables there that reach the image; the image is one that
    // the administrator chose, and `check_callable` has seen that its entry expects a call.
    let answer = unsafe { ffi::kmb_call_entry(tables, address, entry, placement.params) };
    match answer {
        1 => Ok(()),
        other => {
            pr_warn!("the image's entry refuses (answer {})\n", other);
            Err(EIO)
        }
    }
}

/// Writes the trampoline and its page tables into the vnode's low memory: the vnode's first CPU
/// starts there, whoever sends it.
pub(crate) fn write_trampoline(
    vnode: VnodeId,
    placement: &Placement,
    reached: &[u64; 5],
) -> Result {
    let low = layout::low_slot(vnode);
    let memory = Mapping::low(vnode)?;
    let part = memory.part(LOW_TABLES_OFFSET, LOW_TABLES_SIZE);
    let tables_address = low + LOW_TABLES_OFFSET as u64;
    tables::build(&part, tables_address, Levels::Four, reached).map_err(|_| EINVAL)?;

    let code = Trampoline::get();
    let page = memory.part(0, LOW_TABLES_OFFSET);
    page.write(0, code.bytes);
    let gdt = u32::from_le_bytes(code.gdt_base()?).wrapping_add(low as u32);
    page.write(code.gdt + 2, &gdt.to_le_bytes());
    let stack = tables_address;
    let data = [
        placement.image + ENTRY_OFFSET,
        placement.params,
        stack,
        tables_address,
    ];
    for (number, value) in data.iter().enumerate() {
        page.write(code.data + number * 8, &value.to_le_bytes());
    }
    Ok(())
}

/// The code of `trampoline.S` and where its data lie.
struct Trampoline {
    bytes: &'static [u8],
    gdt: usize,
    data: usize,
}

impl Trampoline {
    fn get() -> Self {
        let start = &raw const ffi::kmb_trampoline;
        let offset = |symbol: *const u8| symbol as usize - start as usize;
        let len = offset(&raw const ffi::kmb_trampoline_end);
        // SAFETY: Both symbols are of one read-only object, from its start to its end.
        let bytes = unsafe { core::slice::from_raw_parts(start, len) };
        Self {
            bytes,
            gdt: offset(&raw const ffi::kmb_trampoline_gdt),
            data: offset(&raw const ffi::kmb_trampoline_data),
        }
    }

    fn gdt_base(&self) -> Result<[u8; 4]> {
        let field = self.bytes.get(self.gdt + 2..self.gdt + 6).ok_or(EINVAL)?;
        field.try_into().map_err(|_| EINVAL)
    }
}

/// Starts the vnode's first CPU at its trampoline (SDM volume 3, section 10.4.4).
pub(crate) fn start_cpu(core: &Core, vnode: VnodeId) -> Result {
    let assignment = core.facts(vnode)?.assignment.ok_or(ENOENT)?;
    let apic_id = assignment.apic_ids().next().ok_or(ENOENT)?;
    let page = u8::try_from(layout::low_slot(vnode) / kernel::page::PAGE_SIZE as u64)?;
    START_CPUS.init(apic_id);
    udelay(Delta::from_micros(20));
    START_CPUS.startup(apic_id, page);
    udelay(Delta::from_micros(200));
    START_CPUS.startup(apic_id, page);
    Ok(())
}
