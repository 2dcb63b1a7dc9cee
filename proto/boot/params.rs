// SPDX-License-Identifier: GPL-2.0

//! The zero page: what a boot loader tells a Linux kernel
//! (Documentation/arch/x86/zero-page.rst, arch/x86/include/uapi/asm/bootparam.h).

use crate::boot::image::{Image, HEADER_OFFSET};
use crate::id::PhysRange;

/// Bytes of the zero page.
pub const SIZE: usize = 4096;

/// `hardware_subarch` of a vnode; the next number after Linux's own.
pub const SUBARCH_ADEOS: u32 = 5;

/// Offsets in the page.
mod field {
    pub(super) const EXT_RAMDISK_IMAGE: usize = 0x0c0;
    pub(super) const EXT_RAMDISK_SIZE: usize = 0x0c4;
    pub(super) const EXT_CMD_LINE_PTR: usize = 0x0c8;
    pub(super) const E820_ENTRIES: usize = 0x1e8;
    pub(super) const TYPE_OF_LOADER: usize = 0x210;
    pub(super) const LOADFLAGS: usize = 0x211;
    pub(super) const RAMDISK_IMAGE: usize = 0x218;
    pub(super) const RAMDISK_SIZE: usize = 0x21c;
    pub(super) const HEAP_END_PTR: usize = 0x224;
    pub(super) const EXT_LOADER: usize = 0x226;
    pub(super) const CMD_LINE_PTR: usize = 0x228;
    pub(super) const CMDLINE_SIZE: usize = 0x238;
    pub(super) const HARDWARE_SUBARCH: usize = 0x23c;
    pub(super) const HARDWARE_SUBARCH_DATA: usize = 0x240;
    pub(super) const SETUP_DATA: usize = 0x250;
    pub(super) const E820_TABLE: usize = 0x2d0;
}

const E820_ENTRY_SIZE: usize = 20;
const E820_MAX: u8 = 128;

/// A loader without a number of its own.
const LOADER_UNDEFINED: u8 = 0xff;
const LOADED_HIGH: u8 = 1 << 0;

/// Kinds of memory in the e820 table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory that the kernel may use.
    Ram,
    /// Memory that it must leave alone.
    Reserved,
}

impl Kind {
    /// The number in the table.
    pub const fn number(self) -> u32 {
        match self {
            Self::Ram => 1,
            Self::Reserved => 2,
        }
    }
}

/// Why a parameter is refused. The page is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamsError {
    /// The e820 table has no room.
    E820Full,
    /// The command line is longer than the kernel takes.
    CommandLineTooLong,
}

/// A zero page that is being written.
#[derive(Debug)]
pub struct Params<'a>(&'a mut [u8; SIZE]);

impl<'a> Params<'a> {
    /// Starts a page for an image: its setup header, and zero everywhere else.
    ///
    /// Fields that are the loader's to fill are cleared, whatever the image has put there.
    pub fn new(page: &'a mut [u8; SIZE], image: &Image) -> Self {
        page.fill(0);
        let mut params = Self(page);
        let filled = image
            .header
            .get(..image.header_size)
            .unwrap_or(&image.header);
        params.put(HEADER_OFFSET, filled);

        params.put(field::TYPE_OF_LOADER, &[LOADER_UNDEFINED]);
        params.put(field::LOADFLAGS, &[LOADED_HIGH]);
        params.put(field::HEAP_END_PTR, &[0; 2]);
        params.put(field::EXT_LOADER, &[0; 2]);
        params.put(field::CMD_LINE_PTR, &[0; 4]);
        params.set_initrd(0, 0);
        params.set_subarch(0, 0);
        params.set_setup_data(0);
        params
    }

    /// Names the command line: its physical address, and its bytes without the closing zero.
    pub fn set_cmdline(&mut self, address: u64, size: u64) -> Result<(), ParamsError> {
        if size > u64::from(self.number32(field::CMDLINE_SIZE)) {
            return Err(ParamsError::CommandLineTooLong);
        }
        self.put_halves(field::CMD_LINE_PTR, field::EXT_CMD_LINE_PTR, address);
        Ok(())
    }

    /// Names the initial RAM disk: its physical address and its bytes.
    pub fn set_initrd(&mut self, address: u64, size: u64) {
        self.put_halves(field::RAMDISK_IMAGE, field::EXT_RAMDISK_IMAGE, address);
        self.put_halves(field::RAMDISK_SIZE, field::EXT_RAMDISK_SIZE, size);
    }

    /// Adds a range to the memory map.
    pub fn add_e820(&mut self, range: PhysRange, kind: Kind) -> Result<(), ParamsError> {
        let count = self.0.get(field::E820_ENTRIES).copied().unwrap_or(E820_MAX);
        if count >= E820_MAX {
            return Err(ParamsError::E820Full);
        }
        let at = field::E820_TABLE.wrapping_add(usize::from(count).wrapping_mul(E820_ENTRY_SIZE));
        self.put(at, &range.base().to_le_bytes());
        self.put(at.wrapping_add(8), &range.size().to_le_bytes());
        self.put(at.wrapping_add(16), &kind.number().to_le_bytes());
        self.put(field::E820_ENTRIES, &[count.wrapping_add(1)]);
        Ok(())
    }

    /// Names the kind of machine and what goes with it: [`SUBARCH_ADEOS`] and the physical
    /// address of the boot block, or 0 and 0 for a plain PC.
    pub fn set_subarch(&mut self, number: u32, data: u64) {
        self.put(field::HARDWARE_SUBARCH, &number.to_le_bytes());
        self.put(field::HARDWARE_SUBARCH_DATA, &data.to_le_bytes());
    }

    /// Names the first record of setup data by its physical address; 0 for none.
    pub fn set_setup_data(&mut self, address: u64) {
        self.put(field::SETUP_DATA, &address.to_le_bytes());
    }

    fn put_halves(&mut self, low: usize, high: usize, value: u64) {
        self.put(low, &(value as u32).to_le_bytes());
        self.put(high, &((value >> 32) as u32).to_le_bytes());
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (to, from) in self.0.iter_mut().skip(offset).zip(bytes) {
            *to = *from;
        }
    }

    fn number32(&self, offset: usize) -> u32 {
        let raw = self
            .0
            .get(offset..)
            .and_then(|rest| rest.first_chunk::<4>());
        raw.copied().map_or(0, u32::from_le_bytes)
    }
}
