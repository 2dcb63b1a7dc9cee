// SPDX-License-Identifier: GPL-2.0

//! Four vnodes that ask and tell each other things, die, come back and are slow to notice.
//!
//! Numbers are those of docs/dsp.md.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/cells.rs"]
mod cells;
#[path = "support/cluster.rs"]
mod cluster;

use adeos_proto::dsp::{Area, Cookie, Ended, Event, Outcome, Payload, Request, SendError};
use adeos_proto::id::Life;
use cluster::{life, Cluster};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const SERVICE: u16 = 0xff01;
const OTHERS: u32 = 3;

#[derive(Clone, Debug)]
enum Call {
    Ask(u32, u32, u64),
    Tell(u32, u32),
    Turn(u32),
    Answer(u32),
    Expire(u32, u64),
    Look(u32),
    Die(u32),
    Restart(u32),
}

fn any_call() -> impl Strategy<Value = Call> {
    let who = || 0..=OTHERS;
    prop_oneof![
        6 => (who(), who(), 1..50u64).prop_map(|(a, b, patience)| Call::Ask(a, b, patience)),
        4 => (who(), who()).prop_map(|(a, b)| Call::Tell(a, b)),
        6 => who().prop_map(Call::Turn),
        6 => who().prop_map(Call::Answer),
        2 => (who(), 0..10u64).prop_map(|(a, passes)| Call::Expire(a, passes)),
        3 => who().prop_map(Call::Look),
        1 => (1..=OTHERS).prop_map(Call::Die),
        2 => (1..=OTHERS).prop_map(Call::Restart),
    ]
}

struct World {
    cluster: Cluster,
    now: u64,
    marker: u64,
    generations: [u32; OTHERS as usize + 1],
    /// Requests that are yet to end, by who asked, with what was asked.
    asked: BTreeMap<(Life, Cookie), (Life, u64)>,
    ended: BTreeSet<(Life, Cookie)>,
    /// What was told and is yet to arrive, by sender and receiver.
    told: BTreeMap<(Life, Life), VecDeque<u64>>,
    /// Requests that a vnode is yet to answer.
    pending: Vec<VecDeque<(Request, u64)>>,
    dead: BTreeSet<Life>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            cluster: Cluster::new(OTHERS),
            now: 0,
            marker: 0,
            generations: [1; OTHERS as usize + 1],
            asked: BTreeMap::new(),
            ended: BTreeSet::new(),
            told: BTreeMap::new(),
            pending: vec![VecDeque::new(); OTHERS as usize + 1],
            dead: BTreeSet::new(),
        };
        (0..=OTHERS).for_each(|vnode| world.serve(vnode));
        world
    }

    fn serve(&mut self, vnode: u32) {
        let dsp = self.cluster.dsp(vnode);
        dsp.register(Area::Local, SERVICE, 1).unwrap();
    }

    fn life(&self, vnode: u32) -> Life {
        life(vnode, self.generations[vnode as usize])
    }

    fn fresh(&mut self) -> (u64, Payload) {
        self.marker += 1;
        (
            self.marker,
            Payload::new(&self.marker.to_le_bytes()).unwrap(),
        )
    }

    fn run(&mut self, call: Call) {
        let runs = |world: &Self, vnode: u32| world.cluster.nodes[vnode as usize].is_some();
        match call {
            Call::Restart(vnode) if !runs(self, vnode) => {
                self.generations[vnode as usize] += 1;
                self.cluster.start(vnode, self.generations[vnode as usize]);
                self.serve(vnode);
            }
            Call::Ask(a, ..) | Call::Tell(a, _) if !runs(self, a) => {}
            Call::Turn(a) | Call::Answer(a) | Call::Expire(a, _) if !runs(self, a) => {}
            Call::Ask(a, b, patience) => self.ask(a, b, patience),
            Call::Tell(a, b) => self.tell(a, b),
            Call::Turn(a) => self.turn(a),
            Call::Answer(a) => self.answer(a),
            Call::Expire(a, passes) => self.expire(a, passes),
            Call::Look(a) => self.cluster.look(a),
            Call::Die(a) => {
                if runs(self, a) {
                    self.dead.insert(self.life(a));
                }
                self.cluster.die(a);
                self.pending[a as usize].clear();
            }
            Call::Restart(_) => {}
        }
    }

    fn ask(&mut self, a: u32, b: u32, patience: u64) {
        let (marker, payload) = self.fresh();
        let deadline = self.now + patience;
        let me = self.life(a);
        let Cluster { mail, nodes, .. } = &mut self.cluster;
        let dsp = &mut nodes[a as usize].as_mut().unwrap().dsp;
        let Some(to) = dsp.life_of(life(b, 1).vnode) else {
            let gone = dsp.request(mail, life(b, 1), SERVICE, &payload, deadline);
            assert_eq!(gone, Err(SendError::Gone));
            return;
        };
        assert!(a != b);
        match dsp.request(mail, to, SERVICE, &payload, deadline) {
            Ok(cookie) => {
                let before = self.asked.insert((me, cookie), (to, marker));
                assert!(before.is_none() && !self.ended.contains(&(me, cookie)));
            }
            Err(SendError::Broken) => panic!("nobody lies here"),
            Err(_) => {}
        }
    }

    fn tell(&mut self, a: u32, b: u32) {
        let (marker, payload) = self.fresh();
        let me = self.life(a);
        let Cluster { mail, nodes, .. } = &mut self.cluster;
        let dsp = &mut nodes[a as usize].as_mut().unwrap().dsp;
        let Some(to) = dsp.life_of(life(b, 1).vnode) else {
            return;
        };
        if dsp.tell(mail, to, SERVICE, &payload).is_ok() {
            self.told.entry((me, to)).or_default().push_back(marker);
        }
    }

    fn turn(&mut self, a: u32) {
        let me = self.life(a);
        let events = self.cluster.turn(a);
        for (event, said) in events.into_iter().zip(self.cluster.said.clone()) {
            match event {
                Event::Told { from, .. } => {
                    let expected = self.told.get_mut(&(from, me)).unwrap().pop_front();
                    assert_eq!(said, expected.unwrap().to_le_bytes());
                }
                Event::Asked { request, .. } => {
                    let marker = u64::from_le_bytes(said.try_into().unwrap());
                    self.pending[a as usize].push_back((request, marker));
                }
                Event::Ended(ended) => self.end(me, ended, &said),
                Event::Broken(_) => panic!("nobody lies here"),
            }
        }
    }

    fn answer(&mut self, a: u32) {
        let Some((request, marker)) = self.pending[a as usize].pop_front() else {
            return;
        };
        let answer = Payload::new(&(marker + 1).to_le_bytes()).unwrap();
        let Cluster { mail, nodes, .. } = &mut self.cluster;
        let dsp = &mut nodes[a as usize].as_mut().unwrap().dsp;
        let result = dsp.reply(mail, &request, 1, &answer);
        assert_ne!(result, Err(SendError::Broken));
    }

    fn expire(&mut self, a: u32, passes: u64) {
        self.now += passes;
        let me = self.life(a);
        while let Some(ended) = self.cluster.dsp(a).next_ended(self.now) {
            self.end(me, ended, &[]);
        }
    }

    fn end(&mut self, me: Life, ended: Ended, said: &[u8]) {
        let key = (me, ended.cookie);
        let (to, marker) = self.asked.remove(&key).expect("ends once");
        assert!(self.ended.insert(key));
        assert_eq!((ended.to, ended.service), (to, SERVICE));
        match ended.outcome {
            Outcome::Reply { status } => {
                assert_eq!(status, 1);
                assert_eq!(said, (marker + 1).to_le_bytes());
            }
            Outcome::Gone => assert!(self.dead.contains(&to)),
            Outcome::TimedOut => {}
            Outcome::Refused(_) | Outcome::Broken => panic!("nobody lies here"),
        }
    }

    /// All that waits ends, and two vnodes that live and have seen the last view can talk.
    fn settle(&mut self) {
        for vnode in 1..=OTHERS {
            self.run(Call::Restart(vnode));
        }
        for _ in 0..3 {
            (0..=OTHERS).for_each(|vnode| self.run(Call::Look(vnode)));
            for vnode in 0..=OTHERS {
                (0..4).for_each(|_| self.turn(vnode));
                while !self.pending[vnode as usize].is_empty() {
                    self.answer(vnode);
                }
            }
        }
        (0..=OTHERS).for_each(|vnode| self.expire(vnode, 1_000));
        let living = |life: &Life| !self.dead.contains(life);
        assert!(self.asked.keys().all(|(me, _)| !living(me)));
        let is_left = |(pair, left): (&(Life, Life), &VecDeque<u64>)| {
            living(&pair.0) && living(&pair.1) && !left.is_empty()
        };
        assert!(!self.told.iter().any(is_left));
        for a in 0..=OTHERS {
            for b in (0..=OTHERS).filter(|b| *b != a) {
                let before = self.asked.len();
                self.ask(a, b, 10);
                assert_eq!(self.asked.len(), before + 1);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// DS-23, DS-24, DS-31, DS-32, DS-35: every request ends once and rightly; what is told
    /// arrives in order, once, in the life that it was meant for.
    #[test]
    fn requests_end_once_and_words_reach_their_life(
        calls in prop::collection::vec(any_call(), 1..400)
    ) {
        let mut world = World::new();
        for call in calls {
            world.run(call);
        }
        world.settle();
    }
}
