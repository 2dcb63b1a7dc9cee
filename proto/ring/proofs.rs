// SPDX-License-Identifier: GPL-2.0

//! The ring's index arithmetic, for every index that there is.
//!
//! A bounded model checker would take the numbers as symbols; here all of them are tried, on the
//! code itself. (An optimiser that shows a loop to be without effect has shown the same.)
//! [`Layout::place`] has one number, and 2^32 calls say all of it: the index modulo
//! the size. [`Layout::filled`] has two, of which it looks at the wrapping difference only, so
//! that a pair stands for all that lie as far apart: every distance is tried, from where one of
//! the two wraps and from where none does. With both known, what is left of [`Producer`] and
//! [`Consumer`] are cases of how a piece lies to the end of the ring; small rings have them all.

use super::*;
use crate::layout::channel::{DOWN_SIZE, UP_SIZE};
use crate::window::spy::Spy;
use std::vec::Vec;

/// Indices from which the other one is so far: at zero, in the middle, and short of the wrap.
const BASES: [u32; 6] = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 0x1fff, u32::MAX];

const fn ring(size: u32) -> Layout {
    Layout {
        head: 0,
        tail: 64,
        data: 128,
        size,
    }
}

/// CA-84: no index leads out of the ring, and consecutive ones go round it.
#[test]
#[ignore = "tries all numbers: scripts/check runs it optimised"]
fn every_index_has_its_place() {
    for size in [DOWN_SIZE as u32, UP_SIZE as u32] {
        let ring = ring(size);
        for index in 0..=u32::MAX {
            let in_ring = index % size;
            let place = (128 + in_ring as usize, (size - in_ring) as usize);
            assert!(ring.place(index) == place, "{index:#x}");
        }
    }
}

/// CA-84: whatever the peer's index, it is refused or names bytes that are in the ring.
#[test]
#[ignore = "tries all numbers: scripts/check runs it optimised"]
fn every_distance_is_told_or_refused() {
    let ring = ring(UP_SIZE as u32);
    for base in BASES {
        for distance in 0..=u32::MAX {
            let right = (distance <= ring.size).then_some(distance).ok_or(Corrupt);
            let head = base.wrapping_add(distance);
            assert!(ring.filled(head, base) == right, "{base:#x}+{distance:#x}");
        }
    }
}

/// The bytes of a ring with this layout that `count` bytes from an index on take, in their order.
fn bytes_of(ring: &Layout, index: u32, count: usize) -> Vec<usize> {
    let in_ring = |byte: usize| index.wrapping_add(byte as u32) % ring.size;
    (0..count)
        .map(|byte| ring.data + in_ring(byte) as usize)
        .collect()
}

/// For rings of up to 16 bytes, wherever the indices are and however much is in them: a push
/// writes the bytes behind those that are there, no more than there is room for, then its index.
#[test]
fn a_push_writes_behind_what_is_there_and_nowhere_else() {
    for (size, filled, base) in rings() {
        let (ring, spy) = (ring(size), Spy::new());
        let head = base.wrapping_add(filled);
        spy.claim(base);
        for count in 0..=2 * size as usize {
            let bytes: Vec<u8> = (0..count).map(|byte| byte as u8).collect();
            let mut producer = Producer { layout: ring, head };
            let pushed = producer.push(&spy, &bytes);
            let fits = count.min((size - filled) as usize);
            assert_eq!(pushed, Ok(fits));

            let mut stores = spy.stores();
            let now = head.wrapping_add(fits as u32);
            assert_eq!(stores.pop(), Some((ring.head, now.to_le_bytes().to_vec())));
            let written: Vec<(usize, u8)> = stores
                .iter()
                .flat_map(|(at, bytes)| (*at..).zip(bytes.iter().copied()))
                .collect();
            let places = bytes_of(&ring, head, fits);
            assert_eq!(written, places.into_iter().zip(bytes).collect::<Vec<_>>());
            assert_eq!(producer.head, now);
        }
    }
}

/// The same for a pop: it copies the oldest bytes, then publishes its index.
#[test]
fn a_pop_copies_what_is_there_and_nothing_else() {
    for (size, filled, tail) in rings() {
        let (ring, spy) = (ring(size), Spy::new());
        spy.claim(tail.wrapping_add(filled));
        for room in 0..=2 * size as usize {
            let mut consumer = Consumer { layout: ring, tail };
            let popped = consumer.pop(&spy, &mut std::vec![0; room]);
            let count = room.min(filled as usize);
            assert_eq!(popped, Ok(count));

            let reads = spy.reads();
            let copied: Vec<usize> = reads.iter().flat_map(|(at, len)| *at..*at + *len).collect();
            assert_eq!(copied, bytes_of(&ring, tail, count));
            let now = tail.wrapping_add(count as u32);
            let index = (ring.tail, now.to_le_bytes().to_vec());
            assert_eq!(spy.stores(), [index]);
        }
    }
}

/// Sizes, how much is in the ring, and its consumer's index: every place in the ring, at the start
/// of all numbers, and so that each of the two indices wraps.
fn rings() -> impl Iterator<Item = (u32, u32, u32)> {
    let sizes = [1, 2, 4, 8, 16].into_iter();
    let filled = sizes.flat_map(|size| (0..=size).map(move |filled| (size, filled)));
    filled.flat_map(|(size, filled)| {
        let bases = (0..size).chain((0..2 * size).map(|back| u32::MAX - back));
        bases.map(move |base| (size, filled, base))
    })
}
