// SPDX-License-Identifier: GPL-2.0

//! The wire of a segment and its two kinds of sleepers, under every interleaving and every reordering that C11 allows, by loom.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test --test vnet_loom`. Numbers are those of docs/vnet.md.

#![cfg(loom)]

#[path = "support/words.rs"]
mod words;

use adeos_proto::id::VnodeId;
use adeos_proto::vnet::port::{Lane, Port};
use adeos_proto::vnet::wire::{Arrived, Sensed, Wire};
use adeos_proto::vnet::{
    await_taken, publish_taken, sleep, sleeps, take_awaiting, taken, wake, Taken,
};
use adeos_proto::window::Window;
use loom::sync::Arc;
use loom::thread;
use words::Words;

const WIRE: Wire = Wire {
    head: 0,
    places: 8,
    count: 2,
};

/// The words of the page of station 1's lane 2: those of lane 3 of vnode 2 taken, and the two kinds of sleep.
const TAKEN: usize = 0x4_6000 + 8 * 11;
const ASLEEP: usize = 0x4_6280;
const AWAITED: usize = 0x4_6300;

fn memory() -> Arc<Words> {
    Arc::new(Words::new(&[0, 8, 16, TAKEN, ASLEEP, AWAITED]))
}

fn port(vnode: u32, lane: u32) -> Port {
    Port {
        vnode: VnodeId::new(vnode).expect("a vnode"),
        lane: Lane::new(lane).expect("a lane"),
    }
}

fn me() -> Port {
    port(1, 2)
}

fn sender() -> Port {
    port(2, 3)
}

/// Sends until it is sent, three times at most: another one can be met once, and its word be helped on once.
fn send(window: &Words, word: u64) {
    for _ in 0..3 {
        match WIRE.send(window, word) {
            Sensed::Sent => return,
            Sensed::Collision | Sensed::Busy => {}
            other => panic!("{other:?} where there is room"),
        }
    }
    panic!("met more than there are");
}

fn take_all(receiver: &mut adeos_proto::vnet::wire::Receiver, window: &Words) -> Vec<u64> {
    let mut words = Vec::new();
    while let Some(arrived) = receiver.take(window) {
        match arrived {
            Arrived::Word(word) => words.push(word),
            Arrived::Nonsense => panic!("nonsense of two that are honest"),
        }
    }
    words
}

/// VN-30: what two senders send at once arrives, each once, whoever takes meanwhile.
#[test]
fn words_of_two_senders_arrive_once() {
    loom::model(|| {
        let memory = memory();
        let mut receiver = WIRE.begin(&*memory);
        let threads = [10, 20].map(|word| {
            let memory = memory.clone();
            thread::spawn(move || send(&memory, word))
        });
        let mut words = take_all(&mut receiver, &memory);
        for thread in threads {
            thread.join().expect("a sender");
        }
        words.extend(take_all(&mut receiver, &memory));
        words.sort_unstable();
        assert_eq!(words, [10, 20]);
    });
}

/// VN-30: what one sender sends arrives in its order, also a lap later.
#[test]
fn words_of_one_sender_keep_their_order() {
    loom::model(|| {
        let memory = memory();
        let mut receiver = WIRE.begin(&*memory);
        let other = memory.clone();
        let thread = thread::spawn(move || {
            let mut sent = 0;
            for word in 1..=3 {
                match WIRE.send(&*other, word) {
                    Sensed::Sent => sent += 1,
                    Sensed::Full => break,
                    found => panic!("{found:?} by one sender"),
                }
            }
            sent
        });
        let mut words = take_all(&mut receiver, &memory);
        let sent = thread.join().expect("a sender");
        words.extend(take_all(&mut receiver, &memory));
        let right: Vec<u64> = (1..=sent).collect();
        assert_eq!(words, right);
        assert!(sent >= 2, "there is room for two");
    });
}

/// VN-40, VN-41: who sleeps is raised, or has seen the word before it slept.
#[test]
fn nobody_sleeps_over_a_word() {
    loom::model(|| {
        let memory = memory();
        let receiver = WIRE.begin(&*memory);
        let other = memory.clone();
        let thread = thread::spawn(move || {
            send(&other, 7);
            sleeps(&*other, me())
        });
        sleep(&*memory, me());
        let stays_up = receiver.has_some(&*memory);
        if stays_up {
            wake(&*memory, me());
        }
        let is_raised = thread.join().expect("a sender");
        assert!(stays_up || is_raised);
    });
}

/// VN-42, VN-43: who waits for something to be taken is raised, or has seen that it was.
#[test]
fn nobody_waits_for_what_is_taken() {
    loom::model(|| {
        let memory = memory();
        let other = memory.clone();
        let thread = thread::spawn(move || {
            publish_taken(&*other, me(), sender(), Taken::new(3, 1));
            take_awaiting(&*other, me())
        });
        await_taken(&*memory, sender(), me());
        let seen = taken(&*memory, me(), sender(), 3);
        let raised = thread.join().expect("a station");
        assert!(seen == 1 || raised == sender().bit());
        assert_eq!(memory.load_acquire64(AWAITED) == 0, raised != 0);
    });
}
