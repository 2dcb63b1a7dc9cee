// SPDX-License-Identifier: GPL-2.0

//! Portals: whose they are, against a model, and that each raise is delivered, once for those
//! that came together. Rules of docs/bridges-and-portals.md are cited as PO-n.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/cells.rs"]
mod cells;
#[path = "support/dying.rs"]
mod dying;
#[path = "support/portal_world.rs"]
mod portal_world;

use adeos_proto::layout::SLOT_SIZE;
use adeos_proto::portal::pace::{self, Pace};
use adeos_proto::portal::statistics::count_delivery;
use adeos_proto::portal::{self, local, Number, Stage};
use adeos_proto::window::Window;
use cells::Cells;
use dying::Dying;
use portal_world::{any_call, number, vnode, Call, World};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// PO-10 to PO-33.
    /// CA-60 and CA-61 hold for the words of the inbox.
    #[test]
    fn portals_do_what_the_model_does(calls in prop::collection::vec(any_call(), 1..120)) {
        let mut world = World::new();
        for call in calls {
            world.run(call);
            world.check();
        }
    }

    /// PO-12, PO-20: with everything unmasked at the end, each sender's each raise has come out at
    /// or after it, whatever was masked meanwhile.
    #[test]
    fn no_raise_is_lost_by_masks(calls in prop::collection::vec(any_call(), 1..80)) {
        let mut world = World::new();
        let mut waits = [0u64; 3];
        for call in calls {
            match call {
                Call::Raise(from, at) => waits[from as usize] |= 1 << at,
                Call::Mask(_) | Call::Unmask(..) => {}
                // Whose the portals are is another test's: a new owner does not get old raises.
                _ => continue,
            }
            world.run(call);
            let _ = portal::take(&world.slot, &world.own, |from, portals| {
                waits[from.index()] &= !portals;
            });
            world.inbox = [0; 3];
            world.held = waits;
        }
        let is_held = portal::unmask(&world.own, Stage::Ahead, u64::MAX);
        assert_eq!(is_held, waits != [0; 3]);
        let _ = portal::take(&world.slot, &world.own, |from, portals| {
            assert_eq!(portals, std::mem::take(&mut waits[from.index()]));
        });
        prop_assert_eq!(waits, [0; 3]);
    }

    /// PO-13: whatever is scribbled over the inbox, only handlers run, each once per sender.
    /// CA-4 and CA-62.
    #[test]
    fn a_hostile_inbox_makes_nothing_but_spurious_deliveries(
        words in prop::collection::vec(any::<u64>(), 0x200), unmasked in any::<u64>()
    ) {
        let (slot, own) = (Cells::new(SLOT_SIZE), Cells::new(local::SIZE));
        for (at, word) in words.iter().enumerate() {
            slot.store_release64(0x3000 + at * 8, *word);
        }
        let _ = portal::unmask(&own, Stage::Ahead, unmasked);
        let _ = portal::unmask(&own, Stage::Linux, !unmasked & 0xff00);
        let mut count = 0;
        let deferred = portal::take(&slot, &own, |_, portals| {
            assert_eq!(portals & !unmasked, 0);
            count += 1;
        });
        prop_assert!(count <= 16);
        prop_assert_eq!(deferred & !(!unmasked & 0xff00), 0);
    }

    /// PO-40, PO-41: Linux is asked for its turn once, in time, and until it comes no more than
    /// so many interrupts are served.
    #[test]
    fn interrupts_wait_for_linux(bursts in prop::collection::vec(0..1500u64, 1..8)) {
        let own = Cells::new(local::SIZE);
        let (mut all, mut left) = (0, 0);
        for burst in bursts {
            for at in 0..burst {
                let right = match at {
                    pace::ASK_AFTER => Pace::AskAndTake,
                    pace::LEAVE_AFTER.. => Pace::Leave,
                    _ => Pace::Take,
                };
                prop_assert_eq!(pace::enter(&own), right);
            }
            all += burst;
            left += burst.saturating_sub(pace::LEAVE_AFTER);
            pace::turn(&own);
        }
        prop_assert_eq!(pace::interrupts(&own), all);
        prop_assert_eq!(own.load_acquire64(local::LEFT), left);
    }
}

#[test]
fn a_window_that_is_too_small_ends_no_loop_late() {
    let nothing = Cells::new(0);
    portal::mask(&nothing, u64::MAX);
    assert!(!portal::unmask(&nothing, Stage::Ahead, u64::MAX));
    assert_eq!(
        portal::claim(&nothing, vnode(15), Stage::Linux, u64::MAX),
        0
    );
    portal::forget(&nothing, number(63));
    count_delivery(&nothing, number(63));
    assert_eq!(pace::enter(&nothing), Pace::Take);
    assert_eq!(Number::new(64), None);
}

/// PO-14: what a vnode has raised is delivered though it has died since.
/// CA-60: one atomic operation.
#[test]
fn a_sender_that_dies_has_raised_or_has_not() {
    let (slot, own) = (Cells::new(SLOT_SIZE), Cells::new(local::SIZE));
    assert!(!portal::unmask(&own, Stage::Linux, u64::MAX));
    for (stores, right) in [(0, 0), (1, 1 << 3)] {
        let _ = portal::raise(&Dying::new(&slot, stores), vnode(2), number(3));
        assert_eq!(portal::pull(&slot, &own, vnode(2)).linux, right);
        assert_eq!(portal::claim(&own, vnode(2), Stage::Linux, u64::MAX), right);
    }
}

/// PO-16: a sender that dies between its bit and its interrupt has said so nonetheless; and what is
/// on its way, or left to Linux, is not taken for that.
#[test]
fn what_no_interrupt_comes_for_is_found() {
    let (slot, own) = (Cells::new(SLOT_SIZE), Cells::new(local::SIZE));
    let mut now_ms = 1_000_000;
    let mut look = || {
        now_ms += pace::LOOK_MS;
        let found = pace::look(&slot, &own, now_ms);
        assert!(!pace::look(&slot, &own, now_ms + pace::LOOK_MS - 1));
        found
    };
    let found = || own.load_acquire64(local::FOUND);
    assert!(!look() && !look());
    let _ = portal::raise(&slot, vnode(15), number(3));
    assert!(!look(), "the interrupt may be on its way");
    assert_eq!(pace::enter(&own), Pace::Take);
    assert!(!look(), "there was an interrupt");
    assert!(look() && found() == 1);
    let _ = portal::take(&slot, &own, |_, _| ());
    assert!(!look());

    own.store_release64(local::SINCE_TURN, pace::LEAVE_AFTER);
    let _ = portal::raise(&slot, vnode(15), number(3));
    assert!(!look() && !look(), "Linux takes it in its turn");
    assert_eq!(found(), 1);
}
