// SPDX-License-Identifier: GPL-2.0

//! The mailbox's index arithmetic, for every index that there is; how is told in the ring's proofs
//! (`ring/proofs.rs`). A mailbox has one size, so here the pushes and pops are all there are, up to
//! the multiples of its capacity that [`Layout::place`] is shown not to see.

use super::*;
use crate::window::spy::Spy;

const RING: Layout = Layout::of(VnodeId::ROOT, VnodeId::ROOT);

/// Indices from which the other one is so far: at zero, in the middle, and short of the wrap.
const BASES: [u32; 6] = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 63, u32::MAX];

/// DS-22: no index leads out of the mailbox, and consecutive ones go round it.
#[test]
#[ignore = "tries all numbers: scripts/check runs it optimised"]
fn every_index_has_its_place() {
    for index in 0..=u32::MAX {
        let slot = (index % CAPACITY) as usize;
        let right = RING.messages + slot * Message::SIZE;
        assert!(RING.place(index) == right, "{index:#x}");
    }
    assert_eq!(
        RING.place(CAPACITY - 1) + Message::SIZE,
        RING.tag + SIZE,
        "the last place ends with the mailbox"
    );
}

/// DS-22: whatever the peer's index, it is refused or names messages that are in the ring.
#[test]
#[ignore = "tries all numbers: scripts/check runs it optimised"]
fn every_distance_is_told_or_refused() {
    for base in BASES {
        for distance in 0..=u32::MAX {
            let right = (distance <= CAPACITY).then_some(distance).ok_or(Corrupt);
            let head = base.wrapping_add(distance);
            assert!(RING.filled(head, base) == right, "{base:#x}+{distance:#x}");
        }
    }
}

/// Every place in the ring, from zero on and so that each of the two indices wraps, and how many
/// messages there are.
fn rings() -> impl Iterator<Item = (u32, u32)> {
    let bases = (0..CAPACITY).chain((0..2 * CAPACITY).map(|back| u32::MAX - back));
    bases.flat_map(|base| (0..=CAPACITY).map(move |filled| (base, filled)))
}

/// DS-21, DS-30: a push leaves as much room as is wanted, and writes behind the messages that are
/// there, and nowhere else, before it publishes its index.
#[test]
fn a_push_takes_the_next_place_or_none() {
    let message = Message {
        cookie: 7,
        ..Message::default()
    };
    let spy = Spy::new();
    for (tail, filled) in rings() {
        spy.claim(tail);
        let head = tail.wrapping_add(filled);
        for spare in [0, 1, 15, 16, 17, 63, 64, u32::MAX] {
            let mut sender = Sender { layout: RING, head };
            let pushed = sender.push(&spy, &message, spare);
            if CAPACITY - filled <= spare {
                assert_eq!((pushed, sender.head), (Err(PushError::Full), head));
                assert!(spy.stores().is_empty());
                continue;
            }
            let now = head.wrapping_add(1);
            let slot = (head % CAPACITY) as usize;
            let place = RING.messages + slot * Message::SIZE;
            let right = [
                (place, message.to_bytes().to_vec()),
                (RING.head, now.to_le_bytes().to_vec()),
            ];
            assert_eq!((pushed, sender.head), (Ok(()), now));
            assert_eq!(spy.stores(), right);
        }
    }
}

/// DS-21: a pop copies the oldest message, and nothing else, before it publishes its index.
#[test]
fn a_pop_copies_the_oldest_message_or_none() {
    let spy = Spy::new();
    for (tail, filled) in rings() {
        spy.claim(tail.wrapping_add(filled));
        let mut receiver = Receiver { layout: RING, tail };
        let mut message = Message {
            cookie: 7,
            ..Message::NONE
        };
        let popped = receiver.pop(&spy, &mut message);
        if filled == 0 {
            assert_eq!((popped, receiver.tail), (Ok(false), tail));
            assert_eq!(message.cookie, 7);
            assert!(spy.stores().is_empty() && spy.reads().is_empty());
            continue;
        }
        let slot = (tail % CAPACITY) as usize;
        let place = RING.messages + slot * Message::SIZE;
        let now = tail.wrapping_add(1);
        assert_eq!((popped, message), (Ok(true), Message::default()));
        assert_eq!(spy.reads(), [(place, Message::SIZE)]);
        assert_eq!(spy.stores(), [(RING.tail, now.to_le_bytes().to_vec())]);
    }
}
