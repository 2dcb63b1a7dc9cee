// SPDX-License-Identifier: GPL-2.0

//! Readers of the registry of bridges against memory that changes under their eyes
//! (docs/bridges-and-portals.md, BR-50 to BR-55).

#![no_main]

use adeos_proto::bridge::entry::{self, Entry, EntryRecord, ENTRIES, ENTRY_SIZE};
use adeos_proto::bridge::BRIDGES;
use adeos_proto::bridge::{Asker, BridgeName, Id, Key, Phase, Rights, Scope, Vnodes};
use adeos_proto::id::PhysRange;
use adeos_proto::layout::GRANULE;
use hostile::{at, life, registry, Input};

/// Entries with which the memory begins, and which the peer finds most worth its while.
const SOME: u16 = 4;

/// An entry of 32 words, each looked at 64 times, twice the sequence number.
const MOST: usize = 64 * 33;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    let mut memory = registry();
    for index in 0..SOME {
        let record = match input.yes() {
            true => genuine(index).to_record(),
            false => EntryRecord::from_bytes(&input.array()),
        };
        check_record(index, &record);
        entry::write(&memory, index, &record, u64::from(index) * 2);
    }

    let first = 0..ENTRIES + usize::from(SOME) * ENTRY_SIZE;
    let hot = (0..8).map(|word| word * 8).collect();
    memory.disturb(&input, vec![first], hot);
    memory.role(&[at(0, entry::SIZE)], &[]);
    let wanted = genuine(1).key;
    while !input.is_over() {
        let _ = (entry::is_sound(&memory), entry::changes(&memory));
        let index = input.u16() % (BRIDGES as u16 + 2);
        memory.accesses();
        check(index % 8, entry::read(&memory, index % 8).ok().flatten());
        assert!(memory.accesses() <= MOST);
        if input.byte() % 16 == 0 {
            let found = entry::find(&memory, &wanted);
            assert!(found.is_none_or(|entry| entry.key == wanted));
            assert!(memory.accesses() <= MOST * BRIDGES);
        }
    }
});

fn genuine(index: u16) -> Entry {
    let number = u32::from(index) + 1;
    let name = match index {
        0 => "wire",
        1 => "x.1",
        2 => "a",
        _ => "1234567890123456789012345678901",
    };
    let Ok(name) = BridgeName::new(name) else {
        unreachable!("these are names");
    };
    let Some(range) = PhysRange::new(u64::from(number) * GRANULE, GRANULE) else {
        unreachable!("this is a range");
    };
    Entry {
        id: Id {
            index,
            serial: number,
        },
        key: Key {
            scope: Scope::Global,
            name,
        },
        owner: life(number, 1),
        is_orphan: false,
        rights: Rights::open_to(Vnodes::ALL),
        range,
        place: 0,
        phase: Phase::Settled,
        freeze: 0,
        is_movable: true,
        mapped: Vnodes::NONE,
        pinned_by: Vnodes::NONE,
        users: [0; 16],
    }
}

fn check_record(index: u16, record: &EntryRecord) {
    check(index, Entry::from_record(index, record).ok().flatten());
}

/// What was found good is good: a user maps where it says.
fn check(index: u16, found: Option<Entry>) {
    let Some(entry) = found else {
        return;
    };
    assert_eq!(entry.id.index, index);
    assert!(entry.id.serial != 0 && entry.rights.allowed(Asker::Owner).is_some());
    assert_eq!(
        (entry.range.base() % GRANULE, entry.range.size() % GRANULE),
        (0, 0)
    );
    assert!(entry.range.base() < entry.range.end());
    assert!(BridgeName::new(entry.key.name.as_str()) == Ok(entry.key.name));
    assert!(!entry.has_user(life(3, 0)));
    let again = Entry::from_record(index, &entry.to_record());
    assert_eq!(again, Ok(Some(entry)));
}
