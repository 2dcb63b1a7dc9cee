// SPDX-License-Identifier: GPL-2.0

//! The lock against a model of four vnodes that die, come back, sleep and learn late.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

use adeos_proto::id::{Generation, Life, VnodeId};
use adeos_proto::lock::layout::{OWNER, PLACES, SERVED, SIZE};
use adeos_proto::lock::{Entry, Error, Lives, Lock, Poll};
use adeos_proto::window::Window;
use cells::Cells;
use dying::Dying;
use proptest::prelude::*;
use std::collections::VecDeque;

#[path = "support/cells.rs"]
mod cells;
#[path = "support/dying.rs"]
mod dying;

const VNODES: usize = 4;
/// The lock does not start where its window does.
const AT: usize = 0x40;

/// When vnodes other than the root learn who has joined and who is dead.
#[derive(Clone, Copy, Debug, PartialEq)]
enum News {
    AtOnce,
    Late,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Joined(Life),
    Ended(Life),
}

/// One life of a vnode and what its kernel does around the lock.
struct Kernel {
    life: Life,
    lock: Lock,
    lives: Lives,
    /// Changes of the membership that it has been told.
    told: usize,
    waits: bool,
    sleeps: bool,
}

struct Machine {
    memory: Cells,
    news: News,
    kernels: Vec<Option<Kernel>>,
    generations: [u32; VNODES],
    changes: Vec<Change>,
    /// Who waits, in the order of their announcements.
    queue: VecDeque<Life>,
    /// Whether an owner has died since the data were last declared consistent.
    dirty: bool,
    /// Whether somebody has written to the owner word who had no business there.
    forged: bool,
}

impl Machine {
    fn new(news: News) -> Self {
        let mut machine = Self {
            memory: Cells::new(AT + SIZE),
            news,
            kernels: (0..VNODES).map(|_| None).collect(),
            generations: [0; VNODES],
            changes: Vec::new(),
            queue: VecDeque::new(),
            dirty: false,
            forged: false,
        };
        for vnode in 0..VNODES {
            machine.start(vnode);
        }
        machine
    }

    fn start(&mut self, vnode: usize) {
        if self.kernels[vnode].is_some() {
            return;
        }
        self.generations[vnode] += 1;
        let life = Life {
            vnode: VnodeId::new(vnode as u32).unwrap(),
            generation: Generation(self.generations[vnode]),
        };
        self.kernels[vnode] = Some(Kernel {
            life,
            lock: Lock::new(AT, life),
            lives: if vnode == 0 {
                Lives::of_root()
            } else {
                Lives::of_vnode()
            },
            told: 0,
            waits: false,
            sleeps: false,
        });
        self.announce_change(Change::Joined(life));
        while self.tell(vnode) {}
    }

    /// A vnode dies; the root, which has stopped its CPUs, knows at once.
    fn kill(&mut self, vnode: usize) {
        if vnode == 0 {
            return;
        }
        let Some(kernel) = self.kernels[vnode].take() else {
            return;
        };
        self.queue.retain(|life| *life != kernel.life);
        let owner = self.memory.load_acquire64(AT + OWNER);
        let mine = u64::from(kernel.life.generation.0) | (vnode as u64) << 32;
        self.dirty |= owner & 0xff_ffff_ffff == mine;
        self.announce_change(Change::Ended(kernel.life));
    }

    fn announce_change(&mut self, change: Change) {
        self.changes.push(change);
        while self.tell(0) {}
        if self.news == News::AtOnce {
            self.tell_all();
        }
    }

    fn tell_all(&mut self) {
        for vnode in 0..VNODES {
            while self.tell(vnode) {}
        }
    }

    /// A kernel learns of the next change and does what IL-35 says.
    fn tell(&mut self, vnode: usize) -> bool {
        let Some(kernel) = &mut self.kernels[vnode] else {
            return false;
        };
        let Some(change) = self.changes.get(kernel.told) else {
            return false;
        };
        kernel.told += 1;
        match *change {
            Change::Joined(life) => kernel.lives.joined(life),
            Change::Ended(life) => kernel.lives.ended(life),
        }
        kernel.sleeps = false;
        let next = kernel.lock.recover(&self.memory, &kernel.lives).next;
        self.wake(next);
        true
    }

    /// Wakes a life if it still lives; who does not wait looks whose turn it is (IL-23).
    fn wake(&mut self, next: Option<Life>) {
        let mut next = next;
        for _ in 0..VNODES {
            let Some(life) = next.take() else { return };
            let Some(kernel) = self.kernels.get_mut(life.vnode.index()) else {
                return;
            };
            match kernel {
                Some(kernel) if kernel.life == life && kernel.waits => kernel.sleeps = false,
                Some(kernel) if kernel.life == life => {
                    next = kernel.lock.recover(&self.memory, &kernel.lives).next;
                }
                Some(_) | None => {}
            }
        }
    }

    fn entered(&mut self, life: Life, entry: Entry) {
        if !self.forged {
            assert_eq!(entry == Entry::MaybeInconsistent, self.dirty, "IL-36");
            let owners = self.kernels.iter().flatten();
            let owners = owners.filter(|kernel| kernel.lock.is_held()).count();
            assert_eq!(owners, 1, "IL-10");
        }
        self.queue.retain(|waiting| *waiting != life);
    }

    /// One step of a vnode: what its state allows. `choice` picks where there are several.
    fn step(&mut self, vnode: usize, choice: u8) {
        let Some(kernel) = &mut self.kernels[vnode] else {
            return;
        };
        if kernel.lock.is_held() {
            return self.step_of_owner(vnode, choice);
        }
        if !kernel.waits {
            if choice % 2 == 0 {
                kernel.lock.announce(&self.memory, &kernel.lives).unwrap();
                kernel.waits = true;
                kernel.sleeps = false;
                self.queue.push_back(kernel.life);
            } else if let Ok(entry) = kernel.lock.try_lock(&self.memory, &kernel.lives) {
                let life = kernel.life;
                assert!(self.news == News::Late || self.queue.is_empty(), "IL-12");
                self.entered(life, entry);
            }
        } else if choice == 0 {
            kernel.waits = false;
            let next = kernel.lock.withdraw(&self.memory, &kernel.lives).unwrap();
            let life = kernel.life;
            self.queue.retain(|waiting| *waiting != life);
            self.wake(next);
        } else if !kernel.sleeps {
            self.poll(vnode);
        }
    }

    fn poll(&mut self, vnode: usize) {
        let kernel = self.kernels[vnode].as_mut().unwrap();
        match kernel.lock.poll(&self.memory, &kernel.lives).unwrap() {
            Poll::Acquired(entry) => {
                kernel.waits = false;
                let life = kernel.life;
                if self.news == News::AtOnce && !self.forged {
                    assert_eq!(self.queue.front(), Some(&life), "IL-11");
                }
                self.entered(life, entry);
            }
            Poll::Wait(next) => {
                kernel.sleeps = true;
                self.wake(next);
            }
            Poll::Again => {}
        }
    }

    fn step_of_owner(&mut self, vnode: usize, choice: u8) {
        let kernel = self.kernels[vnode].as_mut().unwrap();
        if choice % 4 == 0 {
            match kernel.lock.declare_consistent(&self.memory) {
                Ok(()) => self.dirty = false,
                Err(error) => assert!(self.forged && error == Error::Lost),
            }
            return;
        }
        match kernel.lock.unlock(&self.memory, &kernel.lives) {
            Ok(next) => self.wake(next),
            Err(error) => assert!(self.forged && error == Error::Lost),
        }
    }

    /// A vnode dies in the middle of a call, after some stores.
    fn die_in_a_call(&mut self, vnode: usize, stores: usize) {
        if let (1.., Some(kernel)) = (vnode, &mut self.kernels[vnode]) {
            let dying = Dying::new(&self.memory, stores);
            if kernel.lock.is_held() {
                let _ = kernel.lock.unlock(&dying, &kernel.lives);
            } else {
                // Refused to who waits already.
                let _ = kernel.lock.announce(&dying, &kernel.lives);
                let _ = kernel.lock.poll(&dying, &kernel.lives);
            }
        }
        self.kill(vnode);
    }

    fn scribble(&mut self, offset: usize, value: u64) {
        let offset = offset / 8 * 8 % SIZE;
        self.forged |= offset == OWNER;
        self.memory.store_release64(AT + offset, value);
    }

    /// Everybody learns everything and goes on until nobody can; nobody may be left waiting.
    fn run_down(&mut self) {
        self.tell_all();
        for _ in 0..64 {
            for vnode in 0..VNODES {
                match &self.kernels[vnode] {
                    Some(kernel) if kernel.lock.is_held() => self.step_of_owner(vnode, 1),
                    Some(kernel) if kernel.waits && !kernel.sleeps => self.poll(vnode),
                    Some(_) | None => {}
                }
            }
        }
        assert!(self.queue.is_empty(), "IL-24: {:?} wait", self.queue);
        assert_eq!(self.memory.load_acquire64(AT + OWNER) & 0xff_ffff_ffff, 0);
        for vnode in 0..VNODES {
            let place = self.memory.load_acquire64(AT + PLACES + vnode * 8);
            assert_eq!(place as u32, 0, "IL-34: place of vnode {vnode}");
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Step(usize, u8),
    Kill(usize),
    DieInACall(usize, usize),
    Start(usize),
    Tell(usize),
    Scribble(usize, u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    let vnode = 0..VNODES;
    prop_oneof![
        24 => (vnode.clone(), 0..12u8).prop_map(|(vnode, choice)| Event::Step(vnode, choice)),
        1 => vnode.clone().prop_map(Event::Kill),
        2 => (vnode.clone(), 0..5usize).prop_map(|(vnode, n)| Event::DieInACall(vnode, n)),
        2 => vnode.clone().prop_map(Event::Start),
        4 => vnode.prop_map(Event::Tell),
    ]
}

/// Numbers near those that mean something, and others.
fn any_number() -> impl Strategy<Value = u64> {
    let near = (0..3u64, 0..18u64, 0..3u64, any::<u16>()).prop_map(|(low, vnode, mark, high)| {
        low | vnode << 32 | mark << 40 | u64::from(high) << 48
    });
    let ticket = (0..3u64, any::<u32>()).prop_map(|(low, high)| low | u64::from(high) << 32);
    prop_oneof![near, ticket, any::<u64>(), Just(u64::MAX), Just(0)]
}

fn scribbled_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => any_event(),
        1 => (0..SIZE, any_number()).prop_map(|(offset, value)| Event::Scribble(offset, value)),
    ]
}

fn run(machine: &mut Machine, events: Vec<Event>) {
    for event in events {
        match event {
            Event::Step(vnode, choice) => machine.step(vnode, choice),
            Event::Kill(vnode) => machine.kill(vnode),
            Event::DieInACall(vnode, stores) => machine.die_in_a_call(vnode, stores),
            Event::Start(vnode) => machine.start(vnode),
            Event::Tell(vnode) => drop(machine.tell(vnode)),
            Event::Scribble(offset, value) => machine.scribble(offset, value),
        }
    }
}

/// IL-15.
#[test]
fn a_waiter_counts_the_turns_of_others() {
    let mut machine = Machine::new(News::AtOnce);
    machine.step(0, 1);
    for vnode in 1..VNODES {
        machine.step(vnode, 2);
    }
    for vnode in 1..VNODES {
        machine.step(vnode - 1, 1);
        machine.step(vnode, 1);
        let lock = &machine.kernels[vnode].as_ref().unwrap().lock;
        assert!(lock.is_held());
        assert_eq!(usize::from(lock.longest_wait()), vnode - 1);
    }
}

/// IL-6: by the distance from who was served last, and then by vnode.
#[test]
fn tickets_are_in_the_order_of_their_distances() {
    let mut machine = Machine::new(News::AtOnce);
    let place = |ticket: u32| u64::from(ticket) << 32 | 1;
    machine.memory.store_release(AT + SERVED, u32::MAX);
    for (vnode, ticket) in [(1, 3), (2, 3), (3, u32::MAX - 7)] {
        let at = AT + PLACES + vnode * 8;
        machine.memory.store_release64(at, place(ticket));
    }
    for vnode in [3, 1, 2] {
        let root = machine.kernels[0].as_mut().unwrap();
        let next = root.lock.recover(&machine.memory, &root.lives).next;
        assert_eq!(next.map(|life| life.vnode.index()), Some(vnode));
        machine.memory.store_release64(AT + PLACES + vnode * 8, 0);
    }
}

/// IL-13: a new owner that dies after each of its stores.
#[test]
fn the_ticket_is_served_before_the_place_is_empty() {
    for (stores, served, is_filled) in [(1, 0, true), (2, 1, true), (3, 1, false)] {
        let mut machine = Machine::new(News::AtOnce);
        machine.step(0, 1);
        machine.step(1, 2);
        machine.step(0, 1);
        let kernel = machine.kernels[1].as_mut().unwrap();
        let dying = Dying::new(&machine.memory, stores);
        let polled = kernel.lock.poll(&dying, &kernel.lives);
        assert_eq!(polled, Ok(Poll::Acquired(Entry::Consistent)));
        assert_eq!(machine.memory.load_acquire(AT + SERVED), served);
        let place = machine.memory.load_acquire64(AT + PLACES + 8);
        assert_eq!(place != 0, is_filled);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// IL-2, IL-10, IL-11, IL-12, IL-20, IL-21, IL-24, IL-34, IL-36: first come, first served, whoever dies.
    #[test]
    fn waiters_are_served_in_order(events in prop::collection::vec(any_event(), 1..120)) {
        let mut machine = Machine::new(News::AtOnce);
        run(&mut machine, events);
        machine.run_down();
    }

    /// The same but for the order, while each kernel learns of deaths in its own time.
    #[test]
    fn nobody_is_forgotten_while_news_is_late(
        events in prop::collection::vec(any_event(), 1..120)
    ) {
        let mut machine = Machine::new(News::Late);
        run(&mut machine, events);
        machine.run_down();
    }

    /// IL-40, IL-41: scribbles make no call hang or panic, and two owners only where somebody
    /// wrote to the owner word. IL-42, IL-43: once the scribbler is dead and all have recovered, what it
    /// has left is broken, and the lock works again.
    #[test]
    fn a_scribbler_costs_no_more_than_it_must(
        events in prop::collection::vec(scribbled_event(), 1..120)
    ) {
        let mut machine = Machine::new(News::Late);
        run(&mut machine, events);
        machine.kill(VNODES - 1);
        machine.start(VNODES - 1);
        machine.tell_all();
        for vnode in 0..VNODES {
            if let Some(kernel) = &mut machine.kernels[vnode] {
                kernel.sleeps = false;
                kernel.lock.recover(&machine.memory, &kernel.lives);
            }
        }
        machine.run_down();
    }
}
