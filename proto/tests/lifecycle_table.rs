// SPDX-License-Identifier: GPL-2.0

//! The life of a vnode: every event in every state, and what no sequence of events may do.

use adeos_proto::abi::state;
use adeos_proto::lifecycle::{Action, Cause, Event, Refused, State};

/// All events; one death stands for all, as the table does not ask why.
const EVENTS: [Event; 8] = [
    Event::Assigned,
    Event::Loaded,
    Event::Started,
    Event::SignOfLife,
    Event::StopAsked,
    Event::Died(Cause::Panic),
    Event::NoSign,
    Event::Reclaimed,
];

/// The state after each of [`EVENTS`], in their order; `-` where it is refused.
const TABLE: [(State, [&str; 8]); 7] = [
    (State::Empty, ["ready", "-", "-", "-", "-", "-", "-", "-"]),
    (
        State::Ready,
        ["-", "loaded", "-", "-", "-", "dead", "-", "empty"],
    ),
    (
        State::Loaded,
        ["-", "-", "loaded", "running", "-", "dead", "failed", "-"],
    ),
    (
        State::Running,
        ["-", "-", "running", "running", "stopping", "dead", "-", "-"],
    ),
    (
        State::Stopping,
        [
            "-", "-", "stopping", "stopping", "stopping", "dead", "-", "-",
        ],
    ),
    (State::Dead, ["-", "-", "dead", "-", "-", "-", "-", "empty"]),
    (
        State::Failed,
        ["-", "-", "failed", "-", "-", "-", "-", "empty"],
    ),
];

/// DS-68: who ended itself has left; who was ended has died.
#[test]
fn only_a_kernel_that_ended_itself_has_left() {
    let orderly: Vec<Cause> = Cause::ALL
        .into_iter()
        .filter(|cause| cause.is_orderly())
        .collect();
    assert_eq!(orderly, [Cause::Restart, Cause::PowerOff, Cause::Halt]);
}

/// CA-43: no sign of life leads back.
#[test]
fn every_event_in_every_state_does_what_the_table_says() {
    for (state, after) in TABLE {
        for (event, after) in EVENTS.into_iter().zip(after) {
            match state.on(event) {
                Ok((next, _)) => assert_eq!(next.name(), after, "{state:?} on {event:?}"),
                Err(Refused) => assert_eq!("-", after, "{state:?} on {event:?}"),
            }
        }
    }
}

#[test]
fn why_it_died_makes_no_difference_to_what_is_done() {
    for state in State::ALL {
        for cause in Cause::ALL {
            assert_eq!(
                state.on(Event::Died(cause)),
                state.on(Event::Died(Cause::Panic))
            );
        }
    }
}

/// All that six events in a row can do, from the beginning: CPUs that may run are stopped before
/// anything is given back, and everything that was assigned is given back exactly once.
#[test]
fn cpus_are_stopped_before_anything_is_given_back() {
    fn walk(state: State, holds: bool, runs: bool, depth: usize) {
        assert_eq!(holds, state != State::Empty);
        assert_eq!(runs, state.is_alive());
        if depth == 0 {
            return;
        }
        for event in EVENTS {
            let Ok((next, action)) = state.on(event) else {
                continue;
            };
            let (holds, runs) = match (event, action) {
                (Event::Assigned, Action::None) => (true, false),
                // From here on a CPU may have been started.
                (Event::Loaded, Action::None) => (holds, true),
                (_, Action::None) => (holds, runs),
                (_, Action::StopCpus) => {
                    // Also those that should not run yet: nobody knows after a start that failed.
                    assert!(holds);
                    (holds, false)
                }
                (_, Action::Release) => {
                    assert!(holds && !runs);
                    (false, false)
                }
            };
            walk(next, holds, runs, depth - 1);
        }
    }
    walk(State::Empty, false, false, 6);
}

#[test]
fn there_is_a_way_back_from_everywhere() {
    for state in State::ALL {
        let stopped = state
            .on(Event::Died(Cause::Killed))
            .map_or(state, |(next, _)| next);
        let end = stopped
            .on(Event::Reclaimed)
            .map_or(stopped, |(next, _)| next);
        assert_eq!(end, State::Empty, "{state:?}");
    }
}

#[test]
fn numbers_and_words_are_those_of_the_interface() {
    assert_eq!(State::Empty.number(), state::EMPTY);
    assert_eq!(State::Failed.number(), state::FAILED);
    for state in State::ALL {
        assert_eq!(State::new(state.number()), Some(state));
    }
    assert_eq!(State::new(7), None);

    for (number, cause) in (1..).zip(Cause::ALL) {
        assert_eq!((cause.number(), Cause::new(number)), (number, Some(cause)));
        assert!(!cause.describe().is_empty());
    }
    assert_eq!((Cause::new(0), Cause::new(9)), (None, None));
}

/// CA-42.
#[test]
fn a_vnode_cannot_claim_what_only_the_root_can_know() {
    let claimed: Vec<u32> = (0..20)
        .filter(|number| Cause::claimed(*number).is_some())
        .collect();
    assert_eq!(claimed, [1, 2, 3, 4, 5]);
}
