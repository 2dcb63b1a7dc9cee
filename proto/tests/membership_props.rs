// SPDX-License-Identifier: GPL-2.0

//! Membership: random joins, departures, restarts and slow observers; and who may use a ring.
//!
//! Numbers are those of docs/dsp.md.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/cells.rs"]
mod cells;

use adeos_proto::dsp::links::Links;
use adeos_proto::dsp::mailbox::{self, Layout};
use adeos_proto::id::{Generation, Life, VnodeId};
use adeos_proto::membership::observer::{Observer, Seen};
use adeos_proto::membership::publisher::{Agreement, Departure, Error, Progress, Publisher};
use adeos_proto::membership::{each, has, layout, Change, View, HISTORY};
use adeos_proto::window::Window;
use cells::Cells;
use proptest::prelude::*;

const VNODES: u32 = 4;

fn life(vnode: u32, generation: u32) -> Life {
    Life {
        vnode: VnodeId::new(vnode).unwrap(),
        generation: Generation(generation),
    }
}

/// A life that observes. A dead one stays where it was until its vnode's next life begins: its
/// CPUs may still be at it.
struct Node {
    observer: Observer,
    seen: Vec<View>,
    was_too_slow: bool,
}

impl Node {
    fn holds(&self, life: Life) -> bool {
        self.seen.last().is_some_and(|view| view.contains(life))
    }
}

struct World {
    memory: Cells,
    mail: Cells,
    publisher: Publisher,
    links: Links,
    /// All views, from number 1.
    all: Vec<View>,
    nodes: Vec<Option<Node>>,
    is_dead: Vec<bool>,
}

#[derive(Clone, Debug)]
enum Call {
    Start(u32, u32),
    End(u32, bool),
    Look(u32),
    Acknowledge(u32),
    Observe,
}

fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        3 => (0..VNODES, 0..3u32).prop_map(|(vnode, skip)| Call::Start(vnode, skip)),
        2 => (0..VNODES, any::<bool>()).prop_map(|(vnode, dies)| Call::End(vnode, dies)),
        4 => (0..VNODES).prop_map(Call::Look),
        3 => (0..VNODES).prop_map(Call::Acknowledge),
        3 => Just(Call::Observe),
    ]
}

impl World {
    fn new() -> Self {
        let memory = Cells::new(layout::SIZE);
        let publisher = Publisher::new(&memory, Generation(1));
        let mut world = Self {
            memory,
            mail: Cells::new(mailbox::AREA_SIZE),
            all: vec![*publisher.view()],
            publisher,
            links: Links::new(),
            nodes: (0..VNODES).map(|_| None).collect(),
            is_dead: vec![true; VNODES as usize],
        };
        world.begin(life(0, 1));
        world
    }

    fn begin(&mut self, life: Life) {
        self.is_dead[life.vnode.index()] = false;
        self.nodes[life.vnode.index()] = Some(Node {
            observer: Observer::new(life),
            seen: Vec::new(),
            was_too_slow: false,
        });
    }

    fn published(&mut self, number: u64) {
        assert_eq!(number, self.all.len() as u64 + 1);
        self.all.push(*self.publisher.view());
        assert_eq!(self.publisher.view().number(), number);
    }

    fn run(&mut self, call: Call) {
        match call {
            Call::Start(vnode, skip) => self.start(vnode, skip),
            Call::End(vnode, dies) => self.end(vnode, dies),
            Call::Look(vnode) => self.look(vnode),
            Call::Acknowledge(vnode) => {
                if let Some(node) = &self.nodes[vnode as usize] {
                    node.observer.acknowledge(&self.memory);
                }
            }
            Call::Observe => {
                self.publisher.observe(&self.memory);
                self.check_acknowledgements();
            }
        }
        self.open_links();
    }

    fn start(&mut self, vnode: u32, skip: u32) {
        let number = VnodeId::new(vnode).unwrap();
        let lives = self.all.iter().filter_map(|view| view.life(number));
        let last = lives.map(|life| life.generation.0).max().unwrap_or(0);
        let next = life(vnode, last + skip);
        let is_member = self.publisher.view().life(number).is_some();
        let is_allowed = !is_member && skip > 0;
        if is_allowed {
            Publisher::clear(&self.memory, number);
        }
        match self.publisher.join(&self.memory, next) {
            Ok(view) => {
                assert!(is_allowed);
                self.published(view);
                self.begin(next);
            }
            Err(error) if is_member => assert_eq!(error, Error::IsMember),
            Err(error) => assert_eq!((error, skip), (Error::OldLife, 0)),
        }
    }

    fn end(&mut self, vnode: u32, dies: bool) {
        let number = VnodeId::new(vnode).unwrap();
        let member = self.publisher.view().life(number);
        let member = member.unwrap_or(life(vnode, 77));
        let how = [Departure::Left, Departure::Died(6)][usize::from(dies)];
        match self.publisher.remove(&self.memory, member, how) {
            Ok(view) => {
                self.published(view);
                self.is_dead[vnode as usize] = true;
            }
            Err(Error::Root) => assert_eq!(vnode, 0),
            Err(error) => assert_eq!((error, member.generation.0), (Error::NotMember, 77)),
        }
    }

    fn look(&mut self, vnode: u32) {
        let Some(node) = &mut self.nodes[vnode as usize] else {
            return;
        };
        let latest = self.all.len() as u64;
        let last = node.observer.last();
        match node.observer.next(&self.memory) {
            Seen::View(view) => {
                assert_eq!(view, self.all[view.number() as usize - 1]);
                let follows = last == 0 || node.was_too_slow || view.number() == last + 1;
                assert!(follows && view.number() > last);
                node.seen.push(view);
                node.was_too_slow = false;
            }
            Seen::Nothing => assert!(last == latest || last == 0),
            Seen::TooSlow { missed } => {
                assert!(latest - last > HISTORY && missed > 0);
                node.was_too_slow = true;
            }
            Seen::Corrupt => panic!("nobody has written nonsense"),
        }
    }

    fn check_acknowledgements(&self) {
        let latest = self.all.len() as u64;
        assert_eq!(self.publisher.liars(), 0);
        for number in 1..=latest {
            let missing = self.publisher.missing(number);
            for vnode in each(missing) {
                // Those who are missed are members now and were then, in the same life.
                let life = self.publisher.view().life(vnode).unwrap();
                assert!(self.all[number as usize - 1].contains(life));
                assert!(self.publisher.reached(vnode).unwrap_or(0) < number);
            }
        }
    }

    /// DS-24: when a ring changes hands, no life still uses it under its old tag.
    fn open_links(&mut self) {
        let tags = |mail: &Cells| -> Vec<u64> {
            let ring = |pair: u32| {
                let (from, to) = (pair / VNODES, pair % VNODES);
                Layout::of(life(from, 1).vnode, life(to, 1).vnode)
            };
            (0..VNODES * VNODES)
                .map(|pair| mail.load_acquire64(ring(pair).tag))
                .collect()
        };
        let before = tags(&self.mail);
        let opened = self.links.open_ready(&self.mail, &self.publisher);
        let after = tags(&self.mail);
        for (pair, (old, new)) in (0..).zip(before.into_iter().zip(after)) {
            let (from, to) = (pair / VNODES, pair % VNODES);
            if old == new {
                continue;
            }
            assert!(has(opened, life(from, 1).vnode) && has(opened, life(to, 1).vnode));
            let lives = |tag: u64| (life(from, (tag >> 32) as u32), life(to, tag as u32));
            let view = self.publisher.view();
            let (sender, receiver) = lives(new);
            assert!(view.contains(sender) && view.contains(receiver));
            let (sender, receiver) = lives(old);
            assert!(old == 0 || !self.uses(sender, receiver) && !self.uses(receiver, sender));
        }
    }

    /// Whether a life that may still run takes another one for a member.
    fn uses(&self, life: Life, other: Life) -> bool {
        let node = self.nodes[life.vnode.index()].as_ref();
        node.is_some_and(|node| node.observer.life() == life && node.holds(other))
    }

    fn settle(&mut self) {
        for vnode in 0..VNODES {
            for _ in 0..=HISTORY + 1 {
                self.run(Call::Look(vnode));
            }
            // The dead may say what they like.
            self.run(Call::Acknowledge(vnode));
        }
        self.run(Call::Observe);
        assert_eq!(self.publisher.missing(self.all.len() as u64), 0);
        for (node, _) in self
            .nodes
            .iter()
            .zip(&self.is_dead)
            .filter(|(_, dead)| !**dead)
        {
            let node = node.as_ref().unwrap();
            assert_eq!(node.seen.last(), self.all.last());
        }
        let members = |vnode: &u32| !self.is_dead[*vnode as usize];
        for a in (0..VNODES).filter(members) {
            for b in (0..VNODES).filter(members).filter(|b| *b != a) {
                let (a, b) = (life(a, 1).vnode, life(b, 1).vnode);
                assert!(self.links.are_open(&self.publisher, a, b));
            }
        }
        self.check_views();
    }

    /// DS-60, DS-64: each view differs from the one before by its change, and no life is twice in
    /// the sequence.
    fn check_views(&self) {
        let mut joined = Vec::new();
        for (index, view) in self.all.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| self.all[before]);
            let (about, is_in) = match view.change() {
                Change::Joined(life) => {
                    assert!(!joined.contains(&life));
                    joined.push(life);
                    (life, true)
                }
                Change::Left(life) | Change::Died(life, _) => (life, false),
            };
            assert_eq!(view.contains(about), is_in);
            for vnode in VnodeId::all().filter(|vnode| *vnode != about.vnode) {
                let was = before.and_then(|before| before.life(vnode));
                assert_eq!(view.life(vnode), was);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// DS-60 to DS-66, DS-24: all observers see the same sequence, or learn that they were too
    /// slow, and end in the same view; rings change hands only when nobody uses them.
    #[test]
    fn all_see_the_same_sequence_of_views(
        calls in prop::collection::vec(any_call(), 1..300)
    ) {
        let mut world = World::new();
        for call in calls {
            world.run(call);
        }
        world.settle();
    }

    /// DS-61, DS-65: whatever stands in the shared memory, nobody panics or loops, and an
    /// observer's numbers rise.
    #[test]
    fn nonsense_in_the_views_is_seen_as_such(
        lies in prop::collection::vec(
            (0..layout::SIZE / 8, prop_oneof![0..70u64, any::<u64>()], any::<bool>()), 1..80
        )
    ) {
        let memory = Cells::new(layout::SIZE);
        let mut publisher = Publisher::new(&memory, Generation(1));
        let mut observer = Observer::new(life(0, 1));
        let mut last = 0;
        for (word, value, latest) in lies {
            memory.store_release64(if latest { layout::LATEST } else { word * 8 }, value);
            let _ = observer.next(&memory);
            prop_assert!(observer.last() >= last);
            last = observer.last();
            publisher.observe(&memory);
            let reached = publisher.reached(VnodeId::ROOT).unwrap_or(0);
            prop_assert!(reached <= publisher.view().number());
        }
    }
}

/// DS-63: exactly as many views as the history holds can be caught up with.
#[test]
fn too_slow_is_said_and_survived() {
    for behind in [HISTORY, HISTORY + 1] {
        let memory = Cells::new(layout::SIZE);
        let mut publisher = Publisher::new(&memory, Generation(1));
        let mut observer = Observer::new(life(0, 1));
        assert!(matches!(observer.next(&memory), Seen::View(_)));
        for number in 0..behind {
            let life = life(1, number as u32 / 2 + 1);
            if number % 2 == 0 {
                publisher.join(&memory, life).unwrap();
            } else {
                publisher.remove(&memory, life, Departure::Left).unwrap();
            }
        }
        let next = observer.next(&memory);
        if behind == HISTORY {
            assert!(matches!(next, Seen::View(view) if view.number() == 2));
        } else {
            assert_eq!(next, Seen::TooSlow { missed: HISTORY });
            // What was not seen is not acknowledged.
            observer.acknowledge(&memory);
            publisher.observe(&memory);
            assert_eq!(publisher.reached(VnodeId::ROOT), Some(1));
            assert_eq!(observer.next(&memory), Seen::View(*publisher.view()));
        }
    }
}

/// DS-65, DS-66: the late are named and not waited for; liars and the dead of earlier lives
/// count for nothing.
#[test]
fn an_agreement_waits_for_members_and_names_the_late() {
    let memory = Cells::new(layout::SIZE);
    let mut publisher = Publisher::new(&memory, Generation(1));
    publisher.join(&memory, life(1, 1)).unwrap();
    let number = publisher.join(&memory, life(2, 1)).unwrap();
    let agreement = Agreement::new(number, 100, 50);
    publisher.join(&memory, life(3, 1)).unwrap();
    let look = |publisher: &mut Publisher, vnode: u32, claim: u64, now| {
        let word = layout::REACHED + vnode as usize * layout::REACHED_STRIDE;
        memory.store_release64(word, claim);
        publisher.observe(&memory);
        agreement.look(publisher, now)
    };
    assert_eq!(
        look(&mut publisher, 0, number, 149),
        Progress::Waiting(0b110)
    );
    assert_eq!(
        look(&mut publisher, 1, u64::MAX, 149),
        Progress::Waiting(0b110)
    );
    assert_eq!(publisher.liars(), 0b010);
    assert_eq!(look(&mut publisher, 1, 1, 149), Progress::Waiting(0b110));
    // That was before it joined.
    assert_eq!(publisher.reached(life(1, 1).vnode), None);
    assert_eq!(
        look(&mut publisher, 1, number + 1, 149),
        Progress::Waiting(0b100)
    );
    // It cannot be taken back.
    assert_eq!(look(&mut publisher, 1, 2, 150), Progress::Late(0b100));
    assert!(agreement.is_settled(&publisher, life(3, 1).vnode));
    assert!(!agreement.is_settled(&publisher, life(2, 1).vnode));
    let gone = publisher.remove(&memory, life(2, 1), Departure::Left);
    assert!(gone.is_ok());
    assert_eq!(agreement.look(&publisher, 200), Progress::Agreed);
}
