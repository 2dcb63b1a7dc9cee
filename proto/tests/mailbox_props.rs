// SPDX-License-Identifier: GPL-2.0

//! The ring of messages against a bounded queue.
//!
//! Numbers are those of docs/dsp.md.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/cells.rs"]
mod cells;
#[path = "support/dying.rs"]
mod dying;

use adeos_proto::dsp::mailbox::{self, Layout, PushError, Receiver, Sender, Tag};
use adeos_proto::dsp::message::{Message, VERSION};
use adeos_proto::id::{Generation, VnodeId};
use adeos_proto::window::Window;
use cells::Cells;
use dying::Dying;
use proptest::prelude::*;
use std::collections::VecDeque;

fn vnode(number: u32) -> VnodeId {
    VnodeId::new(number).unwrap()
}

fn tag(from: u32, to: u32) -> Tag {
    Tag::new(Generation(from), Generation(to))
}

fn genuine(kind: u8, cookie: u64) -> Message {
    Message {
        version: VERSION,
        service: 0xff00,
        kind,
        sender: 1,
        receiver: 1,
        cookie,
        ..Message::default()
    }
}

fn pop(receiver: &mut Receiver, memory: &Cells) -> Option<Message> {
    let mut message = Message::NONE;
    let is_there = receiver.pop(memory, &mut message).unwrap();
    is_there.then_some(message)
}

/// DS-21: 64 messages fit, the next one is an error, and none is lost.
#[test]
fn a_ring_holds_exactly_sixty_four() {
    let memory = Cells::new(mailbox::AREA_SIZE);
    let layout = Layout::of(vnode(1), vnode(2));
    mailbox::reset(&memory, &layout, tag(1, 1));
    let mut sender = Sender::open(&memory, layout, tag(1, 1)).unwrap();
    let mut receiver = Receiver::open(&memory, layout, tag(1, 1)).unwrap();
    for cookie in 0..64 {
        let message = genuine(1, cookie);
        assert_eq!(sender.push(&memory, &message, 0), Ok(()));
    }
    assert_eq!(
        sender.push(&memory, &genuine(1, 64), 0),
        Err(PushError::Full)
    );
    for cookie in 0..64 {
        assert_eq!(pop(&mut receiver, &memory), Some(genuine(1, cookie)));
    }
    assert_eq!(pop(&mut receiver, &memory), None);
}

/// DS-23: a ring opens only for the two lives that its tag names.
#[test]
fn a_ring_opens_for_its_two_lives_only() {
    let memory = Cells::new(mailbox::AREA_SIZE);
    let layout = Layout::of(vnode(1), vnode(2));
    assert!(Sender::open(&memory, layout, tag(1, 1)).is_none());
    mailbox::reset(&memory, &layout, tag(3, 5));
    assert!(Sender::open(&memory, layout, tag(3, 4)).is_none());
    assert!(Receiver::open(&memory, layout, tag(5, 3)).is_none());
    assert!(Receiver::open(&memory, layout, tag(3, 5)).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// DS-21: the ring is a queue that holds no more than its capacity, at any index.
    #[test]
    fn the_mailbox_is_a_bounded_queue(
        start in prop_oneof![Just(0u32), Just(u32::MAX - 20), any::<u32>()],
        calls in prop::collection::vec((any::<bool>(), 0..80u32, 0..20u32), 1..40)
    ) {
        let memory = Cells::new(mailbox::AREA_SIZE);
        let layout = Layout::of(vnode(4), vnode(9));
        mailbox::reset(&memory, &layout, tag(1, 1));
        memory.store_release(layout.head, start);
        memory.store_release(layout.tail, start);
        let mut sender = Sender::open(&memory, layout, tag(1, 1)).unwrap();
        let mut receiver = Receiver::open(&memory, layout, tag(1, 1)).unwrap();
        let (mut queue, mut cookie) = (VecDeque::new(), 0);
        for (is_push, count, spare) in calls {
            for _ in 0..count {
                if is_push {
                    cookie += 1;
                    let fits = queue.len() < 64 - spare as usize;
                    let pushed = sender.push(&memory, &genuine(1, cookie), spare);
                    prop_assert_eq!(pushed.is_ok(), fits);
                    if fits {
                        queue.push_back(cookie);
                    }
                } else {
                    let popped = pop(&mut receiver, &memory);
                    prop_assert_eq!(popped.map(|message| message.cookie), queue.pop_front());
                }
            }
            // A nanokernel that is loaded anew goes on where it was.
            sender = Sender::open(&memory, layout, tag(1, 1)).unwrap();
            receiver = Receiver::open(&memory, layout, tag(1, 1)).unwrap();
        }
    }

    /// DS-21: whatever part of a push has happened, the receiver gets all of it or nothing.
    #[test]
    fn a_push_that_dies_midway_is_not_seen(stores in 0..140usize) {
        let memory = Cells::new(mailbox::AREA_SIZE);
        let layout = Layout::of(vnode(1), vnode(2));
        mailbox::reset(&memory, &layout, tag(1, 1));
        let mut sender = Sender::open(&memory, layout, tag(1, 1)).unwrap();
        let mut receiver = Receiver::open(&memory, layout, tag(1, 1)).unwrap();
        let message = Message { payload: [0xee; 96], ..genuine(1, 3) };
        sender.push(&Dying::new(&memory, stores), &message, 0).unwrap();
        let got = pop(&mut receiver, &memory);
        prop_assert_eq!(got, (stores > 128).then_some(message));
    }
}
