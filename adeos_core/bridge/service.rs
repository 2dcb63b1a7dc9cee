// SPDX-License-Identifier: GPL-2.0

//! The DSP service of bridges: on the root the requests of the others, elsewhere the root's word
//! that an entry has changed. And what has to run for bridges as a whole.

#![deny(unsafe_code)]

use super::follower::Follower;
use super::root;
use super::server::{
    self,
    Purpose,
    Server,
    Wanted, //
};
use super::Id;
use crate::core_state::Core;
use crate::dsp::{
    Area,
    Context,
    Payload,
    Request as Message,
    Service, //
};
use crate::events::Subscription;
use crate::kthread::Kthread;
use crate::quiet::Quiet;
use adeos_proto::bridge::request::{
    Answer,
    EventRecord,
    GrantRecord,
    Request,
    RequestRecord, //
};
use adeos_proto::membership::View;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::Arc;

/// Number of the service.
pub(super) const SERVICE: u16 = 0x0500;

/// Answers that nobody could be given, and messages that nobody should send.
static UNANSWERED: Atomic<u64> = Atomic::new(0);
static STRANGE: Atomic<u64> = Atomic::new(0);
/// Requests that were refused; and the line about those that no honest kernel makes.
static REFUSED: Atomic<u64> = Atomic::new(0);
static COMPLAINED: Quiet = Quiet::new();

/// What runs for bridges in this kernel. Fields go in this order: first what brings work, then the
/// threads that do it.
pub(crate) struct Running {
    _subscription: Option<Subscription>,
    _service: Service,
    _server: Option<Kthread<Server>>,
    _follower: Kthread<Follower>,
    _rest: Rest,
}

impl Running {
    /// Starts it. Process context, once this kernel is published and before it asks for anything.
    pub(crate) fn start(core: &Arc<Core>) -> Result<Self> {
        let is_root = core.identity().is_root();
        let follower = Arc::new(Follower::new(core.clone())?, GFP_KERNEL)?;
        let follower = Kthread::spawn(c"adeos_bridges", follower)?;
        let server = if is_root {
            let server = Arc::new(Server(core.clone()), GFP_KERNEL)?;
            Some(Kthread::spawn(c"adeos_memory", server)?)
        } else {
            None
        };
        let handler = if is_root { on_request } else { on_event };
        let service = Service::register(core, Area::Bridges, SERVICE, Context::Thread, handler)?;
        let subscription = if is_root {
            Some(Subscription::new(on_view)?)
        } else {
            None
        };
        Ok(Self {
            _subscription: subscription,
            _service: service,
            _server: server,
            _follower: follower,
            _rest: Rest(core.clone()),
        })
    }
}

/// What is left when nothing runs any more: memory that is to be scrubbed before the pool is given
/// up.
struct Rest(Arc<Core>);

impl Drop for Rest {
    fn drop(&mut self) {
        server::reclaim(&self.0);
        server::end();
    }
}

/// Root: who lives has changed.
fn on_view(core: &Core, _view: &View) {
    root::live_now(core);
}

/// Root: serves a request, or has the server find memory first.
fn on_request(core: &Core, message: &Message) {
    if message.is_one_way() {
        STRANGE.add(1, Relaxed);
        return;
    }
    let answered = match serve(core, message) {
        Ok(Answer::NeedsMemory(id, size)) => {
            match want(core, message, id, size, Purpose::New) {
                // The server answers.
                Ok(()) => return,
                Err(error) => {
                    server::cancel(core, id);
                    Err(error)
                }
            }
        }
        Ok(Answer::NeedsPlace(id, size)) => {
            match want(core, message, id, size, Purpose::Resize(message.from)) {
                // As above.
                Ok(()) => return,
                Err(error) => Err(error),
            }
        }
        Ok(answer) => root::granted(&answer),
        Err(error) => Err(error),
    };
    if let Err(error) = answered {
        note_refusal(message, error);
    }
    reply(core, message, answered);
}

fn want(core: &Core, message: &Message, id: Id, size: u64, purpose: Purpose) -> Result {
    let wanted = Wanted {
        id,
        size,
        purpose,
        message: *message,
    };
    server::want(core, wanted)
}

/// Counts a refusal, and tells of one that is for bad input. Names that are not there or that are
/// taken, and memory that there is not, are everyday.
fn note_refusal(message: &Message, error: Error) {
    REFUSED.add(1, Relaxed);
    let is_bad = [EINVAL, EACCES, EPERM].contains(&error);
    if !is_bad {
        return;
    }
    if let Some(left_out) = COMPLAINED.allows() {
        pr_warn!(
            "vnode {} asks of bridges what it may not (error {}; {} such lines were left out)\n",
            message.from.vnode.number(),
            error.to_errno(),
            left_out
        );
    }
}

fn serve(core: &Core, message: &Message) -> Result<Answer> {
    let bytes = message.payload.as_slice().try_into().map_err(|_| EINVAL)?;
    let request = Request::from_record(&RequestRecord::from_bytes(bytes)).map_err(root::errno)?;
    root::serve(core, message.from, &request)
}

/// Answers a request with what it is granted, or with the number of an error.
pub(super) fn reply(core: &Core, message: &Message, result: Result<GrantRecord>) {
    let (status, granted) = match result {
        Ok(granted) => (0, granted),
        Err(error) => (error.to_errno(), GrantRecord::default()),
    };
    let payload = Payload::new(&granted.to_bytes()).unwrap_or(Payload::EMPTY);
    if core.reply(message, status, &payload).is_err() {
        // It has gone, or does not read what it asks for: it finds out by its own clock.
        UNANSWERED.add(1, Relaxed);
    }
}

/// Elsewhere: some entry has changed.
fn on_event(core: &Core, message: &Message) {
    if !message.is_one_way() {
        reply(core, message, Err(EPERM));
        return;
    }
    let bytes = message.payload.as_slice().first_chunk();
    let bridge = bytes.and_then(|bytes| EventRecord::from_bytes(bytes).id());
    if !message.from.vnode.is_root() || bridge.is_none() {
        STRANGE.add(1, Relaxed);
        return;
    }
    // BR-56: which one does not matter. Entries say what has become of them.
    core.bridges().nudge();
}

/// Answers that nobody could be given, and messages that nobody should have sent.
pub(super) fn counts() -> (u64, u64) {
    (UNANSWERED.load(Relaxed), STRANGE.load(Relaxed))
}

/// Root: requests that were refused.
pub(super) fn refusals() -> u64 {
    REFUSED.load(Relaxed)
}
