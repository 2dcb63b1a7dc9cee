// SPDX-License-Identifier: GPL-2.0

//! Where the parts of a kernel to be booted go in its vnode's memory (paper section 5, step 3).
//!
//! From low to high: zero page, command line, setup data, then the image with room to unpack
//! itself, and at the very end the initial RAM disk, where the kernel is least in its way.

use crate::boot::image::Image;
use crate::boot::params;
use crate::id::PhysRange;
use crate::layout::GRANULE;

const PAGE: u64 = 4096;

/// The image's code is kept this far above the start of the memory at least, so that the boot
/// parameters have a large page of their own.
const HEAD_ROOM: u64 = 2 << 20;

/// Physical addresses of the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The zero page.
    pub params: u64,
    /// The command line.
    pub cmdline: u64,
    /// The setup data; 0 if there is none.
    pub setup_data: u64,
    /// The image's code, with `init_size` bytes of room.
    pub image: u64,
    /// The initial RAM disk; 0 if there is none.
    pub initrd: u64,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceError {
    /// The memory is too small.
    TooSmall {
        /// Bytes of memory that would do, from the same address on; whole granules.
        needed: u64,
    },
    /// No memory that starts there would do: a part would lie beyond the end of addresses.
    TooHigh,
}

/// Finds places for all parts in `memory`. Sizes are in bytes; a part of size 0 is not there.
pub fn place(
    memory: PhysRange,
    image: &Image,
    initrd_size: u64,
    cmdline_size: u64,
    setup_data_size: u64,
) -> Result<Placement, PlaceError> {
    let params = pages(memory.base())?;
    let cmdline = after(params, params::SIZE as u64)?;
    let setup_data = after(cmdline, cmdline_size)?;
    let head_end = after(setup_data, setup_data_size)?;

    let head_room = memory
        .base()
        .checked_add(HEAD_ROOM)
        .ok_or(PlaceError::TooHigh)?;
    let code = head_end
        .max(head_room)
        .max(image.min_address)
        .checked_next_multiple_of(image.align)
        .ok_or(PlaceError::TooHigh)?;
    let code_end = after(code, image.init_size)?;

    // The kernel gets the RAM disk in whole pages: the last one may be partly used.
    let parts_end = after(code_end, initrd_size)?;
    let usable_end = memory.end() & !(PAGE - 1);
    if parts_end > usable_end {
        return Err(too_small(memory, parts_end));
    }
    let initrd = usable_end.wrapping_sub(parts_end.wrapping_sub(code_end));

    Ok(Placement {
        params,
        cmdline,
        setup_data: present(setup_data, setup_data_size),
        image: code,
        initrd: present(initrd, initrd_size),
    })
}

fn present(address: u64, size: u64) -> u64 {
    if size == 0 {
        0
    } else {
        address
    }
}

fn too_small(memory: PhysRange, parts_end: u64) -> PlaceError {
    match parts_end
        .wrapping_sub(memory.base())
        .checked_next_multiple_of(GRANULE)
    {
        Some(needed) if memory.base().checked_add(needed).is_some() => {
            PlaceError::TooSmall { needed }
        }
        _ => PlaceError::TooHigh,
    }
}

/// The first page border after `size` bytes at `address`.
fn after(address: u64, size: u64) -> Result<u64, PlaceError> {
    pages(address.checked_add(size).ok_or(PlaceError::TooHigh)?)
}

fn pages(address: u64) -> Result<u64, PlaceError> {
    address
        .checked_next_multiple_of(PAGE)
        .ok_or(PlaceError::TooHigh)
}
