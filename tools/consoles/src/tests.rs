// SPDX-License-Identifier: GPL-2.0

//! Control areas as the kernels leave them, and as nobody should.

use super::*;
use adeos_proto::layout::{self, cause, slot, state, BootBlock, ConsoleHeader, Header, Status};
use adeos_proto::record;
use dump::NoDump;

const NUMBER: u32 = 2;
const GENERATION: u32 = 3;

fn put(area: &mut [u8], at: usize, bytes: &[u8]) {
    area[at..at + bytes.len()].copy_from_slice(bytes);
}

fn id() -> VnodeId {
    VnodeId::new(NUMBER).unwrap()
}

/// Where the slot of the one vnode begins.
fn base() -> usize {
    layout::slot_offset(id())
}

/// A control area with a vnode that has died after it said `text`.
fn area(text: &[u8]) -> Vec<u8> {
    let mut area = vec![0; layout::CONTROL_SIZE];
    let header = Header {
        magic: layout::HEADER_MAGIC,
        version: layout::VERSION,
        ..Header::default()
    };
    let block = BootBlock {
        magic: layout::BOOT_MAGIC,
        vnode: NUMBER,
        generation: GENERATION,
        name: record::set_text("west"),
        ..BootBlock::default()
    };
    let status = Status {
        magic: layout::STATUS_MAGIC,
        version: layout::PLATFORM_VERSION,
        generation: GENERATION,
        state: state::DEAD,
        cause: cause::PANIC,
        message: record::set_text("no reason"),
        ..Status::default()
    };
    let console = ConsoleHeader {
        magic: layout::CONSOLE_MAGIC,
        version: layout::PLATFORM_VERSION,
        size: slot::CONSOLE_SIZE as u32,
        written: text.len() as u64,
        reserved: text.len() as u64,
        ..ConsoleHeader::default()
    };
    put(&mut area, 0, &header.to_bytes());
    put(&mut area, base() + slot::BOOT, &block.to_bytes());
    put(&mut area, base() + slot::STATUS, &status.to_bytes());
    put(&mut area, base() + slot::CONSOLE, &console.to_bytes());
    // As the writer does: what is older than the ring is overwritten.
    for (position, byte) in text.iter().enumerate() {
        area[base() + slot::CONSOLE_DATA + position % slot::CONSOLE_SIZE] = *byte;
    }
    area
}

fn shown(area: Vec<u8>, lines: usize) -> Option<String> {
    account(&Dump::new(area).unwrap(), id(), lines)
}

#[test]
fn the_last_words_of_a_vnode_are_found() {
    let whole = shown(area(b"one\ntwo\nthree\n"), usize::MAX).unwrap();
    assert_eq!(
        whole,
        "--- console of vnode 2 \"west\", life 3: dead: panic: no reason\none\ntwo\nthree\n"
    );
    let end = shown(area(b"one\ntwo\nthr"), 2).unwrap();
    assert!(end.ends_with("no reason\ntwo\nthr\n"), "{end}");
}

#[test]
fn a_vnode_that_never_was_is_not_shown() {
    let dump = Dump::new(area(b"")).unwrap();
    let others = VnodeId::all().filter(|vnode| *vnode != id());
    assert_eq!(
        others.filter_map(|vnode| account(&dump, vnode, 1)).next(),
        None
    );
}

#[test]
fn a_ring_that_went_round_shows_its_latest_bytes_in_order() {
    let text: Vec<u8> = (0..20_000)
        .flat_map(|n| format!("{n:07}\n").into_bytes())
        .collect();
    let whole = shown(area(&text), usize::MAX).unwrap();
    let (_, kept) = whole.split_once('\n').unwrap();
    assert_eq!(kept.as_bytes(), &text[text.len() - slot::CONSOLE_SIZE..]);
}

#[test]
fn what_a_status_of_another_life_says_is_not_heard() {
    let mut area = area(b"text\n");
    let generation = base() + slot::STATUS + Status::OFFSETS.generation;
    put(&mut area, generation, &(GENERATION - 1).to_le_bytes());
    assert!(shown(area, 1).unwrap().contains("life 3: not heard of\n"));
}

#[test]
fn a_console_that_makes_no_sense_is_named_and_does_not_hide_the_vnode() {
    let mut area = area(b"text\n");
    put(
        &mut area,
        base() + slot::CONSOLE,
        &[0xff; ConsoleHeader::SIZE],
    );
    let said = shown(area, 9).unwrap();
    assert!(
        said.contains("west") && said.contains("makes no sense"),
        "{said}"
    );
}

#[test]
fn a_terminal_obeys_nothing_that_a_vnode_says() {
    let said = shown(area(b"\x1b[2Ja\xff\x9b\r\n"), 9).unwrap();
    assert!(said.ends_with("\n\\u{1b}[2Ja\u{fffd}\u{fffd}\n"), "{said}");
}

#[test]
fn memory_that_is_no_control_area_is_refused() {
    let zeros = vec![0; layout::CONTROL_SIZE];
    assert_eq!(Dump::new(zeros).err(), Some(NoDump::Magic));
    let mut other = area(b"");
    put(&mut other, Header::OFFSETS.version, &77u32.to_le_bytes());
    assert_eq!(Dump::new(other).err(), Some(NoDump::Version(77)));
    let mut short = area(b"");
    short.pop();
    assert_eq!(
        Dump::new(short).err(),
        Some(NoDump::Short(layout::CONTROL_SIZE - 1))
    );
}
