// SPDX-License-Identifier: GPL-2.0

//! The pipeline: small ones in all states that they can reach, large ones at random.
//!
//! A state is explored by repeating the events that lead to it, so the whole of it is what the
//! shipped code has made. Exploration ends when no event leads to a new state: there is no bound
//! on the length of what has been tried.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/pipeline_world.rs"]
mod world;

use adeos_proto::pipeline::{Error, Outcome, Pipeline, Routes, Stage, Step};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use world::{stage, Event, World};

const OUTCOMES: [Outcome; 2] = [Outcome::Taken, Outcome::Passed];

/// A configuration to explore.
struct Model {
    stages: &'static [(usize, &'static [u8])],
    vectors: &'static [u8],
    /// A stage that may be unregistered, retired, and registered again for the first vector.
    passing: Option<usize>,
}

impl Model {
    fn events(&self) -> Vec<Event> {
        let mut events: Vec<_> = OUTCOMES.map(Event::Done).into();
        events.extend(self.vectors.iter().copied().map(Event::Arrive));
        for (rank, vectors) in self.stages {
            events.extend([Event::Stall(*rank), Event::Unstall(*rank)]);
            events.extend(vectors.iter().map(|vector| Event::Trigger(*rank, *vector)));
        }
        if let Some(rank) = self.passing {
            events.extend([Event::Unregister(rank), Event::Retire(rank)]);
            events.extend([Event::Register(rank), Event::Add(rank, self.vectors[0])]);
        }
        events
    }

    /// Goes through all states, and returns how many there are.
    fn explore(&self) -> usize {
        let events = self.events();
        // How each state was reached first: from which one, by which event.
        let mut found: Vec<Option<(usize, Event)>> = vec![None];
        let mut known = HashSet::from([World::new(self.stages).key()]);
        let mut at = 0;
        while at < found.len() {
            let path = self.path(&found, at);
            self.replay(&path).drain();
            for event in &events {
                let mut world = self.replay(&path);
                if !world.run(*event) {
                    continue;
                }
                world.check(self.vectors);
                if known.insert(world.key()) {
                    found.push(Some((at, *event)));
                }
            }
            at += 1;
        }
        found.len()
    }

    fn path(&self, found: &[Option<(usize, Event)>], mut at: usize) -> Vec<Event> {
        let mut path = Vec::new();
        while let Some((before, event)) = found[at] {
            path.push(event);
            at = before;
        }
        path.reverse();
        path
    }

    fn replay(&self, path: &[Event]) -> World {
        let mut world = World::new(self.stages);
        for event in path {
            assert!(world.run(*event));
        }
        world
    }
}

/// States that the rules allow when each of `stages` has `vectors` vectors: any log, any stalls
/// and any handlers running, but for those in which something rests that could run (PI-21).
fn allowed(stages: &[u32]) -> usize {
    let mut count = 0;
    let logs = || stages.iter().map(|vectors| 0..1usize << vectors);
    let stalls = || stages.iter().map(|_| 0..2usize);
    let running = || stages.iter().map(|vectors| 0..1 + *vectors as usize);
    for log in combinations(logs()) {
        for stall in combinations(stalls()) {
            for handlers in combinations(running()) {
                let floor = handlers.iter().position(|handler| *handler > 0);
                let rests = (0..floor.unwrap_or(stages.len()))
                    .all(|rank| log[rank] == 0 || stall[rank] == 1);
                count += usize::from(rests);
            }
        }
    }
    count
}

fn combinations(choices: impl Iterator<Item = Range<usize>>) -> Vec<Vec<usize>> {
    choices.fold(vec![vec![]], |all, range| {
        let with = |start: &Vec<usize>, last| [start.as_slice(), &[last]].concat();
        all.iter()
            .flat_map(|start| {
                range
                    .clone()
                    .map(|last| with(start, last))
                    .collect::<Vec<_>>()
            })
            .collect()
    })
}

/// PI-4, PI-10 to PI-23, PI-30 to PI-32 in all states of three stages, of which one is not offered
/// everything. All that the rules allow is reached, so what is explored is not less than was meant.
#[test]
fn three_stages_and_two_vectors() {
    let states = Model {
        stages: &[(0, &[0x40, 0xf7]), (4, &[0x40, 0xf7]), (7, &[0xf7])],
        vectors: &[0x40, 0xf7],
        passing: None,
    }
    .explore();
    assert_eq!(states, allowed(&[2, 2, 1]));
}

#[test]
fn two_stages_and_three_vectors() {
    let states = Model {
        stages: &[(0, &[0x1f, 0x40, 0x80]), (4, &[0x1f, 0x40, 0x80])],
        vectors: &[0x1f, 0x40, 0x80],
        passing: None,
    }
    .explore();
    assert_eq!(states, allowed(&[3, 3]));
}

/// PI-41 to PI-44: a stage that comes and goes in any state.
#[test]
fn a_stage_that_comes_and_goes() {
    let states = Model {
        stages: &[(0, &[0x40]), (3, &[0x40, 0xf7]), (4, &[0x40])],
        vectors: &[0x40, 0xf7],
        passing: Some(3),
    }
    .explore();
    // More than with the stage always there, for it is also known while it leaves.
    assert!(states > allowed(&[1, 2, 1]));
}

/// Both ends of the words of a log, and synthetic interrupts beside the hardware's.
const VECTORS: [u8; 10] = [0, 31, 32, 63, 64, 127, 128, 0xef, 0xf7, 255];

fn any_event() -> impl Strategy<Value = Event> {
    let rank = 0..8usize;
    let place = || (0..8usize, prop::sample::select(&VECTORS[..]));
    prop_oneof![
        8 => prop::sample::select(&VECTORS[..]).prop_map(Event::Arrive),
        4 => place().prop_map(|(rank, vector)| Event::Trigger(rank, vector)),
        3 => rank.clone().prop_map(Event::Stall),
        4 => rank.clone().prop_map(Event::Unstall),
        12 => prop::sample::select(&OUTCOMES[..]).prop_map(Event::Done),
        1 => rank.clone().prop_map(Event::Register),
        3 => place().prop_map(|(rank, vector)| Event::Add(rank, vector)),
        1 => place().prop_map(|(rank, vector)| Event::Remove(rank, vector)),
        1 => rank.clone().prop_map(Event::Unregister),
        1 => rank.prop_map(Event::Retire),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The whole pipeline, with stages that come and go, vector by vector (PI-3).
    #[test]
    fn eight_stages_keep_the_rules(events in prop::collection::vec(any_event(), 1..300)) {
        let all: [(usize, &[u8]); 8] = std::array::from_fn(|rank| (rank, &VECTORS[rank..]));
        let mut world = World::new(&all);
        for event in events {
            world.run(event);
            world.check(&VECTORS);
        }
        world.drain();
        world.check(&VECTORS);
    }

    /// PI-20: what was logged during a stall is replayed once each, the highest vector first,
    /// in whatever order it came.
    #[test]
    fn a_replay_goes_from_the_highest_vector_down(came in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut routes = Routes::new();
        routes.register(Stage::LINUX).expect("the table is empty");
        for vector in 0..=u8::MAX {
            routes.add(Stage::LINUX, vector).expect("the stage is registered");
        }
        let mut pipeline = Pipeline::new();
        pipeline.stall(Stage::LINUX);
        for vector in &came {
            prop_assert_eq!(pipeline.arrive(&routes, *vector), Step::Rest);
        }
        let mut replayed = Vec::new();
        let mut step = pipeline.unstall(&routes, Stage::LINUX);
        while let Step::Run(delivery) = step {
            replayed.push(delivery.vector());
            step = pipeline.done(&routes, delivery, Outcome::Taken);
        }
        let logged: BTreeSet<_> = came.iter().copied().collect();
        prop_assert_eq!(replayed, logged.iter().rev().copied().collect::<Vec<_>>());
        let merged = pipeline.counters(Stage::LINUX).merged;
        prop_assert_eq!(merged, (came.len() - logged.len()) as u64);
    }
}

fn run(world: &mut World, events: &[Event]) {
    for event in events {
        assert!(world.run(*event), "{event:?}");
        world.check(&VECTORS);
    }
}

/// PI-14: an interrupt that Linux never sees, stalled or not.
#[test]
fn a_secret_interrupt_ends_before_linux() {
    let mut world = World::new(&[(0, &[0xf7]), (4, &[0xf7, 0xef])]);
    run(&mut world, &[Event::Stall(4), Event::Arrive(0xf7)]);
    run(
        &mut world,
        &[Event::Done(Outcome::Taken), Event::Unstall(4)],
    );
    assert_eq!((world.runs, world.ended()), (1, (1, 0)));
}

/// PI-22, PI-24: Linux's handler is interrupted by Adeos's, which triggers an interrupt for
/// Linux and stalls its own stage; what comes meanwhile waits in the right places.
#[test]
fn handlers_stall_and_trigger_while_they_run() {
    let mut world = World::new(&[(0, &[0xf7]), (4, &[0, 0xef, 0xf7])]);
    run(&mut world, &[Event::Arrive(0xef), Event::Arrive(0xf7)]);
    assert_eq!(world.runs, 2);
    run(&mut world, &[Event::Trigger(4, 0), Event::Stall(0)]);
    run(&mut world, &[Event::Arrive(0xf7), Event::Arrive(0xef)]);
    // Adeos's handler has passed on what it had; Linux's is still running.
    run(&mut world, &[Event::Done(Outcome::Passed)]);
    assert_eq!(world.runs, 2);
    // Linux's handler lets Adeos run within it.
    run(
        &mut world,
        &[Event::Unstall(0), Event::Done(Outcome::Taken)],
    );
    assert_eq!(world.runs, 3);
    // Then come what was passed on, what came, and what was triggered, from the highest down.
    for runs in [4, 5, 6] {
        run(&mut world, &[Event::Done(Outcome::Taken)]);
        assert_eq!(world.runs, runs);
    }
    run(&mut world, &[Event::Done(Outcome::Taken)]);
    assert_eq!((world.runs, world.ended()), (6, (5, 0)));
}

/// PI-11: what comes while its own handler runs makes the handler run again.
#[test]
fn a_handler_runs_again_for_what_it_may_have_missed() {
    let mut world = World::new(&[(0, &[0xf7])]);
    run(&mut world, &[Event::Arrive(0xf7); 3]);
    run(&mut world, &[Event::Done(Outcome::Taken)]);
    assert_eq!((world.runs, world.ended()), (2, (1, 0)));
    run(&mut world, &[Event::Done(Outcome::Taken)]);
    assert_eq!((world.runs, world.ended()), (2, (3, 0)));
}

/// PI-15: what nobody takes is counted.
#[test]
fn an_interrupt_of_nobody_is_counted() {
    let (mut pipeline, routes) = (Pipeline::new(), Routes::new());
    assert_eq!(pipeline.arrive(&routes, 0xf7), Step::Rest);
    assert_eq!((pipeline.unclaimed(), pipeline.is_empty()), (1, true));
    let triggered = pipeline.trigger(&routes, stage(0), 0xf7);
    assert_eq!(triggered, Err(Error::Unregistered));
    assert_eq!(pipeline.unclaimed(), 1);
}
