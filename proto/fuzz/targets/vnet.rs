// SPDX-License-Identifier: GPL-2.0

//! A station of a segment among hostile ones, as sender and as taker (docs/vnet.md, VN-51 and VN-52).

#![no_main]

use adeos_proto::id::{Generation, MAX_VNODES};
use adeos_proto::vnet::incoming::Taker;
use adeos_proto::vnet::ledger::{Books, Frame, Line};
use adeos_proto::vnet::outgoing::{Do, Ready, Sender, LONG_PATIENCE_NS};
use adeos_proto::vnet::port::{self, Lane, Lanes, Port};
use adeos_proto::vnet::station::{Listens, Lives, Mac, Own};
use adeos_proto::vnet::{self, chunk, head, CHUNK, CHUNKS, HEAD, PLACES};
use adeos_proto::window::Window;
use hostile::{at, vnode, Input, Memory};
use std::ops::Range;
use std::sync::OnceLock;

/// Stations that there are; the others' memory is left out.
const STATIONS: u32 = 4;
/// The honest one.
const ME: u32 = 2;
/// Its lanes.
const LANES: usize = 2;
const HEADER: Range<usize> = 0..0x18;
const CHANGES: Range<usize> = 0x10..0x18;

/// Accesses of a frame's begin and of one step: all stations are read anew, and each is looked at some times.
const BEGIN: usize = 400;
const STEP: usize = 32;
/// Accesses for each word that is taken.
const TAKE: usize = 12;

fn record(station: u32) -> Range<usize> {
    at(0x1000 + 0x100 * station as usize, 0x100)
}

fn page(port: Port) -> Range<usize> {
    at(0x4_0000 + 0x1000 * port.index(), 0x1000)
}

fn places(port: Port) -> Range<usize> {
    at(vnet::wire(port).places, 8 * PLACES)
}

fn head_of_wire(port: Port) -> Range<usize> {
    at(vnet::wire(port).head, 8)
}

fn awaited(port: Port) -> Range<usize> {
    at(page(port).start + 0x300, 8)
}

/// The lanes of some stations, whether they have them or not.
fn ports(stations: Range<u32>) -> impl Iterator<Item = Port> {
    port::each(u64::MAX).filter(move |port| stations.contains(&port.vnode.number()))
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
        let lanes = Lanes::from_log2(u32::from(input.byte() % 3)).unwrap_or(Lanes::ONE);
        let (mut own, _) = Own::join(&memory, vnode(station), Generation(1), mac, lanes);
        let listens = Listens {
            promiscuous: input.yes(),
            ..Listens::default()
        };
        own.listen(&memory, listens);
    }
    let me = vnode(ME);
    let lanes = Lanes::new(LANES).unwrap_or(Lanes::ONE);
    let mac = Mac::of_vnode("fuzz", me);
    let (own, wires) = Own::join(&memory, me, Generation(1), mac, lanes);
    let epoch = own.epoch();
    let port = |lane: Lane| Port { vnode: me, lane };
    let sender = |lane: Lane| {
        let books = Books {
            lines: vec![Line::NEW; MAX_VNODES],
            frames: vec![Frame::NEW; CHUNKS],
        };
        Sender::new(port(lane), lanes, epoch, 7, books)
    };
    let mut senders: Vec<_> = lanes.each().map(sender).collect();
    let wires = lanes.each().zip(wires.into_iter().flatten());
    let mut takers: Vec<_> = wires
        .map(|(lane, wire)| Taker::new(port(lane), epoch, wire))
        .collect();

    let others = || (0..STATIONS).filter(|station| *station != ME);
    let of_others = || ports(0..STATIONS).filter(|port| port.vnode.number() != ME);
    let own_ports = || lanes.each().map(port);
    let mut reach: Vec<_> = others().map(record).chain(of_others().map(page)).collect();
    reach.push(CHANGES);
    reach.extend(ports(0..STATIONS).map(places));
    reach.extend(own_ports().map(head_of_wire));
    reach.extend(others().map(|station| at(heads(station).start, 0x100)));
    let mut hot: Vec<_> = ports(0..STATIONS)
        .map(|port| head_of_wire(port).start)
        .collect();
    hot.extend(
        of_others().flat_map(|by| own_ports().map(move |me| page(by).start + 8 * me.index())),
    );
    hot.extend(
        ports(0..STATIONS).flat_map(|port| [0, 8, 16].map(|place| places(port).start + place)),
    );
    // Some times, for there are many of the others.
    for _ in 0..8 {
        hot.extend(others().map(|station| record(station).start));
        hot.push(CHANGES.start);
    }
    memory.disturb(&input, reach, hot);
    let mut sees = vec![HEADER];
    // What is read of stations that are not here.
    sees.extend((0..MAX_VNODES as u32).map(record));
    sees.extend(port::each(u64::MAX).map(page));
    sees.extend((0..MAX_VNODES as u32).map(store));
    sees.extend((0..MAX_VNODES as u32).map(heads));
    let mut owns = vec![CHANGES, record(ME), store(ME), heads(ME)];
    owns.extend(own_ports().map(page));
    owns.extend(ports(0..STATIONS).map(places));
    owns.extend(of_others().map(head_of_wire));
    owns.extend(of_others().map(awaited));
    memory.role(&sees, &owns);

    let mut now = 0;
    while !input.is_over() {
        memory.accesses();
        now += u64::from(input.byte()) * 1000;
        let lane = input.below(LANES);
        let (Some(sender), Some(taker)) = (senders.get_mut(lane), takers.get_mut(lane)) else {
            continue;
        };
        match input.byte() % 4 {
            0 | 1 => now = send(&memory, &input, &lives, sender, now),
            2 => take(&memory, &input, taker),
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
    sender: &mut Sender<Vec<Line>, Vec<Frame>>,
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
            Do::Raise(port) => assert!(port.vnode != vnode(ME)),
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
        let from = frame.from().vnode;
        let chunks = at(chunk(from, 0), CHUNK * CHUNKS);
        assert!(chunks.start <= place.start && place.end <= chunks.end);
        if from.number() < STATIONS {
            memory.read(place.start, &mut [0; 14]);
        }
        let _ = taker.taken(memory, frame);
    }
    assert!(memory.accesses() <= (most + 1) * TAKE);
}
