// SPDX-License-Identifier: GPL-2.0

//! Stations that all have frames for one receiver, and a wire on which one exchange of a cache line takes its time.

use adeos_proto::csma::{Attempt, Dice, GivenUp, Step, RULES};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What one exchange of the wire's cache line takes, in ns.
pub(crate) const EXCHANGE_NS: u64 = 128;
/// What a sender needs for a frame before it is at the wire, in ns.
pub(crate) const FRAME_NS: u64 = 8 * RULES.slot_ns;

/// What became of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Frames that each station got through.
    pub(crate) sent: Vec<u64>,
    /// Collisions of all.
    pub(crate) collisions: u64,
    /// Frames that were given up.
    pub(crate) given_up: u64,
    /// The longest that a frame stood before the wire, in ns.
    pub(crate) longest_ns: u64,
    time_ns: u64,
}

impl Outcome {
    /// The share of the wire's time in which it carried words.
    pub(crate) fn utilisation(&self) -> f64 {
        (self.sent.iter().sum::<u64>() * EXCHANGE_NS) as f64 / self.time_ns as f64
    }

    /// Jain's index.
    pub(crate) fn fairness(&self) -> f64 {
        let sum: f64 = self.sent.iter().map(|n| *n as f64).sum();
        let squares: f64 = self.sent.iter().map(|n| (*n as f64).powi(2)).sum();
        sum * sum / (self.sent.len() as f64 * squares)
    }

    /// Collisions for each frame that got through.
    pub(crate) fn collisions_per_frame(&self) -> f64 {
        self.collisions as f64 / self.sent.iter().sum::<u64>().max(1) as f64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A frame is ready.
    Ready,
    /// The station looks at the wire.
    Sense,
    /// It tries to send, having seen this many words on the wire.
    Exchange(u64),
}

struct Station {
    dice: Dice,
    attempt: Attempt,
    begun: u64,
}

/// So many stations, for so long.
pub(crate) fn simulate(stations: usize, time_ns: u64) -> Outcome {
    let mut outcome = Outcome {
        sent: vec![0; stations],
        collisions: 0,
        given_up: 0,
        longest_ns: 0,
        time_ns,
    };
    let mut all: Vec<Station> = (0..stations)
        .map(|number| Station {
            dice: Dice::new(number as u64),
            attempt: Attempt::new(RULES, 0),
            begun: 0,
        })
        .collect();
    let mut events: BinaryHeap<_> = (0..stations)
        .map(|number| Reverse((number as u64 * 7, number, Event::Ready)))
        .collect();
    let mut words = 0;
    let mut line_is_free = 0;
    while let Some(Reverse((now, number, event))) = events.pop() {
        if now > time_ns {
            break;
        }
        let station = &mut all[number];
        match event {
            Event::Ready => {
                station.attempt = Attempt::new(RULES, now);
                station.begun = now;
                events.push(Reverse((now, number, Event::Sense)));
            }
            Event::Sense => match station.attempt.step(now) {
                Step::Wait(until) => events.push(Reverse((until, number, Event::Sense))),
                Step::Sense => {
                    // One after the other, as caches do it.
                    line_is_free = now.max(line_is_free) + EXCHANGE_NS;
                    events.push(Reverse((line_is_free, number, Event::Exchange(words))));
                }
                Step::GiveUp(GivenUp::Collisions | GivenUp::Deferral) => {
                    outcome.given_up += 1;
                    events.push(Reverse((now + FRAME_NS, number, Event::Ready)));
                }
            },
            Event::Exchange(seen) if seen == words => {
                words += 1;
                outcome.sent[number] += 1;
                outcome.longest_ns = outcome.longest_ns.max(now - station.begun);
                events.push(Reverse((now + FRAME_NS, number, Event::Ready)));
            }
            Event::Exchange(_) => {
                outcome.collisions += 1;
                station.attempt.collided(now, &mut station.dice);
                events.push(Reverse((now, number, Event::Sense)));
            }
        }
    }
    outcome
}
