// SPDX-License-Identifier: GPL-2.0

//! The distributed sharing protocol for modules: services, requests, messages (paper section 4;
//! docs/dsp.md).
//!
//! A module registers a [`Service`]; others ask it by [`Core::ask`] or tell it something by
//! [`Core::tell`], from any kernel of the machine. The logic is `proto/dsp.rs`. This kernel's end
//! of it is `dsp/endpoint.rs`.

#![deny(unsafe_code)]

mod calls;
mod endpoint;
mod queue;
mod state;
mod thread;

pub(crate) use endpoint::{
    Endpoint,
    PeerFacts, //
};
pub(crate) use thread::Courier;

pub use adeos_proto::dsp::{
    Area,
    Counters,
    Payload, //
};

use crate::core_state::Core;
use crate::pipeline::InStage;
use crate::portal::Delivery;
use adeos_proto::dsp::{
    self as protocol,
    Outcome,
    Refusal,
    RouteError,
    SendError, //
};
use adeos_proto::id::{
    Generation,
    Life,
    VnodeId, //
};
use adeos_proto::membership::{
    bit,
    View, //
};
use kernel::prelude::*;
use kernel::sync::Arc;

/// Where a service's handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// In the hard interrupt of the portal that announced the message, ahead of all threads: no
    /// sleep, no lock that others hold with interrupts on, and little to do.
    Stage,
    /// In the nanokernel's DSP thread: process context, may sleep. It must not wait for another
    /// vnode, nor drop its own service: all other services wait for it.
    Thread,
}

/// What runs for each message of a service. It answers a request by [`Core::reply`], now or, with a
/// copy of the request, later.
pub type Handler = fn(&Core, &Request);

/// A message for a service: a request, or one that wants no answer.
#[derive(Clone, Copy)]
pub struct Request {
    /// Who sent it.
    pub from: Life,
    /// Which service it is for.
    pub service: u16,
    /// What it says.
    pub payload: Payload,
    /// What the answer is to repeat; `None` for a message that wants none.
    call: Option<protocol::Request>,
}

impl Request {
    /// One of nobody, to be filled in.
    fn nobodys() -> Self {
        Self {
            from: Life {
                vnode: VnodeId::ROOT,
                generation: Generation(0),
            },
            service: 0,
            payload: Payload::EMPTY,
            call: None,
        }
    }

    /// Whether nobody waits for an answer.
    pub fn is_one_way(&self) -> bool {
        self.call.is_none()
    }
}

/// What a service answers.
#[derive(Clone, Copy)]
pub struct Answer {
    /// In short, in words of the service; 0 is success.
    pub status: i32,
    /// In full.
    pub payload: Payload,
}

/// A registered service; no handler of it runs any more once this is dropped.
///
/// # Examples
///
/// ```ignore
/// fn echo(core: &Core, request: &Request) {
///     // Whoever asked may have gone meanwhile.
///     let _ = core.reply(request, 0, &request.payload);
/// }
///
/// let service = Service::register(&core, Area::Local, 0xff00, Context::Stage, echo)?;
/// let answer = core.ask(life, 0xff00, &Payload::EMPTY, 1000)?;
/// ```
pub struct Service {
    core: Arc<Core>,
    service: u16,
    context: Context,
}

impl Service {
    /// Registers a service of an area. Process context. EINVAL when the number is not in the area,
    /// EBUSY when it has a handler, ENOSPC when there are too many services, ENODEV without a
    /// nanokernel.
    pub fn register(
        core: &Core,
        area: Area,
        service: u16,
        context: Context,
        handler: Handler,
    ) -> Result<Self> {
        let owner = Core::get()?;
        core.endpoint()
            .register(area, service, context, handler)
            .map_err(|error| match error {
                RouteError::OutOfRange => EINVAL,
                RouteError::Taken => EBUSY,
                RouteError::Full => ENOSPC,
            })?;
        Ok(Self {
            core: owner,
            service,
            context,
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.core.endpoint().unregister(self.service, self.context);
    }
}

/// Why something was not sent, as an error number.
fn errno(error: SendError) -> Error {
    match error {
        SendError::Gone => ENXIO,
        SendError::NotOpen => ENOTCONN,
        SendError::Full | SendError::TooManyCalls => EAGAIN,
        SendError::Broken => EPIPE,
    }
}

impl Core {
    /// Which life of which vnode this kernel is.
    pub fn own_life(&self) -> Life {
        let identity = self.identity();
        Life {
            vnode: identity.vnode,
            generation: identity.generation,
        }
    }

    /// The latest view of the membership that this kernel has taken; number 0, without members,
    /// before the first. Any context.
    pub fn view(&self) -> View {
        self.endpoint().view()
    }

    /// Tells a service of a life something, without an answer. Any context.
    ///
    /// ENXIO when the life is no member, ENOTCONN when the link to it is not open yet, EAGAIN when
    /// its mailbox is full, EPIPE when it has broken the link.
    pub fn tell(&self, to: Life, service: u16, payload: &Payload) -> Result {
        self.endpoint()
            .tell(self, to, service, payload)
            .map_err(errno)
    }

    /// Asks a service of a life, and waits for the answer. Process context; sleeps. It looks for
    /// the answer first, for up to twice as long as answers of that vnode usually take.
    ///
    /// Errors of [`tell`](Self::tell), EAGAIN also when too many requests wait, and: ETIMEDOUT after
    /// the time, ENXIO and EPIPE also when the life goes, or breaks the link, while this waits,
    /// EOPNOTSUPP when it has no such service or speaks another version, EBADMSG when it finds the
    /// request malformed, EINTR when the process is to be killed, EDEADLK in the nanokernel's own
    /// threads, which must not wait for others. Whether the request was carried out is not known
    /// after ETIMEDOUT, ENXIO, EPIPE and EINTR.
    pub fn ask(
        &self,
        to: Life,
        service: u16,
        payload: &Payload,
        timeout_ms: u32,
    ) -> Result<Answer> {
        let (outcome, payload) = self
            .endpoint()
            .ask(self, to, service, payload, timeout_ms)?;
        match outcome {
            Outcome::Reply { status } => Ok(Answer { status, payload }),
            Outcome::Refused(Refusal::Malformed) => Err(EBADMSG),
            Outcome::Refused(_) => Err(EOPNOTSUPP),
            Outcome::TimedOut => Err(ETIMEDOUT),
            Outcome::Gone => Err(ENXIO),
            Outcome::Broken => Err(EPIPE),
        }
    }

    /// Answers a request, once. Any context.
    ///
    /// Errors of [`tell`](Self::tell), and EINVAL for a message that wants no answer. After EAGAIN
    /// it can be tried again.
    pub fn reply(&self, request: &Request, status: i32, payload: &Payload) -> Result {
        let call = request.call.as_ref().ok_or(EINVAL)?;
        self.endpoint()
            .reply(self, call, status, payload)
            .map_err(errno)
    }

    /// What has been counted of the messages to and from a vnode, over all its lives.
    pub fn dsp_counters(&self, vnode: VnodeId) -> Counters {
        self.endpoint().counters(vnode)
    }
}

/// Handler of the mail portal: there are messages of this vnode.
pub(crate) fn on_mail(stage: &InStage<'_>, delivery: Delivery) {
    stage
        .core()
        .endpoint()
        .take(stage.core(), bit(delivery.from));
}
