// SPDX-License-Identifier: GPL-2.0

//! This kernel's end of the protocol: one state behind one lock, which is taken with interrupts off.
//!
//! Messages are taken in the hard interrupt of the mail portal, by the DSP thread and, where portals
//! do not interrupt, by callers that look for an answer; by one CPU at a time, with interrupts off,
//! for one turn at most. Handlers run outside of the lock.
//!
//! Lock order: `handling`, a mutex that is held while a handler runs in the DSP thread; `state`, in
//! which nothing else is taken.

#![deny(unsafe_code)]

use super::calls::{
    Woken,
    CALLS, //
};
use super::state::{
    State,
    Step,
    SERVICES, //
};
use super::{
    errno,
    Context,
    Handler,
    Request as Message, //
};
use crate::core_state::Core;
use crate::kthread::{
    self,
    Event, //
};
use crate::machine;
use crate::portal;
use crate::raw_spin_lock::RawSpinLock;
use adeos_proto::bits;
use adeos_proto::dsp::{
    Area,
    Counters,
    Outcome,
    Payload,
    Request,
    RouteError,
    SendError,
    Turn, //
};
use adeos_proto::id::{
    Life,
    VnodeId, //
};
use adeos_proto::layout;
use adeos_proto::membership::{
    bit,
    each,
    Mask,
    View, //
};
use kernel::interrupt::local_interrupt_disable;
use kernel::prelude::*;
use kernel::sync::{
    rcu,
    Mutex, //
};

/// Messages that the DSP thread handles before it lets others have the CPU.
const BATCH: usize = 64;

/// The end.
#[pin_data]
pub(crate) struct Endpoint {
    #[pin]
    state: RawSpinLock<KBox<State>>,
    /// What the caller of each place waits for.
    answered: KVec<Pin<KBox<Event>>>,
    /// Wakes the DSP thread.
    #[pin]
    bell: Event,
    #[pin]
    handling: Mutex<()>,
}

/// What debugfs shows of one peer.
pub(crate) struct PeerFacts {
    /// The life that can be sent to.
    pub(crate) life: Option<Life>,
    /// Whether it has broken the link.
    pub(crate) is_broken: bool,
    /// What has been counted, over all lives.
    pub(crate) counters: Counters,
}

impl Endpoint {
    /// An end without peers. Process context.
    pub(crate) fn new(me: Life) -> Result<impl PinInit<Self>> {
        // Beyond all cookies of an earlier load in this life (DS-31): a request takes longer than a
        // tick.
        let (first_cookie, _) = machine::clocks();
        let state = State::new(me, first_cookie)?;
        let mut answered = KVec::with_capacity(CALLS, GFP_KERNEL)?;
        for _ in 0..CALLS {
            answered.push(KBox::pin_init(Event::new(), GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(pin_init!(Self {
            state <- RawSpinLock::new(state, c"adeos:dsp", kernel::static_lock_class!()),
            answered,
            bell <- Event::new(),
            handling <- kernel::new_mutex!((), "adeos:dsp_handling"),
        }))
    }

    pub(super) fn register(
        &self,
        area: Area,
        service: u16,
        context: Context,
        handler: Handler,
    ) -> Result<(), RouteError> {
        self.state.lock().register(area, service, context, handler)
    }

    /// Takes a service out and waits until no handler of it runs. Process context; sleeps.
    pub(super) fn unregister(&self, service: u16, context: Context) {
        self.state.lock().unregister(service);
        match context {
            Context::Stage => rcu::synchronize_rcu(),
            Context::Thread => drop(self.handling.lock()),
        }
    }

    /// Takes messages that these senders may have sent, for one turn. Any context.
    pub(crate) fn take(&self, core: &Core, senders: Mask) {
        if self.turn(core, senders) {
            self.bell.raise();
        }
    }

    /// The same; whether there is something for the DSP thread, which is for the caller to see to.
    fn turn(&self, core: &Core, senders: Mask) -> bool {
        // Whoever takes messages is done within a bounded time, since nothing comes between; and
        // `unregister` waits for the handlers that run here.
        let _disabled = local_interrupt_disable();
        let _section = rcu::read_lock();
        if !self.state.lock().begin_turn(senders) {
            return false;
        }
        let window = core.control().mailboxes();
        let now_ns = machine::now_ns();
        let mut turn = Turn::new();
        let mut message = Message::nobodys();
        loop {
            let mut state = self.state.lock();
            let step = state.step(&window, &mut turn, now_ns, &mut message);
            let pushed = state.dsp.take_pushed();
            drop(state);
            ring(core, pushed);
            match step {
                Step::Handle(handler) => handler(core, &message),
                Step::Wake(woken) => self.wake(woken),
                Step::Done { for_thread } => return for_thread,
            }
        }
    }

    fn wake(&self, woken: Woken) {
        for place in bits::each(woken) {
            if let Some(event) = self.answered.get(place) {
                event.raise();
            }
        }
    }

    /// Changes the state, and raises the portals of those that something was sent to.
    fn with<T>(&self, core: &Core, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state);
        let pushed = state.dsp.take_pushed();
        drop(state);
        ring(core, pushed);
        result
    }

    /// Takes a view over: after this no message of a life that is not in it reaches a handler, and
    /// none of it is being handled. The nanokernel's thread.
    pub(crate) fn adopt(&self, core: &Core, view: &View) {
        let handling = self.handling.lock();
        let woken = loop {
            let mut state = self.state.lock();
            if state.begin_turn(0) {
                let woken = state.adopt(view, machine::now_ns());
                state.end_turn();
                break woken;
            }
            drop(state);
            // Another CPU is in a turn, with interrupts off: it is done soon.
            core::hint::spin_loop();
        };
        drop(handling);
        self.wake(woken);
        // What new members have sent was announced to a link that was not there yet.
        self.take(core, 0);
    }

    pub(super) fn tell(
        &self,
        core: &Core,
        to: Life,
        service: u16,
        payload: &Payload,
    ) -> Result<(), SendError> {
        let window = core.control().mailboxes();
        let sent = self.with(core, |state| {
            let sent = state.dsp.tell(&window, to, service, payload);
            state.note(sent)
        });
        self.report_break(sent)
    }

    pub(super) fn reply(
        &self,
        core: &Core,
        call: &Request,
        status: i32,
        payload: &Payload,
    ) -> Result<(), SendError> {
        let window = core.control().mailboxes();
        let sent = self.with(core, |state| {
            let sent = state.dsp.reply(&window, call, status, payload);
            state.note(sent)
        });
        self.report_break(sent)
    }

    /// Has the DSP thread tell of a link that a send has found broken.
    fn report_break<T>(&self, sent: Result<T, SendError>) -> Result<T, SendError> {
        if matches!(sent, Err(SendError::Broken)) {
            self.bell.raise();
        }
        sent
    }

    pub(super) fn ask(
        &self,
        core: &Core,
        to: Life,
        service: u16,
        payload: &Payload,
        timeout_ms: u32,
    ) -> Result<(Outcome, Payload)> {
        kernel::task::might_sleep();
        if !kthread::may_ask() {
            return Err(EDEADLK);
        }
        let window = core.control().mailboxes();
        let now_ns = machine::now_ns();
        let deadline_ns = now_ns.saturating_add(u64::from(timeout_ms).saturating_mul(1_000_000));
        let mut look_ns = 0;
        let sent = self.with(core, |state| {
            look_ns = state.patience.look_ns(to.vnode);
            state.request(&window, to, service, payload, deadline_ns)
        });
        let place = self.report_break(sent).map_err(errno)?;
        let event = self.answered.get(place).ok_or(EINVAL)?;
        let look_end_ns = now_ns.saturating_add(look_ns.into());
        let ended = match self.look_for(core, place, to.vnode, event, look_end_ns) {
            Some(ended) => Ok(ended),
            None => self.sleep_for(place, event, deadline_ns),
        };
        // A raise that comes from now on is for whoever has the place next, who looks in vain once.
        if matches!(ended, Ok((Outcome::Reply { .. } | Outcome::Refused(_), _))) {
            let took_ns = machine::now_ns().saturating_sub(now_ns);
            self.state.lock().patience.learn(to.vnode, took_ns);
        }
        ended
    }

    /// Looks for an answer until a time. Where portals interrupt, an interrupt brings it.
    fn look_for(
        &self,
        core: &Core,
        place: usize,
        from: VnodeId,
        event: &Event,
        end_ns: u64,
    ) -> Option<(Outcome, Payload)> {
        loop {
            if !machine::PATCHED {
                self.take(core, bit(from));
            }
            let is_over = machine::now_ns() >= end_ns;
            if is_over || event.is_raised() {
                // Whoever has raised it for this request has noted the outcome before; what was for
                // the one before it in this place tells nothing.
                event.forget();
                let ended = self.state.lock().places.take(place);
                if is_over || ended.is_some() {
                    return ended;
                }
            }
            core::hint::spin_loop();
        }
    }

    /// Sleeps until a request has ended. Each caller looks after the time of all: whose is over
    /// first wakes first.
    fn sleep_for(
        &self,
        place: usize,
        event: &Event,
        deadline_ns: u64,
    ) -> Result<(Outcome, Payload)> {
        loop {
            let now_ns = machine::now_ns();
            let mut state = self.state.lock();
            let woken = state.expire(now_ns);
            let ended = state.places.take(place);
            drop(state);
            self.wake(woken);
            if let Some(ended) = ended {
                return Ok(ended);
            }
            let left_ms = deadline_ns.saturating_sub(now_ns).div_ceil(1_000_000);
            if event
                .wait_killable_ms(left_ms.min(u32::MAX.into()) as u32)
                .is_err()
            {
                let mut state = self.state.lock();
                if let Some(cookie) = state.places.give_up(place) {
                    state.dsp.cancel(cookie);
                }
                return Err(EINTR);
            }
        }
    }

    /// The DSP thread's round.
    pub(super) fn serve(&self, core: &Core) {
        self.bell.wait();
        let mut has_more = self.turn(core, 0);
        for _ in 0..BATCH {
            let handling = self.handling.lock();
            let window = core.control().mailboxes();
            match self.with(core, |state| state.next_queued(&window)) {
                Some((handler, request)) => handler(core, &request),
                None => break,
            }
            drop(handling);
        }
        loop {
            let broken = self.state.lock().next_broken();
            match broken {
                Some(life) => core.on_broken_link(life),
                None => break,
            }
        }
        has_more |= self.state.lock().take_work();
        if has_more {
            self.bell.raise();
        }
    }

    /// Ends the DSP thread's wait.
    pub(super) fn wake_thread(&self) {
        self.bell.raise();
    }

    pub(super) fn view(&self) -> View {
        self.state.lock().view
    }

    /// Breaks the link to a life that is mistrusted: nothing of it is heard any more. Process context.
    pub(crate) fn shun(&self, life: Life) {
        let mut state = self.state.lock();
        let woken = state.shun(life, machine::now_ns());
        drop(state);
        self.wake(woken);
    }

    /// The next life that has sent malformed messages since the last call.
    pub(crate) fn next_malformed(&self) -> Option<Life> {
        self.state.lock().dsp.next_malformed()
    }

    pub(super) fn counters(&self, vnode: VnodeId) -> Counters {
        self.state.lock().dsp.counters(vnode)
    }

    /// What is known of a peer.
    pub(crate) fn peer(&self, vnode: VnodeId) -> PeerFacts {
        let state = self.state.lock();
        PeerFacts {
            life: state.dsp.life_of(vnode),
            is_broken: state.dsp.is_broken(vnode),
            counters: state.dsp.counters(vnode),
        }
    }

    /// Requests that wait for answers, and messages that wait for the DSP thread.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.dsp.outstanding(), state.queued())
    }

    /// The services that are registered, with their context, in no particular order.
    pub(crate) fn services(&self) -> [Option<(u16, Context)>; SERVICES] {
        self.state.lock().services()
    }
}

/// Raises the mail portal of vnodes (DS-5).
fn ring(core: &Core, vnodes: Mask) {
    let own = core.identity().vnode;
    for vnode in each(vnodes) {
        portal::send(core.control(), own, vnode, layout::portal::MAIL);
    }
}
