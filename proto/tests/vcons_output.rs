// SPDX-License-Identifier: GPL-2.0

//! The output of a console: viewers that hold lose nothing of what programs say, and nobody makes the
//! kernel wait. Numbers are those of docs/vcons.md.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/cells.rs"]
mod cells;
#[path = "support/dying.rs"]
mod dying;

use adeos_proto::console::Corrupt;
use adeos_proto::id::VnodeId;
use adeos_proto::layout::ConsoleHeader;
use adeos_proto::membership::{bit, Mask};
use adeos_proto::signature::Misfit;
use adeos_proto::vcons::output::{self, Output};
use adeos_proto::vcons::{self, Header, OUTPUT, SIGNATURE, VERSION};
use adeos_proto::window::Window;
use cells::Cells;
use dying::Dying;
use proptest::prelude::*;

const SIZE: usize = OUTPUT.size as usize;

fn vnode(number: u32) -> VnodeId {
    VnodeId::new(number).unwrap()
}

fn console() -> Cells {
    let memory = Cells::new(vcons::SIZE);
    vcons::create(&memory);
    memory
}

/// Bytes that differ from place to place, so that a byte in the wrong place is found out.
fn bytes(from: usize, count: usize) -> Vec<u8> {
    (from..from + count)
        .map(|position| (position ^ (position >> 8) ^ (position >> 16)) as u8)
        .collect()
}

/// Says what fits, as a program does that does not wait: in steps of 4 KiB at most (VC-15).
fn say(speaker: &mut Output, memory: &Cells, members: Mask, text: &[u8]) -> usize {
    let mut said = 0;
    loop {
        let count = speaker.write_program(memory, members, &text[said..]);
        assert!(count <= 4096);
        said += count;
        if count == 0 {
            return said;
        }
    }
}

/// A viewer that reads.
struct Viewer {
    me: VnodeId,
    position: u64,
    seen: Vec<u8>,
    lost: u64,
}

impl Viewer {
    fn new(number: u32) -> Self {
        Self {
            me: vnode(number),
            position: 0,
            seen: Vec::new(),
            lost: 0,
        }
    }

    fn read(&mut self, memory: &Cells, most: usize) {
        let mut to = vec![0; most];
        let chunk = OUTPUT.read(memory, self.position, &mut to).unwrap();
        self.seen.extend_from_slice(&to[..chunk.copied]);
        self.lost += chunk.lost;
        self.position = chunk.next;
    }
}

/// VC-1: what is no console, or another one, is not used.
#[test]
fn a_bridge_that_is_no_console_is_not_taken_for_one() {
    let memory = Cells::new(vcons::SIZE);
    assert_eq!(SIGNATURE.check(&memory), Err(Misfit::Magic));
    vcons::create(&memory);
    assert_eq!(SIGNATURE.check(&memory), Ok(()));
    memory.store_release(Header::OFFSETS.version, VERSION + 1);
    assert_eq!(SIGNATURE.check(&memory), Err(Misfit::Version(VERSION + 1)));
    memory.store_release(Header::OFFSETS.version, VERSION);
    memory.store_release(Header::OFFSETS.size, 1);
    assert_eq!(SIGNATURE.check(&memory), Err(Misfit::Size));
}

/// VC-2: what the last life has said can be read in the next one, and what it died of in the middle
/// of saying is no garbage.
#[test]
fn what_was_said_outlives_the_speaker() {
    let memory = console();
    let mut speaker = Output::open(&memory).unwrap();
    speaker.write_kernel(&memory, 0, b"last words\n");
    // Reserved, but not written: it dies while it copies.
    speaker.write_kernel(&Dying::new(&memory, 1), 0, b"never");
    vcons::prepare(&memory);
    let mut speaker = Output::open(&memory).unwrap();
    speaker.write_kernel(&memory, 0, b"first words\n");
    let mut viewer = Viewer::new(2);
    viewer.read(&memory, 100);
    assert_eq!(viewer.seen, b"last words\n\n\n\n\n\nfirst words\n");
    assert_eq!(viewer.lost, 0);
}

/// VC-10, VC-13: a program waits for the one that holds, and for nobody else; once that lets go, for
/// nobody.
#[test]
fn a_program_waits_for_who_holds() {
    let memory = console();
    let mut speaker = Output::open(&memory).unwrap();
    let (east, west) = (vnode(1), vnode(2));
    let both = bit(east) | bit(west);
    assert_eq!(speaker.room(&memory, both), SIZE);
    output::hold(&memory, east, 0);
    output::hold(&memory, west, 0);
    let all = bytes(0, SIZE + 7);
    assert_eq!(say(&mut speaker, &memory, both, &all), SIZE);
    assert_eq!(say(&mut speaker, &memory, both, b"more"), 0);
    output::hold(&memory, east, 5);
    assert_eq!(speaker.room(&memory, both), 0, "west has seen nothing");
    output::release(&memory, west);
    assert_eq!(say(&mut speaker, &memory, both, &all[SIZE..]), 5);
    assert_eq!(speaker.room(&memory, bit(west)), SIZE, "east is dead");
}

/// VC-11: the kernel waits for nobody, and says what it has cost whoever held.
#[test]
fn the_kernel_waits_for_nobody() {
    let memory = console();
    let mut speaker = Output::open(&memory).unwrap();
    let (east, members) = (vnode(1), bit(vnode(1)));
    speaker.write_kernel(&memory, members, &bytes(0, SIZE + 3));
    assert_eq!(output::dropped(&memory), 0, "nobody held");
    output::hold(&memory, east, 3);
    speaker.write_kernel(&memory, members, b"abcd");
    assert_eq!(output::dropped(&memory), 4);
    speaker.write_kernel(&memory, members, b"e");
    assert_eq!(output::dropped(&memory), 4, "it holds nothing any more");
    output::hold(&memory, east, 8);
    speaker.write_kernel(&memory, members, b"fg");
    assert_eq!(output::dropped(&memory), 6);
    vcons::prepare(&memory);
    assert_eq!(output::dropped(&memory), 0);
}

/// VC-17: a viewer that writes over the speaker's words misleads those that read them, until the
/// speaker says something more; and the next life begins anew where they make no sense at all.
#[test]
fn the_speaker_goes_by_its_own_counts() {
    let memory = console();
    let mut speaker = Output::open(&memory).unwrap();
    speaker.write_kernel(&memory, 0, b"one ");
    let counts = OUTPUT.header + ConsoleHeader::OFFSETS.written;
    for lie in [0, 1 << 40, u64::MAX] {
        memory.store_release64(counts, lie);
        memory.store_release64(counts + 8, lie);
        speaker.write_kernel(&memory, 0, b"more ");
    }
    let mut viewer = Viewer::new(1);
    viewer.read(&memory, 100);
    assert_eq!(viewer.seen, b"one more more more ");
    memory.store_release64(counts, u64::MAX - 3);
    memory.store_release64(counts + 8, u64::MAX - 3);
    assert_eq!(Output::open(&memory).err(), Some(Corrupt));
    vcons::prepare(&memory);
    assert!(Output::open(&memory).is_ok());
}

/// How far the last of those that hold, and have not lost what follows anyway, is behind.
fn behind(viewers: &[Viewer; 3], holds: [bool; 3], end: usize) -> Option<usize> {
    let holding = viewers.iter().zip(holds).filter(|(_, holds)| *holds);
    holding
        .map(|(viewer, _)| end - viewer.position as usize)
        .filter(|behind| *behind <= SIZE)
        .max()
}

/// What may happen to a console.
#[derive(Clone, Debug)]
enum Call {
    Program(usize),
    Kernel(usize),
    Read(usize, usize),
    Hold(usize),
    Release(usize),
}

fn any_call() -> impl Strategy<Value = Call> {
    let viewer = || 0..3usize;
    prop_oneof![
        4 => (1..SIZE).prop_map(Call::Program),
        1 => (1..SIZE / 8).prop_map(Call::Kernel),
        4 => (viewer(), 1..SIZE).prop_map(|(viewer, most)| Call::Read(viewer, most)),
        2 => viewer().prop_map(Call::Hold),
        1 => viewer().prop_map(Call::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// VC-10 to VC-14: all see the same bytes in the same order; who holds loses only what the kernel
    /// writes over, which is counted; and a program is kept waiting only by who holds.
    #[test]
    fn who_holds_loses_nothing_by_programs(
        calls in prop::collection::vec(any_call(), 1..60)
    ) {
        let memory = console();
        let mut viewers = [1, 2, 3].map(Viewer::new);
        let members = viewers.iter().fold(0, |all, viewer| all | bit(viewer.me));
        let mut holds = [false; 3];
        let mut all: Vec<u8> = Vec::new();
        let mut speaker = Output::open(&memory).unwrap();
        let (mut dropped, mut kernel_has_spoken) = (0, false);
        for call in calls {
            match call {
                Call::Program(count) => {
                    let text = bytes(all.len(), count);
                    let room = SIZE - behind(&viewers, holds, all.len()).unwrap_or(0);
                    let written = say(&mut speaker, &memory, members, &text);
                    prop_assert_eq!(written, room.min(count));
                    all.extend_from_slice(&text[..written]);
                }
                Call::Kernel(count) => {
                    let text = bytes(all.len(), count);
                    let unseen = behind(&viewers, holds, all.len());
                    dropped += unseen.map_or(0, |unseen| (unseen + count).saturating_sub(SIZE));
                    speaker.write_kernel(&memory, members, &text);
                    all.extend_from_slice(&text);
                    prop_assert_eq!(output::dropped(&memory), dropped as u64);
                    kernel_has_spoken = true;
                }
                Call::Read(which, most) => {
                    let viewer = &mut viewers[which];
                    let lost = viewer.lost;
                    viewer.read(&memory, most);
                    prop_assert!(viewer.lost == lost || kernel_has_spoken || !holds[which]);
                    if holds[which] {
                        output::hold(&memory, viewer.me, viewer.position);
                    }
                }
                Call::Hold(which) => {
                    // What has gone before it holds, it has missed.
                    viewers[which].read(&memory, 0);
                    holds[which] = true;
                    output::hold(&memory, viewers[which].me, viewers[which].position);
                }
                Call::Release(which) => {
                    holds[which] = false;
                    output::release(&memory, viewers[which].me);
                }
            }
        }
        for viewer in &mut viewers {
            viewer.read(&memory, SIZE);
            prop_assert_eq!(viewer.seen.len() as u64 + viewer.lost, all.len() as u64);
            let tail = viewer.seen.len().min(SIZE);
            prop_assert_eq!(
                &viewer.seen[viewer.seen.len() - tail..],
                &all[all.len() - tail..]
            );
        }
    }

    /// VC-12: a floor ahead of the output, or further behind it than there is output, holds nothing.
    #[test]
    fn a_floor_that_makes_no_sense_holds_nothing(
        written in 0..3 * SIZE as u64,
        floor in prop_oneof![any::<u64>(), 0..4 * SIZE as u64],
    ) {
        let memory = console();
        let members = bit(vnode(1));
        let mut speaker = Output::open(&memory).unwrap();
        speaker.write_kernel(&memory, 0, &bytes(0, written as usize));
        output::hold(&memory, vnode(1), floor);
        let room = match written.checked_sub(floor) {
            Some(unseen) if unseen <= SIZE as u64 => SIZE - unseen as usize,
            _ => SIZE,
        };
        prop_assert_eq!(speaker.room(&memory, members), room);
    }
}
