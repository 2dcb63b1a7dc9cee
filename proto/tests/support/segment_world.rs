// SPDX-License-Identifier: GPL-2.0

//! A segment with some stations, and what is to arrive at each.

use crate::cells::Cells;
use adeos_proto::id::{Generation, VnodeId, MAX_VNODES};
use adeos_proto::vnet::incoming::Taker;
use adeos_proto::vnet::ledger::Line;
use adeos_proto::vnet::outgoing::{Do, Ready, Sender};
use adeos_proto::vnet::station::{Lives, Mac, Own};
use adeos_proto::vnet::{self, SIGNATURE, SIZE};
use adeos_proto::window::Window;
use std::collections::VecDeque;

pub(crate) const STATIONS: usize = 4;

pub(crate) fn vnode(number: usize) -> VnodeId {
    VnodeId::new(number as u32).expect("a vnode")
}

/// One vnode's part.
pub(crate) struct Station {
    pub(crate) own: Own,
    pub(crate) sender: Sender<Vec<Line>>,
    pub(crate) taker: Taker,
}

/// Frames on their way, and whether each has to arrive.
pub(crate) type Due = VecDeque<(Vec<u8>, bool)>;

/// A segment, and what is to arrive.
pub(crate) struct World {
    pub(crate) memory: Cells,
    pub(crate) lives: Lives,
    pub(crate) stations: Vec<Option<Station>>,
    /// By sender and taker: what is on its way, and whether it has to arrive.
    pub(crate) due: Vec<Vec<Due>>,
    pub(crate) now: u64,
}

pub(crate) fn mac(number: usize) -> Mac {
    Mac::of_vnode("lan", vnode(number))
}

impl World {
    pub(crate) fn new() -> Self {
        let memory = Cells::new(SIZE);
        vnet::create(&memory);
        assert_eq!(SIGNATURE.check(&memory), Ok(()));
        let mut world = Self {
            memory,
            lives: [None; MAX_VNODES],
            stations: (0..STATIONS).map(|_| None).collect(),
            due: vec![vec![VecDeque::new(); STATIONS]; STATIONS],
            now: 1,
        };
        for number in 0..STATIONS {
            world.join(number);
        }
        world
    }

    pub(crate) fn join(&mut self, number: usize) {
        let life = self.lives[number].map_or(Generation(1), |life| Generation(life.0 + 1));
        self.lives[number] = Some(life);
        self.membership_changes();
        let (own, wire) = Own::join(&self.memory, vnode(number), life, mac(number));
        let (me, epoch) = (vnode(number), own.epoch());
        self.stations[number] = Some(Station {
            sender: Sender::new(
                me,
                epoch,
                number as u64 * 1000 + u64::from(life.0),
                vec![Line::NEW; MAX_VNODES],
            ),
            taker: Taker::new(me, epoch, wire),
            own,
        });
        self.forget(number);
        // What it has sent before, it may replace.
        for (_, must) in self.due[number].iter_mut().flatten() {
            *must = false;
        }
    }

    pub(crate) fn forget(&mut self, number: usize) {
        for other in 0..STATIONS {
            self.due[other][number].clear();
        }
    }

    pub(crate) fn membership_changes(&mut self) {
        for station in self.stations.iter_mut().flatten() {
            station.sender.expire();
        }
    }

    /// It is gone without a word, and what it has put on wires arrives; then there is a later life.
    pub(crate) fn die(&mut self, number: usize, meanwhile: impl FnOnce(&mut Self)) {
        let life = self.lives[number].take();
        self.stations[number] = None;
        self.membership_changes();
        self.forget(number);
        meanwhile(self);
        self.lives[number] = life;
        self.join(number);
    }

    /// Sends a frame; to whom it went.
    pub(crate) fn send(&mut self, from: usize, to: Mac, body: &[u8]) -> Outcome {
        let Some(station) = self.stations[from].as_mut() else {
            return Outcome::Lost;
        };
        let frame = frame(to, from, body);
        let sender = &mut station.sender;
        sender.look(&self.memory, &self.lives);
        let outgoing = match sender.begin(&self.memory, to, frame.len(), self.now) {
            Ready::Nobody | Ready::Missed => return Outcome::Lost,
            Ready::Wait(until) => return Outcome::Wait(until),
            Ready::Begun(outgoing) => outgoing,
        };
        self.memory.write(outgoing.body(), &frame);
        let mut sending = sender.finish(&self.memory, outgoing, [7; 16]);
        let mut raised = Vec::new();
        loop {
            self.now += 10;
            match sender.step(&self.memory, &mut sending, self.now) {
                Do::Again => {}
                Do::Wait(until) => self.now = until,
                Do::Raise(vnode) => raised.push(vnode.index()),
                Do::Done => break,
                Do::Requeue(until) => return Outcome::Wait(until),
            }
        }
        for to in self.hears(from, to) {
            self.due[from][to].push_back((frame.clone(), true));
        }
        Outcome::Sent(raised)
    }

    pub(crate) fn hears(&self, from: usize, to: Mac) -> Vec<usize> {
        (0..STATIONS)
            .filter(|other| *other != from && self.stations[*other].is_some())
            .filter(|other| to.is_group() || to == mac(*other))
            .collect()
    }

    /// Takes all that is on a station's wire; how many frames.
    pub(crate) fn take(&mut self, number: usize) -> usize {
        let Some(station) = self.stations[number].as_mut() else {
            return 0;
        };
        let mut count = 0;
        let mut budget = usize::MAX;
        while let Some(incoming) = station.taker.next(&self.memory, &mut budget) {
            let from = incoming.from().index();
            let mut bytes = vec![0; incoming.length];
            self.memory.read(incoming.body(), &mut bytes);
            assert_eq!(incoming.offload, [7; 16]);
            station
                .taker
                .taken(&self.memory, incoming)
                .expect("a frame that stands");
            loop {
                let due = self.due[from][number].pop_front();
                let (due, must) = due.expect("a frame that was sent");
                if due == bytes {
                    break;
                }
                assert!(!must, "from {from} to {number}");
            }
            count += 1;
        }
        count
    }
}

pub(crate) enum Outcome {
    Sent(Vec<usize>),
    Wait(u64),
    Lost,
}

pub(crate) fn frame(to: Mac, from: usize, body: &[u8]) -> Vec<u8> {
    let mut frame = to.0.to_vec();
    frame.extend(mac(from).0);
    frame.extend([8, 0]);
    frame.extend(body);
    frame
}
