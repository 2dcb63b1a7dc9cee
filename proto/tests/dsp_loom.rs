// SPDX-License-Identifier: GPL-2.0

//! The mailbox under every interleaving and every reordering that C11 allows, by loom.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test --test dsp_loom`. The messages are `UnsafeCell`s: an
//! access that races with another is a failure. Numbers are those of docs/dsp.md.

#![cfg(loom)]

use adeos_proto::dsp::mailbox::{reset, Layout, PushError, Receiver, Sender, Tag};
use adeos_proto::dsp::message::Message;
use adeos_proto::id::Generation;
use adeos_proto::window::Window;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{fence, AtomicU32, AtomicU64, Ordering};
use loom::sync::Arc;

/// As small as a ring can be and still wrap, with an acknowledgement beside it.
const RING: Layout = Layout {
    tag: 0,
    head: 16,
    tail: 20,
    messages: 128,
    capacity: 2,
};
const REACHED: usize = 8;

struct Shared {
    tag: AtomicU64,
    reached: AtomicU64,
    indices: [AtomicU32; 2],
    messages: [UnsafeCell<[u8; Message::SIZE]>; RING.capacity as usize],
}

// SAFETY: the numbers are atomics, and loom reports every access to the messages that another
// one races with.
unsafe impl Sync for Shared {}

impl Shared {
    fn new(index: u32) -> Self {
        Self {
            tag: AtomicU64::new(0),
            reached: AtomicU64::new(0),
            indices: [AtomicU32::new(index), AtomicU32::new(index)],
            messages: [UnsafeCell::new([0; 128]), UnsafeCell::new([0; 128])],
        }
    }

    fn wide(&self, offset: usize) -> &AtomicU64 {
        match offset {
            0 => &self.tag,
            REACHED => &self.reached,
            _ => unreachable!("there are two such numbers"),
        }
    }
}

impl Window for Shared {
    fn size(&self) -> usize {
        RING.messages + 2 * Message::SIZE
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        self.indices[(offset - RING.head) / 4].load(Ordering::Acquire)
    }

    fn store_release(&self, offset: usize, value: u32) {
        self.indices[(offset - RING.head) / 4].store(value, Ordering::Release);
    }

    fn load_acquire64(&self, offset: usize) -> u64 {
        self.wide(offset).load(Ordering::Acquire)
    }

    fn store_release64(&self, offset: usize, value: u64) {
        self.wide(offset).store(value, Ordering::Release);
    }

    fn raise(&self, _: usize, _: u32) {
        unreachable!("a mailbox needs no such thing")
    }

    fn fetch_or64(&self, _: usize, _: u64) -> u64 {
        unreachable!("a mailbox needs no such thing")
    }

    fn swap64(&self, _: usize, _: u64) -> u64 {
        unreachable!("a mailbox needs no such thing")
    }

    fn compare_exchange64(&self, _: usize, _: u64, _: u64) -> Result<u64, u64> {
        unreachable!("a mailbox needs no such thing")
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        let cell = &self.messages[(offset - RING.messages) / Message::SIZE];
        // SAFETY: the pointer is valid, and loom fails the test if somebody writes meanwhile.
        cell.with(|cell| to.copy_from_slice(unsafe { &*cell }));
    }

    fn write(&self, offset: usize, from: &[u8]) {
        let cell = &self.messages[(offset - RING.messages) / Message::SIZE];
        // SAFETY: the pointer is valid, and loom fails the test if somebody else is at it.
        cell.with_mut(|cell| unsafe { (*cell).copy_from_slice(from) });
    }

    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}

fn tag(sender: u32) -> Tag {
    Tag::new(Generation(sender), Generation(1))
}

fn pop(receiver: &mut Receiver, shared: &Shared) -> Option<Message> {
    let mut message = Message::NONE;
    let is_there = receiver.pop(shared, &mut message).unwrap();
    is_there.then_some(message)
}

fn message(cookie: u64) -> Message {
    Message {
        cookie,
        ..Message::default()
    }
}

/// DS-21, DS-22: messages arrive whole, in order and once, while the ring fills, its places are
/// used again, and its indices wrap.
#[test]
fn messages_arrive_in_order_and_no_access_races() {
    loom::model(|| {
        let shared = Arc::new(Shared::new(u32::MAX));
        // The tag as the root leaves it: nothing else of the ring is to be set to zero here.
        shared.store_release64(RING.tag, (1 << 32) | 1);
        // Two threads of their own: loom does not go back to what its first thread has read.
        let far = shared.clone();
        let sending = loom::thread::spawn(move || {
            let mut sender = Sender::open(&*far, RING, tag(1)).unwrap();
            let mut sent = 0;
            for _ in 0..4 {
                match sender.push(&*far, &message(sent + 1), 0) {
                    Ok(()) => sent += 1,
                    Err(PushError::Full) => {}
                    Err(PushError::Corrupt) => panic!("nobody lies"),
                }
            }
            assert!(sent >= 2);
            sent
        });
        let far = shared.clone();
        let receiving = loom::thread::spawn(move || {
            let mut receiver = Receiver::open(&*far, RING, tag(1)).unwrap();
            let mut received = 0;
            for _ in 0..3 {
                if let Some(found) = pop(&mut receiver, &far) {
                    received += 1;
                    assert_eq!(found, message(received));
                }
            }
            (receiver, received)
        });
        let sent = sending.join().unwrap();
        let (mut receiver, mut received) = receiving.join().unwrap();
        while let Some(found) = pop(&mut receiver, &shared) {
            received += 1;
            assert_eq!(found, message(received));
        }
        assert_eq!(received, sent);
    });
}

/// DS-23: whoever finds its tag finds the ring empty, whatever was there before.
#[test]
fn an_end_that_opens_a_ring_finds_it_reset() {
    loom::model(|| {
        let shared = Arc::new(Shared::new(77));
        let far = shared.clone();
        let root = loom::thread::spawn(move || reset(&*far, &RING, tag(2)));
        let far = shared.clone();
        let thread = loom::thread::spawn(move || {
            if let Some(mut sender) = Sender::open(&*far, RING, tag(2)) {
                assert_eq!(sender.room(&*far), Ok(2));
                sender.push(&*far, &message(5), 0).unwrap();
            }
        });
        if let Some(mut receiver) = Receiver::open(&*shared, RING, tag(2)) {
            let found = pop(&mut receiver, &shared);
            assert!(found.is_none() || found == Some(message(5)));
        }
        root.join().unwrap();
        thread.join().unwrap();
    });
}

/// DS-24: once the receiver has let go of the old life and said so, the root can reset the ring,
/// and the next life's first message overwrites nothing that is still read.
#[test]
fn a_reset_after_the_acknowledgement_races_with_nothing() {
    loom::model(|| {
        let shared = Arc::new(Shared::new(0));
        reset(&*shared, &RING, tag(1));
        let mut sender = Sender::open(&*shared, RING, tag(1)).unwrap();
        sender.push(&*shared, &message(1), 0).unwrap();
        let far = shared.clone();
        let thread = loom::thread::spawn(move || {
            let mut receiver = Receiver::open(&*far, RING, tag(1)).unwrap();
            assert_eq!(pop(&mut receiver, &far), Some(message(1)));
            far.store_release64(REACHED, 3);
            // It knows of the next life now.
            Receiver::open(&*far, RING, tag(2)).map(|mut receiver| pop(&mut receiver, &far))
        });
        if shared.load_acquire64(REACHED) == 3 {
            reset(&*shared, &RING, tag(2));
            let mut sender = Sender::open(&*shared, RING, tag(2)).unwrap();
            sender.push(&*shared, &message(9), 0).unwrap();
        }
        let found = thread.join().unwrap().flatten();
        assert!(found.is_none() || found == Some(message(9)));
    });
}
