// SPDX-License-Identifier: GPL-2.0

//! A segment with stations that send, take, die, join again and get stuck, held to what an Ethernet promises. Numbers are
//! those of docs/vnet.md.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/cells.rs"]
mod cells;

#[path = "support/segment_world.rs"]
mod segment_world;

#[path = "vnet_props/lanes.rs"]
mod lanes;

use adeos_proto::id::Generation;
use adeos_proto::signature::Misfit;
use adeos_proto::vnet::outgoing::{Do, Ready, LONG_PATIENCE_NS, PATIENCE_NS};
use adeos_proto::vnet::station::{Listens, Mac};
use adeos_proto::vnet::{self, Taken, SIGNATURE, SIZE};
use adeos_proto::window::Window;
use cells::Cells;
use proptest::prelude::*;
use segment_world::{mac, port, vnode, Outcome, World, STATIONS};

/// What station 1 says of itself.
const RECORD_OF_1: usize = 0x1100;
/// Where the places of its first wire lie.
const PLACES_OF_1: usize = 0x8_4000;

#[derive(Clone, Debug)]
enum Call {
    /// By a station and one of its lanes, to one or to all.
    Send((usize, usize), Option<usize>, usize, u8),
    /// By a station, of one of its lanes.
    Take(usize, usize),
    /// With so many lanes.
    Rejoin(usize, usize),
    Die(usize, usize),
}

fn any_lanes() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1usize), Just(2), Just(4)]
}

fn any_call() -> impl Strategy<Value = Call> {
    let station = || 0..STATIONS;
    let length = prop_oneof![4 => 0usize..100, 2 => 1400usize..1600, 1 => 60_000usize..0xffff];
    prop_oneof![
        12 => ((station(), 0usize..4), prop::option::of(station()), length, any::<u8>())
            .prop_map(|(by, to, length, fill)| Call::Send(by, to, length, fill)),
        8 => (station(), 0usize..4).prop_map(|(number, lane)| Call::Take(number, lane)),
        1 => (station(), any_lanes()).prop_map(|(number, lanes)| Call::Rejoin(number, lanes)),
        1 => (station(), any_lanes()).prop_map(|(number, lanes)| Call::Die(number, lanes)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// VN-13, VN-20, VN-24, VN-57, VN-58: every frame that was sent by a lane reaches those that it is for, once, whole, and in
    /// order, whatever lanes each has; whoever has to wait can go on once something was taken; nothing of an earlier life reaches a
    /// later one; and what a lane counts is of one lane only, so that it makes sense to that.
    #[test]
    fn frames_arrive(
        lanes in prop::array::uniform4(any_lanes()),
        calls in prop::collection::vec(any_call(), 0..250),
    ) {
        let mut world = World::with(lanes);
        for call in calls {
            match call {
                Call::Send((from, lane), to, length, fill) => {
                    let by = port(from, lane % world.lanes[from]);
                    let to = to.map_or(Mac::BROADCAST, mac);
                    let body = vec![fill; length];
                    if let Outcome::Wait(until) = world.send_by(by, to, &body) {
                        prop_assert!(until > world.now);
                        for number in 0..STATIONS {
                            world.take(number);
                        }
                        let again = world.send_by(by, to, &body);
                        prop_assert!(matches!(again, Outcome::Sent(_)));
                    }
                }
                Call::Take(number, lane) => {
                    world.take_from(number, lane % world.lanes[number]);
                }
                Call::Rejoin(number, lanes) => {
                    world.lanes[number] = lanes;
                    world.join(number);
                }
                Call::Die(number, lanes) => world.die(number, |world| {
                    for from in 0..STATIONS {
                        assert!(!matches!(world.send(from, mac(number), &[3]), Outcome::Sent(_)));
                        world.take(from);
                    }
                    world.lanes[number] = lanes;
                }),
            }
            prop_assert_eq!(world.lies(), 0);
        }
        for number in 0..STATIONS {
            world.take(number);
            prop_assert!(world.due.iter().all(|due| due[number].iter().all(|(_, must)| !must)));
        }
    }

    /// VN-50: a station that takes nothing costs the others nothing but what is for it; that waits for a bounded time.
    #[test]
    fn who_is_stuck_is_left_behind(length in 0usize..0xffff) {
        let mut world = World::new();
        let body = vec![1; length];
        let mut waited = 0;
        for _ in 0..2000 {
            match world.send(0, mac(1), &body) {
                Outcome::Sent(_) => {}
                Outcome::Lost => break,
                Outcome::Wait(until) => {
                    prop_assert!(until <= world.now + LONG_PATIENCE_NS);
                    prop_assert!(matches!(world.send(0, mac(2), &body), Outcome::Sent(_)));
                    world.take(2);
                    waited += until - world.now;
                    world.now = until;
                }
            }
        }
        prop_assert!(waited <= LONG_PATIENCE_NS, "waited for {waited} ns");
        for _ in 0..1000 {
            prop_assert!(matches!(world.send(0, mac(1), &body), Outcome::Lost));
            prop_assert!(matches!(world.send(0, mac(2), &body), Outcome::Sent(_)));
            world.take(2);
        }
        // What it was sent is replaced by now, and it is heard of again.
        let taker = &mut world.stations[1].as_mut().expect("a station").takers[0];
        let mut budget = usize::MAX;
        prop_assert!(taker.next(&world.memory, &mut budget).is_none());
        prop_assert!(taker.counts().replaced > 0);
        world.forget(1);
        prop_assert!(matches!(world.send(0, mac(1), &body), Outcome::Sent(_)));
        prop_assert_eq!(world.take(1), 1);
    }

    /// VN-50: what is for all waits for 8 ms at most for those that take nothing, all of them together, and chunks that
    /// they keep are taken from them after as long.
    #[test]
    fn who_is_stuck_holds_up_nobody(length in 0usize..0xffff) {
        let mut world = World::new();
        let body = vec![1; length];
        let mut waited = 0;
        for round in 0..3000 {
            let to = if round % 2 == 0 { Mac::BROADCAST } else { mac(3) };
            match world.send(0, to, &body) {
                Outcome::Sent(_) => {
                    world.take(3);
                }
                Outcome::Lost => prop_assert!(false, "one of them takes"),
                Outcome::Wait(until) => {
                    waited += until - world.now;
                    world.now = until;
                }
            }
        }
        prop_assert!(waited <= PATIENCE_NS, "waited for {waited} ns");
    }

    /// VN-52: whatever is written over all of a segment, nobody takes more than there can be, and nobody waits for ever.
    #[test]
    fn nobody_is_kept_by_nonsense(lanes in prop::array::uniform4(any_lanes()), scribbles in prop::collection::vec((0usize..0x10_0000 / 8, any::<u64>(), any::<prop::sample::Index>()), 0..200)) {
        let mut world = World::with(lanes);
        for (at, value, which) in scribbles {
            world.memory.store_release64(8 * at, value);
            let from = which.index(STATIONS);
            let Some(station) = world.stations[from].as_mut() else { continue };
            let lane = which.index(lanes[from]);
            let (sender, taker) = (&mut station.senders[lane], &mut station.takers[lane]);
            sender.look(&world.memory, &world.lives);
            let ready = sender.begin(&world.memory, mac((from + 1) % STATIONS), 60, world.now);
            match ready {
                Ready::Nobody | Ready::Missed => {}
                Ready::Wait(until) => {
                    prop_assert!(until <= world.now + LONG_PATIENCE_NS);
                    world.now = until;
                }
                Ready::Begun(outgoing) => {
                    let mut sending = sender.finish(&world.memory, outgoing, [0; 16]);
                    let mut steps = 0;
                    loop {
                        steps += 1;
                        prop_assert!(steps < 100_000);
                        world.now += 10;
                        match sender.step(&world.memory, &mut sending, world.now) {
                            Do::Again | Do::Raise(_) => {}
                            Do::Wait(until) => world.now = until,
                            Do::Done | Do::Requeue(_) => break,
                        }
                    }
                }
            }
            let mut budget = 64;
            while let Some(incoming) = taker.next(&world.memory, &mut budget) {
                prop_assert!(incoming.body() + incoming.length <= SIZE);
                let _ = taker.taken(&world.memory, incoming);
            }
        }
    }
}

/// VN-22, VN-27: nothing that is sent looks like a frame to whoever takes late words, whatever it holds.
#[test]
fn payload_is_no_frame() {
    let mut world = World::new();
    for _ in 0..100 {
        assert!(matches!(world.send(0, mac(1), &[5; 20]), Outcome::Sent(_)));
    }
    // Give up what station 1 has not taken.
    while let Outcome::Sent(_) | Outcome::Wait(_) = world.send(0, mac(1), &[6; 3000]) {
        world.now += LONG_PATIENCE_NS / 4;
    }
    world.forget(1);
    // Each eight bytes are a generation and a length that one of these had.
    for generation in 0..400u16 {
        let mut body = Vec::new();
        while body.len() < 0xf000 {
            body.extend((u32::from(generation) | 1 << 16).to_le_bytes());
            body.extend(60u32.to_le_bytes());
        }
        assert!(matches!(world.send(0, mac(2), &body), Outcome::Sent(_)));
        world.take(2);
    }
    let taker = &mut world.stations[1].as_mut().expect("a station").takers[0];
    let mut budget = usize::MAX;
    let found = taker.next(&world.memory, &mut budget);
    assert!(found.is_none(), "{found:?}");
    assert!(taker.counts().replaced >= 100);
}

/// VN-51: a station whose wire was written over once is sent to again, though it never counts what was lost.
#[test]
fn what_is_lost_is_lost_once() {
    let mut world = World::new();
    while let Outcome::Sent(_) = world.send(0, mac(1), &[1]) {}
    for place in 0..vnet::PLACES {
        world
            .memory
            .store_release64(PLACES_OF_1 + 8 * place, u64::MAX);
    }
    world.take(1);
    world.forget(1);
    let mut waited = 0;
    loop {
        match world.send(0, mac(1), &[2]) {
            Outcome::Sent(_) => break,
            Outcome::Wait(until) => {
                waited += until - world.now;
                world.now = until;
            }
            Outcome::Lost => {
                waited += 1_000_000;
                world.now += 1_000_000;
            }
        }
        world.take(1);
        assert!(waited <= 3 * LONG_PATIENCE_NS);
    }
    for _ in 0..100 {
        assert!(matches!(world.send(0, mac(1), &[3]), Outcome::Sent(_)));
        assert!(world.take(1) > 0);
    }
}

/// VN-55: once a sender is told that a queue hangs, what was not taken is given up and counted, and the next frame does not wait.
#[test]
fn what_hangs_is_given_up() {
    let body = [1; 3000];
    let mut world = World::new();
    let mut open = 0;
    while let Outcome::Sent(_) = world.send(0, mac(1), &body) {
        open += 1;
    }
    let sender = &mut world.stations[0].as_mut().expect("a station").senders[0];
    sender.time_out(&world.memory, Some(vnode(1)), world.now);
    let counts = sender.counts();
    assert_eq!((counts.aborted, counts.timeouts), (open, 1));
    assert!(matches!(world.send(0, mac(1), &body), Outcome::Lost));
    assert!(matches!(world.send(0, mac(2), &body), Outcome::Sent(_)));

    // The queue of what is for several: all that are behind.
    let mut world = World::new();
    while let Outcome::Sent(_) = world.send(0, Mac::BROADCAST, &body) {
        world.take(3);
    }
    let sender = &mut world.stations[0].as_mut().expect("a station").senders[0];
    sender.time_out(&world.memory, None, world.now);
    assert!(sender.counts().aborted > 0);
    assert!(matches!(
        world.send(0, Mac::BROADCAST, &body),
        Outcome::Sent(_)
    ));
}

/// VN-25: a count that is wrong once is right again.
#[test]
fn a_lie_is_told_once() {
    let mut world = World::new();
    vnet::publish_taken(&world.memory, port(1, 0), port(0, 0), Taken::new(1, 7));
    for _ in 0..100 {
        assert!(matches!(world.send(0, mac(1), &[3]), Outcome::Sent(_)));
        world.take(1);
    }
    // The one above, and that the station does not go on from it.
    assert!(world.lies() <= 2);
}

/// VN-50: what is for several waits for 8 ms in each 100, however many are behind, and since when.
#[test]
fn several_wait_once() {
    let mut world = World::new();
    for number in 1..3 {
        while let Outcome::Sent(_) = world.send(0, mac(number), &[1]) {}
        world.now += 3_000_000;
    }
    let mut waited = 0;
    let begun = world.now;
    while world.now < begun + 1_000_000_000 {
        match world.send(0, Mac::BROADCAST, &[1]) {
            Outcome::Sent(_) => {
                world.take(3);
                world.now += 10_000;
            }
            Outcome::Wait(until) => {
                waited += until - world.now;
                world.now = until;
            }
            Outcome::Lost => panic!("one of them takes"),
        }
    }
    assert!(waited <= 11 * PATIENCE_NS, "waited for {waited} ns");
}

/// VN-53: a station whose words were written over is heard of again once it has looked.
#[test]
fn a_station_says_anew_what_it_is() {
    let mut world = World::new();
    for word in 0..3 {
        world.memory.store_release64(RECORD_OF_1 + 8 * word, 0x1234);
        // Somebody else's change has all read anew.
        world.join(3);
        assert!(matches!(world.send(0, mac(1), &[1]), Outcome::Lost) || word == 2);
        let station = world.stations[1].as_ref().expect("a station");
        assert!(station.own.mend(&world.memory));
        assert!(!station.own.mend(&world.memory));
        assert!(matches!(world.send(0, mac(1), &[1]), Outcome::Sent(_)));
        world.take(1);
    }
}

/// VN-11: a station of an earlier life of its vnode is none.
#[test]
fn an_earlier_life_is_not_sent_to() {
    let mut world = World::new();
    world.lives[1] = Some(Generation(2));
    world.membership_changes();
    assert!(matches!(world.send(0, mac(1), &[1]), Outcome::Lost));
    world.lives[1] = Some(Generation(1));
    world.membership_changes();
    assert!(matches!(world.send(0, mac(1), &[1]), Outcome::Sent(_)));
}

/// VN-24: the chunks of an earlier time of the sender's are not counted for those of a later one.
#[test]
fn a_sender_that_joins_again_counts_anew() {
    let mut world = World::new();
    for round in 0..600 {
        for _ in 0..3 {
            assert!(matches!(
                world.send(0, mac(1), &[round as u8]),
                Outcome::Sent(_)
            ));
        }
        if round % 2 == 0 {
            world.take(1);
        }
        world.join(0);
        if round % 3 == 0 {
            world.take(1);
        }
        world.take(1);
        assert_eq!(world.lies(), 0, "round {round}");
    }
}

/// VN-41: who sleeps is raised, who does not is not.
#[test]
fn who_sleeps_is_raised() {
    let mut world = World::new();
    assert!(matches!(world.send(0, mac(1), &[1]), Outcome::Sent(raised) if raised.is_empty()));
    world.take(1);
    let taker = &world.stations[1].as_ref().expect("a station").takers[0];
    assert!(taker.sleep(&world.memory));
    let raised = world.send(0, mac(1), &[2]);
    assert!(matches!(raised, Outcome::Sent(raised) if raised == [port(1, 0)]));
    let taker = &world.stations[1].as_ref().expect("a station").takers[0];
    assert!(!taker.sleep(&world.memory), "there is a frame");
}

/// VN-14: a group reaches those that listen to it, and who is promiscuous hears all.
#[test]
fn stations_hear_what_they_listen_to() {
    let mut world = World::new();
    let group = Mac([0x01, 0, 0x5e, 1, 2, 3]);
    let listen = |world: &mut World, number: usize, listens| {
        let station = world.stations[number].as_mut().expect("a station");
        station.own.listen(&world.memory, listens);
    };
    let filter = group.filter_bit();
    listen(
        &mut world,
        1,
        Listens {
            filter,
            ..Listens::default()
        },
    );
    listen(
        &mut world,
        2,
        Listens {
            promiscuous: true,
            ..Listens::default()
        },
    );
    let heard = |world: &mut World, to| {
        assert!(matches!(world.send(0, to, &[]), Outcome::Sent(_)));
        let mut who = Vec::new();
        for number in 1..STATIONS {
            let station = world.stations[number].as_mut().expect("a station");
            let taker = &mut station.takers[0];
            let mut budget = 10;
            while let Some(incoming) = taker.next(&world.memory, &mut budget) {
                who.push(number);
                taker.taken(&world.memory, incoming).expect("a frame");
            }
        }
        who
    };
    assert_eq!(heard(&mut world, group), [1, 2]);
    assert_eq!(heard(&mut world, Mac::BROADCAST), [1, 2, 3]);
    assert_eq!(heard(&mut world, mac(3)), [2, 3]);
    assert_eq!(heard(&mut world, Mac([2, 2, 2, 2, 2, 2])), [2]);
    listen(&mut world, 2, Listens::default());
    listen(
        &mut world,
        3,
        Listens {
            all_multicast: true,
            ..Listens::default()
        },
    );
    assert_eq!(heard(&mut world, group), [1, 3]);
}

/// VN-1: what is no segment is refused.
#[test]
fn what_is_no_segment_is_refused() {
    let memory = Cells::new(SIZE);
    assert_eq!(SIGNATURE.check(&memory), Err(Misfit::Magic));
    vnet::create(&memory);
    memory.store_release(8, 9);
    assert_eq!(SIGNATURE.check(&memory), Err(Misfit::Version(9)));
}
