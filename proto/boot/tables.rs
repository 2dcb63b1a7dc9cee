// SPDX-License-Identifier: GPL-2.0

//! Page tables that map memory one to one, for the moment in which a CPU changes kernels.
//!
//! The GiB around each wanted address is mapped by pages of 2 MiB, which every x86-64 CPU has;
//! writable and executable (SDM volume 3, section 5.5).

use crate::window::Window;

/// Bytes of a page table.
pub const PAGE: u64 = 4096;
/// Page tables that [`build`] takes at most: three upper levels, then one for each address.
pub const fn pages_for(levels: Levels, addresses: usize) -> usize {
    match levels {
        Levels::Four => 2 + addresses,
        Levels::Five => 3 + addresses,
    }
}

const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;
const GIB_SHIFT: u32 = 30;
const LARGE_SHIFT: u32 = 21;
const ENTRIES: u64 = 512;

/// How many levels of page tables the CPU walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    /// Up to 48 bits of address.
    Four,
    /// Up to 57 (CR4.LA57).
    Five,
}

/// Why tables cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// An address is beyond 512 GiB.
    TooHigh,
    /// The window has too few pages.
    NoRoom,
}

/// Builds tables in `window`, which lies at physical address `base`, and returns how many pages
/// they take. The top table is the first page; only its entry 0 is used.
pub fn build<W: Window>(
    window: &W,
    base: u64,
    levels: Levels,
    addresses: &[u64],
) -> Result<usize, TableError> {
    let uppers = pages_for(levels, 0) as u64;
    let mut pages = uppers;
    let room = window.size() as u64 / PAGE;
    if room < uppers {
        return Err(TableError::NoRoom);
    }

    for page in 0..uppers {
        clear(window, page);
    }
    for page in 1..uppers {
        set(window, page - 1, 0, (base + page * PAGE) | PRESENT_WRITABLE);
    }
    for address in addresses {
        let gib = address >> GIB_SHIFT;
        if gib >= ENTRIES {
            return Err(TableError::TooHigh);
        }
        if get(window, uppers - 1, gib) != 0 {
            continue;
        }
        if pages == room {
            return Err(TableError::NoRoom);
        }
        for entry in 0..ENTRIES {
            let maps = (gib << GIB_SHIFT) + (entry << LARGE_SHIFT);
            set(window, pages, entry, maps | PRESENT_WRITABLE | LARGE);
        }
        set(
            window,
            uppers - 1,
            gib,
            (base + pages * PAGE) | PRESENT_WRITABLE,
        );
        pages += 1;
    }
    Ok(pages as usize)
}

fn offset(page: u64, entry: u64) -> usize {
    (page * PAGE + entry * 8) as usize
}

fn set<W: Window>(window: &W, page: u64, entry: u64, value: u64) {
    window.store_release64(offset(page, entry), value);
}

fn get<W: Window>(window: &W, page: u64, entry: u64) -> u64 {
    window.load_acquire64(offset(page, entry))
}

fn clear<W: Window>(window: &W, page: u64) {
    for entry in 0..ENTRIES {
        set(window, page, entry, 0);
    }
}
