// SPDX-License-Identifier: GPL-2.0

//! A receiver and three senders of portals, and what they are to do, in plain lists.

use super::cells::Cells;
use adeos_proto::id::VnodeId;
use adeos_proto::layout::SLOT_SIZE;
use adeos_proto::portal::allocator::{Allocator, Error, Owner, Portal};
use adeos_proto::portal::statistics::{count_delivery, count_raise, Statistics};
use adeos_proto::portal::{self, local, Number, Raised, Stage};
use adeos_proto::window::Window;
use proptest::prelude::*;

const FIRST: u32 = 60;

const OWNERS: [Owner; 3] = [Owner("dsp"), Owner("vnet"), Owner("vdfs")];

pub(crate) fn number(number: u32) -> Number {
    Number::new(number).unwrap()
}

pub(crate) fn vnode(number: u32) -> VnodeId {
    VnodeId::new(number).unwrap()
}

fn other(stage: Stage) -> Stage {
    match stage {
        Stage::Ahead => Stage::Linux,
        Stage::Linux => Stage::Ahead,
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Free,
    Owned(u32),
    Releasing(u32),
}

/// What a test does with portals, of which only those from [`FIRST`] on and two more take part.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Allocate(u32),
    Take(u32, u32),
    Release(usize),
    Finish(usize),
    /// By a sender; the portal may be anybody's or nobody's.
    Raise(u32, u32),
    Mask(u64),
    Unmask(Stage, u64),
    /// The receiver looks into its inbox and delivers what is delivered ahead of Linux.
    Interrupt,
    /// Linux delivers what is among these.
    Defer(u64),
    /// The same for one sender.
    Pull(u32),
}

fn any_portal() -> impl Strategy<Value = u32> {
    prop_oneof![3 => FIRST..64, 1 => Just(0u32), 1 => Just(7u32)]
}

fn any_set() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(u64::MAX), 3 => any_portal().prop_map(|at| 1 << at), 1 => any::<u64>()]
}

fn any_stage() -> impl Strategy<Value = Stage> {
    prop_oneof![2 => Just(Stage::Ahead), 1 => Just(Stage::Linux)]
}

pub(crate) fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (0..3u32).prop_map(Call::Allocate),
        1 => (0..3u32, any_portal()).prop_map(|(owner, at)| Call::Take(owner, at)),
        2 => (0..12usize).prop_map(Call::Release),
        2 => (0..12usize).prop_map(Call::Finish),
        10 => (0..3u32, any_portal()).prop_map(|(from, at)| Call::Raise(from, at)),
        3 => any_set().prop_map(Call::Mask),
        5 => (any_stage(), any_set()).prop_map(|(stage, set)| Call::Unmask(stage, set)),
        4 => Just(Call::Interrupt),
        2 => any_set().prop_map(Call::Defer),
        2 => (0..3u32).prop_map(Call::Pull),
    ]
}

/// A receiver and three senders; what was raised and not yet delivered, by sender.
pub(crate) struct World {
    pub(crate) slot: Cells,
    pub(crate) own: Cells,
    allocator: Allocator,
    states: [State; 64],
    portals: Vec<Portal>,
    unmasked: [u64; 2],
    /// Something held was unmasked ahead of Linux since the last interrupt.
    unmasked_held: bool,
    pub(crate) inbox: [u64; 3],
    pub(crate) held: [u64; 3],
    counted: [Statistics; 64],
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            slot: Cells::new(SLOT_SIZE),
            own: Cells::new(local::SIZE),
            allocator: Allocator::new(),
            states: [State::Free; 64],
            portals: Vec::new(),
            unmasked: [0; 2],
            unmasked_held: false,
            inbox: [0; 3],
            held: [0; 3],
            counted: [Statistics::default(); 64],
        }
    }

    pub(crate) fn run(&mut self, call: Call) {
        match call {
            Call::Allocate(owner) => self.allocate(owner),
            Call::Take(owner, at) => self.take(owner, at),
            Call::Release(which) => self.release(which),
            Call::Finish(which) => self.finish(which),
            Call::Raise(from, at) => self.raise(from, at),
            Call::Mask(portals) => {
                portal::mask(&self.own, portals);
                self.masked(portals);
            }
            Call::Unmask(stage, portals) => self.unmask(stage, portals),
            Call::Interrupt => self.interrupt(),
            Call::Defer(among) => self.defer(among),
            Call::Pull(from) => {
                let pulled = portal::pull(&self.slot, &self.own, vnode(from));
                self.pull(from as usize, pulled.ahead, pulled.linux);
            }
        }
    }

    /// PO-12, PO-24: all that was raised is delivered, or held.
    fn pull(&mut self, from: usize, ahead: u64, linux: u64) {
        let raised = std::mem::take(&mut self.inbox[from]);
        assert_eq!(ahead, raised & self.unmasked[0]);
        assert_eq!(linux, raised & self.unmasked[1]);
        for (at, counted) in self.counted.iter_mut().enumerate() {
            counted.merged += (raised & self.held[from]) >> at & 1;
        }
        self.held[from] |= raised;
        self.held[from] &= !ahead;
        self.delivered(ahead);
    }

    fn delivered(&mut self, portals: u64) {
        for at in Number::all_of(portals) {
            count_delivery(&self.own, at);
            self.counted[at.index()].delivered += 1;
        }
    }

    fn masked(&mut self, portals: u64) {
        for unmasked in &mut self.unmasked {
            *unmasked &= !portals;
        }
    }

    /// What is not masked stays in the stage that it is in.
    fn unmask(&mut self, stage: Stage, portals: u64) {
        let portals = portals & !self.unmasked[other(stage) as usize];
        self.unmasked[stage as usize] |= portals;
        let right = self.held.iter().any(|held| held & portals != 0);
        assert_eq!(portal::unmask(&self.own, stage, portals), right);
        self.unmasked_held |= right && stage == Stage::Ahead;
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
            self.counted[at].forgotten += *held >> at & 1;
            *held &= !(1 << at);
        }
        self.portals.push(given);
    }

    fn allocate(&mut self, owner: u32) {
        let free = (FIRST as usize..64).find(|at| self.states[*at] == State::Free);
        let result = self
            .allocator
            .allocate(&self.own, OWNERS[owner as usize], number(FIRST));
        assert_eq!(result.map(|portal| portal.number.index()).ok(), free);
        match result {
            Ok(portal) => self.given(owner, portal),
            Err(error) => assert_eq!(error, Error::Full),
        }
    }

    fn take(&mut self, owner: u32, at: u32) {
        let is_free = self.states[at as usize] == State::Free;
        let wanted = OWNERS[owner as usize];
        match self.allocator.take(&self.own, wanted, number(at)) {
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
            self.masked(portal.number.bit());
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
        count_raise(&self.own, number(at), raised);
        let counted = &mut self.counted[at as usize];
        counted.interrupting += u64::from(raised == Raised::Interrupt);
        counted.announced += u64::from(raised == Raised::Announced);
        counted.coalesced += u64::from(raised == Raised::Coalesced);
    }

    fn interrupt(&mut self) {
        let mut deliveries = Vec::new();
        let linux = portal::take(&self.slot, &self.own, |from, portals| {
            deliveries.push((from.index(), portals));
        });
        assert!(deliveries.iter().all(|(_, portals)| *portals != 0));
        let mut deliveries = deliveries.into_iter().peekable();
        let mut deferred = 0;
        for from in 0..3 {
            let ahead = self.inbox[from] & self.unmasked[0];
            let next = deliveries.next_if(|_| ahead != 0);
            assert_eq!(next, (ahead != 0).then_some((from, ahead)));
            deferred |= self.inbox[from] & self.unmasked[1];
            self.pull(from, ahead, self.inbox[from] & self.unmasked[1]);
        }
        assert_eq!(linux, deferred);
        if std::mem::take(&mut self.unmasked_held) {
            for from in 0..3 {
                let ready = self.held[from] & self.unmasked[0];
                let next = deliveries.next_if(|_| ready != 0);
                assert_eq!(next, (ready != 0).then_some((from, ready)));
                self.held[from] &= !ready;
                self.delivered(ready);
            }
        }
        assert_eq!(deliveries.next(), None);
        assert_eq!(self.own.load_acquire64(local::UNMASKED_HELD), 0);
    }

    /// PO-20, PO-22: exactly what is held, unmasked and asked for.
    fn defer(&mut self, among: u64) {
        for from in 0..3 {
            let claimed = portal::claim(&self.own, vnode(from as u32), Stage::Linux, among);
            let right = self.held[from] & self.unmasked[1] & among;
            assert_eq!(claimed, right);
            self.held[from] &= !right;
            self.delivered(right);
        }
    }

    fn all_held(&self) -> u64 {
        self.held.iter().fold(0, |all, held| all | held)
    }

    pub(crate) fn check(&self) {
        assert_eq!(portal::holds(&self.own), self.all_held());
        for stage in [Stage::Ahead, Stage::Linux] {
            let right = self.unmasked[stage as usize];
            assert_eq!(portal::unmasked(&self.own, stage), right);
        }
        for at in Number::all_of(u64::MAX) {
            let owner = match self.states[at.index()] {
                State::Owned(owner) => Some(OWNERS[owner as usize]),
                State::Free | State::Releasing(_) => None,
            };
            assert_eq!(self.allocator.owner(at), owner);
            self.check_statistics(at);
        }
        for owner in 0..3 {
            let portals: Vec<_> = self.allocator.of(OWNERS[owner as usize]).collect();
            let all = (0..64).filter(|at| self.states[*at] == State::Owned(owner));
            assert!(portals.iter().map(|portal| portal.number.index()).eq(all));
        }
    }

    /// PO-25: what was counted is what happened, and adds up.
    fn check_statistics(&self, at: Number) {
        let counted = Statistics::read(&self.own, at);
        let count = |words: &[u64; 3]| -> u64 {
            let bits = words.iter().map(|word| word >> at.index() & 1);
            bits.sum()
        };
        let right = Statistics {
            held: count(&self.held),
            ..self.counted[at.index()]
        };
        assert_eq!(counted, right);
        assert_eq!(
            counted.sent() - counted.coalesced,
            counted.arrived() + count(&self.inbox)
        );
    }
}
