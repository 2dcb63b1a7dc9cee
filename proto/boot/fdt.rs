// SPDX-License-Identifier: GPL-2.0

//! A flattened device tree that tells a kernel without the Adeos patches which CPUs are its own.
//!
//! Such a kernel, told not to use ACPI, takes its CPUs from the tree in a `SETUP_DTB` record
//! (arch/x86/kernel/devicetree.c, CONFIG_OF). The machine's own boot CPU has to come first: the
//! kernel then sees that it was not started on it, as after a crash, and leaves that CPU alone,
//! instead of limiting itself to one (arch/x86/kernel/cpu/topology.c, check_for_real_bsp). The
//! local APIC's node says "virtual wire", which keeps the kernel from the PIC's ports.
//!
//! The format is that of the Devicetree Specification 0.4, chapter 5, version 17.

use crate::record;

/// Type of a setup_data record that holds a device tree
/// (arch/x86/include/uapi/asm/setup_data.h).
pub const SETUP_DTB: u32 = 2;

record! {
    /// Head of a record of setup data; what it announces follows it.
    pub struct SetupData: 16 {
        /// Physical address of the next record, or 0.
        next: u64,
        /// What follows, such as [`SETUP_DTB`].
        kind: u32,
        /// Bytes that follow.
        len: u32,
    }
}

/// The tree does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

const MAGIC: u32 = 0xd00d_feed;
const VERSION: u32 = 17;
const LAST_COMPATIBLE_VERSION: u32 = 16;
const HEADER_SIZE: usize = 40;
/// An empty list of reserved ranges: one entry of zeros.
const RESERVED_SIZE: usize = 16;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const END: u32 = 9;

const ADDRESS_CELLS: &str = "#address-cells";
const SIZE_CELLS: &str = "#size-cells";
const COMPATIBLE: &str = "compatible";
const DEVICE_TYPE: &str = "device_type";
const REG: &str = "reg";
const VIRTUAL_WIRE: &str = "intel,virtual-wire-mode";

/// The strings block: names of properties, each with a closing zero.
const NAMES: [&str; 6] = [
    ADDRESS_CELLS,
    SIZE_CELLS,
    COMPATIBLE,
    DEVICE_TYPE,
    REG,
    VIRTUAL_WIRE,
];

const LAPIC_SIZE: u64 = 0x1000;

/// Bytes that are enough for a record with a tree of `cpus` CPUs.
pub const fn max_size(cpus: usize) -> usize {
    cpus.saturating_mul(80).saturating_add(640)
}

/// Writes a `SETUP_DTB` record, the last of its list: its head and the tree. Returns its bytes.
pub fn build_setup_data(
    to: &mut [u8],
    bsp_apic: u32,
    cpus: &[u32],
    lapic_base: u64,
) -> Result<usize, Full> {
    let (head, tree) = to
        .split_first_chunk_mut::<{ SetupData::SIZE }>()
        .ok_or(Full)?;
    let size = build(tree, bsp_apic, cpus, lapic_base)?;
    *head = SetupData {
        next: 0,
        kind: SETUP_DTB,
        len: u32::try_from(size).map_err(|_| Full)?,
    }
    .to_bytes();
    Ok(SetupData::SIZE.saturating_add(size))
}

/// Writes a tree with the machine's boot CPU and a vnode's CPUs, by their local APIC ids, and
/// the local APIC at its physical address. Returns the tree's bytes.
///
/// `cpus` are the vnode's in their order; the boot CPU is not one of them.
pub fn build(to: &mut [u8], bsp_apic: u32, cpus: &[u32], lapic_base: u64) -> Result<usize, Full> {
    let mut tree = Writer { to, at: 0 };
    tree.skip(HEADER_SIZE.saturating_add(RESERVED_SIZE))?;

    let structure = tree.at;
    root_node(&mut tree, bsp_apic, cpus, lapic_base)?;
    tree.word(END)?;

    let strings = tree.at;
    for name in NAMES {
        tree.text(name)?;
    }
    let end = tree.at;

    let mut header = Writer { to: tree.to, at: 0 };
    for number in [
        MAGIC as usize,
        end,
        structure,
        strings,
        HEADER_SIZE,
        VERSION as usize,
        LAST_COMPATIBLE_VERSION as usize,
        cpus.first().copied().unwrap_or(bsp_apic) as usize,
        end.wrapping_sub(strings),
        strings.wrapping_sub(structure),
    ] {
        header.word(u32::try_from(number).map_err(|_| Full)?)?;
    }
    Ok(end)
}

fn root_node(
    tree: &mut Writer<'_>,
    bsp_apic: u32,
    cpus: &[u32],
    lapic_base: u64,
) -> Result<(), Full> {
    tree.begin("", None)?;
    tree.cells(ADDRESS_CELLS, &[2])?;
    tree.cells(SIZE_CELLS, &[2])?;
    tree.string(COMPATIBLE, "adeos,vnode")?;

    tree.begin("cpus", None)?;
    tree.cells(ADDRESS_CELLS, &[1])?;
    tree.cells(SIZE_CELLS, &[0])?;
    for apic in core::iter::once(&bsp_apic).chain(cpus) {
        tree.begin("cpu@", Some(u64::from(*apic)))?;
        tree.string(DEVICE_TYPE, "cpu")?;
        tree.cells(REG, &[*apic])?;
        tree.word(END_NODE)?;
    }
    tree.word(END_NODE)?;

    tree.begin("lapic@", Some(lapic_base))?;
    tree.string(COMPATIBLE, "intel,ce4100-lapic")?;
    let (high, low) = ((lapic_base >> 32) as u32, lapic_base as u32);
    tree.cells(REG, &[high, low, 0, LAPIC_SIZE as u32])?;
    tree.cells(VIRTUAL_WIRE, &[])?;
    tree.word(END_NODE)?;

    tree.word(END_NODE)
}

/// Writes a tree from front to back.
struct Writer<'a> {
    to: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.at.checked_add(bytes.len()).ok_or(Full)?;
        let place = self.to.get_mut(self.at..end).ok_or(Full)?;
        for (to, from) in place.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.at = end;
        Ok(())
    }

    fn skip(&mut self, count: usize) -> Result<(), Full> {
        for _ in 0..count {
            self.put(&[0])?;
        }
        Ok(())
    }

    fn word(&mut self, value: u32) -> Result<(), Full> {
        self.put(&value.to_be_bytes())
    }

    fn text(&mut self, text: &str) -> Result<(), Full> {
        self.put(text.as_bytes())?;
        self.put(&[0])
    }

    /// Fills up to the next word of the structure block.
    fn align(&mut self) -> Result<(), Full> {
        self.skip(self.at.wrapping_neg() % 4)
    }

    /// Opens a node, whose name may end in the number of its address.
    fn begin(&mut self, name: &str, address: Option<u64>) -> Result<(), Full> {
        self.word(BEGIN_NODE)?;
        self.put(name.as_bytes())?;
        if let Some(address) = address {
            self.hexadecimal(address)?;
        }
        self.put(&[0])?;
        self.align()
    }

    fn hexadecimal(&mut self, value: u64) -> Result<(), Full> {
        let digits = (64u32.wrapping_sub(value.leading_zeros()))
            .div_ceil(4)
            .max(1);
        for place in (0..digits).rev() {
            let digit = value.wrapping_shr(place.wrapping_mul(4)) & 0xf;
            self.put(&[char::from_digit(digit as u32, 16).map_or(b'0', |digit| digit as u8)])?;
        }
        Ok(())
    }

    fn property(&mut self, name: &str, size: usize) -> Result<(), Full> {
        self.word(PROPERTY)?;
        self.word(u32::try_from(size).map_err(|_| Full)?)?;
        self.word(name_offset(name))
    }

    fn cells(&mut self, name: &str, cells: &[u32]) -> Result<(), Full> {
        self.property(name, cells.len().saturating_mul(4))?;
        for cell in cells {
            self.word(*cell)?;
        }
        Ok(())
    }

    fn string(&mut self, name: &str, value: &str) -> Result<(), Full> {
        self.property(name, value.len().saturating_add(1))?;
        self.text(value)?;
        self.align()
    }
}

/// Where a property's name stands in the strings block.
fn name_offset(name: &str) -> u32 {
    NAMES
        .iter()
        .take_while(|before| **before != name)
        .fold(0, |offset, before| {
            offset.wrapping_add(before.len() as u32).wrapping_add(1)
        })
}
