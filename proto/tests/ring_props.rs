// SPDX-License-Identifier: GPL-2.0

//! The ring against a bounded queue, and against a peer that lies.

#[path = "support/cells.rs"]
mod cells;
#[path = "support/dying.rs"]
mod dying;

use adeos_proto::ring::{Consumer, Corrupt, Layout, Producer};
use adeos_proto::window::Window;
use cells::Cells;
use dying::Dying;
use proptest::prelude::*;
use std::collections::VecDeque;

const RING: Layout = Layout {
    head: 0,
    tail: 64,
    data: 128,
    size: 16,
};

/// Bytes behind the ring which nobody may touch.
const GUARD: usize = RING.data + RING.size as usize;

fn memory() -> Cells {
    let memory = Cells::new(GUARD + 32);
    memory.write(GUARD, &[0xa5; 32]);
    memory
}

fn guard_is_whole(memory: &Cells) -> bool {
    let mut guard = [0; 32];
    memory.read(GUARD, &mut guard);
    guard == [0xa5; 32]
}

#[derive(Clone, Debug)]
enum Call {
    Push(Vec<u8>),
    Pop(usize),
}

fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..24).prop_map(Call::Push),
        (0..24usize).prop_map(Call::Pop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_ring_is_a_bounded_queue(calls in prop::collection::vec(any_call(), 1..100)) {
        let memory = memory();
        let (mut producer, mut consumer) = (Producer::new(RING), Consumer::new(RING));
        producer.reset(&memory);
        consumer.reset(&memory);
        let mut queue = VecDeque::new();
        for call in calls {
            prop_assert_eq!(producer.room(&memory), Ok(RING.size as usize - queue.len()));
            prop_assert_eq!(consumer.available(&memory), Ok(queue.len()));
            match call {
                Call::Push(bytes) => {
                    let fits = bytes.len().min(RING.size as usize - queue.len());
                    prop_assert_eq!(producer.push(&memory, &bytes), Ok(fits));
                    queue.extend(&bytes[..fits]);
                }
                Call::Pop(room) => {
                    let mut to = vec![0; room];
                    let count = consumer.pop(&memory, &mut to).unwrap();
                    let right: Vec<u8> = queue.drain(..room.min(queue.len())).collect();
                    prop_assert_eq!(&to[..count], &right[..]);
                }
            }
        }
        prop_assert!(guard_is_whole(&memory));
    }

    /// CA-84, and CA-4.
    #[test]
    fn a_hostile_index_never_panics_and_never_leaves_the_ring(
        calls in prop::collection::vec((any_call(), any::<Option<u32>>()), 1..60)
    ) {
        let memory = memory();
        let (mut producer, mut consumer) = (Producer::new(RING), Consumer::new(RING));
        let (mut pushed, mut popped) = (0u32, 0u32);
        for (call, lie) in calls {
            match call {
                Call::Push(bytes) => {
                    let tail = lie.unwrap_or(pushed.wrapping_sub(8));
                    memory.store_release(RING.tail, tail);
                    let filled = pushed.wrapping_sub(tail);
                    let result = producer.push(&memory, &bytes);
                    prop_assert_eq!(result.is_err(), filled > RING.size);
                    pushed = pushed.wrapping_add(result.unwrap_or(0) as u32);
                }
                Call::Pop(room) => {
                    let head = lie.unwrap_or(popped.wrapping_add(8));
                    memory.store_release(RING.head, head);
                    let result = consumer.pop(&memory, &mut vec![0; room]);
                    prop_assert_eq!(result.is_err(), head.wrapping_sub(popped) > RING.size);
                    popped = popped.wrapping_add(result.unwrap_or(0) as u32);
                }
            }
        }
        prop_assert!(guard_is_whole(&memory));
    }

    /// Whatever part of a push has happened, the consumer gets all of it or nothing.
    /// CA-84: the index is published after the bytes.
    #[test]
    fn a_push_that_dies_midway_is_not_seen(
        before in prop::collection::vec(any::<u8>(), 0..16), stores in 0..20usize
    ) {
        let memory = memory();
        let (mut producer, mut consumer) = (Producer::new(RING), Consumer::new(RING));
        producer.push(&memory, &before).unwrap();
        let dying = [0xee; 16];
        let count = producer.push(&Dying::new(&memory, stores), &dying).unwrap();
        let mut to = [0; 16];
        let received = consumer.pop(&memory, &mut to).unwrap();
        let survives = stores > count;
        prop_assert_eq!(received, before.len() + if survives { count } else { 0 });
        prop_assert_eq!(&to[..before.len()], &before[..]);
    }
}

/// CA-84, at its limit.
#[test]
fn more_than_fits_is_corrupt_and_exactly_what_fits_is_not() {
    let memory = memory();
    let mut consumer = Consumer::new(RING);
    memory.store_release(RING.head, RING.size + 1);
    assert_eq!(consumer.available(&memory), Err(Corrupt));
    memory.store_release(RING.head, u32::MAX);
    assert_eq!(consumer.pop(&memory, &mut [0; 4]), Err(Corrupt));
    memory.store_release(RING.head, RING.size);
    assert_eq!(consumer.available(&memory), Ok(16));
}
