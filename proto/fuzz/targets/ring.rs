// SPDX-License-Identifier: GPL-2.0

//! One side of a ring of bytes against a peer that writes what it likes (docs/control-area.md,
//! CA-84).

#![no_main]

use adeos_proto::ring::{Consumer, Corrupt, Layout, Producer};
use hostile::{at, Input, Memory};

const HEAD: usize = 0;
const TAIL: usize = 64;
const DATA: usize = 128;

/// Each call loads the peer's number; one of the two copies in two parts, and publishes.
const MOST: usize = 5;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    let is_producer = input.yes();
    let ring = Layout {
        head: HEAD,
        tail: TAIL,
        data: DATA,
        size: 1 << input.below(8),
    };
    let (head, tail) = (HEAD..HEAD + 4, TAIL..TAIL + 4);
    let data = DATA..DATA + ring.size as usize;
    let mut memory = Memory::quiet(data.end);
    memory.disturb(&input, vec![at(HEAD, data.end)], vec![HEAD, TAIL]);

    if is_producer {
        memory.role(&[tail], &[head, data]);
        produce(&memory, &input, ring);
    } else {
        memory.role(&[head, data], &[tail]);
        consume(&memory, &input, ring);
    }
});

fn produce(memory: &Memory<'_>, input: &Input<'_>, ring: Layout) {
    let mut producer = Producer::new(ring);
    producer.reset(memory);
    while !input.is_over() {
        let bytes = input.take(input.below(256));
        memory.accesses();
        check(producer.room(memory), ring.size as usize);
        let most = bytes.len().min(ring.size as usize);
        check(producer.push(memory, bytes), most);
        assert!(memory.accesses() <= MOST);
    }
}

fn consume(memory: &Memory<'_>, input: &Input<'_>, ring: Layout) {
    let mut consumer = Consumer::new(ring);
    consumer.reset(memory);
    while !input.is_over() {
        let mut to = vec![0; input.below(256)];
        memory.accesses();
        check(consumer.available(memory), ring.size as usize);
        let most = to.len().min(ring.size as usize);
        check(consumer.pop(memory, &mut to), most);
        assert!(memory.accesses() <= MOST);
    }
}

fn check(count: Result<usize, Corrupt>, most: usize) {
    assert!(count.unwrap_or(0) <= most);
}
