// SPDX-License-Identifier: GPL-2.0

//! The nanokernel's state: one [`Core`] per kernel, which everything else hangs on.

use crate::bridge::Bridges;
use crate::clock::Clock;
use crate::control::Control;
use crate::dsp::Endpoint;
use crate::events::Subscribers;
use crate::kthread::Event;
use crate::lock::Locks;
use crate::machine::Identity;
use crate::members::Roster;
use crate::pipeline::Pipeline;
use crate::pool::Pool;
use crate::portal::deferral::Deferral;
use crate::views::Follower;
use crate::vnodes::Table;
use adeos_proto::id::Life;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Release, //
};
use kernel::sync::{
    Arc,
    CondVar,
    Mutex, //
};

/// Ranges that the pool can be split into: one for each bridge that there can be, and some for
/// vnodes, areas, and what is on its way from one place to another.
pub(crate) const POOL_RANGES: usize = 320;

/// The nanokernel of this kernel.
///
/// Lock order: `channel_lock`, the rings of an end, `table`; `follower`, `subscribers`, `roster`,
/// `table`. `pool` is taken alone. The endpoint's locks come last, as do those of `locks`.
#[pin_data]
pub struct Core {
    identity: Identity,
    control: Arc<Control>,
    #[pin]
    table: Mutex<Table>,
    #[pin]
    changed: CondVar,
    #[pin]
    pool: Mutex<KBox<Pool>>,
    /// Wakes the watch.
    #[pin]
    doorbell: Event,
    /// Held by whoever looks at a channel's rings before waiting on `channel_moved`.
    #[pin]
    channel_lock: Mutex<()>,
    #[pin]
    channel_moved: CondVar,
    /// Who is offered interrupts.
    #[pin]
    pipeline: Pipeline,
    /// What delivers portals in process context.
    deferral: Deferral,
    /// How this kernel's counter goes with the root's.
    #[pin]
    clock: Clock,
    /// How far this kernel has followed the views.
    #[pin]
    follower: Mutex<Follower>,
    /// Who is told of them.
    #[pin]
    subscribers: Mutex<Subscribers>,
    /// What the root knows of the membership; `None` in a vnode.
    #[pin]
    roster: Mutex<Option<KBox<Roster>>>,
    /// This kernel's end of the DSP.
    #[pin]
    endpoint: Endpoint,
    /// Wakes the fencing thread.
    #[pin]
    endings: Event,
    /// The bridges that are open here.
    #[pin]
    bridges: Bridges,
    /// The locks that are open here.
    #[pin]
    locks: Locks,
}

kernel::sync::global_lock! {
    // SAFETY: `init` is called in the module's initialisation, before any other use.
    unsafe(uninit) static CORE: Mutex<Option<Arc<Core>>> = None;
}

/// The same as `CORE`, for contexts that cannot take a mutex.
static CURRENT: Atomic<usize> = Atomic::new(0);

impl Core {
    /// Apart, so that its frame is gone when the module's initialisation goes on.
    #[inline(never)]
    pub(crate) fn new(
        identity: Identity,
        control: Arc<Control>,
        pool: KBox<Pool>,
    ) -> Result<Arc<Self>> {
        let table = Table::new()?;
        let pipeline = Pipeline::new()?;
        let deferral = Deferral::new()?;
        let me = Life {
            vnode: identity.vnode,
            generation: identity.generation,
        };
        let roster = match identity.is_root() {
            true => Some(Roster::new(&control.membership(), me.generation)?),
            false => None,
        };
        let clock = Clock::new(identity.is_root());
        let endpoint = Endpoint::new(me)?;
        let bridges = Bridges::new(&control, &identity);
        let locks = Locks::new(&identity, me)?;
        Arc::pin_init(
            pin_init!(Self {
                identity,
                control,
                table <- kernel::new_mutex!(table, "adeos:table"),
                changed <- kernel::new_condvar!("adeos:changed"),
                pool <- kernel::new_mutex!(pool, "adeos:pool"),
                doorbell <- Event::new(),
                clock <- clock,
                channel_lock <- kernel::new_mutex!((), "adeos:channel"),
                channel_moved <- kernel::new_condvar!("adeos:channel_moved"),
                pipeline <- pipeline,
                deferral,
                follower <- kernel::new_mutex!(Follower::new(me), "adeos:follower"),
                subscribers <- kernel::new_mutex!(Subscribers::new(), "adeos:subscribers"),
                roster <- kernel::new_mutex!(roster, "adeos:roster"),
                endpoint <- endpoint,
                endings <- Event::new(),
                bridges <- bridges,
                locks <- locks,
            }),
            GFP_KERNEL,
        )
    }

    /// The nanokernel of this kernel, for modules that build on it. ENODEV before it is set up.
    pub fn get() -> Result<Arc<Self>> {
        CORE.lock().clone().ok_or(ENODEV)
    }

    /// Runs `with` on the nanokernel, if there is one. For interrupt handlers, the portals' work
    /// items and the kernel's end: the caller is such that the claim below outlives it.
    pub(crate) fn with_in_interrupt(with: impl FnOnce(&Self)) {
        let address = CURRENT.load(Acquire) as *const Self;
        // SAFETY: `Published` keeps the core alive while the address is set, and whoever calls
        // this (the interrupts' entry, the portals' work items, the CPUs' callbacks of the pipeline, those
        // of `unpatched.rs`) is unregistered,
        // with a wait for those that still run, before `Published` is dropped.
        if let Some(core) = unsafe { address.as_ref() } {
            with(core);
        }
    }

    /// Who this kernel is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The control area.
    pub fn control(&self) -> &Control {
        &self.control
    }

    pub(crate) fn shared_control(&self) -> Arc<Control> {
        self.control.clone()
    }

    pub(crate) fn table(&self) -> &Mutex<Table> {
        &self.table
    }

    pub(crate) fn changed(&self) -> &CondVar {
        &self.changed
    }

    pub(crate) fn pool(&self) -> &Mutex<KBox<Pool>> {
        &self.pool
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn doorbell(&self) -> &Event {
        &self.doorbell
    }

    pub(crate) fn channel_lock(&self) -> &Mutex<()> {
        &self.channel_lock
    }

    pub(crate) fn channel_moved(&self) -> &CondVar {
        &self.channel_moved
    }

    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    pub(crate) fn deferral(&self) -> &Deferral {
        &self.deferral
    }

    pub(crate) fn follower(&self) -> &Mutex<Follower> {
        &self.follower
    }

    pub(crate) fn subscribers(&self) -> &Mutex<Subscribers> {
        &self.subscribers
    }

    pub(crate) fn roster(&self) -> &Mutex<Option<KBox<Roster>>> {
        &self.roster
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn endings(&self) -> &Event {
        &self.endings
    }

    pub(crate) fn bridges(&self) -> &Bridges {
        &self.bridges
    }

    pub(crate) fn locks(&self) -> &Locks {
        &self.locks
    }
}

/// The fact that this core is the one of the kernel; ends when dropped.
pub(crate) struct Published(Arc<Core>);

impl Published {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        CURRENT.store(Arc::as_ptr(&core) as usize, Release);
        *CORE.lock() = Some(core.clone());
        Self(core)
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        CURRENT.store(0, Release);
        *CORE.lock() = None;
    }
}

/// Prepares the statics of this file.
pub(crate) fn init_statics() {
    // SAFETY: Called once, from the module's initialisation.
    unsafe { CORE.init() };
}
