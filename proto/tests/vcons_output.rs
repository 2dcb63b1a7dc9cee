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

use adeos_proto::id::VnodeId;
use adeos_proto::membership::bit;
use adeos_proto::vcons::{self, output, Header, Misfit, OUTPUT, VERSION};
use adeos_proto::window::Window;
use cells::{Cells, Dying};
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
    assert_eq!(vcons::check(&memory), Err(Misfit::Magic));
    vcons::create(&memory);
    assert_eq!(vcons::check(&memory), Ok(()));
    memory.store_release(Header::OFFSETS.version, VERSION + 1);
    assert_eq!(vcons::check(&memory), Err(Misfit::Version(VERSION + 1)));
    memory.store_release(Header::OFFSETS.version, VERSION);
    memory.store_release(Header::OFFSETS.size, 1);
    assert_eq!(vcons::check(&memory), Err(Misfit::Size));
}

/// VC-2: what the last life has said can be read in the next one, and what it died of in the middle
/// of saying is no garbage.
#[test]
fn what_was_said_outlives_the_speaker() {
    let memory = console();
    output::write_kernel(&memory, 0, b"last words\n").unwrap();
    // Reserved, but not written: it dies while it copies.
    output::write_kernel(&Dying::new(&memory, 1), 0, b"never").unwrap();
    vcons::prepare(&memory);
    output::write_kernel(&memory, 0, b"first words\n").unwrap();
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
    let (east, west) = (vnode(1), vnode(2));
    let both = bit(east) | bit(west);
    assert_eq!(output::room(&memory, both), Ok(SIZE));
    output::hold(&memory, east, 0);
    output::hold(&memory, west, 0);
    let all = bytes(0, SIZE + 7);
    assert_eq!(output::write_program(&memory, both, &all), Ok(SIZE));
    assert_eq!(output::write_program(&memory, both, b"more"), Ok(0));
    output::hold(&memory, east, 5);
    assert_eq!(output::room(&memory, both), Ok(0), "west has seen nothing");
    output::release(&memory, west);
    assert_eq!(output::write_program(&memory, both, &all[SIZE..]), Ok(5));
    assert_eq!(output::room(&memory, bit(west)), Ok(SIZE), "east is dead");
}

/// VC-11: the kernel waits for nobody, and says what it has cost whoever held.
#[test]
fn the_kernel_waits_for_nobody() {
    let memory = console();
    let (east, members) = (vnode(1), bit(vnode(1)));
    output::write_kernel(&memory, members, &bytes(0, SIZE + 3)).unwrap();
    assert_eq!(output::dropped(&memory), 0, "nobody held");
    output::hold(&memory, east, 3);
    output::write_kernel(&memory, members, b"abcd").unwrap();
    assert_eq!(output::dropped(&memory), 4);
    output::write_kernel(&memory, members, b"e").unwrap();
    assert_eq!(output::dropped(&memory), 4, "it holds nothing any more");
    output::hold(&memory, east, 8);
    output::write_kernel(&memory, members, b"fg").unwrap();
    assert_eq!(output::dropped(&memory), 6);
    vcons::prepare(&memory);
    assert_eq!(output::dropped(&memory), 0);
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
        let mut kernel_has_spoken = false;
        for call in calls {
            match call {
                Call::Program(count) => {
                    let text = bytes(all.len(), count);
                    let behind = viewers.iter().zip(holds).filter(|(_, holds)| *holds);
                    let behind = behind
                        .map(|(viewer, _)| all.len() - viewer.position as usize)
                        .filter(|behind| *behind <= SIZE)
                        .max();
                    let room = SIZE - behind.unwrap_or(0);
                    let written = output::write_program(&memory, members, &text).unwrap();
                    prop_assert_eq!(written, room.min(count));
                    all.extend_from_slice(&text[..written]);
                }
                Call::Kernel(count) => {
                    let text = bytes(all.len(), count);
                    output::write_kernel(&memory, members, &text).unwrap();
                    all.extend_from_slice(&text);
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

    /// VC-12: no floor makes the kernel wait, nor a program for ever but where the floor is one.
    #[test]
    fn a_floor_that_makes_no_sense_holds_nothing(floor in any::<u64>(), start in 0..SIZE) {
        let memory = console();
        let members = bit(vnode(1));
        output::write_kernel(&memory, 0, &bytes(0, start)).unwrap();
        output::hold(&memory, vnode(1), floor);
        let room = output::room(&memory, members).unwrap();
        let holds = floor <= start as u64;
        prop_assert_eq!(room, if holds { SIZE - (start - floor as usize) } else { SIZE });
        output::write_kernel(&memory, members, b"all the same").unwrap();
    }
}
