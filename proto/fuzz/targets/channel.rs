// SPDX-License-Identifier: GPL-2.0

//! One end of a channel against a peer that writes what it likes (docs/control-area.md, CA-80 to
//! CA-87).

#![no_main]

use adeos_proto::channel::{self, PeerState, RootEnd, VnodeEnd};
use adeos_proto::layout::channel as place;
use adeos_proto::layout::slot::CHANNELS;
use adeos_proto::ring::Corrupt;
use hostile::{Input, Memory};
use std::ops::Range;

/// A call looks at the two sessions a few times, and does one thing with one ring.
const MOST: usize = 12;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    let is_root = input.yes();
    let mut memory = Memory::quiet(CHANNELS + place::COUNT * place::STRIDE);
    let control = CHANNELS..CHANNELS + place::UP + 0x80;
    let hot = [
        place::ROOT_SESSION,
        place::VNODE_SESSION,
        place::DOWN,
        place::DOWN + 0x40,
        place::UP,
        place::UP + 0x40,
    ];
    let hot = hot.map(|offset| CHANNELS + offset).to_vec();
    memory.disturb(&input, vec![control], hot);
    let all = CHANNELS..CHANNELS + place::STRIDE;
    if is_root {
        memory.role(
            &[all],
            &[
                word(place::ROOT_SESSION),
                word(place::DOWN),
                word(place::UP + 0x40),
                at(place::DOWN_DATA, place::DOWN_SIZE),
            ],
        );
        as_root(&memory, &input);
    } else {
        memory.role(
            &[all],
            &[
                word(place::VNODE_SESSION),
                word(place::UP),
                word(place::DOWN + 0x40),
                at(place::UP_DATA, place::UP_SIZE),
            ],
        );
        as_vnode(&memory, &input);
    }
});

fn word(offset: usize) -> Range<usize> {
    at(offset, 4)
}

fn at(offset: usize, len: usize) -> Range<usize> {
    CHANNELS + offset..CHANNELS + offset + len
}

fn as_root(memory: &Memory<'_>, input: &Input<'_>) {
    let mut end: Option<RootEnd> = None;
    while !input.is_over() {
        memory.accesses();
        let mut to = vec![0; input.below(512)];
        match (&mut end, input.byte() % 8) {
            (None, _) => {
                let _ = channel::is_free(memory, 0);
                assert!(RootEnd::open(memory, place::COUNT).is_none());
                end = RootEnd::open(memory, 0);
            }
            (Some(root), 0) => {
                root.close(memory);
                end = None;
            }
            (Some(root), 1) => drop(root.peer(memory)),
            (Some(root), 2..5) => check(root.send(memory, &to), to.len()),
            (Some(root), _) => check(root.receive(memory, &mut to), to.len()),
        }
        assert!(memory.accesses() <= MOST);
    }
}

fn as_vnode(memory: &Memory<'_>, input: &Input<'_>) {
    let mut end: Option<VnodeEnd> = None;
    while !input.is_over() {
        memory.accesses();
        let mut to = vec![0; input.below(512)];
        match (&mut end, input.byte() % 8) {
            (None, _) => end = VnodeEnd::accept(memory, 0),
            (Some(vnode), 0) => {
                vnode.close(memory);
                end = None;
            }
            (Some(vnode), 1) => assert_ne!(vnode.peer(memory), PeerState::Waiting),
            (Some(vnode), 2..5) => check(vnode.send(memory, &to), to.len()),
            (Some(vnode), _) => check(vnode.receive(memory, &mut to), to.len()),
        }
        assert!(memory.accesses() <= MOST);
    }
}

fn check(count: Result<usize, Corrupt>, most: usize) {
    assert!(count.unwrap_or(0) <= most);
}
