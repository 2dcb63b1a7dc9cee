// SPDX-License-Identifier: GPL-2.0

//! The console ring: what a reader gets is what was written, whatever the writer does meanwhile.

#![expect(
    clippy::indexing_slicing,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/cells.rs"]
mod cells;
#[path = "support/dying.rs"]
mod dying;

use adeos_proto::console::{self, Corrupt};
use adeos_proto::layout::slot::{CHANNELS, CONSOLE, CONSOLE_DATA, CONSOLE_SIZE};
use adeos_proto::layout::ConsoleHeader;
use adeos_proto::window::Window;
use cells::Cells;
use dying::Dying;
use proptest::prelude::*;
use std::cell::RefCell;

const WRITTEN: usize = CONSOLE + ConsoleHeader::OFFSETS.written;
const RESERVED: usize = CONSOLE + ConsoleHeader::OFFSETS.reserved;

fn formatted() -> Cells {
    let memory = Cells::new(CHANNELS);
    console::SLOT.format(&memory);
    memory
}

/// Bytes that differ from place to place, so that a byte in the wrong place is found out.
fn bytes(from: u64, count: usize) -> Vec<u8> {
    (from..from + count as u64)
        .map(|position| (position ^ (position >> 8) ^ (position >> 16)) as u8)
        .collect()
}

/// What happens in the middle of a copy.
type Writer<'a> = RefCell<Box<dyn FnMut(&Cells) + 'a>>;

/// A reader's view in which the writer writes in the middle of each copy.
struct Racing<'a> {
    memory: &'a Cells,
    writer: Writer<'a>,
}

impl Window for Racing<'_> {
    fn size(&self) -> usize {
        self.memory.size()
    }
    fn load_acquire(&self, offset: usize) -> u32 {
        self.memory.load_acquire(offset)
    }
    fn store_release(&self, _: usize, _: u32) {
        unreachable!("a reader stores nothing");
    }
    fn load_acquire64(&self, offset: usize) -> u64 {
        self.memory.load_acquire64(offset)
    }
    fn store_release64(&self, _: usize, _: u64) {
        unreachable!("a reader stores nothing");
    }
    fn raise(&self, offset: usize, value: u32) {
        self.store_release(offset, self.load_acquire(offset).max(value));
    }

    fn fetch_or64(&self, _: usize, _: u64) -> u64 {
        unreachable!("a reader stores nothing");
    }
    fn swap64(&self, _: usize, _: u64) -> u64 {
        unreachable!("a reader stores nothing");
    }
    fn compare_exchange64(&self, _: usize, _: u64, _: u64) -> Result<u64, u64> {
        unreachable!("a reader stores nothing");
    }
    fn read(&self, offset: usize, to: &mut [u8]) {
        let (first, rest) = to.split_at_mut(to.len() / 2);
        self.memory.read(offset, first);
        (self.writer.borrow_mut())(self.memory);
        self.memory.read(offset + first.len(), rest);
    }
    fn write(&self, _: usize, _: &[u8]) {
        unreachable!("a reader stores nothing");
    }
    fn full_barrier(&self) {}
}

#[test]
fn a_position_beyond_the_end_counts_as_the_end() {
    let memory = formatted();
    console::SLOT.write(&memory, b"hello").unwrap();
    let mut to = [0; 8];
    let chunk = console::SLOT.read(&memory, u64::MAX, &mut to).unwrap();
    assert_eq!((chunk.next, chunk.copied, chunk.lost), (5, 0, 0));
    let chunk = console::SLOT.read(&memory, 1, &mut to).unwrap();
    assert_eq!((chunk.next, &to[..chunk.copied]), (5, &b"ello"[..]));
}

/// CA-73, with a writer that died in the middle of CA-70.
#[test]
fn format_keeps_history_and_closes_what_a_dead_writer_left_open() {
    let memory = formatted();
    console::SLOT.write(&memory, b"first life").unwrap();
    // Reserved is stored, two bytes are, and then no more.
    console::SLOT
        .write(&Dying::new(&memory, 3), b"abcd")
        .unwrap();
    assert_eq!(console::SLOT.written(&memory), Ok(10));
    console::SLOT.format(&memory);
    console::SLOT.write(&memory, b"second").unwrap();
    let mut to = [0; 32];
    let chunk = console::SLOT.read(&memory, 0, &mut to).unwrap();
    assert_eq!(&to[..chunk.copied], b"first life\n\n\n\nsecond");
    assert_eq!(
        memory.load_acquire64(WRITTEN),
        memory.load_acquire64(RESERVED)
    );
}

/// CA-70 and CA-72: `reserved` is set before the first byte, and never goes back.
#[test]
fn what_a_dead_writer_has_touched_stays_untrusted() {
    let memory = formatted();
    let history = bytes(0, CONSOLE_SIZE);
    console::SLOT.write(&memory, &history).unwrap();
    // It dies before its last store; the next writer writes less than that one has touched.
    console::SLOT
        .write(&Dying::new(&memory, 101), &[0xee; 100])
        .unwrap();
    console::SLOT.write(&memory, b"x").unwrap();
    let mut to = vec![0; CONSOLE_SIZE];
    let chunk = console::SLOT.read(&memory, 0, &mut to).unwrap();
    assert_eq!(chunk.lost, 100);
    assert_eq!(to[..chunk.copied - 1], history[100..]);
}

/// CA-71, and the end of CA-73.
#[test]
fn headers_that_lie_are_refused_and_formatted_anew() {
    let lies: [(usize, u64); 4] = [
        (CONSOLE, 0),
        (CONSOLE + ConsoleHeader::OFFSETS.version, u64::MAX),
        (WRITTEN, 1),
        (RESERVED, CONSOLE_SIZE as u64 + 1),
    ];
    for (offset, value) in lies {
        let memory = formatted();
        memory.store_release64(offset, value);
        assert_eq!(
            console::SLOT.write(&memory, b"x"),
            Err(Corrupt),
            "offset {offset:#x}"
        );
        console::SLOT.format(&memory);
        assert_eq!(console::SLOT.written(&memory), Ok(0));
    }
}

/// CA-71 at the end of all numbers.
#[test]
fn counts_do_not_wrap() {
    let memory = formatted();
    memory.store_release64(RESERVED, u64::MAX);
    memory.store_release64(WRITTEN, u64::MAX);
    assert_eq!(console::SLOT.write(&memory, b"x"), Err(Corrupt));
    let chunk = console::SLOT
        .read(&memory, u64::MAX - 3, &mut [0; 8])
        .unwrap();
    assert_eq!((chunk.next, chunk.copied), (u64::MAX, 3));
}

/// Checks a chunk against the whole history of what was written.
fn check(history: &[u8], asked: u64, chunk: console::Chunk, copied: &[u8]) {
    let asked = asked.min(history.len() as u64);
    let end = chunk.next as usize;
    assert_eq!(asked + chunk.lost + chunk.copied as u64, chunk.next);
    assert_eq!(copied, &history[end - chunk.copied..end]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// CA-72 while the writer is at rest.
    #[test]
    fn readers_get_what_was_written_or_know_that_they_missed_it(
        steps in prop::collection::vec((0..CONSOLE_SIZE, 0..9000usize, any::<bool>()), 1..24)
    ) {
        let memory = formatted();
        let (mut history, mut position) = (Vec::new(), 0);
        for (write, read, is_long) in steps {
            let write = if is_long { write } else { write / 256 };
            let new = bytes(history.len() as u64, write);
            console::SLOT.write(&memory, &new).unwrap();
            history.extend(new);
            prop_assert_eq!(console::SLOT.written(&memory), Ok(history.len() as u64));

            let mut to = vec![0; read];
            let chunk = console::SLOT.read(&memory, position, &mut to).unwrap();
            check(&history, position, chunk, &to[..chunk.copied]);
            let oldest = history.len().saturating_sub(CONSOLE_SIZE) as u64;
            prop_assert_eq!(chunk.lost, oldest.saturating_sub(position));
            position = chunk.next;
        }
    }

    /// A writer that overtakes the reader in the middle of its copy, or dies there.
    /// CA-72.
    #[test]
    fn no_torn_byte_is_handed_out(
        filled in 0..2 * CONSOLE_SIZE,
        behind in 0..CONSOLE_SIZE as u64,
        room in 1..6000usize,
        racing in 1..40_000usize,
        dies_after in prop_oneof![Just(usize::MAX), 0..40_000usize],
    ) {
        let memory = formatted();
        let history = bytes(0, filled);
        console::SLOT.write(&memory, &history).unwrap();
        let position = (filled as u64).saturating_sub(behind);
        let writer = |memory: &Cells| {
            console::SLOT.write(&Dying::new(memory, dies_after), &vec![0x5a; racing]).unwrap();
        };
        let window = Racing { memory: &memory, writer: RefCell::new(Box::new(writer)) };
        let mut to = vec![0; room];
        let chunk = console::SLOT.read(&window, position, &mut to).unwrap();
        check(&history, position, chunk, &to[..chunk.copied]);
    }

    /// CA-4 and CA-7.
    #[test]
    fn a_hostile_header_never_panics(
        words in prop::array::uniform8(any::<u64>()), keep in any::<[bool; 8]>(),
        position in any::<u64>(), room in 0..3000usize
    ) {
        let memory = formatted();
        for (at, (word, keep)) in words.into_iter().zip(keep).enumerate() {
            if !keep {
                memory.store_release64(CONSOLE + at * 8, word);
            }
        }
        let mut guard = vec![0; CONSOLE_DATA - CONSOLE - ConsoleHeader::SIZE];
        memory.read(CONSOLE + ConsoleHeader::SIZE, &mut guard);
        let _ = console::SLOT.written(&memory);
        if let Ok(chunk) = console::SLOT.read(&memory, position, &mut vec![0; room]) {
            prop_assert!(chunk.copied <= room);
        }
        let _ = console::SLOT.write(&memory, &[7; 100]);
        console::SLOT.format(&memory);
        prop_assert!(console::SLOT.written(&memory).is_ok());
        let mut after = vec![1; guard.len()];
        memory.read(CONSOLE + ConsoleHeader::SIZE, &mut after);
        prop_assert_eq!(after, guard);
    }
}
