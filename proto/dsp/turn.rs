// SPDX-License-Identifier: GPL-2.0

//! Receiving: a bounded number of messages at a time, some of each sender in turn, and what
//! becomes of each.

use super::calls::{Cookie, Ended, Outcome, MAX_PER_PEER};
use super::mailbox::CAPACITY;
use super::message::{Kind, Message, Payload, Refusal, VERSION};
use super::route::Handler;
use super::Dsp;
use crate::id::{Life, VnodeId, MAX_VNODES};
use crate::membership::{bit, each, Mask};
use crate::window::Window;

/// Messages that are taken in one turn at most, those that are dropped among them.
pub const TURN: u32 = 64;
/// Messages of one sender that are taken before the next sender is looked at.
pub const QUANTUM: u32 = 8;

const _: () = assert!(QUANTUM <= TURN && MAX_PER_PEER < CAPACITY);
const _: () = assert!(Mask::BITS as usize == MAX_VNODES);

/// A request that came in and wants a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub from: Life,
    /// Which service.
    pub service: u16,
    pub(super) cookie: Cookie,
}

/// Something that has happened. What the message says that brought it is [`Dsp::message`]'s payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message that wants no answer.
    Told {
        /// Who says it.
        from: Life,
        /// Which service it is for.
        service: u16,
        /// Whose that is.
        handler: Handler,
    },
    /// A request: the handler answers it now or later, by [`Dsp::reply`].
    Asked {
        /// What to answer.
        request: Request,
        /// Whose the service is.
        handler: Handler,
    },
    /// A request of ours has been answered.
    Ended(Ended),
    /// This life has written nonsense into its rings: nothing goes to it or comes from it any
    /// more. Reported once; the root is to be told.
    Broken(Life),
}

/// How much of a turn is left.
#[derive(Debug)]
pub struct Turn {
    messages: u32,
}

impl Turn {
    /// A turn of [`TURN`] messages.
    pub const fn new() -> Self {
        Self { messages: TURN }
    }

    /// Whether it ended because enough was done, and not because nothing was left: then there
    /// has to be another one, without waiting for a portal.
    pub const fn is_spent(&self) -> bool {
        self.messages == 0
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self::new()
    }
}

/// What a look into a ring has brought.
enum Taken {
    Nothing,
    /// A message of this life, in the inbox.
    Message(Life),
    Corrupt,
}

impl<const CALLS: usize, const SERVICES: usize> Dsp<CALLS, SERVICES> {
    /// Notes that there may be messages of these senders: their portal was raised. After a
    /// portal of the root that says that something has changed, all senders are to be noted.
    pub fn notify(&mut self, senders: Mask) {
        self.waiting |= senders;
    }

    /// Leaves the messages of a vnode in their ring until [`release`](Self::release): there is no
    /// room for what they bring. Answers among them wait as well. A view with another life of the
    /// vnode ends this.
    pub fn hold(&mut self, vnode: VnodeId) {
        self.held |= bit(vnode);
    }

    /// Takes a vnode's messages again. There may be some: a turn has to follow.
    pub fn release(&mut self, vnode: VnodeId) {
        self.held &= !bit(vnode);
        self.waiting |= bit(vnode);
    }

    /// Takes messages out of the rings until one of them matters; nothing once the turn is
    /// over. Looks at [`TURN`] messages and as many empty rings as there are vnodes, at most.
    pub fn next<W: Window>(&mut self, window: &W, turn: &mut Turn) -> Option<Event> {
        if let Some(event) = self.report() {
            return Some(event);
        }
        while turn.messages > 0 {
            let Some(vnode) = self.pick() else {
                // A refusal that was to be sent may have found a link broken.
                return self.report();
            };
            match self.take(window, vnode) {
                // No message is missed: its sender notifies after it has pushed, and we look
                // after we were notified.
                Taken::Nothing => self.waiting &= !bit(vnode),
                Taken::Corrupt => {
                    self.give_up(vnode);
                    return self.report();
                }
                Taken::Message(from) => {
                    turn.messages = turn.messages.saturating_sub(1);
                    self.quantum = self.quantum.saturating_sub(1);
                    if let Some(event) = self.judge(window, from) {
                        return Some(event);
                    }
                }
            }
        }
        None
    }

    /// The sender whose messages are to be taken now, or the next one that has any; nobody if none has.
    fn pick(&mut self) -> Option<VnodeId> {
        if self.quantum == 0 {
            self.go_on(1);
        }
        let ready = self.waiting & !self.held;
        if ready == 0 {
            self.quantum = QUANTUM;
            return None;
        }
        let ahead = ready.rotate_right(self.current).trailing_zeros();
        if ahead > 0 {
            self.go_on(ahead);
        }
        VnodeId::new(self.current)
    }

    /// Goes on to a later sender.
    fn go_on(&mut self, ahead: u32) {
        self.current = self.current.wrapping_add(ahead) % Mask::BITS;
        self.quantum = QUANTUM;
    }

    fn take<W: Window>(&mut self, window: &W, vnode: VnodeId) -> Taken {
        let me = self.me;
        let Some(peer) = self.peers.get_mut(vnode.index()) else {
            return Taken::Nothing;
        };
        let Some(life) = peer.life(vnode) else {
            return Taken::Nothing;
        };
        let Some(receiver) = peer.receiver(window, me, vnode) else {
            return Taken::Nothing;
        };
        match receiver.pop(window, &mut self.inbox) {
            Ok(false) => Taken::Nothing,
            Ok(true) => {
                peer.counters.received = peer.counters.received.wrapping_add(1);
                Taken::Message(life)
            }
            Err(_) => Taken::Corrupt,
        }
    }

    fn report(&mut self) -> Option<Event> {
        let vnode = each(self.broken).next()?;
        self.broken &= !bit(vnode);
        self.life_of(vnode).map(Event::Broken)
    }

    /// The message that was taken last: the one that the last event is about, if a message was.
    pub fn message(&self) -> &Message {
        &self.inbox
    }

    /// What becomes of the message in the inbox: an event, a refusal, or a number in a counter.
    fn judge<W: Window>(&mut self, window: &W, from: Life) -> Option<Event> {
        let message = &self.inbox;
        let is_ours =
            message.sender == from.generation.0 && message.receiver == self.me.generation.0;
        if !is_ours {
            self.count(from, |counters| &mut counters.foreign);
            return None;
        }
        let Some(kind) = Kind::new(message.kind) else {
            self.note_malformed(from);
            return None;
        };
        // A refusal says the same in all versions: it has to, as it says that they differ.
        if kind == Kind::Refusal {
            return self.end(from, Outcome::Refused(Refusal::read(message)));
        }
        if message.version != VERSION {
            self.count(from, |counters| &mut counters.version);
            self.refuse_message(window, from, Refusal::Version(VERSION));
            return None;
        }
        if message.checked_payload().is_none() {
            self.note_malformed(from);
            self.refuse_message(window, from, Refusal::Malformed);
            return None;
        }
        if kind == Kind::Reply {
            let status = message.status;
            return self.end(from, Outcome::Reply { status });
        }
        self.route(window, from, kind)
    }

    fn route<W: Window>(&mut self, window: &W, from: Life, kind: Kind) -> Option<Event> {
        let service = self.inbox.service;
        let Some(handler) = self.routes.find(service) else {
            self.count(from, |counters| &mut counters.service);
            self.refuse_message(window, from, Refusal::Service);
            return None;
        };
        if kind == Kind::OneWay {
            return Some(Event::Told {
                from,
                service,
                handler,
            });
        }
        let cookie = Cookie(self.inbox.cookie);
        Some(Event::Asked {
            request: Request {
                from,
                service,
                cookie,
            },
            handler,
        })
    }

    /// Ends the request that the answer in the inbox is for.
    fn end(&mut self, from: Life, outcome: Outcome) -> Option<Event> {
        let cookie = Cookie(self.inbox.cookie);
        let ended = self.calls.answer(from, cookie, self.inbox.service, outcome);
        if ended.is_none() {
            self.count(from, |counters| &mut counters.unmatched);
        }
        ended.map(Event::Ended)
    }

    /// Refuses the message in the inbox if it is a request. Nothing else is ever refused, so that
    /// two ends that do not understand each other do not go on saying so.
    fn refuse_message<W: Window>(&mut self, window: &W, to: Life, why: Refusal) {
        if self.inbox.kind != Kind::Request.number() {
            return;
        }
        let request = Request {
            from: to,
            service: self.inbox.service,
            cookie: Cookie(self.inbox.cookie),
        };
        self.send_refusal(window, &request, why);
    }

    pub(super) fn send_refusal<W: Window>(&mut self, window: &W, request: &Request, why: Refusal) {
        let mut answer = Message::carrying(Kind::Refusal, request.service, &Payload::EMPTY);
        answer.cookie = request.cookie.0;
        answer.status = why.status();
        if self.send(window, request.from, answer, 0).is_err() {
            self.count(request.from, |counters| &mut counters.unanswered);
        }
    }

    fn note_malformed(&mut self, from: Life) {
        self.count(from, |counters| &mut counters.malformed);
        // What is good in another version, this one cannot say.
        if self.inbox.version == VERSION {
            self.malformed |= bit(from.vnode);
        }
    }

    fn count(&mut self, of: Life, which: impl Fn(&mut super::Counters) -> &mut u64) {
        if let Some(peer) = self.peers.get_mut(of.vnode.index()) {
            let counter = which(&mut peer.counters);
            *counter = counter.wrapping_add(1);
        }
    }
}
