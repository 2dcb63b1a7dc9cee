// SPDX-License-Identifier: GPL-2.0

//! Page tables that map one to one: walked as a CPU would.

#[path = "support/cells.rs"]
mod cells;

use adeos_proto::boot::tables::{build, pages_for, Levels, TableError, PAGE};
use adeos_proto::window::Window;
use cells::Cells;
use proptest::prelude::*;

const BASE: u64 = 0x1_2345_6000;
const ADDRESSES: u64 = 1 << 39;

fn entry(window: &Cells, table: u64, index: u64) -> Option<u64> {
    let offset = table.checked_sub(BASE)?;
    assert!(offset % PAGE == 0 && (offset as usize) < window.size());
    let value = window.load_acquire64((offset + index * 8) as usize);
    (value & 1 != 0).then_some(value)
}

/// Where a CPU finds an address: SDM volume 3, section 5.5.4, for pages of 2 MiB.
fn walk(window: &Cells, levels: Levels, address: u64) -> Option<u64> {
    let mut table = BASE;
    if levels == Levels::Five {
        table = entry(window, table, address >> 48 & 511)? & !0xfff;
    }
    let upper = entry(window, table, address >> 39 & 511)?;
    let directory = entry(window, upper & !0xfff, address >> 30 & 511)?;
    let page = entry(window, directory & !0xfff, address >> 21 & 511)?;
    assert_eq!(page & 0x83, 0x83, "present, writable, 2 MiB");
    assert_eq!(page >> 63, 0, "executable");
    Some((page & !0x1f_ffff) | (address & 0x1f_ffff))
}

fn levels() -> impl Strategy<Value = Levels> {
    prop_oneof![Just(Levels::Four), Just(Levels::Five)]
}

proptest! {
    #[test]
    fn every_wanted_address_is_mapped_to_itself(
        levels in levels(), wanted in prop::collection::vec(0..ADDRESSES, 1..7)
    ) {
        let window = Cells::new(pages_for(levels, wanted.len()) * PAGE as usize);
        let pages = build(&window, BASE, levels, &wanted).unwrap();
        prop_assert!(pages <= pages_for(levels, wanted.len()));
        for address in wanted {
            prop_assert_eq!(walk(&window, levels, address), Some(address));
            let last = address | 0x3fff_ffff;
            prop_assert_eq!(walk(&window, levels, last), Some(last));
        }
    }

    #[test]
    fn nothing_else_is_mapped(levels in levels(), wanted in 0..ADDRESSES, other in 0..ADDRESSES) {
        prop_assume!(wanted >> 30 != other >> 30);
        let window = Cells::new(pages_for(levels, 1) * PAGE as usize);
        build(&window, BASE, levels, &[wanted]).unwrap();
        prop_assert_eq!(walk(&window, levels, other), None);
    }

    #[test]
    fn what_does_not_fit_is_refused(
        levels in levels(), pages in 0..8usize, wanted in prop::collection::vec(any::<u64>(), 1..7)
    ) {
        let window = Cells::new(pages * PAGE as usize);
        match build(&window, BASE, levels, &wanted) {
            Ok(used) => prop_assert!(used <= pages),
            Err(TableError::TooHigh) => prop_assert!(wanted.iter().any(|address| *address >= ADDRESSES)),
            Err(TableError::NoRoom) => prop_assert!(pages < pages_for(levels, wanted.len())),
        }
    }
}
