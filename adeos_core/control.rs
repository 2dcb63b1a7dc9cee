// SPDX-License-Identifier: GPL-2.0

//! The control area: made by the root, found by the others, mapped by all (docs/control-area.md).

use crate::cpu;
use crate::machine::{
    self,
    Identity, //
};
use crate::mapping::{
    Mapping,
    Part, //
};
use adeos_proto::bridge;
use adeos_proto::clock::exchange;
use adeos_proto::console;
use adeos_proto::id::{
    PhysRange,
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::layout::{
    self,
    slot,
    BootBlock,
    Header,
    Status, //
};
use adeos_proto::membership::publisher::Publisher;
use adeos_proto::record;
use adeos_proto::window::Window;
use kernel::prelude::*;

/// The mapped control area.
pub struct Control {
    memory: Mapping,
    /// What the header said when this kernel made or found it: others could overwrite it.
    header: Header,
}

impl Control {
    /// Makes the control area in memory of the pool, empty but for the root's own slot.
    pub(crate) fn create(range: PhysRange, identity: &Identity) -> Result<Self> {
        let header = Header {
            magic: layout::HEADER_MAGIC,
            version: layout::VERSION,
            slots: MAX_VNODES as u32,
            size: layout::CONTROL_SIZE as u64,
            slots_offset: layout::SLOTS_OFFSET as u64,
            slot_size: layout::SLOT_SIZE as u64,
            tsc_khz: machine::tsc_khz(),
            lapic_khz: machine::lapic_khz(),
            bsp_apic_id: cpu::apic_id(0).unwrap_or(layout::NO_APIC),
            ..Header::default()
        };
        // SAFETY: The range is of the pool, and the control area's alone from now on.
        let memory = unsafe { Mapping::new(range) }?;
        memory.scrub();
        let control = Self { memory, header };
        control.write_header();
        bridge::entry::format(&control.registry());

        let own = BootBlock {
            name: record::set_text("root"),
            generation: identity.generation.0,
            nr_cpus: kernel::cpu::nr_cpu_ids().min(layout::MAX_CPUS as u32),
            ..control.boot_block(VnodeId::ROOT)
        };
        let cpus = (0..own.nr_cpus).map(|cpu| cpu::apic_id(cpu).unwrap_or(layout::NO_APIC));
        control.write_boot_block(VnodeId::ROOT, &own, cpus);
        Ok(control)
    }

    /// Writes the header, which is always the same: others may have written over it. The root only.
    pub(crate) fn write_header(&self) {
        let bytes = self.header.to_bytes();
        self.memory.part(0, Header::SIZE).write(0, &bytes);
    }

    /// Maps the control area that the root made.
    pub(crate) fn open(base: u64) -> Result<Self> {
        let range = PhysRange::new(base, layout::CONTROL_SIZE as u64).ok_or(EINVAL)?;
        // SAFETY: The root has told where the control area is, which is memory of no kernel. What
        // stands there is checked next.
        let memory = unsafe { Mapping::new(range) }?;
        let mut bytes = [0; Header::SIZE];
        memory.part(0, Header::SIZE).read(0, &mut bytes);
        let header = Header::from_bytes(&bytes);

        let same_layout = header.magic == layout::HEADER_MAGIC
            && header.slots as usize == MAX_VNODES
            && header.size == layout::CONTROL_SIZE as u64
            && header.slots_offset == layout::SLOTS_OFFSET as u64
            && header.slot_size == layout::SLOT_SIZE as u64;
        if header.version != layout::VERSION || !same_layout {
            pr_err!(
                "the control area is of version {}, this module of {}: load the same modules in both\n",
                header.version,
                layout::VERSION
            );
            return Err(EPROTO);
        }
        let control = Self { memory, header };
        if !bridge::entry::is_sound(&control.registry()) {
            pr_err!("the control area has no registry of bridges that this module knows\n");
            return Err(EPROTO);
        }
        Ok(control)
    }

    /// The physical range of the area.
    pub(crate) fn range(&self) -> PhysRange {
        self.memory.range()
    }

    /// Physical address of a vnode's slot.
    pub fn slot_address(&self, vnode: VnodeId) -> u64 {
        self.memory.range().base() + layout::slot_offset(vnode) as u64
    }

    /// A vnode's slot.
    pub fn slot(&self, vnode: VnodeId) -> Part<'_> {
        self.memory
            .part(layout::slot_offset(vnode), layout::SLOT_SIZE)
    }

    /// The common clock.
    pub fn clock(&self) -> Part<'_> {
        self.shared(layout::CLOCK)
    }

    /// The root's answers to a vnode's questions for the time.
    pub(crate) fn answers(&self, vnode: VnodeId) -> Part<'_> {
        let offset = layout::ANSWERS.offset + vnode.index() * exchange::PLACE_SIZE;
        self.memory.part(offset, exchange::PLACE_SIZE)
    }

    /// A vnode's questions for the time.
    pub(crate) fn question(&self, vnode: VnodeId) -> Part<'_> {
        let offset = layout::slot_offset(vnode) + slot::QUESTION;
        self.memory.part(offset, exchange::PLACE_SIZE)
    }

    /// The views of the membership.
    pub fn membership(&self) -> Part<'_> {
        self.shared(layout::MEMBERSHIP)
    }

    /// The registry of bridges.
    pub fn registry(&self) -> Part<'_> {
        self.shared(layout::REGISTRY)
    }

    /// The mailboxes, all of them.
    pub fn mailboxes(&self) -> Part<'_> {
        self.shared(layout::MAILBOXES)
    }

    fn shared(&self, part: layout::Shared) -> Part<'_> {
        self.memory.part(part.offset, part.size)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// A boot block with what is the same for every life of the vnode.
    pub fn boot_block(&self, vnode: VnodeId) -> BootBlock {
        let header = self.header();
        let address = self.slot_address(vnode);
        let inbox = self.slot_address(VnodeId::ROOT) + slot::INBOX as u64;
        BootBlock {
            magic: layout::BOOT_MAGIC,
            version: layout::PLATFORM_VERSION,
            vnode: vnode.number(),
            control: self.memory.range().base(),
            status: address + slot::STATUS as u64,
            console: address + slot::CONSOLE as u64,
            console_data: address + slot::CONSOLE_DATA as u64,
            console_size: slot::CONSOLE_SIZE as u32,
            portal_vector: layout::PORTAL_VECTOR,
            tsc_khz: header.tsc_khz,
            lapic_khz: header.lapic_khz,
            bsp_apic_id: header.bsp_apic_id,
            root_apic_id: header.bsp_apic_id,
            root_inbox: inbox + (vnode.index() * slot::INBOX_STRIDE) as u64,
            low: layout::low_slot(vnode),
            ..BootBlock::default()
        }
    }

    /// A copy of a vnode's boot block.
    pub fn read_boot_block(&self, vnode: VnodeId) -> BootBlock {
        let mut bytes = [0; BootBlock::SIZE];
        self.slot(vnode).read(slot::BOOT, &mut bytes);
        BootBlock::from_bytes(&bytes)
    }

    /// Writes a vnode's boot block and the local APIC ids of its CPUs. The root only, while the
    /// vnode does not run.
    pub fn write_boot_block(
        &self,
        vnode: VnodeId,
        block: &BootBlock,
        apic_ids: impl Iterator<Item = u32>,
    ) {
        let slot = self.slot(vnode);
        slot.write(slot::BOOT, &block.to_bytes());
        let ids = apic_ids.chain(core::iter::repeat(layout::NO_APIC));
        for (position, apic_id) in ids.take(layout::MAX_CPUS).enumerate() {
            slot.store_release(slot::APIC_IDS + position * 4, apic_id);
        }
    }

    /// Local APIC id of the CPU at a position of a vnode; [`layout::NO_APIC`] for none.
    pub(crate) fn apic_id(&self, vnode: VnodeId, position: usize) -> u32 {
        self.slot(vnode).load_acquire(slot::APIC_IDS + position * 4)
    }

    /// A copy of what a vnode says of itself, if it is of this life.
    pub fn read_status(&self, vnode: VnodeId, generation: u32) -> Option<Status> {
        let mut bytes = [0; Status::SIZE];
        let slot = self.slot(vnode);
        slot.full_barrier();
        slot.read(slot::STATUS, &mut bytes);
        let status = Status::from_bytes(&bytes);
        let heard = status.magic == layout::STATUS_MAGIC
            && status.version == layout::PLATFORM_VERSION
            && status.generation == generation;
        heard.then_some(status)
    }

    /// Makes a slot ready for a new life: no status, no beat, no portal, no channel, no view
    /// acknowledged; the console keeps what it holds. The root only, while nothing runs there.
    pub(crate) fn clear_slot(&self, vnode: VnodeId) {
        const PAGE: [u8; 4096] = [0; 4096];
        let part = self.slot(vnode);
        for offset in [
            slot::BOOT,
            slot::STATUS,
            slot::BEATS,
            slot::INBOX,
            slot::QUESTION,
        ] {
            part.write(offset, &PAGE);
        }
        Publisher::clear(&self.membership(), vnode);
        adeos_proto::channel::clear(&part);
        console::SLOT.format(&part);
    }

    /// Whether the slot has ever been made ready for a life.
    pub(crate) fn is_in_use(&self, vnode: VnodeId) -> bool {
        self.slot(vnode).load_acquire64(slot::BOOT) == layout::BOOT_MAGIC
    }

    /// Writes one number of a boot block while the vnode runs. The root only.
    pub(crate) fn set_boot_field(&self, vnode: VnodeId, offset: usize, value: u32) {
        self.slot(vnode).store_release(slot::BOOT + offset, value);
    }

    /// Writes one number of this kernel's own status.
    pub(crate) fn set_status_field(&self, vnode: VnodeId, offset: usize, value: u32) {
        self.slot(vnode).store_release(slot::STATUS + offset, value);
    }
}
