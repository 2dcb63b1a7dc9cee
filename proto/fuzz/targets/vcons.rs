// SPDX-License-Identifier: GPL-2.0

//! A console's bridge: the speaker among hostile viewers, and a viewer of a hostile speaker
//! (docs/vcons.md).

#![no_main]

use adeos_proto::id::VnodeId;
use adeos_proto::layout::ConsoleHeader;
use adeos_proto::membership::bit;
use adeos_proto::vcons::output::{self, Output, STEP};
use adeos_proto::vcons::typing::{Listener, Typist, WindowSize};
use adeos_proto::vcons::waiters::{announce, take, Concerned, Waiter};
use adeos_proto::vcons::{self, Header, OUTPUT, TYPED_SIZE};
use hostile::{at, vnode, Input, Memory};
use std::ops::Range;

/// Accesses of one call, that for the bits of those that wait excepted.
const MOST: usize = 40;
/// Tries to take bits that somebody changes all the time, and what goes before.
const TAKING: usize = 70;

const SPEAKER: Range<usize> = 0x1000..0x1050;
const VIEWERS: Range<usize> = 0x2000..0x2800;
const AWAITED: Range<usize> = 0x2800..0x2808;
const TYPED: Range<usize> = 0x1_0000..0x2_0000;
/// Tails, and what it has heard.
const TAKEN: Range<usize> = 0x1050..0x1094;
/// The viewer that is honest, and has the keyboard to begin with.
const ME: u32 = 2;

fn output_ring() -> Range<usize> {
    at(OUTPUT.data, OUTPUT.size as usize)
}

fn words(vnode: VnodeId) -> Range<usize> {
    at(VIEWERS.start + 0x80 * vnode.index(), 0x80)
}

fn typed(vnode: VnodeId) -> Range<usize> {
    at(TYPED.start + TYPED_SIZE * vnode.index(), TYPED_SIZE)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    let is_speaker = input.yes();
    let mut memory = Memory::quiet(vcons::SIZE);
    vcons::create(&memory);
    memory.fill(
        Header::OFFSETS.keyboard,
        &(1 << 32 | u64::from(ME)).to_le_bytes(),
    );
    // Close to the end of the ring, or of all numbers.
    let written = [0, u64::from(OUTPUT.size) - 8, u64::MAX - 64, input.u64()];
    let written = written.get(input.below(4)).copied().unwrap_or(0);
    let counts = OUTPUT.header + ConsoleHeader::OFFSETS.written;
    memory.fill(counts, &written.to_le_bytes());
    memory.fill(counts + 8, &written.to_le_bytes());

    if is_speaker {
        let hot = (0..4).flat_map(|n| [0, 8, 0xc, 0x10].map(|field| 0x2000 + 0x80 * n + field));
        let reach = vec![VIEWERS, AWAITED, TYPED, at(Header::OFFSETS.keyboard, 8)];
        let hot = hot.chain([AWAITED.start]).collect();
        memory.disturb(&input, reach, hot);
        let sees = [at(0, Header::SIZE), VIEWERS, TYPED];
        memory.role(&sees, &[SPEAKER, TAKEN, AWAITED, output_ring()]);
        speak(&memory, &input);
    } else {
        let hot = vec![
            counts,
            counts + 8,
            AWAITED.start,
            TAKEN.start + 4 * ME as usize,
            TAKEN.end - 4,
        ];
        memory.disturb(&input, vec![SPEAKER, TAKEN, AWAITED], hot);
        let sees = [SPEAKER, TAKEN, output_ring()];
        memory.role(&sees, &[words(vnode(ME)), typed(vnode(ME)), AWAITED]);
        view(&memory, &input, written);
    }
});

/// The speaker: nothing that viewers write makes it lose its way, wait for ever, or hear more than
/// there is room for.
fn speak(memory: &Memory<'_>, input: &Input<'_>) {
    let mut listener = Listener::new();
    let Ok(mut speaker) = Output::open(memory) else {
        return;
    };
    let members = bit(vnode(1)) | bit(vnode(ME)) | bit(vnode(3));
    while !input.is_over() {
        memory.accesses();
        match input.byte() % 5 {
            0 => {
                let text = input.take(input.below(256));
                assert!(speaker.write_program(memory, members, text) <= text.len().min(STEP));
            }
            1 => {
                let before = written(memory);
                let text = input.take(input.below(256));
                speaker.write_kernel(memory, members, text);
                assert!(text.is_empty() || written(memory) == before + text.len() as u64);
            }
            2 => assert!(speaker.room(memory, members) <= OUTPUT.size as usize),
            3 => {
                let mut to = vec![0; input.below(64)];
                let heard = listener.listen(memory, &mut to);
                assert!(heard.bytes <= to.len());
            }
            _ => {
                let (woken, is_speaker) = take(memory, Concerned::Viewers);
                assert!(!is_speaker || woken == 0);
                let (woken, _) = take(memory, Concerned::Typist(vnode(ME)));
                assert_eq!(woken & !bit(vnode(ME)), 0);
                assert!(memory.accesses() <= 2 * TAKING);
            }
        }
        assert!(memory.accesses() <= MOST);
    }
}

fn written(memory: &Memory<'_>) -> u64 {
    let bytes = memory.copy(at(OUTPUT.header + ConsoleHeader::OFFSETS.written, 8));
    bytes
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A viewer: what a speaker writes makes it show wrong bytes, and nothing worse.
fn view(memory: &Memory<'_>, input: &Input<'_>, written: u64) {
    let me = vnode(ME);
    let mut typist = Typist::new(memory, me);
    typist.begin(memory, 1);
    let mut position = written;
    while !input.is_over() {
        memory.accesses();
        match input.byte() % 6 {
            0 => {
                let mut to = vec![0; input.below(512)];
                if let Ok(chunk) = OUTPUT.read(memory, position, &mut to) {
                    assert!(chunk.copied <= to.len());
                    position = chunk.next;
                }
            }
            1 => output::hold(memory, me, position),
            2 => output::release(memory, me),
            3 => {
                let keys = input.take(input.below(64));
                assert!(typist.press(memory, keys) <= keys.len());
            }
            4 => {
                typist.send_break(memory);
                typist.resize(memory, WindowSize::default());
                typist.hang_up(memory);
                typist.unheard(memory);
            }
            _ => {
                announce(memory, Waiter::ForRoom(me));
                let (woken, _) = take(memory, Concerned::Listener);
                assert_eq!(woken, 0);
                assert!(memory.accesses() <= TAKING);
            }
        }
        assert!(memory.accesses() <= MOST);
    }
}
