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

use adeos_proto::id::VnodeId;
use adeos_proto::layout::SLOT_SIZE;
use adeos_proto::portal::allocator::{Allocator, Error, Owner, Portal};
use adeos_proto::portal::{self, local, Number, Raised, Statistics};
use adeos_proto::window::Window;
use cells::{Cells, Dying};
use proptest::prelude::*;

const FIRST: u32 = 60;

fn number(number: u32) -> Number {
    Number::new(number).unwrap()
}

fn vnode(number: u32) -> VnodeId {
    VnodeId::new(number).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Free,
    Owned(u32),
    Releasing(u32),
}

/// What a test does with portals, of which only those from [`FIRST`] on and two more take part.
#[derive(Clone, Debug)]
enum Call {
    Allocate(u32),
    Take(u32, u32),
    Release(usize),
    Finish(usize),
    /// By a sender; the portal may be anybody's or nobody's.
    Raise(u32, u32),
    Mask(u64),
    Unmask(u64),
    /// The receiver looks into its inbox and delivers what is among these.
    Interrupt(u64),
    /// It only empties the inbox, as a stage that defers does.
    Pull(u32),
}

fn any_portal() -> impl Strategy<Value = u32> {
    prop_oneof![3 => FIRST..64, 1 => Just(0u32), 1 => Just(7u32)]
}

fn any_set() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(u64::MAX), 3 => any_portal().prop_map(|at| 1 << at), 1 => any::<u64>()]
}

fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (0..3u32).prop_map(Call::Allocate),
        1 => (0..3u32, any_portal()).prop_map(|(owner, at)| Call::Take(owner, at)),
        2 => (0..12usize).prop_map(Call::Release),
        2 => (0..12usize).prop_map(Call::Finish),
        10 => (0..3u32, any_portal()).prop_map(|(from, at)| Call::Raise(from, at)),
        3 => any_set().prop_map(Call::Mask),
        5 => any_set().prop_map(Call::Unmask),
        4 => any_set().prop_map(Call::Interrupt),
        2 => (0..3u32).prop_map(Call::Pull),
    ]
}

/// A receiver and three senders; what was raised and not yet delivered, by sender.
struct World {
    slot: Cells,
    own: Cells,
    allocator: Allocator,
    states: [State; 64],
    portals: Vec<Portal>,
    unmasked: u64,
    inbox: [u64; 3],
    held: [u64; 3],
    counted: [Statistics; 64],
}

impl World {
    fn new() -> Self {
        Self {
            slot: Cells::new(SLOT_SIZE),
            own: Cells::new(local::SIZE),
            allocator: Allocator::new(),
            states: [State::Free; 64],
            portals: Vec::new(),
            unmasked: 0,
            inbox: [0; 3],
            held: [0; 3],
            counted: [Statistics::default(); 64],
        }
    }

    fn run(&mut self, call: Call) {
        match call {
            Call::Allocate(owner) => self.allocate(owner),
            Call::Take(owner, at) => self.take(owner, at),
            Call::Release(which) => self.release(which),
            Call::Finish(which) => self.finish(which),
            Call::Raise(from, at) => self.raise(from, at),
            Call::Mask(portals) => {
                portal::mask(&self.own, portals);
                self.unmasked &= !portals;
            }
            Call::Unmask(portals) => {
                self.unmasked |= portals;
                let right = self
                    .held
                    .iter()
                    .any(|held| held & self.unmasked & portals != 0);
                assert_eq!(portal::unmask(&self.own, portals), right);
            }
            Call::Interrupt(among) => self.interrupt(among),
            Call::Pull(from) => {
                portal::pull(&self.slot, &self.own, vnode(from));
                self.pull(from as usize);
            }
        }
    }

    fn pull(&mut self, from: usize) {
        self.held[from] |= std::mem::take(&mut self.inbox[from]);
    }

    /// PO-32: what an owner before was raised is not the new one's.
    fn given(&mut self, owner: u32, given: Portal) {
        let at = given.number.index();
        assert!(
            self.portals.iter().all(|portal| *portal != given),
            "a portal given twice"
        );
        self.states[at] = State::Owned(owner);
        for held in &mut self.held {
            *held &= !(1 << at);
        }
        self.portals.push(given);
    }

    fn allocate(&mut self, owner: u32) {
        let free = (FIRST as usize..64).find(|at| self.states[*at] == State::Free);
        let result = self
            .allocator
            .allocate(&self.own, Owner(owner), number(FIRST));
        assert_eq!(result.map(|portal| portal.number.index()).ok(), free);
        match result {
            Ok(portal) => self.given(owner, portal),
            Err(error) => assert_eq!(error, Error::Full),
        }
    }

    fn take(&mut self, owner: u32, at: u32) {
        let is_free = self.states[at as usize] == State::Free;
        match self.allocator.take(&self.own, Owner(owner), number(at)) {
            Ok(portal) => {
                assert!(is_free && portal.number == number(at));
                self.given(owner, portal);
            }
            Err(error) => assert_eq!((error, is_free), (Error::Taken, false)),
        }
    }

    /// The state of a portal, if it is not one that was given to somebody else since.
    fn state(&self, portal: Portal) -> Option<State> {
        let latest = self
            .portals
            .iter()
            .rev()
            .find(|given| given.number == portal.number);
        (latest == Some(&portal)).then(|| self.states[portal.number.index()])
    }

    fn release(&mut self, which: usize) {
        let Some(portal) = self.portals.get(which).copied() else {
            return;
        };
        let result = self.allocator.release(&self.own, portal);
        if let Some(State::Owned(owner)) = self.state(portal) {
            assert_eq!(result, Ok(()));
            self.states[portal.number.index()] = State::Releasing(owner);
            self.unmasked &= !portal.number.bit();
        } else {
            assert_eq!(result, Err(Error::Stale));
        }
    }

    fn finish(&mut self, which: usize) {
        let Some(portal) = self.portals.get(which).copied() else {
            return;
        };
        let result = self.allocator.finish(portal);
        if let Some(State::Releasing(_)) = self.state(portal) {
            assert_eq!(result, Ok(()));
            self.states[portal.number.index()] = State::Free;
        } else {
            assert_eq!(result, Err(Error::Stale));
        }
    }

    /// PO-11, PO-12: an empty word asks for an interrupt, and a portal that is raised is so once.
    fn raise(&mut self, from: u32, at: u32) {
        let before = self.inbox[from as usize];
        let raised = portal::raise(&self.slot, vnode(from), number(at));
        let right = match before {
            0 => Raised::Interrupt,
            _ if before & (1 << at) == 0 => Raised::Announced,
            _ => Raised::Coalesced,
        };
        assert_eq!(raised, right);
        self.inbox[from as usize] |= 1 << at;
        portal::count_raise(&self.own, number(at), raised);
        let counted = &mut self.counted[at as usize];
        counted.sent += 1;
        counted.interrupts += u64::from(raised == Raised::Interrupt);
        counted.coalesced += u64::from(raised == Raised::Coalesced);
    }

    fn interrupt(&mut self, among: u64) {
        let mut delivered = [0u64; 3];
        portal::take(&self.slot, &self.own, among, |from, portals| {
            assert_eq!(delivered[from.index()], 0);
            delivered[from.index()] = portals;
        });
        for (from, delivered) in delivered.into_iter().enumerate() {
            self.pull(from);
            let right = self.held[from] & self.unmasked & among;
            assert_eq!(delivered, right);
            self.held[from] &= !right;
            for at in Number::all_of(right) {
                portal::count_delivery(&self.own, at);
                self.counted[at.index()].delivered += 1;
            }
        }
    }

    fn check(&self) {
        let held = self.held.iter().fold(0, |all, held| all | held);
        assert_eq!(portal::waiting(&self.own, u64::MAX), held & self.unmasked);
        for at in Number::all_of(u64::MAX) {
            let owner = match self.states[at.index()] {
                State::Owned(owner) => Some(Owner(owner)),
                State::Free | State::Releasing(_) => None,
            };
            assert_eq!(self.allocator.owner(at), owner);
            assert_eq!(portal::statistics(&self.own, at), self.counted[at.index()]);
        }
        for owner in 0..3 {
            let portals: Vec<_> = self.allocator.of(Owner(owner)).collect();
            let all = (0..64).filter(|at| self.states[*at] == State::Owned(owner));
            assert!(portals.iter().map(|portal| portal.number.index()).eq(all));
        }
    }
}

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
        let mut raised = [0u64; 3];
        for call in calls {
            // Whose the portals are is another test's: a new owner does not get old raises.
            match call {
                Call::Raise(from, at) => raised[from as usize] |= 1 << at,
                Call::Mask(_) | Call::Unmask(_) | Call::Pull(_) => {}
                _ => continue,
            }
            world.run(call);
        }
        world.run(Call::Unmask(u64::MAX));
        let mut delivered = [0u64; 3];
        portal::take(&world.slot, &world.own, u64::MAX, |from, portals| {
            delivered[from.index()] |= portals;
        });
        prop_assert_eq!(delivered, raised);
        prop_assert_eq!(portal::waiting(&world.own, u64::MAX), 0);
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
        let _ = portal::unmask(&own, unmasked);
        let mut count = 0;
        portal::take(&slot, &own, u64::MAX, |_, portals| {
            assert_eq!(portals & !unmasked, 0);
            count += 1;
        });
        prop_assert!(count <= 16);
    }
}

#[test]
fn a_window_that_is_too_small_ends_no_loop_late() {
    let nothing = Cells::new(0);
    portal::mask(&nothing, u64::MAX);
    assert!(!portal::unmask(&nothing, u64::MAX));
    assert_eq!(portal::claim(&nothing, vnode(15), u64::MAX), 0);
    portal::forget(&nothing, number(63));
    assert_eq!(Number::new(64), None);
}

/// PO-14: what a vnode has raised is delivered though it has died since.
/// CA-60: one atomic operation.
#[test]
fn a_sender_that_dies_has_raised_or_has_not() {
    let (slot, own) = (Cells::new(SLOT_SIZE), Cells::new(local::SIZE));
    assert!(!portal::unmask(&own, u64::MAX));
    for (stores, right) in [(0, 0), (1, 1 << 3)] {
        let _ = portal::raise(&Dying::new(&slot, stores), vnode(2), number(3));
        portal::pull(&slot, &own, vnode(2));
        assert_eq!(portal::claim(&own, vnode(2), u64::MAX), right);
    }
}
