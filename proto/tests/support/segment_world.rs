// SPDX-License-Identifier: GPL-2.0

//! A segment with some stations, and what is to arrive at each.

use crate::cells::Cells;
use adeos_proto::id::{Generation, VnodeId, MAX_VNODES};
use adeos_proto::vnet::incoming::Taker;
use adeos_proto::vnet::ledger::{Books, Frame, Line};
use adeos_proto::vnet::outgoing::{Do, Ready, Sender};
use adeos_proto::vnet::port::{Lane, Lanes, Port, PORTS};
use adeos_proto::vnet::station::{Lives, Mac, Own};
use adeos_proto::vnet::{self, CHUNKS, SIGNATURE, SIZE};
use adeos_proto::window::Window;
use std::collections::VecDeque;

pub(crate) const STATIONS: usize = 4;

pub(crate) fn vnode(number: usize) -> VnodeId {
    VnodeId::new(number as u32).expect("a vnode")
}

pub(crate) fn port(number: usize, lane: usize) -> Port {
    Port {
        vnode: vnode(number),
        lane: Lane::new(lane as u32).expect("a lane"),
    }
}

/// One vnode's part; the rest by lane.
pub(crate) struct Station {
    pub(crate) own: Own,
    pub(crate) senders: Vec<Sender<Vec<Line>, Vec<Frame>>>,
    pub(crate) takers: Vec<Taker>,
}

/// Frames on their way, and whether each has to arrive.
pub(crate) type Due = VecDeque<(Vec<u8>, bool)>;

/// A segment, and what is to arrive.
pub(crate) struct World {
    pub(crate) memory: Cells,
    pub(crate) lives: Lives,
    pub(crate) stations: Vec<Option<Station>>,
    /// Lanes of each station when it joins.
    pub(crate) lanes: [usize; STATIONS],
    /// By sending port and taking station: what is on its way, and whether it has to arrive.
    pub(crate) due: Vec<Vec<Due>>,
    /// Frames that were sent, each of which has its number.
    sent: u64,
    pub(crate) now: u64,
}

pub(crate) fn mac(number: usize) -> Mac {
    Mac::of_vnode("lan", vnode(number))
}

impl World {
    /// One in which each station has one lane.
    pub(crate) fn new() -> Self {
        Self::with([1; STATIONS])
    }

    pub(crate) fn with(lanes: [usize; STATIONS]) -> Self {
        let memory = Cells::new(SIZE);
        vnet::create(&memory);
        assert_eq!(SIGNATURE.check(&memory), Ok(()));
        let mut world = Self {
            memory,
            lives: [None; MAX_VNODES],
            stations: (0..STATIONS).map(|_| None).collect(),
            lanes,
            due: vec![vec![VecDeque::new(); STATIONS]; PORTS],
            sent: 0,
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
        let me = vnode(number);
        let lanes = Lanes::new(self.lanes[number]).expect("a number of lanes");
        let (own, wires) = Own::join(&self.memory, me, life, mac(number), lanes);
        let epoch = own.epoch();
        let sender = |lane: Lane| {
            let seed = number as u64 * 1000 + u64::from(life.0) + 77 * u64::from(lane.number());
            let books = Books {
                lines: vec![Line::NEW; MAX_VNODES],
                frames: vec![Frame::NEW; CHUNKS],
            };
            Sender::new(Port { vnode: me, lane }, lanes, epoch, seed, books)
        };
        let taker = |(lane, wire): (usize, _)| Taker::new(port(number, lane), epoch, wire);
        self.stations[number] = Some(Station {
            senders: lanes.each().map(sender).collect(),
            takers: wires.into_iter().flatten().enumerate().map(taker).collect(),
            own,
        });
        self.forget(number);
        // What it has sent before, it may replace.
        for lane in 0..4 {
            let due = &mut self.due[port(number, lane).index()];
            for (_, must) in due.iter_mut().flatten() {
                *must = false;
            }
        }
    }

    pub(crate) fn forget(&mut self, number: usize) {
        for due in &mut self.due {
            due[number].clear();
        }
    }

    pub(crate) fn membership_changes(&mut self) {
        for station in self.stations.iter_mut().flatten() {
            station.senders.iter_mut().for_each(Sender::expire);
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

    /// What all lanes of all stations have found that made no sense.
    pub(crate) fn lies(&self) -> u64 {
        let stations = self.stations.iter().flatten();
        let senders = stations.flat_map(|station| &station.senders);
        senders.map(|sender| sender.counts().lies).sum()
    }

    /// Sends a frame by the first lane; whom it is raised for.
    pub(crate) fn send(&mut self, from: usize, to: Mac, body: &[u8]) -> Outcome {
        self.send_by(port(from, 0), to, body)
    }

    /// The same by another lane, which is one of the station's.
    pub(crate) fn send_by(&mut self, by: Port, to: Mac, body: &[u8]) -> Outcome {
        self.send_while(by, to, body, |_| {})
    }

    /// Sends a frame by the first lane, which comes to the wires after something else has happened.
    pub(crate) fn send_after(
        &mut self,
        from: usize,
        to: Mac,
        body: &[u8],
        meanwhile: impl FnOnce(&mut Self),
    ) -> Outcome {
        self.send_while(port(from, 0), to, body, meanwhile)
    }

    fn send_while(
        &mut self,
        by: Port,
        to: Mac,
        body: &[u8],
        meanwhile: impl FnOnce(&mut Self),
    ) -> Outcome {
        let from = by.vnode.index();
        let Some(mut station) = self.stations[from].take() else {
            return Outcome::Lost;
        };
        let frame = frame(to, from, body, self.sent);
        self.sent += 1;
        let outcome = self.carry(&mut station.senders[by.lane.index()], to, &frame, meanwhile);
        self.stations[from] = Some(station);
        if let Ok((_, must)) = &outcome {
            for to in self.hears(from, to) {
                self.due[by.index()][to].push_back((frame.clone(), *must));
            }
        }
        match outcome {
            Ok((raised, _)) => Outcome::Sent(raised),
            Err(outcome) => outcome,
        }
    }

    /// Whom a frame was raised for, and whether it has to arrive.
    fn carry(
        &mut self,
        sender: &mut Sender<Vec<Line>, Vec<Frame>>,
        to: Mac,
        frame: &[u8],
        meanwhile: impl FnOnce(&mut Self),
    ) -> Result<(Vec<Port>, bool), Outcome> {
        sender.look(&self.memory, &self.lives);
        let outgoing = match sender.begin(&self.memory, to, frame.len(), self.now) {
            Ready::Nobody | Ready::Missed => return Err(Outcome::Lost),
            Ready::Wait(until) => return Err(Outcome::Wait(until)),
            Ready::Begun(outgoing) => outgoing,
        };
        self.memory.write(outgoing.body(), frame);
        let mut sending = sender.finish(&self.memory, outgoing, [7; 16]);
        meanwhile(self);
        let mut raised = Vec::new();
        let before = sender.counts();
        loop {
            self.now += 10;
            match sender.step(&self.memory, &mut sending, self.now) {
                Do::Again => {}
                Do::Wait(until) => self.now = until,
                Do::Raise(port) => raised.push(port),
                Do::Done => break,
                Do::Requeue(until) => return Err(Outcome::Wait(until)),
            }
        }
        // What finds nonsense on a wire does not come through it, nor does what finds it full.
        let after = sender.counts();
        let must = after.lies == before.lies && after.missed == before.missed;
        Ok((raised, must))
    }

    /// What the first lane of a station has not got through to somebody, ever.
    pub(crate) fn missed(&self, number: usize) -> u64 {
        let station = self.stations[number].as_ref();
        station.map_or(0, |station| station.senders[0].counts().missed)
    }

    pub(crate) fn hears(&self, from: usize, to: Mac) -> Vec<usize> {
        (0..STATIONS)
            .filter(|other| *other != from && self.stations[*other].is_some())
            .filter(|other| to.is_group() || to == mac(*other))
            .collect()
    }

    /// Takes all that is on a station's wires; how many frames.
    pub(crate) fn take(&mut self, number: usize) -> usize {
        let lanes = self.stations[number]
            .as_ref()
            .map_or(0, |station| station.takers.len());
        (0..lanes).map(|lane| self.take_from(number, lane)).sum()
    }

    /// The same of one wire.
    pub(crate) fn take_from(&mut self, number: usize, lane: usize) -> usize {
        let Some(station) = self.stations[number].as_mut() else {
            return 0;
        };
        let lanes = station.takers.len();
        let taker = &mut station.takers[lane];
        let mut count = 0;
        let mut budget = usize::MAX;
        while let Some(incoming) = taker.next(&self.memory, &mut budget) {
            let from = incoming.from();
            // VN-57
            assert_eq!((from.lane.index() + from.vnode.index()) % lanes, lane);
            let mut bytes = vec![0; incoming.length];
            self.memory.read(incoming.body(), &mut bytes);
            assert_eq!(incoming.offload, [7; 16]);
            taker
                .taken(&self.memory, incoming)
                .expect("a frame that stands");
            loop {
                let due = self.due[from.index()][number].pop_front();
                let (due, must) = due.expect("a frame that was sent");
                if due == bytes {
                    break;
                }
                assert!(!must, "from {from:?} to {number}");
            }
            count += 1;
        }
        count
    }
}

pub(crate) enum Outcome {
    Sent(Vec<Port>),
    Wait(u64),
    Lost,
}

pub(crate) fn frame(to: Mac, from: usize, body: &[u8], number: u64) -> Vec<u8> {
    let mut frame = to.0.to_vec();
    frame.extend(mac(from).0);
    frame.extend([8, 0]);
    frame.extend(body);
    frame.extend(number.to_le_bytes());
    frame
}
