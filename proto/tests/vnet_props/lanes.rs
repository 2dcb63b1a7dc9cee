// SPDX-License-Identifier: GPL-2.0

//! What lanes keep apart and what they share; and whose frames find no room.

use crate::segment_world::{mac, port, Outcome, World};
use crate::RECORD_OF_1;
use adeos_proto::vnet::outgoing::{LONG_PATIENCE_NS, PATIENCE_NS};
use adeos_proto::window::Window;

/// What station 2 says of itself.
const RECORD_OF_2: usize = 0x1200;

/// VN-41, VN-43: it is a lane that is raised, the one that sleeps, and the one that waits.
#[test]
fn lanes_are_raised_apart() {
    let mut world = World::with([2, 4, 1, 1]);
    for taker in &world.stations[1].as_ref().expect("a station").takers {
        assert!(taker.sleep(&world.memory));
    }
    for lane in [1, 0] {
        let raised = world.send_by(port(0, lane), mac(1), &[1]);
        assert!(matches!(raised, Outcome::Sent(raised) if raised == [port(1, lane)]));
    }
    // Both wait for the one lane of 2.
    for lane in [0, 1] {
        while let Outcome::Sent(_) = world.send_by(port(0, lane), mac(2), &[1; 1500]) {}
    }
    world.take(2);
    let taker = &world.stations[2].as_ref().expect("a station").takers[0];
    let waiting = port(0, 0).bit() | port(0, 1).bit();
    assert_eq!(taker.awaiting(&world.memory), waiting);
    assert_eq!(taker.awaiting(&world.memory), 0);
}

/// VN-58, VN-59: what one lane sends and others take of it gives nobody another lane's chunks.
#[test]
fn lanes_keep_their_chunks() {
    let mut world = World::with([2, 2, 1, 1]);
    for fill in 0..5 {
        let outcome = world.send_by(port(0, 1), mac(1), &[fill; 3000]);
        assert!(matches!(outcome, Outcome::Sent(_)));
    }
    for round in 0..300 {
        for lane in [0, 1] {
            let outcome = world.send_by(port(0, lane), mac(2), &[round as u8; 9000]);
            assert!(matches!(outcome, Outcome::Sent(_)));
        }
        let outcome = world.send(0, mac(1), &[9; 20000]);
        assert!(matches!(outcome, Outcome::Sent(_)));
        assert_eq!((world.take(2), world.take_from(1, 0)), (2, 1));
        if round % 100 == 0 {
            let outcome = world.send_by(port(0, 1), mac(1), &[7; 10]);
            assert!(matches!(outcome, Outcome::Sent(_)));
        }
    }
    assert_eq!(world.take_from(1, 1), 8);
    assert_eq!(world.lies(), 0);
}

/// VN-56: who says that it has a number of lanes that no station has is not there.
#[test]
fn nobody_has_eight_lanes() {
    let mut world = World::with([1, 4, 1, 1]);
    assert!(matches!(world.send(0, mac(1), &[1]), Outcome::Sent(_)));
    let state = world.memory.load_acquire64(RECORD_OF_1);
    assert_eq!(state >> 3 & 3, 2);
    world.memory.store_release64(RECORD_OF_1, state | 3 << 3);
    world.membership_changes();
    assert!(matches!(world.send(0, mac(1), &[1]), Outcome::Lost));
}

/// VN-21: what was sent to lanes that somebody says no more to have is not counted for those that it has.
#[test]
fn who_has_other_lanes_is_begun_anew() {
    let mut world = World::with([1, 1, 4, 1]);
    let state = world.memory.load_acquire64(RECORD_OF_2);
    for log2 in [2, 0, 1, 2] {
        let state = state & !(3 << 3) | log2 << 3;
        world.memory.store_release64(RECORD_OF_2, state);
        world.membership_changes();
        // By the wire to which it is said to go.
        let lane = 1 % (1 << log2);
        for _ in 0..3 {
            assert!(matches!(world.send(1, mac(2), &[1]), Outcome::Sent(_)));
            let taker = &mut world.stations[2].as_mut().expect("a station").takers[lane];
            let incoming = taker.next(&world.memory, &mut 1).expect("a frame");
            let taken = taker.taken(&world.memory, incoming);
            taken.expect("a frame that stands");
        }
        assert_eq!(world.lies(), 0);
    }
}

/// VN-20: a frame from before a station has joined again with more lanes is gone as a whole, though what replaces it may lie across
/// its end only.
#[test]
fn who_joins_again_has_sent_nothing() {
    let mut world = World::new();
    // Up to the middle of what is one lane's.
    for _ in 0..110 {
        assert!(matches!(world.send(0, mac(1), &[1; 10]), Outcome::Sent(_)));
        world.take(1);
    }
    // It begins in what will be the first lane's, and ends in the second one's.
    assert!(matches!(
        world.send(0, mac(1), &[2; 0xf000]),
        Outcome::Sent(_)
    ));
    world.lanes[0] = 4;
    world.join(0);
    let outcome = world.send_by(port(0, 1), mac(1), &[3; 0xf000]);
    assert!(matches!(outcome, Outcome::Sent(_)));
    // What is taken is compared.
    assert_eq!(world.take(1), 1);
}

/// VN-50: who waits for many chunks is not kept by others that find few.
#[test]
fn small_frames_do_not_starve_large_ones() {
    let mut world = World::with([4, 1, 1, 1]);
    // 3 takes nothing, and keeps a chunk here and there.
    for _ in 0..16 {
        assert!(matches!(world.send(0, mac(3), &[1; 10]), Outcome::Sent(_)));
        for _ in 0..7 {
            assert!(matches!(world.send(0, mac(1), &[1; 10]), Outcome::Sent(_)));
            world.take(1);
        }
    }
    let begun = world.now;
    loop {
        match world.send(0, mac(1), &[2; 0xf000]) {
            Outcome::Sent(_) => break,
            Outcome::Lost => panic!("there is somebody who takes it"),
            Outcome::Wait(_) => {}
        }
        world.now += PATIENCE_NS / 4;
        assert!(world.now - begun <= 2 * PATIENCE_NS, "it waits for longer");
        assert!(matches!(world.send(0, mac(2), &[3; 10]), Outcome::Sent(_)));
        world.take(2);
    }
    // Whoever takes has lost nothing.
    assert_eq!(world.take(1), 1);
}

/// VN-50: who wanted many chunks and has given that up makes nobody lose any later on.
#[test]
fn a_shortage_is_forgotten() {
    let mut world = World::new();
    // Nobody takes; then there is no run of as many as are wanted.
    for _ in 0..250 {
        for to in [1, 2] {
            assert!(matches!(world.send(0, mac(to), &[1; 10]), Outcome::Sent(_)));
        }
    }
    assert!(matches!(
        world.send(0, mac(3), &[2; 0xf000]),
        Outcome::Wait(_)
    ));
    world.now += 2 * LONG_PATIENCE_NS;
    assert!(matches!(
        world.send(0, mac(3), &[3; 0xe000]),
        Outcome::Wait(_)
    ));
    assert_eq!((world.take(1), world.take(2)), (250, 250));
    assert!(matches!(
        world.send(0, mac(3), &[3; 0xe000]),
        Outcome::Sent(_)
    ));
}

/// VN-50: a frame that there is no place for, time after time, is given up after a second, and the next one too until one gets
/// through.
#[test]
fn what_comes_back_is_given_up() {
    let mut world = World::new();
    let begun = world.now;
    loop {
        world.take(1);
        let missed = world.missed(0);
        // Between finding its chunks and coming to the wire others fill that.
        let what = world.send_after(0, mac(1), &[1; 10], |world| {
            for from in [2, 3] {
                while let Outcome::Sent(_) = world.send(from, mac(1), &[2; 10]) {}
            }
        });
        match what {
            Outcome::Wait(_) => assert_eq!(world.missed(0), missed),
            _ => {
                assert_eq!(world.missed(0), missed + 1);
                break;
            }
        }
        assert!(world.now - begun < LONG_PATIENCE_NS + LONG_PATIENCE_NS / 10);
        world.now += LONG_PATIENCE_NS / 20;
    }
    assert!(world.now - begun >= LONG_PATIENCE_NS);
    // One that gets through begins it anew.
    world.take(1);
    assert!(matches!(world.send(0, mac(1), &[3; 10]), Outcome::Sent(_)));
    assert_eq!(world.take(1), 1);
}
