// SPDX-License-Identifier: GPL-2.0

//! The console ring: a reader, and a writer, whose header a peer scribbles over
//! (docs/control-area.md, CA-70 to CA-73).

#![no_main]

use adeos_proto::console;
use adeos_proto::layout::slot::{CONSOLE, CONSOLE_DATA, CONSOLE_SIZE};
use adeos_proto::layout::ConsoleHeader;
use hostile::{at, Input, Memory};

/// Four numbers of the header and two parts of the ring.
const MOST: usize = 8;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    let is_reader = input.yes();
    let header = CONSOLE..CONSOLE + ConsoleHeader::SIZE;
    let ring = CONSOLE_DATA..CONSOLE_DATA + CONSOLE_SIZE;
    let mut memory = formatted();
    // Close to the end of the ring, or of all numbers.
    let written = [0, CONSOLE_SIZE as u64 - 8, u64::MAX - 64, input.u64()];
    let written = written.get(input.below(4)).copied().unwrap_or(0);
    let counts = CONSOLE + ConsoleHeader::OFFSETS.written;
    memory.fill(counts, &written.to_le_bytes());
    memory.fill(counts + 8, &written.to_le_bytes());

    let hot = vec![counts, counts + 8];
    memory.disturb(&input, vec![header.clone()], hot);
    if is_reader {
        memory.role(&[header, ring], &[]);
        read(&memory, &input, written);
    } else {
        memory.role(&[], &[header, ring]);
        write(&memory, &input);
    }
});

/// What a read says fits together: bytes copied and bytes lost are those up to where to go on.
fn read(memory: &Memory<'_>, input: &Input<'_>, written: u64) {
    while !input.is_over() {
        let mut to = vec![0; input.below(512)];
        let position = match input.byte() % 3 {
            0 => input.u64(),
            1 => written.wrapping_sub(u64::from(input.u32())),
            _ => written.wrapping_add(u64::from(input.u16())),
        };
        memory.accesses();
        let chunk = console::SLOT.read(memory, position, &mut to);
        assert!(memory.accesses() <= MOST);
        let Ok(chunk) = chunk else { continue };
        assert!(chunk.copied <= to.len());
        let passed = chunk.lost.checked_add(chunk.copied as u64);
        match chunk.next.checked_sub(position) {
            Some(ahead) => assert_eq!(passed, Some(ahead)),
            None => assert_eq!(passed, Some(0)),
        }
    }
    refuses_what_is_not_sound(memory);
}

/// CA-71: now that the peer has stopped, what a reader says of the header is so.
fn refuses_what_is_not_sound(memory: &Memory<'_>) {
    let shape = |header: ConsoleHeader| (header.magic, header.version, header.size);
    let (found, right) = (header(memory), header(&formatted()));
    let is_sound = shape(found) == shape(right) && found.reserved >= found.written;
    assert_eq!(console::SLOT.read(memory, 0, &mut [0; 8]).is_ok(), is_sound);
}

fn header(memory: &Memory<'_>) -> ConsoleHeader {
    let bytes = memory.copy(at(CONSOLE, ConsoleHeader::SIZE));
    let bytes = bytes.first_chunk().copied();
    bytes.map_or_else(ConsoleHeader::default, |bytes| {
        ConsoleHeader::from_bytes(&bytes)
    })
}

/// A console that nobody has written to.
fn formatted<'a>() -> Memory<'a> {
    let memory = Memory::quiet(CONSOLE_DATA + CONSOLE_SIZE);
    console::SLOT.format(&memory);
    memory
}

fn write(memory: &Memory<'_>, input: &Input<'_>) {
    while !input.is_over() {
        memory.accesses();
        if input.byte() % 64 == 0 {
            // It mends what it can, byte by byte.
            console::SLOT.format(memory);
            assert!(memory.accesses() <= CONSOLE_SIZE + MOST);
        } else {
            let _ = console::SLOT.write(memory, input.take(input.below(256)));
            assert!(memory.accesses() <= 2 * MOST);
        }
    }
}
