// SPDX-License-Identifier: GPL-2.0

//! Slots in memory of this host's, which Linux maps as it maps a region.

use super::*;
use crate::sys::Mapping;
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use std::os::fd::AsFd;

const SIZE: usize = 8192;
const SHAPE: Shape = Shape {
    slots: 3,
    bytes: 20,
};

/// Zeros, a part of a region that begins at an offset of it.
fn memory(begin: u64, is_writable: bool) -> Memory {
    let file = memfd_create("slots", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, SIZE as u64).unwrap();
    let mapping = Mapping::new(file.as_fd(), 0, SIZE, is_writable).unwrap();
    Memory::new(mapping, begin, 1)
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().unwrap().kind()
}

#[test]
fn messages_of_each_length_come_back() {
    let memory = memory(0, true);
    let slots = Slots::create(&memory, 64, SHAPE).unwrap();
    let other = Slots::open(&memory, 64).unwrap();
    for number in 0..=20_u64 {
        let message: Vec<u8> = (0..number as u8).map(|byte| byte ^ 0x5a).collect();
        slots.put(number, &message).unwrap();
        assert_eq!(other.get(number).unwrap(), message);
        let mut buffer = [0xff; 24];
        assert_eq!(
            other.get_into(number, &mut buffer).unwrap(),
            number as usize
        );
        assert_eq!(buffer[..number as usize], message);
        assert!(buffer[number as usize..].iter().all(|byte| *byte == 0xff));
    }
}

#[test]
fn what_does_not_fit_is_said_to_be_too_long_and_stays() {
    let memory = memory(0, true);
    let slots = Slots::create(&memory, 0, SHAPE).unwrap();
    let too_long = |error: io::Error| error.raw_os_error() == Some(libc::EMSGSIZE);
    assert!(too_long(slots.put(0, &[0; 21]).unwrap_err()));
    assert!(too_long(slots.check(&[0; 21]).unwrap_err()));
    slots.put(0, b"twelve bytes").unwrap();
    assert!(too_long(slots.get_into(0, &mut [0; 11]).unwrap_err()));
    let mut buffer = [0; 12];
    assert_eq!(slots.get_into(0, &mut buffer).unwrap(), 12);
    assert_eq!(&buffer, b"twelve bytes");
}

#[test]
fn a_channel_lies_in_the_memory_and_is_found_where_it_is() {
    let memory = memory(0, true);
    assert_eq!(kind(Slots::open(&memory, 0)), io::ErrorKind::NotFound);
    assert_eq!(
        kind(Slots::create(&memory, 32, SHAPE)),
        io::ErrorKind::InvalidInput
    );
    assert_eq!(kind(Slots::open(&memory, 32)), io::ErrorKind::InvalidInput);
    let none = Shape { slots: 0, bytes: 1 };
    assert_eq!(
        kind(Slots::create(&memory, 0, none)),
        io::ErrorKind::InvalidInput
    );
    let last = (SIZE as u64 - SHAPE.size()) / 64 * 64;
    assert_eq!(
        kind(Slots::create(&memory, last + 64, SHAPE)),
        io::ErrorKind::InvalidInput
    );
    Slots::create(&memory, last, SHAPE).unwrap();
    assert_eq!(Slots::open(&memory, last).unwrap().shape(), SHAPE);
    assert_eq!(
        kind(Slots::open(&memory, SIZE as u64)),
        io::ErrorKind::InvalidInput
    );
}

#[test]
fn offsets_are_those_of_the_region_where_a_part_is_mapped() {
    let memory = memory(4096, true);
    assert_eq!(
        kind(Slots::create(&memory, 0, SHAPE)),
        io::ErrorKind::InvalidInput
    );
    let slots = Slots::create(&memory, 4096 + 64, SHAPE).unwrap();
    slots.put(0, b"here").unwrap();
    assert_eq!(slots.offset(at::SENT), 4096 + 64 + at::SENT);
    let number = memory.word64(64).unwrap();
    assert_eq!(number.load(Ordering::Relaxed), MAGIC);
    assert_eq!(slots.get(0).unwrap(), b"here");
}

#[test]
fn nothing_is_made_where_nothing_can_be_written() {
    let memory = memory(0, false);
    assert_eq!(
        kind(Slots::create(&memory, 0, SHAPE)),
        io::ErrorKind::PermissionDenied
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let memory = memory(0, true);
    let slots = Slots::create(&memory, 0, SHAPE).unwrap();
    assert_eq!(kind(slots.waiting(9, 5)), io::ErrorKind::InvalidData);
    assert_eq!(kind(slots.waiting(5, 9)), io::ErrorKind::InvalidData);
    assert_eq!(slots.waiting(2, u64::MAX).unwrap(), 3);
    // A message of a length that no message of this channel has.
    let length = memory.word(HEADER as usize).unwrap();
    length.store(21, Ordering::Relaxed);
    assert_eq!(kind(slots.get(0)), io::ErrorKind::InvalidData);
    assert_eq!(
        kind(slots.get_into(0, &mut [0; 64])),
        io::ErrorKind::InvalidData
    );
    // A channel that is larger than all memory, or has no room for a message.
    for (count, bytes) in [(u32::MAX, u32::MAX), (0, 20), (3, u32::MAX), (u32::MAX, 20)] {
        let shape = [(at::SLOTS, count), (at::BYTES, bytes)];
        for (place, value) in shape {
            let word = memory.word(place as usize).unwrap();
            word.store(value, Ordering::Relaxed);
        }
        assert_eq!(kind(Slots::open(&memory, 0)), io::ErrorKind::InvalidData);
    }
}
