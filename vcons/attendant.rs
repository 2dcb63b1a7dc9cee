// SPDX-License-Identifier: GPL-2.0

//! What happens when a portal was raised, somebody asks, or the time has come: one place for all of it.
//!
//! Lock order: `attending`, a mutex; those of the speaker; those of what is shown. `requests` and
//! `nodes` are the thread's, but for who adds a request.

#![deny(unsafe_code)]

use crate::asks;
use crate::keeper::Keeper;
use crate::nodes::{
    Nodes,
    Place, //
};
use crate::shown::Viewers;
use crate::speaker::{
    Heed,
    Speaker, //
};
use crate::tty::Tty;
use adeos_core::dsp::Request as Message;
use adeos_core::{
    Body,
    Core,
    Event, //
};
use adeos_proto::vcons::request::Request;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Relaxed,
    Release, //
};
use kernel::sync::{
    Arc,
    Mutex, //
};

/// How often one looks for what a raise has told, or should have (VC-23).
const CALM_MS: u32 = 1000;
/// How often one looks for output that nobody announces (VC-22).
const BLIND_MS: u32 = 20;
/// Requests of one vnode that can wait.
const REQUESTS: usize = 16;
/// How soon one looks again at a terminal whose buffers were full.
const BEHIND_MS: u32 = 4;

/// It.
#[pin_data]
pub(crate) struct Attendant {
    core: Arc<Core>,
    news: Arc<Event>,
    tty: Arc<Tty<Speaker>>,
    viewers: Arc<Viewers>,
    keeper: Option<Arc<Keeper>>,
    #[pin]
    attending: Mutex<()>,
    #[pin]
    requests: Mutex<KVec<Message>>,
    #[pin]
    nodes: Mutex<Nodes>,
    /// Whether the module is there to stay: until then nobody may open a device.
    has_begun: Atomic<u32>,
    /// The view that was followed.
    followed: Atomic<u64>,
    /// In how many ms the thread looks again.
    patience: Atomic<u32>,
}

impl Attendant {
    pub(crate) fn new(
        core: Arc<Core>,
        news: Arc<Event>,
        tty: Arc<Tty<Speaker>>,
        viewers: Arc<Viewers>,
        keeper: Option<Arc<Keeper>>,
        nodes: Nodes,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                core,
                news,
                tty,
                viewers,
                keeper,
                attending <- kernel::new_mutex!((), "vcons:attending"),
                requests <- kernel::new_mutex!(KVec::new(), "vcons:requests"),
                nodes <- kernel::new_mutex!(nodes, "vcons:nodes"),
                has_begun: Atomic::new(0),
                followed: Atomic::new(0),
                patience: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Has the thread look. Any context.
    pub(crate) fn call(&self) {
        self.news.raise();
    }

    /// Looks at what was typed, said and seen. Process context.
    pub(crate) fn attend(&self) {
        let _attending = self.attending.lock();
        let heed = self.tty.driver().attend(&self.tty);
        let is_blind = self.viewers.notify();
        let patience = match (heed, is_blind) {
            (Heed::Behind, _) => BEHIND_MS,
            (Heed::All, true) => BLIND_MS,
            (Heed::All, false) => CALM_MS,
        };
        let before = self.patience.load(Acquire);
        self.patience.store(patience, Release);
        // The thread may be asleep for longer.
        if patience < before {
            self.news.raise();
        }
    }

    /// Begins to look which consoles there are, and to give them devices. Process context.
    pub(crate) fn begin(&self) {
        self.has_begun.store(1, Release);
        self.nodes.lock().look(true);
    }

    pub(crate) fn viewers(&self) -> &Arc<Viewers> {
        &self.viewers
    }

    /// The consoles that there are. Process context.
    pub(crate) fn places(&self) -> Result<KVec<Place>> {
        self.nodes.lock().places()
    }

    /// Root: somebody asks. The DSP's thread; what may have to wait is the own thread's.
    pub(crate) fn take_request(&self, message: &Message) {
        if message.is_one_way() {
            return;
        }
        let mut requests = self.requests.lock();
        let same = requests.iter().filter(|other| other.from == message.from);
        let added = match same.count() < REQUESTS {
            true => requests.push(*message, GFP_KERNEL).map_err(Error::from),
            false => Err(EAGAIN),
        };
        drop(requests);
        match added {
            Ok(()) => self.call(),
            Err(error) => asks::refuse(&self.core, message, error),
        }
    }

    fn serve(&self, keeper: &Keeper) {
        // Those that come meanwhile have to wait, as has what else there is to do.
        let requests = core::mem::replace(&mut *self.requests.lock(), KVec::new());
        for message in &requests {
            let result = Request::parse(message.payload.as_slice())
                .ok_or(EBADMSG)
                .and_then(|request| keeper.serve(message.from, request));
            asks::answer(&self.core, message, result);
        }
    }

    /// The view of debugfs.
    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tty.driver().show(f)?;
        match &self.keeper {
            Some(keeper) => keeper.show(f),
            None => Ok(()),
        }
    }
}

impl Body for Attendant {
    fn round(&self) {
        self.news.wait_ms(self.patience.load(Acquire).max(1));
        let view = self.core.view();
        let has_changed = self.followed.load(Relaxed) != view.number();
        self.followed.store(view.number(), Relaxed);
        if let Some(keeper) = &self.keeper {
            if has_changed {
                keeper.follow(&view);
            }
            self.serve(keeper);
            keeper.tidy();
        }
        if self.has_begun.load(Acquire) != 0 {
            self.nodes.lock().look(has_changed);
        }
        self.attend();
    }

    fn wake(&self) {
        self.news.raise();
    }
}
