// SPDX-License-Identifier: GPL-2.0

//! What the endpoint's lock guards: the protocol's state, the services, and who waits for what.
//! No method calls anybody; what is to be done comes out as a value.

#![deny(unsafe_code)]

use super::calls::{
    Places,
    Woken,
    CALLS, //
};
use super::queue::{
    Item,
    Queue, //
};
use super::{
    Context,
    Handler,
    Request, //
};
use crate::mapping::Part;
use adeos_proto::dsp::{
    self as protocol,
    patience::Patience,
    Area,
    Event,
    Payload,
    RouteError,
    SendError,
    Turn, //
};
use adeos_proto::id::{
    Generation,
    Life,
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::membership::{
    Mask,
    View, //
};
use kernel::prelude::*;

/// Services that this kernel can have.
pub(super) const SERVICES: usize = 32;

/// This kernel's end of the protocol.
pub(super) type Dsp = protocol::Dsp<CALLS, SERVICES>;

/// A service that is registered.
#[derive(Clone, Copy)]
struct Registration {
    service: u16,
    /// Which registration: the place may have had another one when a message was queued for it.
    serial: u32,
    context: Context,
    handler: Handler,
}

/// What is to be done, outside of the lock, with what a turn has brought.
pub(super) enum Step {
    /// A handler runs, for the message that the caller has got.
    Handle(Handler),
    /// Callers are woken.
    Wake(Woken),
    /// The turn is over. The DSP thread is woken if there is something for it.
    Done {
        /// Whether there is.
        for_thread: bool,
    },
}

/// The state.
pub(super) struct State {
    pub(super) dsp: KBox<Dsp>,
    pub(super) view: View,
    pub(super) places: Places,
    pub(super) patience: Patience,
    queue: Queue,
    services: [Option<Registration>; SERVICES],
    registrations: u32,
    /// A CPU takes messages: others leave theirs to it, so that each sender's stay in order.
    is_taken: bool,
    /// A turn has ended because enough was done.
    is_unfinished: bool,
    /// Lives that have broken their links and are yet to be reported.
    broken: [Option<Life>; MAX_VNODES],
}

/// An end of nobody. It is too large for a stack, and is copied from here into its place.
const NOBODYS: Dsp = {
    let nobody = Life {
        vnode: VnodeId::ROOT,
        generation: Generation(0),
    };
    Dsp::new(nobody, 0)
};

#[inline(never)]
fn new_dsp(me: Life, first_cookie: u64) -> Result<KBox<Dsp>> {
    let mut dsp = KBox::write(KBox::new_uninit(GFP_KERNEL)?, NOBODYS);
    dsp.take_on(me, first_cookie);
    Ok(dsp)
}

impl State {
    /// In a box, and apart: only this takes the stack that it takes.
    #[inline(never)]
    pub(super) fn new(me: Life, first_cookie: u64) -> Result<KBox<Self>> {
        let state = Self {
            dsp: new_dsp(me, first_cookie)?,
            view: View::before(me),
            places: Places::new()?,
            patience: Patience::new(),
            queue: Queue::new()?,
            services: [None; SERVICES],
            registrations: 0,
            is_taken: false,
            is_unfinished: false,
            broken: [None; MAX_VNODES],
        };
        Ok(KBox::new(state, GFP_KERNEL)?)
    }

    pub(super) fn register(
        &mut self,
        area: Area,
        service: u16,
        context: Context,
        handler: Handler,
    ) -> Result<(), RouteError> {
        let free = self.services.iter().position(Option::is_none);
        let index = free.ok_or(RouteError::Full)?;
        self.dsp.register(area, service, index as u16)?;
        self.registrations = self.registrations.wrapping_add(1);
        if let Some(place) = self.services.get_mut(index) {
            *place = Some(Registration {
                service,
                serial: self.registrations,
                context,
                handler,
            });
        }
        Ok(())
    }

    pub(super) fn unregister(&mut self, service: u16) {
        if let Some(index) = self.dsp.unregister(service) {
            if let Some(place) = self.services.get_mut(usize::from(index)) {
                *place = None;
            }
        }
    }

    /// Notes that there may be messages of these senders, and makes this CPU the one that takes
    /// them; false if another one does, which finds the note.
    pub(super) fn begin_turn(&mut self, senders: Mask) -> bool {
        self.dsp.notify(senders);
        !core::mem::replace(&mut self.is_taken, true)
    }

    /// Lets others take messages.
    pub(super) fn end_turn(&mut self) {
        self.is_taken = false;
    }

    /// Goes on with a turn until there is something to do. What a handler is to run for is put into
    /// `message`: messages are large, and this is what interrupts do most.
    pub(super) fn step(
        &mut self,
        window: &Part<'_>,
        turn: &mut Turn,
        now_ns: u64,
        message: &mut Request,
    ) -> Step {
        loop {
            let Some(event) = self.dsp.next(window, turn) else {
                self.is_unfinished |= turn.is_spent();
                self.end_turn();
                return Step::Done {
                    for_thread: self.take_work(),
                };
            };
            let place = match event {
                Event::Ended(ended) => {
                    return Step::Wake(self.places.end(&ended, Some(self.dsp.message())))
                }
                Event::Broken(life) => return Step::Wake(self.lose(life, now_ns)),
                Event::Told {
                    from,
                    service,
                    handler,
                } => {
                    message.from = from;
                    message.service = service;
                    message.call = None;
                    handler
                }
                Event::Asked { request, handler } => {
                    message.from = request.from;
                    message.service = request.service;
                    message.call = Some(request);
                    handler
                }
            };
            message.payload.take_from(self.dsp.message());
            if let Some(handler) = self.route(place, message) {
                return Step::Handle(handler);
            }
        }
    }

    /// The handler that is to run for a message now, if the message does not have to wait.
    fn route(&mut self, place: u16, request: &Request) -> Option<Handler> {
        let registration = (*self.services.get(usize::from(place))?)?;
        if registration.context == Context::Stage {
            return Some(registration.handler);
        }
        let sender = request.from.vnode;
        self.queue.push(Item {
            place,
            serial: registration.serial,
            request: *request,
        });
        if self.queue.is_full(sender) {
            self.dsp.hold(sender);
        }
        None
    }

    /// The next message for the DSP thread, with its handler. Requests whose service has gone since
    /// they were queued are refused.
    pub(super) fn next_queued(&mut self, window: &Part<'_>) -> Option<(Handler, Request)> {
        loop {
            let item = self.queue.pop()?;
            let request = item.request;
            if self.queue.was_full(request.from.vnode) {
                self.dsp.release(request.from.vnode);
                self.is_unfinished = true;
            }
            let found = self.services.get(usize::from(item.place)).copied();
            match found.flatten().filter(|found| found.serial == item.serial) {
                Some(found) => return Some((found.handler, request)),
                None => {
                    if let Some(call) = &request.call {
                        self.dsp.refuse(window, call);
                        // It may have found the link broken, which a turn tells.
                        self.is_unfinished = true;
                    }
                }
            }
        }
    }

    /// Whether there is something for the DSP thread to do, which the caller tells it. What a turn
    /// has left is the thread's from now on.
    pub(super) fn take_work(&mut self) -> bool {
        let is_unfinished = core::mem::take(&mut self.is_unfinished);
        is_unfinished || self.queue.len() > 0 || self.broken.iter().any(Option::is_some)
    }

    /// Takes a view over; whom to wake. No handler runs, and nobody takes messages.
    pub(super) fn adopt(&mut self, view: &View, now_ns: u64) -> Woken {
        self.view = *view;
        self.dsp.on_view(view);
        self.patience.keep(view.members());
        self.queue.retain(|request| view.contains(request.from));
        self.expire(now_ns)
    }

    /// Ends the requests whose time is over, or that have lost whom they went to; whom to wake.
    pub(super) fn expire(&mut self, now_ns: u64) -> Woken {
        let mut woken = 0;
        while let Some(ended) = self.dsp.next_ended(now_ns) {
            woken |= self.places.end(&ended, None);
        }
        woken
    }

    fn lose(&mut self, life: Life, now_ns: u64) -> Woken {
        if let Some(place) = self.broken.get_mut(life.vnode.index()) {
            *place = Some(life);
        }
        self.expire(now_ns)
    }

    /// Breaks the link to a life; whom to wake. What it has sent and nobody has handled is dropped.
    pub(super) fn shun(&mut self, life: Life, now_ns: u64) -> Woken {
        self.dsp.shun(life);
        self.queue.retain(|request| request.from != life);
        self.expire(now_ns)
    }

    /// The next life that has broken its link and has not been reported.
    pub(super) fn next_broken(&mut self) -> Option<Life> {
        self.broken.iter_mut().find_map(Option::take)
    }

    /// Sends a request; the place where its caller will find how it ends.
    pub(super) fn request(
        &mut self,
        window: &Part<'_>,
        to: Life,
        service: u16,
        payload: &Payload,
        deadline_ns: u64,
    ) -> Result<usize, SendError> {
        let place = self.places.free().ok_or(SendError::TooManyCalls)?;
        let sent = self.dsp.request(window, to, service, payload, deadline_ns);
        let cookie = self.note(sent)?;
        self.places.wait(place, cookie);
        Ok(place)
    }

    /// Passes on how a send has gone. One that finds the link broken is reported by the next turn.
    pub(super) fn note<T>(&mut self, sent: Result<T, SendError>) -> Result<T, SendError> {
        self.is_unfinished |= matches!(sent, Err(SendError::Broken));
        sent
    }

    /// Messages that wait for the DSP thread.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Services that are registered, and where their handlers run.
    pub(super) fn services(&self) -> [Option<(u16, Context)>; SERVICES] {
        self.services
            .map(|place| place.map(|found| (found.service, found.context)))
    }
}
