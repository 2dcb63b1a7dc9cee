// SPDX-License-Identifier: GPL-2.0

//! Channels between the root and a vnode: streams of bytes each way, opened by the root.
//!
//! Each side has one word, the number of its session: odd while it is open, even once it is
//! closed (see [`crate::layout::channel`]). Either side can close or die at any time.
//!
//! - A channel is free while both words are equal and even.
//! - The root opens a free one: it resets its indices and stores the next odd number.
//! - The vnode accepts that number when it is the one after its own: it resets its indices and
//!   stores it. Until then the root sends nothing, and nothing it could receive is meant for it.
//! - Each side closes by storing the number after the session's.
//! - The vnode takes over an even number that is not its own: the root has given up a session
//!   before it was accepted.
//!
//! The window is a vnode's slot. In one kernel, calls that concern the same channel must not run
//! side by side; the two kernels need no agreement. Whoever finds the peer `Closed` receives
//! until nothing comes: in this order nothing is missed that was sent before.

use crate::layout::channel::{
    COUNT, DOWN, DOWN_DATA, DOWN_SIZE, ROOT_SESSION, STRIDE, UP, UP_DATA, UP_SIZE, VNODE_SESSION,
};
use crate::layout::slot::CHANNELS;
use crate::ring::{Consumer, Corrupt, Layout, Producer};
use crate::window::Window;

/// From a ring's head to its tail: a cache line, as they have different writers.
const TAIL: usize = 0x40;

/// What the other side does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// It has not accepted yet.
    Waiting,
    /// It has the channel open.
    Open,
    /// It has closed, or this side has.
    Closed,
}

/// Where the parts of one channel lie in the slot.
#[derive(Clone, Copy, Debug)]
struct Place(usize);

impl Place {
    fn new(index: usize) -> Option<Self> {
        (index < COUNT).then(|| Self(CHANNELS.wrapping_add(index.wrapping_mul(STRIDE))))
    }

    fn all() -> impl Iterator<Item = Self> {
        (0..COUNT).filter_map(Self::new)
    }

    fn at(self, offset: usize) -> usize {
        self.0.wrapping_add(offset)
    }

    fn down(self) -> Layout {
        Layout {
            head: self.at(DOWN),
            tail: self.at(DOWN + TAIL),
            data: self.at(DOWN_DATA),
            size: DOWN_SIZE as u32,
        }
    }

    fn up(self) -> Layout {
        Layout {
            head: self.at(UP),
            tail: self.at(UP + TAIL),
            data: self.at(UP_DATA),
            size: UP_SIZE as u32,
        }
    }

    fn root<W: Window>(self, window: &W) -> u32 {
        window.load_acquire(self.at(ROOT_SESSION))
    }

    fn vnode<W: Window>(self, window: &W) -> u32 {
        window.load_acquire(self.at(VNODE_SESSION))
    }

    fn is_free<W: Window>(self, window: &W) -> bool {
        let root = self.root(window);
        !is_odd(root) && root == self.vnode(window)
    }
}

const fn is_odd(session: u32) -> bool {
    session % 2 == 1
}

/// Whether a channel can be opened.
pub fn is_free<W: Window>(window: &W, index: usize) -> bool {
    Place::new(index).is_some_and(|place| place.is_free(window))
}

/// Root: makes all channels free, before a new life of the vnode; its CPUs are stopped. Ends
/// that are still open from the life before are closed by this, and nothing that was sent is left
/// for the new life to read.
pub fn clear<W: Window>(window: &W) {
    for place in Place::all() {
        let root = place.root(window);
        let closed = if is_odd(root) {
            root.wrapping_add(1)
        } else {
            root
        };
        window.store_release(place.at(ROOT_SESSION), closed);
        window.store_release(place.at(VNODE_SESSION), closed);
        // Who receives meanwhile looks at the session after it has copied.
        window.full_barrier();
        scrub(window, place.at(DOWN_DATA), DOWN_SIZE);
        scrub(window, place.at(UP_DATA), UP_SIZE);
    }
}

fn scrub<W: Window>(window: &W, from: usize, size: usize) {
    const ZEROS: [u8; 4096] = [0; 4096];
    for offset in (0..size).step_by(ZEROS.len()) {
        window.write(from.saturating_add(offset), &ZEROS);
    }
}

const _: () = assert!(DOWN_SIZE % 4096 == 0 && UP_SIZE % 4096 == 0);

/// Vnode: closes what an earlier load of its adeos_core has left open, before it accepts.
pub fn close_leftovers<W: Window>(window: &W) {
    for place in Place::all() {
        let vnode = place.vnode(window);
        if is_odd(vnode) {
            window.store_release(place.at(VNODE_SESSION), vnode.wrapping_add(1));
        }
    }
}

/// What both ends have.
#[derive(Debug)]
struct End {
    session: u32,
    producer: Producer,
    consumer: Consumer,
}

impl End {
    fn send<W: Window>(&mut self, w: &W, peer: PeerState, from: &[u8]) -> Result<usize, Corrupt> {
        match peer {
            PeerState::Open => self.producer.push(w, from),
            PeerState::Waiting | PeerState::Closed => Ok(0),
        }
    }

    fn receive<W: Window>(&mut self, w: &W, to: &mut [u8]) -> Result<usize, Corrupt> {
        self.consumer.pop(w, to)
    }

    fn close<W: Window>(&self, w: &W, word: usize) {
        // A session that was ended by others is not this end's to close.
        if w.load_acquire(word) == self.session {
            w.store_release(word, self.session.wrapping_add(1));
        }
    }
}

/// The root's end of a channel.
#[derive(Debug)]
pub struct RootEnd {
    place: Place,
    end: End,
}

impl RootEnd {
    /// Opens a channel; nothing if there is none with this index or it is not free.
    pub fn open<W: Window>(window: &W, index: usize) -> Option<Self> {
        let place = Place::new(index)?;
        if !place.is_free(window) {
            return None;
        }
        let mut end = End {
            session: place.root(window).wrapping_add(1),
            producer: Producer::new(place.down()),
            consumer: Consumer::new(place.up()),
        };
        end.producer.reset(window);
        end.consumer.reset(window);
        window.store_release(place.at(ROOT_SESSION), end.session);
        Some(Self { place, end })
    }

    /// What the vnode does.
    pub fn peer<W: Window>(&self, window: &W) -> PeerState {
        if self.place.root(window) != self.end.session {
            return PeerState::Closed;
        }
        let vnode = self.place.vnode(window);
        if vnode == self.end.session {
            PeerState::Open
        } else if vnode == self.end.session.wrapping_sub(1) {
            PeerState::Waiting
        } else {
            PeerState::Closed
        }
    }

    /// Sends as many of the bytes as there is room for, and returns how many: none unless the
    /// vnode has the channel open.
    pub fn send<W: Window>(&mut self, window: &W, from: &[u8]) -> Result<usize, Corrupt> {
        let peer = self.peer(window);
        self.end.send(window, peer, from)
    }

    /// Receives as many bytes as there are and fit, and returns how many; also after the vnode
    /// has closed.
    pub fn receive<W: Window>(&mut self, window: &W, to: &mut [u8]) -> Result<usize, Corrupt> {
        let is_mine = self.place.root(window) == self.end.session;
        // Before it accepts, the vnode's index is the one of an earlier session.
        if !is_mine || self.peer(window) == PeerState::Waiting {
            return Ok(0);
        }
        let received = self.end.receive(window, to)?;
        // A new life may have begun while this copied, and what was copied would be zeros.
        window.full_barrier();
        if self.place.root(window) != self.end.session {
            return Ok(0);
        }
        Ok(received)
    }

    /// Closes the channel.
    pub fn close<W: Window>(&self, window: &W) {
        self.end.close(window, self.place.at(ROOT_SESSION));
    }
}

/// The vnode's end of a channel.
#[derive(Debug)]
pub struct VnodeEnd {
    place: Place,
    end: End,
}

impl VnodeEnd {
    /// Accepts a channel if the root has opened it; nothing otherwise.
    pub fn accept<W: Window>(window: &W, index: usize) -> Option<Self> {
        let place = Place::new(index)?;
        let (root, vnode) = (place.root(window), place.vnode(window));
        if is_odd(vnode) {
            return None;
        }
        if !is_odd(root) {
            if root != vnode {
                window.store_release(place.at(VNODE_SESSION), root);
            }
            return None;
        }
        // The session after a closed one; not the closed one itself, which the root is yet to
        // close on its side.
        if root != vnode.wrapping_add(1) {
            return None;
        }

        let mut end = End {
            session: root,
            producer: Producer::new(place.up()),
            consumer: Consumer::new(place.down()),
        };
        end.producer.reset(window);
        end.consumer.reset(window);
        window.store_release(place.at(VNODE_SESSION), root);
        Some(Self { place, end })
    }

    /// What the root does; never `Waiting`, for it was first.
    pub fn peer<W: Window>(&self, window: &W) -> PeerState {
        let is_mine = self.place.vnode(window) == self.end.session;
        if is_mine && self.place.root(window) == self.end.session {
            PeerState::Open
        } else {
            PeerState::Closed
        }
    }

    /// Sends as many of the bytes as there is room for, and returns how many: none once the
    /// root has closed.
    pub fn send<W: Window>(&mut self, window: &W, from: &[u8]) -> Result<usize, Corrupt> {
        let peer = self.peer(window);
        self.end.send(window, peer, from)
    }

    /// Receives as many bytes as there are and fit, and returns how many; also after the root
    /// has closed.
    pub fn receive<W: Window>(&mut self, window: &W, to: &mut [u8]) -> Result<usize, Corrupt> {
        if self.place.vnode(window) != self.end.session {
            return Ok(0);
        }
        self.end.receive(window, to)
    }

    /// Closes the channel.
    pub fn close<W: Window>(&self, window: &W) {
        self.end.close(window, self.place.at(VNODE_SESSION));
    }
}
