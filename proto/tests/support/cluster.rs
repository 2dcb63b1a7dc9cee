// SPDX-License-Identifier: GPL-2.0

//! A few vnodes with their shared memory, for tests of one thread.

use crate::cells::Cells;
use adeos_proto::dsp::{links::Links, mailbox, Dsp, Event, Turn};
use adeos_proto::id::{Generation, Life, VnodeId};
use adeos_proto::membership::observer::{Observer, Seen};
use adeos_proto::membership::publisher::{Departure, Publisher};
use adeos_proto::membership::{layout, HISTORY};

/// Requests that wait and services, as the tests have them.
pub(crate) type End = Dsp<32, 8>;

/// A vnode that runs.
pub(crate) struct Node {
    pub(crate) observer: Observer,
    pub(crate) dsp: End,
}

/// The machine.
pub(crate) struct Cluster {
    pub(crate) mail: Cells,
    pub(crate) views: Cells,
    pub(crate) publisher: Publisher,
    pub(crate) links: Links,
    pub(crate) nodes: Vec<Option<Node>>,
    /// What the messages say that brought the events of the last turn.
    pub(crate) said: Vec<Vec<u8>>,
}

pub(crate) fn life(vnode: u32, generation: u32) -> Life {
    Life {
        vnode: VnodeId::new(vnode).unwrap(),
        generation: Generation(generation),
    }
}

impl Cluster {
    /// The root and `others` vnodes, all in their first life and joined.
    pub(crate) fn new(others: u32) -> Self {
        let views = Cells::new(layout::SIZE);
        let publisher = Publisher::new(&views, Generation(1));
        let mut cluster = Self {
            mail: Cells::new(mailbox::AREA_SIZE),
            views,
            publisher,
            links: Links::new(),
            nodes: Vec::new(),
            said: Vec::new(),
        };
        cluster.nodes.push(Some(Node::new(life(0, 1))));
        for vnode in 1..=others {
            cluster.nodes.push(None);
            cluster.start(vnode, 1);
        }
        for vnode in 0..=others {
            cluster.look(vnode);
        }
        cluster
    }

    pub(crate) fn start(&mut self, vnode: u32, generation: u32) {
        let life = life(vnode, generation);
        Publisher::clear(&self.views, life.vnode);
        self.publisher.join(&self.views, life).unwrap();
        self.nodes[vnode as usize] = Some(Node::new(life));
        self.links.open_ready(&self.mail, &self.publisher);
    }

    pub(crate) fn die(&mut self, vnode: u32) {
        if let Some(node) = self.nodes[vnode as usize].take() {
            let life = node.observer.life();
            self.publisher
                .remove(&self.views, life, Departure::Died(1))
                .unwrap();
        }
    }

    /// A vnode looks at the views and acknowledges; the root looks at that.
    pub(crate) fn look(&mut self, vnode: u32) {
        let Some(node) = &mut self.nodes[vnode as usize] else {
            return;
        };
        for _ in 0..=HISTORY {
            match node.observer.next(&self.views) {
                Seen::View(view) => node.dsp.on_view(&view),
                Seen::TooSlow { .. } => {}
                Seen::Nothing => break,
                Seen::Corrupt => panic!("nobody has written nonsense"),
            }
        }
        node.observer.acknowledge(&self.views);
        self.publisher.observe(&self.views);
        self.links.open_ready(&self.mail, &self.publisher);
        node.dsp.notify(u16::MAX);
    }

    pub(crate) fn dsp(&mut self, vnode: u32) -> &mut End {
        &mut self.nodes[vnode as usize].as_mut().unwrap().dsp
    }

    /// One turn of a vnode.
    pub(crate) fn turn(&mut self, vnode: u32) -> Vec<Event> {
        let Some(node) = &mut self.nodes[vnode as usize] else {
            return Vec::new();
        };
        node.dsp.notify(u16::MAX);
        let mut turn = Turn::new();
        let mut events = Vec::new();
        self.said.clear();
        while let Some(event) = node.dsp.next(&self.mail, &mut turn) {
            events.push(event);
            let said = node.dsp.message().checked_payload();
            self.said.push(said.unwrap_or_default().to_vec());
        }
        events
    }
}

impl Node {
    fn new(life: Life) -> Self {
        Self {
            observer: Observer::new(life),
            dsp: Dsp::new(life, u64::from(life.generation.0) << 32),
        }
    }
}
