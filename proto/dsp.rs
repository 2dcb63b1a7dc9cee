// SPDX-License-Identifier: GPL-2.0

//! The distributed sharing protocol: how nanokernels ask each other, and tell each other things.
//!
//! Paper section 4, "Distributed sharing protocol"; docs/dsp.md is the specification. [`Dsp`] is
//! one vnode's end of all of it: views of the membership, messages and time come in; messages,
//! ended requests and broken peers come out as values ([`Event`]), and what to do with them is
//! for the caller. It takes no lock and calls nobody: one caller at a time.
//!
//! What a peer does in its rings costs nobody else anything: its messages are counted against
//! its own share of a turn, what makes no sense is dropped and counted, and an index that makes
//! no sense breaks the link to that peer alone.

pub mod calls;
pub mod links;
pub mod mailbox;
pub mod message;
pub mod patience;
mod peer;
pub mod route;
mod turn;

pub use calls::{Cookie, Ended, Outcome};
pub use message::{Payload, Refusal, MAX_PAYLOAD};
pub use peer::Counters;
pub use route::{Area, Handler, RouteError};
pub use turn::{Event, Request, Turn, QUANTUM, TURN};

use crate::id::{Life, VnodeId, MAX_VNODES};
use crate::membership::{bit, each, Mask, View};
use crate::window::Window;
use calls::{Calls, Loss, MAX_PER_PEER};
use mailbox::PushError;
use message::{Kind, Message};
use peer::Peer;
use route::Routes;

/// Why something was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// This life is no member, or the vnode is this one.
    Gone,
    /// The root has not opened the ring to it yet: one of the two is still to let go of the
    /// other's last life.
    NotOpen,
    /// The ring has no room now.
    Full,
    /// As many requests wait for answers as can, in all or of this vnode.
    TooManyCalls,
    /// The vnode has written nonsense into its rings; it is lost until its next life.
    Broken,
}

/// One vnode's end of the protocol, with up to `CALLS` requests that wait and up to `SERVICES`
/// services.
#[derive(Debug)]
pub struct Dsp<const CALLS: usize, const SERVICES: usize> {
    me: Life,
    peers: [Peer; MAX_VNODES],
    calls: Calls<CALLS>,
    routes: Routes<SERVICES>,
    /// Peers whose rings may hold something.
    waiting: Mask,
    /// Peers whose messages are to stay in their rings for now.
    held: Mask,
    /// Peers that something was sent to since the caller last asked.
    pushed: Mask,
    /// Peers that have broken and are yet to be reported.
    broken: Mask,
    /// Peers that have sent a malformed message and are yet to be reported.
    malformed: Mask,
    /// Whose turn it is.
    current: u32,
    /// Messages that it may still take before the next one's turn.
    quantum: u32,
    /// The message that was taken last.
    inbox: Message,
}

impl<const CALLS: usize, const SERVICES: usize> Dsp<CALLS, SERVICES> {
    /// An end without peers and services. The first cookie is to be beyond any that an earlier
    /// load has used in this life: the time-stamp counter is.
    pub const fn new(me: Life, first_cookie: u64) -> Self {
        Self {
            me,
            peers: [Peer::ABSENT; MAX_VNODES],
            calls: Calls::new(first_cookie),
            routes: Routes::new(),
            waiting: 0,
            held: 0,
            pushed: 0,
            broken: 0,
            malformed: 0,
            current: 0,
            quantum: QUANTUM,
            inbox: Message::NONE,
        }
    }

    /// Takes another life on, with other cookies, before it has done anything: for an end that was
    /// made as a constant, when nobody knew whose it is.
    pub fn take_on(&mut self, me: Life, first_cookie: u64) {
        self.me = me;
        self.calls.start_at(first_cookie);
    }

    /// Registers a service; its messages come with this handler's number from now on.
    pub fn register(
        &mut self,
        area: Area,
        service: u16,
        handler: Handler,
    ) -> Result<(), RouteError> {
        self.routes.add(area, service, handler)
    }

    /// Takes a service out and returns its handler; requests for it are refused from now on.
    pub fn unregister(&mut self, service: u16) -> Option<Handler> {
        self.routes.remove(service)
    }

    /// Takes a view over: closes the rings of lives that are not in it, and makes the requests
    /// that wait for them fail. After this, and after what the caller itself holds of those
    /// lives is let go of, the view can be acknowledged. A view without this life ends all links.
    pub fn on_view(&mut self, view: &View) {
        let is_member = view.contains(self.me);
        for (vnode, peer) in VnodeId::all().zip(self.peers.iter_mut()) {
            let life = view
                .life(vnode)
                .filter(|_| is_member && vnode != self.me.vnode);
            if peer.become_life(life) {
                self.calls.doom(vnode, Loss::Gone);
                self.broken &= !bit(vnode);
                self.malformed &= !bit(vnode);
                self.held &= !bit(vnode);
                self.waiting |= bit(vnode);
            }
        }
    }

    /// The life of a vnode that can be sent to, if there is one.
    pub fn life_of(&self, vnode: VnodeId) -> Option<Life> {
        self.peers.get(vnode.index())?.life(vnode)
    }

    /// Whether the link to a vnode's present life is broken.
    pub fn is_broken(&self, vnode: VnodeId) -> bool {
        self.peers.get(vnode.index()).is_some_and(Peer::is_broken)
    }

    /// The next life that has sent a malformed message since it was last named here. Any that does
    /// so means harm, or has gone mad: the root puts it into quarantine (DS-55).
    pub fn next_malformed(&mut self) -> Option<Life> {
        let vnode = each(self.malformed).next()?;
        self.malformed &= !bit(vnode);
        self.life_of(vnode)
    }

    /// Breaks the link to a life as if it had written nonsense, but that no event tells of it: the
    /// caller mistrusts it. Nothing happens if it has gone, or is broken already.
    pub fn shun(&mut self, life: Life) {
        if self.life_of(life.vnode) == Some(life) && !self.is_broken(life.vnode) {
            self.give_up(life.vnode);
            self.broken &= !bit(life.vnode);
        }
    }

    /// Says something without an answer.
    pub fn tell<W: Window>(
        &mut self,
        window: &W,
        to: Life,
        service: u16,
        payload: &Payload,
    ) -> Result<(), SendError> {
        let message = Message::carrying(Kind::OneWay, service, payload);
        self.send(window, to, message, MAX_PER_PEER)
    }

    /// Asks a service. The request ends exactly once: as an [`Event::Ended`] or from
    /// [`next_ended`](Self::next_ended), unless it is cancelled before.
    pub fn request<W: Window>(
        &mut self,
        window: &W,
        to: Life,
        service: u16,
        payload: &Payload,
        deadline_ns: u64,
    ) -> Result<Cookie, SendError> {
        if self.life_of(to.vnode) != Some(to) {
            return Err(SendError::Gone);
        }
        let cookie = self
            .calls
            .begin(to, service, deadline_ns)
            .map_err(|_| SendError::TooManyCalls)?;
        let mut message = Message::carrying(Kind::Request, service, payload);
        message.cookie = cookie.0;
        self.send(window, to, message, MAX_PER_PEER)
            .inspect_err(|_| {
                self.calls.cancel(cookie);
            })?;
        Ok(cookie)
    }

    /// Answers a request, once. The one who asked may have gone, or given up: then the answer
    /// fails or is dropped there. After `Full` it can be tried again.
    pub fn reply<W: Window>(
        &mut self,
        window: &W,
        request: &Request,
        status: i32,
        payload: &Payload,
    ) -> Result<(), SendError> {
        let mut message = Message::carrying(Kind::Reply, request.service, payload);
        message.cookie = request.cookie.0;
        message.status = status;
        self.send(window, request.from, message, 0)
    }

    /// Refuses a request that was handed out, instead of answering it: its service has been taken
    /// out before it was looked at.
    pub fn refuse<W: Window>(&mut self, window: &W, request: &Request) {
        self.send_refusal(window, request, Refusal::Service);
    }

    /// Whose mail portal is to be raised now: those that something was sent to since the last call,
    /// be it by the caller or, as a refusal, while messages were taken (DS-5).
    pub fn take_pushed(&mut self) -> Mask {
        core::mem::take(&mut self.pushed)
    }

    /// Gives a request up; its answer will be dropped. Says whether it had not ended yet.
    pub fn cancel(&mut self, cookie: Cookie) -> bool {
        self.calls.cancel(cookie)
    }

    /// The next request that has ended without an answer: by the clock, by a death, or by a
    /// broken link. To be called until there is none.
    pub fn next_ended(&mut self, now_ns: u64) -> Option<Ended> {
        self.calls.next_ended(now_ns)
    }

    /// When [`next_ended`](Self::next_ended) is to be called next at the latest; 0 for now.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.calls.next_deadline_ns()
    }

    /// Requests that have not ended.
    pub fn outstanding(&self) -> usize {
        self.calls.len()
    }

    /// What has been counted of one vnode, over all its lives.
    pub fn counters(&self, vnode: VnodeId) -> Counters {
        self.peers
            .get(vnode.index())
            .map_or_else(Counters::default, |peer| peer.counters)
    }

    /// Sends a message that leaves at least `spare` places of the ring free.
    fn send<W: Window>(
        &mut self,
        window: &W,
        to: Life,
        mut message: Message,
        spare: u32,
    ) -> Result<(), SendError> {
        let me = self.me;
        let peer = self
            .peers
            .get_mut(to.vnode.index())
            .ok_or(SendError::Gone)?;
        if peer.life(to.vnode) != Some(to) {
            return Err(SendError::Gone);
        }
        if peer.is_broken() {
            return Err(SendError::Broken);
        }
        let sender = peer
            .sender(window, me, to.vnode)
            .ok_or(SendError::NotOpen)?;
        message.sender = me.generation.0;
        message.receiver = to.generation.0;
        match sender.push(window, &message, spare) {
            Ok(()) => {
                self.pushed |= bit(to.vnode);
                peer.counters.sent = peer.counters.sent.wrapping_add(1);
                Ok(())
            }
            Err(PushError::Full) => {
                peer.counters.full = peer.counters.full.wrapping_add(1);
                Err(SendError::Full)
            }
            Err(PushError::Corrupt) => {
                self.give_up(to.vnode);
                Err(SendError::Broken)
            }
        }
    }

    /// Breaks the link to a vnode until its next life.
    fn give_up(&mut self, vnode: VnodeId) {
        if let Some(peer) = self.peers.get_mut(vnode.index()) {
            peer.give_up();
        }
        self.calls.doom(vnode, Loss::Broken);
        self.broken |= bit(vnode);
        self.waiting &= !bit(vnode);
    }
}
