// SPDX-License-Identifier: GPL-2.0

//! The sharing protocol between the root and vnode 2, with vnode 1 writing what it likes into the
//! mailboxes that it shares with each of them, or into all that there are (docs/dsp.md).
//!
//! The four directions to and from vnode 1 are its own to spoil; then nothing happens to the link
//! of the other two. Whichever it writes to, every request ends exactly once, a turn is bounded,
//! and each end stores into what is its own.

#![no_main]

use adeos_proto::dsp::links::Links;
use adeos_proto::dsp::mailbox::{self, Layout};
use adeos_proto::dsp::message::Message;
use adeos_proto::dsp::{
    Area, Cookie, Dsp, Event, Outcome, Payload, Request, SendError, Turn, TURN,
};
use adeos_proto::id::{Generation, Life};
use adeos_proto::membership::layout as views;
use adeos_proto::membership::observer::Observer;
use adeos_proto::membership::publisher::{Departure, Publisher};
use hostile::{at, honest_view, life, vnode, Input, Memory};
use std::collections::BTreeSet;
use std::ops::Range;

const ECHO: u16 = 0xff00;
const HOSTILE: u32 = 1;
/// The status of every reply that was not made up.
const HONEST: i32 = -5;

/// A message is taken by two numbers and a copy, or three of them; each may be answered by a push.
/// Then there are sixteen rings to look into and to open.
const MOST: usize = (TURN as usize + 1) * 8 + 16 * 4;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    let spoils_all = input.yes();
    let mut cluster = Cluster::new(&input, spoils_all);
    while !input.is_over() {
        cluster.step(&input);
    }
    cluster.end();
});

/// What lies where in the mailbox from one vnode to another, as far as each side writes it.
fn sent(from: u32, to: u32) -> [Range<usize>; 2] {
    let ring = Layout::of(vnode(from), vnode(to));
    [
        ring.head..ring.head + 4,
        ring.messages..ring.tag + mailbox::SIZE,
    ]
}

fn taken(from: u32, to: u32) -> Range<usize> {
    let ring = Layout::of(vnode(from), vnode(to));
    ring.tail..ring.tail + 4
}

fn whole(from: u32, to: u32) -> Range<usize> {
    let ring = Layout::of(vnode(from), vnode(to));
    ring.tag..ring.tag + mailbox::SIZE
}

/// A message of vnode 1 in its place, in which each field is right or nearly so.
fn push_nearly_right(memory: &Memory<'_>, peer: &Input<'_>) {
    let choice = peer.byte();
    let ring = Layout::of(vnode(HOSTILE), vnode(u32::from(choice & 2)));
    let head = memory.copy(at(ring.head, 4));
    let head = head
        .first_chunk::<4>()
        .map_or(0, |head| u32::from_le_bytes(*head));
    let message = Message {
        version: u16::from(choice >> 2 & 7 != 0),
        service: ECHO,
        kind: choice >> 5,
        flags: u8::from(choice == 0xff),
        length: u16::from(peer.byte()) % 100,
        sender: 1 + u32::from(peer.byte() % 3),
        receiver: 1,
        cookie: u64::from(peer.byte() % 32),
        status: i32::from(peer.byte()),
        ..Message::default()
    };
    let slot = (head % mailbox::CAPACITY) as usize;
    memory.fill(ring.messages + slot * Message::SIZE, &message.to_bytes());
    memory.fill(ring.head, &head.wrapping_add(1).to_le_bytes());
}

struct End {
    me: Life,
    observer: Observer,
    dsp: Dsp<32, 4>,
    waiting: BTreeSet<Cookie>,
    asked: Vec<Request>,
    broken: BTreeSet<Life>,
    /// The peer writes to all mailboxes.
    may_be_fooled: bool,
}

impl End {
    fn new(me: Life, may_be_fooled: bool) -> Self {
        let mut end = Self {
            me,
            observer: Observer::new(me),
            dsp: Dsp::new(me, 1),
            waiting: BTreeSet::new(),
            asked: Vec::new(),
            broken: BTreeSet::new(),
            may_be_fooled,
        };
        assert_eq!(end.dsp.register(Area::Local, ECHO, 7), Ok(()));
        end
    }

    /// What this vnode writes and reads, and nothing else: no tag (DS-1, DS-20).
    fn play(&self, memory: &Memory<'_>) {
        let me = self.me.vnode.number();
        let others = (0..3).filter(|other| *other != me);
        let sees = others.clone().flat_map(|it| [whole(it, me), whole(me, it)]);
        let owns = others.flat_map(|it| {
            let [head, messages] = sent(me, it);
            [head, messages, taken(it, me)]
        });
        memory.role(&sees.collect::<Vec<_>>(), &owns.collect::<Vec<_>>());
        memory.accesses();
    }

    fn turn(&mut self, memory: &Memory<'_>) {
        self.play(memory);
        self.dsp.notify(0b111);
        let mut turn = Turn::new();
        let mut events = 0;
        while let Some(event) = self.dsp.next(memory, &mut turn) {
            events += 1;
            match event {
                Event::Told { from, .. } => assert_ne!(from, self.me),
                Event::Asked { request, .. } => self.asked.push(request),
                Event::Ended(ended) => {
                    assert!(self.waiting.remove(&ended.cookie));
                    let reply = match ended.outcome {
                        Outcome::Reply { status } => status,
                        _ => HONEST,
                    };
                    let is_honest = ended.to.vnode != vnode(HOSTILE);
                    assert!(reply == HONEST || !is_honest || self.may_be_fooled);
                }
                Event::Broken(who) => assert!(self.broken.insert(who), "reported twice"),
            }
        }
        assert!(events <= TURN as usize + 2 && memory.accesses() <= MOST);
    }

    fn send(&mut self, memory: &Memory<'_>, input: &Input<'_>, now_ns: u64) {
        self.play(memory);
        let to = life(input.below(3) as u32, 1 + u32::from(input.byte() % 4));
        let payload = Payload::new(input.take(input.below(97))).unwrap_or(Payload::EMPTY);
        match input.byte() % 4 {
            0 => {
                let told = self.dsp.tell(memory, to, ECHO, &payload);
                assert!(to != self.me || told == Err(SendError::Gone));
            }
            1 => match self.asked.pop() {
                Some(request) => drop(self.dsp.reply(memory, &request, HONEST, &payload)),
                None => return,
            },
            _ => {
                let deadline_ns = now_ns + u64::from(input.byte());
                let asked = self.dsp.request(memory, to, ECHO, &payload, deadline_ns);
                assert!(asked.is_err() || asked.is_ok_and(|cookie| self.waiting.insert(cookie)));
            }
        }
        assert!(memory.accesses() <= 8);
    }

    /// DS-55: puts whoever has sent malformed messages into quarantine, as the root does.
    fn mistrust(&mut self) {
        while let Some(who) = self.dsp.next_malformed() {
            assert!(who.vnode == vnode(HOSTILE) || self.may_be_fooled);
            if !self.dsp.is_broken(who.vnode) {
                self.dsp.shun(who);
                assert!(self.dsp.is_broken(who.vnode) && self.broken.insert(who));
            }
        }
    }

    fn pass(&mut self, now_ns: u64) {
        while let Some(ended) = self.dsp.next_ended(now_ns) {
            assert!(self.waiting.remove(&ended.cookie), "ended twice");
        }
        assert_eq!(self.dsp.outstanding(), self.waiting.len());
    }
}

struct Cluster<'a> {
    mail: Memory<'a>,
    views: Memory<'a>,
    publisher: Publisher,
    links: Links,
    ends: [End; 2],
    hostile: u32,
    spoils_all: bool,
    now_ns: u64,
}

impl<'a> Cluster<'a> {
    fn new(input: &'a Input<'a>, spoils_all: bool) -> Self {
        let views = Memory::quiet(views::SIZE);
        let mut publisher = Publisher::new(&views, Generation(1));
        assert!(publisher.join(&views, life(2, 1)).is_ok());
        let mut cluster = Self {
            mail: Memory::quiet(mailbox::AREA_SIZE),
            views,
            publisher,
            links: Links::new(),
            ends: [life(0, 1), life(2, 1)].map(|me| End::new(me, spoils_all)),
            hostile: 0,
            spoils_all,
            now_ns: 0,
        };
        cluster.look();
        cluster.live_again();

        let own = [0, 2].map(|other| [whole(other, HOSTILE), whole(HOSTILE, other)]);
        let mut reach = own.concat();
        if spoils_all {
            reach.extend([whole(0, 2), whole(2, 0)]);
        }
        let numbers = |ring: &Range<usize>| [0, 0x80, 0x100].map(|offset| ring.start + offset);
        let hot = reach.iter().flat_map(numbers).collect();
        cluster.mail.disturb(input, reach, hot);
        cluster.mail.forge_by(push_nearly_right);
        cluster
    }

    /// Vnode 1 dies, or lives again: both others look at the view.
    fn live_again(&mut self) {
        match self.publisher.view().life(vnode(HOSTILE)) {
            Some(life) => {
                let died = self.publisher.remove(&self.views, life, Departure::Died(1));
                assert!(died.is_ok());
            }
            None => {
                self.hostile += 1;
                let joined = self
                    .publisher
                    .join(&self.views, life(HOSTILE, self.hostile));
                assert!(joined.is_ok());
            }
        }
        self.look();
    }

    fn look(&mut self) {
        for end in &mut self.ends {
            while let Some(view) = honest_view(&mut end.observer, &self.views) {
                end.dsp.on_view(&view);
            }
            end.observer.acknowledge(&self.views);
        }
        self.publisher.observe(&self.views);
        let rings = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)];
        let rings = rings.map(|(from, to)| whole(from, to));
        self.mail.role(&[], &rings);
        self.links.open_ready(&self.mail, &self.publisher);
    }

    fn step(&mut self, input: &Input<'_>) {
        let choice = input.byte();
        if choice >= 0xf0 {
            return self.live_again();
        }
        self.now_ns += u64::from(choice >> 6);
        let Some(end) = self.ends.get_mut(usize::from(choice & 1)) else {
            return;
        };
        match choice >> 1 & 3 {
            0 => end.turn(&self.mail),
            1 if choice & 0x38 == 0x38 => end.mistrust(),
            1 => end.pass(self.now_ns),
            _ => end.send(&self.mail, input, self.now_ns),
        }
    }

    /// The peer has stopped. All that waits ends, and the link of the other two is whole if the
    /// peer has kept to its own mailboxes.
    fn end(mut self) {
        for end in &mut self.ends {
            let received = |end: &End| {
                let counters = [0, 1, 2].map(|number| end.dsp.counters(vnode(number)));
                counters.map(|counters| counters.received)
            };
            let before = received(end);
            (0..8).for_each(|_| end.turn(&self.mail));
            for (now, before) in received(end).into_iter().zip(before) {
                assert!(
                    now - before <= u64::from(mailbox::CAPACITY),
                    "no ring holds more"
                );
            }
            end.pass(u64::MAX);
            assert!(end.waiting.is_empty());
            assert!(end
                .broken
                .iter()
                .all(|who| self.spoils_all || who.vnode == vnode(HOSTILE)));
        }
        if self.spoils_all {
            return;
        }
        let [root, other] = &mut self.ends;
        // What was sent before comes first; a ring holds 64.
        for _ in 0..8 {
            root.turn(&self.mail);
            other.turn(&self.mail);
        }
        other.asked.clear();
        root.play(&self.mail);
        let asked = root
            .dsp
            .request(&self.mail, other.me, ECHO, &Payload::EMPTY, 9);
        assert!(asked.is_ok_and(|cookie| root.waiting.insert(cookie)));
        other.turn(&self.mail);
        let Some(request) = other.asked.pop() else {
            unreachable!("the request has not come");
        };
        other.play(&self.mail);
        let replied = other
            .dsp
            .reply(&self.mail, &request, HONEST, &Payload::EMPTY);
        assert_eq!(replied, Ok::<(), SendError>(()));
        root.turn(&self.mail);
        assert!(root.waiting.is_empty());
    }
}
