// SPDX-License-Identifier: GPL-2.0

//! The promises about restarts, over random histories.

use std::collections::HashSet;

use proptest::prelude::*;

use super::tests::{life, running, s};
use super::*;

/// One thing that may happen in the world.
#[derive(Clone, Copy, Debug)]
enum Step {
    Dies(End),
    /// Somebody takes it back, dead or alive.
    TakenBack,
    /// Somebody starts it.
    Started,
    /// The next start of the supervisor fails.
    Faulty,
    /// A word that comes before the next start of the supervisor.
    Word,
    Passes(Duration),
    /// The supervisor is woken.
    Looks,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![Just(End::Orderly), Just(End::Failure), Just(End::Asked)]
            .prop_map(Step::Dies),
        1 => Just(Step::TakenBack),
        1 => Just(Step::Started),
        1 => Just(Step::Faulty),
        1 => Just(Step::Word),
        6 => (0_u64..90_000).prop_map(|ms| Step::Passes(Duration::from_millis(ms))),
        8 => Just(Step::Looks),
    ]
}

/// A vnode that is there.
#[derive(Clone, Copy)]
struct There {
    life: Life,
    since: Time,
    over: Option<(End, Time)>,
}

/// A machine with one vnode, or none, and what the supervisor has done to it.
struct World {
    now: Time,
    generation: u32,
    vnode: Option<There>,
    is_faulty: bool,
    has_word: bool,
    restarts: Restarts,
    /// Ends of which the supervisor has decided.
    decided: HashSet<Life>,
    /// Before this time no start may come; nothing when none may come at all.
    allowed: Option<Time>,
    starts: u32,
}

impl World {
    fn new(terms: Terms) -> Self {
        Self {
            now: Duration::ZERO,
            generation: 0,
            vnode: None,
            is_faulty: false,
            has_word: false,
            restarts: Restarts::new(terms),
            decided: HashSet::new(),
            allowed: None,
            starts: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match (step, &mut self.vnode) {
            (Step::Dies(end), Some(there)) => {
                there.over = there.over.or(Some((end, self.now)));
            }
            (Step::TakenBack, vnode) => *vnode = None,
            (Step::Started, None) => self.give_birth(),
            (Step::Faulty, _) => self.is_faulty = true,
            (Step::Word, _) => self.has_word = true,
            (Step::Passes(time), _) => self.now += time,
            (Step::Looks, _) => self.look(),
            (Step::Dies(_) | Step::Started, _) => {}
        }
    }

    fn give_birth(&mut self) {
        self.generation += 1;
        self.vnode = Some(There {
            life: life(self.generation),
            since: self.now,
            over: None,
        });
    }

    fn look(&mut self) {
        let event = match self.vnode {
            None => Event::Gone,
            Some(there) => match there.over {
                None => Event::Runs(there.life),
                Some((end, over)) => Event::Ended(there.life, end, over - there.since),
            },
        };
        let action = self.restarts.on(self.now, event);
        self.check(action, event);
        match self.restarts.on(self.now, Event::Tick) {
            Action::None => {}
            Action::Start(ended) => {
                assert_eq!(ended, self.vnode.map(|there| there.life));
                self.start();
            }
            other => panic!("time alone leads to {other:?}"),
        }
    }

    /// Holds a decision against what it is about.
    fn check(&mut self, action: Action, event: Event) {
        let Terms { policy, limit } = self.restarts.terms();
        match action {
            Action::Wait(delay) => {
                assert!((FIRST_DELAY..=LONGEST_DELAY).contains(&delay));
                assert!(policy != Policy::Never);
                assert!(limit.is_none_or(|limit| self.restarts.in_a_row() <= limit));
                self.allowed = Some(self.now + delay);
            }
            Action::Leave(_) | Action::Watch => self.allowed = None,
            Action::None | Action::Start(_) => {}
        }
        if let Event::Ended(life, end, _) = event {
            let is_decision = matches!(action, Action::Wait(_) | Action::Leave(_));
            let is_first = self.decided.insert(life);
            assert_eq!(is_decision, is_first, "each end is decided about once");
            if let Action::Wait(_) = action {
                assert!(end == End::Failure || (end == End::Orderly && policy == Policy::Always));
            }
        }
    }

    fn start(&mut self) {
        let allowed = self.allowed.take().expect("a start that was not announced");
        assert!(allowed <= self.now, "a start before its time");
        self.starts += 1;
        let event = if std::mem::take(&mut self.has_word) {
            Event::Asked
        } else if std::mem::take(&mut self.is_faulty) {
            self.vnode = None;
            Event::StartFailed(None)
        } else {
            assert!(self.vnode.is_none_or(|there| there.over.is_some()));
            self.give_birth();
            Event::Started(life(self.generation))
        };
        let action = self.restarts.on(self.now, event);
        self.check(action, event);
    }
}

fn terms() -> impl Strategy<Value = Terms> {
    let policy = prop_oneof![
        Just(Policy::Never),
        Just(Policy::OnFailure),
        Just(Policy::Always)
    ];
    let limit = prop_oneof![Just(None), (1_u32..5).prop_map(Some)];
    (policy, limit).prop_map(|(policy, limit)| Terms { policy, limit })
}

proptest! {
    #[test]
    fn no_history_breaks_a_promise(terms in terms(), steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::new(terms);
        for step in steps {
            world.step(step);
        }
        if terms.policy == Policy::Never {
            prop_assert_eq!(world.starts, 0);
        }
    }

    /// Without anybody else's hand in it, delays follow from how long the lives were.
    #[test]
    fn starts_are_never_closer_than_the_back_off(lives in prop::collection::vec(0_u64..120, 1..40)) {
        let mut restarts = running(Policy::OnFailure, None);
        let (mut now, mut started, mut row) = (s(0), s(0), 0_u32);
        for (generation, seconds) in (1..).zip(lives) {
            now += s(seconds);
            row = if seconds >= 60 { 0 } else { row };
            let wanted = s(60.min(1_u64 << row.min(6)));
            row += 1;
            let ended = Event::Ended(life(generation), End::Failure, s(seconds));
            prop_assert_eq!(restarts.on(now, ended), Action::Wait(wanted));
            // Woken every quarter of a second, it starts at the first moment that is allowed.
            while restarts.on(now, Event::Tick) == Action::None {
                now += Duration::from_millis(250);
            }
            prop_assert!(now - started >= wanted);
            prop_assert_eq!(now - started, s(seconds) + wanted);
            restarts.on(now, Event::Started(life(generation + 1)));
            started = now;
        }
    }
}
