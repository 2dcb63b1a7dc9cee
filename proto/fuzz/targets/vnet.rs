// SPDX-License-Identifier: GPL-2.0

//! A station of a segment among hostile ones, as sender and as taker (docs/vnet.md, VN-51 and VN-52).

#![no_main]

use adeos_proto::id::{Generation, MAX_VNODES};
use adeos_proto::vnet::incoming::Taker;
use adeos_proto::vnet::ledger::Line;
use adeos_proto::vnet::outgoing::{Do, Ready, Sender, LONG_PATIENCE_NS};
use adeos_proto::vnet::station::{Listens, Lives, Mac, Own};
use adeos_proto::vnet::{self, chunk, head, CHUNK, CHUNKS, HEAD};
use adeos_proto::window::Window;
use hostile::{at, vnode, Input, Memory};
use std::ops::Range;
use std::sync::OnceLock;

/// Stations that there are; the others' memory is left out.
const STATIONS: u32 = 4;
/// The honest one.
const ME: u32 = 2;
const HEADER: Range<usize> = 0..0x18;
const CHANGES: Range<usize> = 0x10..0x18;

/// Accesses of a frame's begin and of one step: all stations are read anew, and each is looked at some times.
const BEGIN: usize = 400;
const STEP: usize = 32;
/// Accesses for each word that is taken.
const TAKE: usize = 12;

fn page(station: u32) -> Range<usize> {
    at(0x1000 + 0x1000 * station as usize, 0x1000)
}

fn places(station: u32) -> Range<usize> {
    at(0x2_0000 + 0x1000 * station as usize, 0x1000)
}

fn store(station: u32) -> Range<usize> {
    at(chunk(vnode(station), 0), CHUNK * CHUNKS)
}

fn heads(station: u32) -> Range<usize> {
    at(head(vnode(station), 0), HEAD * CHUNKS)
}

/// A segment as it is made.
fn segment<'a>() -> Memory<'a> {
    static NEW: OnceLock<Vec<u8>> = OnceLock::new();
    let new = NEW.get_or_init(|| {
        let size = store(STATIONS - 1).end;
        let memory = Memory::quiet(size);
        vnet::create(&memory);
        memory.copy(at(0, size))
    });
    Memory::holding(new.clone())
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    let mut memory = segment();
    let mut lives: Lives = [None; MAX_VNODES];
    for life in lives.iter_mut().take(STATIONS as usize) {
        *life = Some(Generation(1));
    }
    // The others are there, as if they had just joined.
    for station in (0..STATIONS).filter(|station| *station != ME) {
        let mac = Mac::of_vnode("fuzz", vnode(station));
        let (mut own, _) = Own::join(&memory, vnode(station), Generation(1), mac);
        let listens = Listens {
            promiscuous: input.yes(),
            ..Listens::default()
        };
        own.listen(&memory, listens);
    }
    let me = vnode(ME);
    let (own, wire) = Own::join(&memory, me, Generation(1), Mac::of_vnode("fuzz", me));
    let mut sender = Sender::new(me, own.epoch(), 7, vec![Line::NEW; MAX_VNODES]);
    let mut taker = Taker::new(me, own.epoch(), wire);

    let others = || (0..STATIONS).filter(|station| *station != ME);
    let mut reach: Vec<_> = others().map(page).collect();
    reach.push(CHANGES);
    reach.extend((0..STATIONS).map(places));
    reach.extend((0..STATIONS).map(|station| at(page(station).start + 0x180, 8)));
    reach.extend(others().map(|station| at(heads(station).start, 0x100)));
    let mut hot: Vec<_> = (0..STATIONS)
        .map(|station| page(station).start + 0x180)
        .collect();
    hot.extend(others().map(|station| page(station).start + 0x80 + 8 * ME as usize));
    hot.extend(
        (0..STATIONS).flat_map(|station| [0, 8, 16].map(|place| places(station).start + place)),
    );
    hot.extend(others().map(|station| page(station).start));
    hot.push(CHANGES.start);
    memory.disturb(&input, reach, hot);
    let mut sees = vec![HEADER];
    // What is read of stations that are not here.
    sees.extend((0..MAX_VNODES as u32).map(page));
    sees.extend((0..MAX_VNODES as u32).map(store));
    sees.extend((0..MAX_VNODES as u32).map(heads));
    let mut owns = vec![CHANGES, page(ME), store(ME), heads(ME)];
    owns.extend((0..STATIONS).map(places));
    owns.extend(others().map(|station| at(page(station).start + 0x180, 8)));
    owns.extend(others().map(|station| at(page(station).start + 0x280, 8)));
    memory.role(&sees, &owns);

    let mut now = 0;
    while !input.is_over() {
        memory.accesses();
        now += u64::from(input.byte()) * 1000;
        match input.byte() % 4 {
            0 | 1 => now = send(&memory, &input, &lives, &mut sender, now),
            2 => take(&memory, &input, &mut taker),
            _ => {
                let _ = taker.sleep(&memory);
                taker.wake(&memory);
                let _ = taker.awaiting(&memory);
                let _ = sender.can_begin(&memory, vnode(u32::from(input.byte()) % STATIONS), now);
                assert!(memory.accesses() <= BEGIN);
            }
        }
    }
});

/// Sends a frame; what time it is then. Nothing that others write makes it wait for ever.
fn send(
    memory: &Memory<'_>,
    input: &Input<'_>,
    lives: &Lives,
    sender: &mut Sender<Vec<Line>>,
    mut now: u64,
) -> u64 {
    if input.byte() % 8 == 0 {
        sender.expire();
    }
    let to = match u32::from(input.byte()) % (STATIONS + 1) {
        STATIONS => Mac::BROADCAST,
        station => Mac::of_vnode("fuzz", vnode(station)),
    };
    let length = 14 + input.below(0xffff);
    sender.look(memory, lives);
    let ready = sender.begin(memory, to, length, now);
    assert!(memory.accesses() <= BEGIN);
    let frame = match ready {
        Ready::Nobody | Ready::Missed => return now,
        Ready::Wait(until) => {
            assert!(until <= now + LONG_PATIENCE_NS);
            return until;
        }
        Ready::Begun(frame) => frame,
    };
    memory.write(frame.body(), input.take(input.below(32)));
    let mut sending = sender.finish(memory, frame, [0; 16]);
    let mut steps = 0;
    loop {
        memory.accesses();
        let next = sender.step(memory, &mut sending, now);
        assert!(memory.accesses() <= STEP);
        steps += 1;
        now += 100;
        match next {
            Do::Again => {}
            Do::Raise(station) => assert!(station != vnode(ME)),
            Do::Wait(until) => now = now.max(until),
            Do::Done | Do::Requeue(_) => break,
        }
        // So many frames' times before so many wires, at one look each 100 ns.
        assert!(steps <= 4 * 20_010);
    }
    now
}

/// Takes what is there: no more than was asked for, and from nowhere but the chunks of whom it says.
fn take(memory: &Memory<'_>, input: &Input<'_>, taker: &mut Taker) {
    let most = 1 + input.below(64);
    let mut budget = most;
    while let Some(frame) = taker.next(memory, &mut budget) {
        let place = at(frame.body(), frame.length);
        let chunks = at(chunk(frame.from(), 0), CHUNK * CHUNKS);
        assert!(chunks.start <= place.start && place.end <= chunks.end);
        if frame.from().number() < STATIONS {
            memory.read(place.start, &mut [0; 14]);
        }
        let _ = taker.taken(memory, frame);
    }
    assert!(memory.accesses() <= (most + 1) * TAKE);
}
