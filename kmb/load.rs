// SPDX-License-Identifier: GPL-2.0

//! The paper's seven steps (section 5), one function each, in its order.
//!
//! Each step returns a value that undoes it when it is dropped, so a start that fails at any
//! point takes back what came before it, in reverse.

use crate::command_line;
use crate::fault::Faults;
use crate::ffi;
use crate::spec::{
    Place,
    Spec, //
};
use crate::start;
use crate::vnode::{
    Life,
    Vnode, //
};
use adeos_core::cpu::LentCpus;
use adeos_core::{
    Core,
    Mapping,
    Region, //
};
use adeos_proto::abi::step;
use adeos_proto::boot::fdt;
use adeos_proto::boot::params::{
    self,
    Kind,
    Params, //
};
use adeos_proto::boot::place::{
    self,
    PlaceError,
    Placement, //
};
use adeos_proto::id::{
    Generation,
    PhysRange,
    VnodeId, //
};
use adeos_proto::layout::{
    self,
    entry,
    slot, //
};
use kernel::prelude::*;
use kernel::sync::Arc;

/// Memory that has been written to; it is scrubbed when this is dropped before [`Filled::keep`].
struct Filled {
    memory: Mapping,
    keep: bool,
}

impl Filled {
    /// 7. Unmaps the memory, which is the vnode's now.
    fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        if !self.keep {
            self.memory.scrub();
        }
    }
}

/// A vnode that was started.
pub(crate) struct Started {
    /// What it holds.
    pub(crate) vnode: Vnode,
    /// Its number.
    pub(crate) id: VnodeId,
    /// Which life of the number.
    pub(crate) generation: Generation,
    /// EIO for a start that failed and could not be undone: the vnode is dead, holds what it was
    /// given, and can be killed later on.
    pub(crate) result: Result,
}

/// Starts a vnode. What can fail fails with the errors of [`adeos_proto::abi::KMB_START`].
pub(crate) fn start(core: &Arc<Core>, spec: &Spec, faults: &Faults) -> Result<Started> {
    faults.pass(step::CPUS)?;
    let cpus = LentCpus::take(&spec.cpus)?;

    let region = request_memory(core, spec, faults)?;
    let life = Life::begin(core, spec, region.range())?;
    let filled = remap(&region, faults)?;
    let placement = copy(core, spec, &life, &filled.memory, faults)?;
    make_executable(core, &life, &filled.memory, &placement, spec, faults)?;
    declare(core, &life, faults)?;

    let mut vnode = Vnode::new(&life, region, cpus);
    let jumped = jump(core, &life, &filled.memory, &placement, spec, faults);
    // Step 7. From here on `vnode` scrubs the memory, after its CPUs have stopped.
    filled.keep();
    let mut result = Ok(());
    if let Err(error) = jumped.and_then(|()| faults.pass(step::STARTED)) {
        if vnode.take_back().is_ok() {
            // The number went with the rest.
            life.keep();
            return Err(error);
        }
        result = Err(EIO);
    }
    let (id, generation) = life.keep();
    Ok(Started {
        vnode,
        id,
        generation,
        result,
    })
}

/// 1. Requests contiguous physical memory from Adeos.
fn request_memory(core: &Arc<Core>, spec: &Spec, faults: &Faults) -> Result<Region> {
    faults.pass(step::MEMORY)?;
    match spec.place {
        Place::Within(range) => Region::request(core, spec.memory_size, range),
        Place::At(range) => Region::take(core, range),
    }
}

/// 2. Maps it into this kernel's memory.
fn remap(region: &Region, faults: &Faults) -> Result<Filled> {
    faults.pass(step::MAP)?;
    Ok(Filled {
        memory: region.map()?,
        keep: false,
    })
}

/// 3. Copies the kernel image, the initial RAM disk and the boot parameters.
fn copy(
    core: &Core,
    spec: &Spec,
    life: &Life,
    memory: &Mapping,
    faults: &Faults,
) -> Result<Placement> {
    let boot_block = boot_block_address(core, life.id());
    let header = core.control().header();
    let line = command_line::compose(spec, boot_block, header.tsc_khz)?;
    let tree = device_tree(spec, header.bsp_apic_id)?;
    let initrd_size = spec.initrd.as_ref().map_or(0, |file| file.size());
    let placement = place::place(
        memory.range(),
        &spec.image,
        initrd_size,
        line.as_bytes().len() as u64,
        tree.len() as u64,
    )
    .map_err(explain)?;

    copy_files(spec, memory, &placement, initrd_size, faults)?;
    faults.pass(step::PARAMS)?;
    write(memory, placement.cmdline, line.as_bytes())?;
    if !tree.is_empty() {
        write(memory, placement.setup_data, &tree)?;
    }
    let mut page = KBox::new([0; params::SIZE], GFP_KERNEL)?;
    let mut params = Params::new(&mut page, &spec.image);
    params
        .set_cmdline(placement.cmdline, line.len() as u64)
        .map_err(|_| E2BIG)?;
    params.set_initrd(placement.initrd, initrd_size);
    params.set_setup_data(placement.setup_data);
    set_machine(&mut params, spec, life.id(), memory.range(), boot_block)?;
    write(memory, placement.params, &*page)?;
    Ok(placement)
}

/// Copies the image and the initial RAM disk, of which an empty one is none, and has no place.
fn copy_files(
    spec: &Spec,
    memory: &Mapping,
    placement: &Placement,
    initrd_size: u64,
    faults: &Faults,
) -> Result {
    faults.pass(step::IMAGE)?;
    let image = &spec.image;
    let to = offset(memory, placement.image)?;
    spec.kernel
        .load(image.code_offset, image.code_size, memory, to)?;

    faults.pass(step::INITRD)?;
    if let Some(file) = spec.initrd.as_ref().filter(|_| initrd_size > 0) {
        file.load(0, initrd_size, memory, offset(memory, placement.initrd)?)?;
    }
    Ok(())
}

/// Says what the machine of the vnode is: its memory, and where its boot block lies.
fn set_machine(
    params: &mut Params<'_>,
    spec: &Spec,
    vnode: VnodeId,
    memory: PhysRange,
    boot_block: u64,
) -> Result {
    // Its last page is where its CPUs are sent when they are stopped, and stay the vnode's never.
    let low = PhysRange::new(layout::low_slot(vnode), layout::LOW_WAITING_ROOM).ok_or(EINVAL)?;
    params.add_e820(low, Kind::Ram).map_err(|_| EINVAL)?;
    params.add_e820(memory, Kind::Ram).map_err(|_| EINVAL)?;
    if spec.entry == entry::IMAGE {
        params.set_subarch(params::SUBARCH_ADEOS, boot_block);
    }
    Ok(())
}

fn explain(error: PlaceError) -> Error {
    match error {
        PlaceError::TooSmall { needed } => {
            pr_warn!(
                "the image and its RAM disk need {} MiB of memory\n",
                needed >> 20
            );
            EFBIG
        }
        PlaceError::TooHigh => EINVAL,
    }
}

/// The device tree by which a kernel without the patches learns its CPUs; empty for others.
fn device_tree(spec: &Spec, bsp_apic_id: u32) -> Result<KVec<u8>> {
    if spec.entry != entry::SIPI {
        return Ok(KVec::new());
    }
    let mut ids = KVec::new();
    for cpu in spec.cpus.iter() {
        ids.push(adeos_core::cpu::apic_id(cpu).ok_or(EINVAL)?, GFP_KERNEL)?;
    }
    let mut tree = KVec::from_elem(0, fdt::max_size(ids.len()), GFP_KERNEL)?;
    // SAFETY: The function returns a constant of the architecture.
    let lapic = unsafe { ffi::kmb_lapic_address() };
    let size = fdt::build_setup_data(&mut tree, bsp_apic_id, &ids, lapic).map_err(|_| EINVAL)?;
    tree.truncate(size);
    Ok(tree)
}

/// Where in a vnode's memory a physical address is.
fn offset(memory: &Mapping, address: u64) -> Result<usize> {
    let offset = address.checked_sub(memory.range().base()).ok_or(EINVAL)?;
    Ok(usize::try_from(offset)?)
}

fn write(memory: &Mapping, address: u64, bytes: &[u8]) -> Result {
    use adeos_proto::window::Window;
    let offset = offset(memory, address)?;
    memory.at(offset, bytes.len()).ok_or(EINVAL)?;
    memory.part(offset, bytes.len()).write(0, bytes);
    Ok(())
}

/// Physical address of a vnode's boot block.
pub(crate) fn boot_block_address(core: &Core, vnode: VnodeId) -> u64 {
    core.control().slot_address(vnode) + slot::BOOT as u64
}

/// 4. Makes the entry executable: page tables under which it can be called, and the way to it for
///    the vnode's own CPU.
fn make_executable(
    core: &Core,
    life: &Life,
    memory: &Mapping,
    placement: &Placement,
    spec: &Spec,
    faults: &Faults,
) -> Result {
    faults.pass(step::EXECUTABLE)?;
    let reached = start::reached(core, life.id(), placement, &spec.image);
    start::write_trampoline(life.id(), placement, &reached)?;
    if spec.entry == entry::IMAGE {
        start::write_tables(memory, &reached)?;
    }
    Ok(())
}

/// 5. Informs Adeos of the resources that the vnode is allowed to use.
fn declare(core: &Core, life: &Life, faults: &Faults) -> Result {
    faults.pass(step::DECLARE)?;
    core.declare(life.id())
}

/// 6. Jumps to the image's entry, which starts its own CPU and comes back; or starts the CPU for
///    an image that cannot.
fn jump(
    core: &Core,
    life: &Life,
    memory: &Mapping,
    placement: &Placement,
    spec: &Spec,
    faults: &Faults,
) -> Result {
    faults.pass(step::JUMP)?;
    life.loaded()?;
    match spec.entry {
        entry::SIPI => start::start_cpu(core, life.id())?,
        _ => start::call_entry(memory, placement)?,
    }
    core.let_go(life.id());
    life.started()
}
