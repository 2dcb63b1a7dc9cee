// SPDX-License-Identifier: GPL-2.0

//! Channels with both ends interleaved, either of which may die at any store.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/cells.rs"]
mod cells;
#[path = "support/dying.rs"]
mod dying;

use adeos_proto::channel::{self, PeerState, RootEnd, VnodeEnd};
use adeos_proto::layout::channel::{COUNT, DOWN, ROOT_SESSION, STRIDE, UP, VNODE_SESSION};
use adeos_proto::layout::slot::CHANNELS;
use adeos_proto::layout::SLOT_SIZE;
use adeos_proto::window::Window;
use cells::Cells;
use dying::Dying;
use proptest::prelude::*;

/// What was sent in one session, either way.
#[derive(Default)]
struct Session {
    down: Vec<u8>,
    up: Vec<u8>,
}

/// An end, the session that it belongs to, and how much of the other's bytes it has.
struct Holder<E> {
    end: E,
    session: usize,
    received: usize,
}

/// One channel of a vnode with both its users.
struct World {
    memory: Cells,
    index: usize,
    sessions: Vec<Session>,
    root: Option<Holder<RootEnd>>,
    vnode: Option<Holder<VnodeEnd>>,
    vnode_is_dead: bool,
    marker: u8,
}

#[derive(Clone, Debug)]
enum Call {
    RootOpen,
    RootSend(usize),
    RootReceive(usize),
    RootClose,
    VnodeAccept,
    VnodeSend(usize),
    VnodeReceive(usize),
    VnodeClose,
    /// The vnode dies while it sends, after so many stores.
    VnodeDies(usize),
    /// The vnode's adeos_core is loaded again: what it held is forgotten.
    VnodeReloads,
    /// The root gives the vnode a new life.
    Revive,
}

fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        3 => Just(Call::RootOpen),
        4 => (0..10_000usize).prop_map(Call::RootSend),
        4 => (0..20_000usize).prop_map(Call::RootReceive),
        2 => Just(Call::RootClose),
        5 => Just(Call::VnodeAccept),
        4 => (0..20_000usize).prop_map(Call::VnodeSend),
        4 => (0..10_000usize).prop_map(Call::VnodeReceive),
        2 => Just(Call::VnodeClose),
        1 => (0..100usize).prop_map(Call::VnodeDies),
        1 => Just(Call::VnodeReloads),
        1 => Just(Call::Revive),
    ]
}

impl World {
    /// A channel whose last session had the given number.
    fn new(index: usize, closed: u32) -> Self {
        let memory = Cells::new(SLOT_SIZE);
        let base = CHANNELS + index * STRIDE;
        memory.store_release(base + ROOT_SESSION, closed);
        memory.store_release(base + VNODE_SESSION, closed);
        // Indices as an earlier session may have left them.
        for offset in [DOWN, DOWN + 0x40, UP, UP + 0x40] {
            memory.store_release(base + offset, 0xdead_beef);
        }
        Self {
            memory,
            index,
            sessions: Vec::new(),
            root: None,
            vnode: None,
            vnode_is_dead: false,
            marker: 0,
        }
    }

    fn fresh(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| {
                self.marker = self.marker.wrapping_mul(5).wrapping_add(1);
                self.marker
            })
            .collect()
    }

    fn run(&mut self, call: Call) {
        match call {
            Call::RootOpen => self.root_open(),
            Call::RootSend(count) => self.root_send(count),
            Call::RootReceive(room) => self.root_receive(room),
            Call::RootClose => {
                if let Some(root) = self.root.take() {
                    root.end.close(&self.memory);
                    assert_eq!(root.end.peer(&self.memory), PeerState::Closed);
                }
            }
            Call::Revive => self.revive(),
            _ if self.vnode_is_dead => {}
            Call::VnodeAccept => self.vnode_accept(),
            Call::VnodeSend(count) => self.vnode_send(count, usize::MAX),
            Call::VnodeReceive(room) => self.vnode_receive(room),
            Call::VnodeClose => {
                if let Some(vnode) = self.vnode.take() {
                    vnode.end.close(&self.memory);
                }
            }
            Call::VnodeDies(stores) => {
                self.vnode_send(64, stores);
                self.vnode = None;
                self.vnode_is_dead = true;
            }
            Call::VnodeReloads => {
                self.vnode = None;
                channel::close_leftovers(&self.memory);
            }
        }
    }

    fn root_open(&mut self) {
        if self.root.is_some() {
            assert!(!channel::is_free(&self.memory, self.index));
            return;
        }
        let is_free = channel::is_free(&self.memory, self.index);
        let opened = RootEnd::open(&self.memory, self.index);
        assert_eq!(opened.is_some(), is_free);
        if let Some(end) = opened {
            assert_eq!(end.peer(&self.memory), PeerState::Waiting);
            self.sessions.push(Session::default());
            let session = self.sessions.len() - 1;
            self.root = Some(Holder {
                end,
                session,
                received: 0,
            });
        }
    }

    fn root_send(&mut self, count: usize) {
        let bytes = self.fresh(count);
        if let Some(root) = &mut self.root {
            let is_open = root.end.peer(&self.memory) == PeerState::Open;
            let sent = root.end.send(&self.memory, &bytes).unwrap();
            assert!(is_open || sent == 0);
            self.sessions[root.session].down.extend(&bytes[..sent]);
        }
    }

    fn root_receive(&mut self, room: usize) {
        if let Some(root) = &mut self.root {
            let mut to = vec![0; room];
            let count = root.end.receive(&self.memory, &mut to).unwrap();
            let sent = &self.sessions[root.session].up;
            assert_eq!(to[..count], sent[root.received..root.received + count]);
            root.received += count;
        }
    }

    fn vnode_accept(&mut self) {
        if self.vnode.is_some() {
            assert!(VnodeEnd::accept(&self.memory, self.index).is_none());
        } else if let Some(end) = VnodeEnd::accept(&self.memory, self.index) {
            let root = self.root.as_ref().expect("only what is open is accepted");
            assert_eq!(root.end.peer(&self.memory), PeerState::Open);
            let session = root.session;
            self.vnode = Some(Holder {
                end,
                session,
                received: 0,
            });
        }
    }

    fn vnode_send(&mut self, count: usize, stores: usize) {
        let bytes = self.fresh(count);
        if let Some(vnode) = &mut self.vnode {
            let window = Dying::new(&self.memory, stores);
            let sent = vnode.end.send(&window, &bytes).unwrap();
            // The index is the last store: without it, nothing of this counts.
            if stores > sent {
                self.sessions[vnode.session].up.extend(&bytes[..sent]);
            }
        }
    }

    fn vnode_receive(&mut self, room: usize) {
        if let Some(vnode) = &mut self.vnode {
            let mut to = vec![0; room];
            let count = vnode.end.receive(&self.memory, &mut to).unwrap();
            let sent = &self.sessions[vnode.session].down;
            assert_eq!(to[..count], sent[vnode.received..vnode.received + count]);
            vnode.received += count;
        }
    }

    /// All that was sent arrives, whether or not the sender is still there.
    fn drain(&mut self) {
        self.root_receive(1 << 16);
        if let Some(root) = &self.root {
            assert_eq!(root.received, self.sessions[root.session].up.len());
        }
        self.vnode_receive(1 << 16);
        if let Some(vnode) = &self.vnode {
            assert_eq!(vnode.received, self.sessions[vnode.session].down.len());
        }
    }

    fn revive(&mut self) {
        self.vnode = None;
        channel::clear(&self.memory);
        self.vnode_is_dead = false;
        assert!((0..COUNT).all(|index| channel::is_free(&self.memory, index)));
        // An end of the old life neither sends, nor receives, nor harms the new session.
        if let Some(mut old) = self.root.take() {
            assert_eq!(old.end.peer(&self.memory), PeerState::Closed);
            self.root_open();
            let new = &self.root.as_ref().unwrap().end;
            assert_eq!(old.end.peer(&self.memory), PeerState::Closed);
            assert_eq!(old.end.send(&self.memory, b"stale"), Ok(0));
            assert_eq!(old.end.receive(&self.memory, &mut [0; 8]), Ok(0));
            old.end.close(&self.memory);
            assert_eq!(new.peer(&self.memory), PeerState::Waiting);
        }
    }

    /// From wherever the channel is, two living sides that are done with it make it free.
    fn settle(&mut self) {
        if self.vnode_is_dead {
            self.revive();
        }
        self.run(Call::RootClose);
        self.run(Call::VnodeClose);
        self.run(Call::VnodeAccept);
        assert!(channel::is_free(&self.memory, self.index));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// CA-80 to CA-87, whichever of the two calls, dies or is loaded anew in between.
    #[test]
    fn sessions_carry_their_own_bytes_and_no_others(
        index in 0..COUNT,
        closed in prop_oneof![Just(0u32), Just(u32::MAX - 3)],
        calls in prop::collection::vec(any_call(), 1..120)
    ) {
        let mut world = World::new(index, closed);
        for call in calls {
            world.run(call);
            if world.marker % 4 == 0 {
                world.drain();
            }
        }
        world.drain();
        world.settle();
        world.root_open();
        prop_assert!(world.root.is_some());
    }

    /// An open or an accept that stops after any store leaves a channel that the survivor can
    /// bring back.
    /// CA-80, CA-81 and CA-86.
    #[test]
    fn a_death_while_opening_or_accepting_is_survived(
        open in 0..5usize, accept in 0..5usize
    ) {
        let memory = Cells::new(SLOT_SIZE);
        let root = RootEnd::open(&Dying::new(&memory, open), 0);
        prop_assert!(root.is_some());
        let vnode = VnodeEnd::accept(&Dying::new(&memory, accept), 0);
        prop_assert_eq!(vnode.is_some(), open > 2);
        let _ = root.unwrap().receive(&memory, &mut [0; 8]).unwrap();
        channel::clear(&memory);
        prop_assert!(RootEnd::open(&memory, 0).is_some());
    }

    /// CA-4, CA-84 and CA-86.
    #[test]
    fn a_hostile_peer_costs_its_own_channel_only(
        lies in prop::collection::vec((0..0x180usize / 4, any::<u32>(), 0..4u8), 1..60)
    ) {
        let memory = Cells::new(SLOT_SIZE);
        let mut root = RootEnd::open(&memory, 1).unwrap();
        let mut vnode = VnodeEnd::accept(&memory, 1).unwrap();
        let mut neighbour = RootEnd::open(&memory, 2).unwrap();
        VnodeEnd::accept(&memory, 2).unwrap();
        let mut to = [0; 64];
        for (word, value, call) in lies {
            memory.store_release(CHANNELS + STRIDE + word * 4, value);
            match call {
                0 => drop(root.send(&memory, &to)),
                1 => drop(root.receive(&memory, &mut to)),
                2 => drop(vnode.send(&memory, &to)),
                _ => drop(vnode.receive(&memory, &mut to)),
            }
            let _ = VnodeEnd::accept(&memory, 1);
        }
        root.close(&memory);
        prop_assert_eq!(neighbour.send(&memory, &to), Ok(to.len()));
        channel::clear(&memory);
        prop_assert!(RootEnd::open(&memory, 1).is_some());
    }
}

/// CA-81 and CA-82.
#[test]
fn a_closed_session_is_not_accepted_again() {
    let memory = Cells::new(SLOT_SIZE);
    let root = RootEnd::open(&memory, 0).unwrap();
    let vnode = VnodeEnd::accept(&memory, 0).unwrap();
    vnode.close(&memory);
    assert!(VnodeEnd::accept(&memory, 0).is_none());
    assert_eq!(root.peer(&memory), PeerState::Closed);
    root.close(&memory);
    assert!(channel::is_free(&memory, 0));
}

#[test]
fn there_is_no_channel_beyond_the_last() {
    let memory = Cells::new(SLOT_SIZE);
    assert!(!channel::is_free(&memory, COUNT));
    assert!(RootEnd::open(&memory, COUNT).is_none());
    assert!(VnodeEnd::accept(&memory, usize::MAX).is_none());
}

/// CA-86: nothing that was said is left, and an end of before finds nothing to receive.
#[test]
fn a_new_life_reads_nothing_of_the_last() {
    let memory = Cells::new(SLOT_SIZE);
    let mut root = RootEnd::open(&memory, 3).unwrap();
    let mut vnode = VnodeEnd::accept(&memory, 3).unwrap();
    let secret = [0x5a; 10_000];
    assert!(root.send(&memory, &secret).unwrap() > 4096);
    assert!(vnode.send(&memory, &secret).unwrap() > 4096);
    channel::clear(&memory);
    let mut rings = vec![0; COUNT * STRIDE];
    memory.read(CHANNELS, &mut rings);
    assert!(!rings.contains(&0x5a));
    let mut to = [0xff; 64];
    assert_eq!(root.receive(&memory, &mut to), Ok(0));
}
