// SPDX-License-Identifier: GPL-2.0

//! The allocation service for transient bridges (paper section 4.3): memory that vnodes share for a
//! while, that Adeos may move whenever it has to make room, and whose requester is told where it is.
//!
//! A bridge whose users follow moves has a protocol: let go, wait, map again ([`Watcher`]). This
//! service keeps to it for its requesters, who say what to do when the memory has moved, and use it
//! where it is in between.
//!
//! Lock order: `bridge`, `place`, those of the bridge itself. `place` is held while a requester uses
//! the memory, which a move waits for.

#![deny(unsafe_code)]

use super::{
    local,
    Access,
    Bridge,
    Follow,
    Key,
    Mapped,
    Rights,
    Spec,
    Vnodes,
    Watcher, //
};
use crate::core_state::Core;
use crate::machine::now_ns;
use crate::mover::FREEZE_MS;
use adeos_proto::id::PhysRange;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::lock::mutex::MutexBackend;
use kernel::sync::lock::Guard;
use kernel::sync::{
    Arc,
    CondVar,
    CondVarTimeoutResult,
    Mutex, //
};
use kernel::time::msecs_to_jiffies;

/// What a requester of a transient bridge does about moves.
pub trait Relocation: Send + Sync {
    /// The memory has been moved, with all that was in it; nobody of this kernel has used it at its
    /// new place yet. Called in process context; it may sleep, has to return soon, and must not use
    /// the [`Transient`] itself.
    fn relocated(&self, from: PhysRange, to: &Mapped);

    /// The vnode that requested the bridge has died; it goes on, with what is in it.
    fn owner_died(&self) {}
}

/// A transient bridge. It is closed when this is dropped, in process context; the last user's close
/// ends it.
pub struct Transient(Arc<Shared>);

/// What the service and the requester both hold: it is the watcher of its own bridge, so `bridge`
/// is emptied when the [`Transient`] goes.
#[pin_data]
struct Shared {
    #[pin]
    bridge: Mutex<Option<Bridge>>,
    #[pin]
    place: Mutex<Place>,
    /// A move is over.
    #[pin]
    settled: CondVar,
    /// Since when a move waits for a requester that uses the memory; 0 if none does.
    asked_ns: Atomic<u64>,
    requester: Arc<dyn Relocation>,
}

struct Place {
    mapped: Option<Mapped>,
    /// Where it was when it was mapped last.
    range: Option<PhysRange>,
    /// Whether its users let go of it for a move now.
    is_moving: bool,
    /// Whether a move may have waited for this kernel for too long, which pins the bridge.
    is_late: bool,
}

/// How long to wait for the end of a move before it is looked at anew, in ms: its end may be missed.
const LOOK_MS: u32 = 100;
/// A move that has waited for longer may have been given up.
const LATE_NS: u64 = FREEZE_MS as u64 * 1_000_000 / 2;

impl Transient {
    /// Allocates memory for a transient bridge, whose owner this kernel is, maps it and opens it to
    /// the vnodes that are named, for reading and writing. Process context; waits for the root. The
    /// errors of [`Bridge::create`] and [`Bridge::map`].
    pub fn request(
        core: &Arc<Core>,
        key: Key,
        size: u64,
        vnodes: Vnodes,
        requester: Arc<dyn Relocation>,
    ) -> Result<Self> {
        let spec = Spec {
            key,
            size,
            rights: Rights::open_to(vnodes),
            follow: Follow::Moves,
        };
        Self::new(requester, |watcher| Bridge::create(core, &spec, watcher))
    }

    /// Opens one that another vnode, or this one, has requested. Process context; waits for the root.
    /// The errors of [`Bridge::open`] and [`Bridge::map`].
    pub fn join(
        core: &Arc<Core>,
        key: &Key,
        access: Access,
        requester: Arc<dyn Relocation>,
    ) -> Result<Self> {
        Self::new(requester, |watcher| {
            Bridge::open(core, key, access, Follow::Moves, watcher)
        })
    }

    fn new(
        requester: Arc<dyn Relocation>,
        get: impl FnOnce(Option<Arc<dyn Watcher>>) -> Result<Bridge>,
    ) -> Result<Self> {
        let place = Place {
            mapped: None,
            range: None,
            is_moving: false,
            is_late: false,
        };
        let shared = Arc::pin_init(
            pin_init!(Shared {
                bridge <- kernel::new_mutex!(None, "adeos:transient"),
                place <- kernel::new_mutex!(place, "adeos:transient_place"),
                settled <- kernel::new_condvar!("adeos:transient_settled"),
                asked_ns: Atomic::new(0),
                requester,
            }),
            GFP_KERNEL,
        )?;
        let watcher: Arc<dyn Watcher> = shared.clone();
        let bridge = get(Some(watcher))?;
        // From here on, dropping this closes the bridge.
        let transient = Self(shared);
        *transient.0.bridge.lock() = Some(bridge);
        // If it is being moved just now, it is mapped afterwards.
        match transient.0.map() {
            Err(error) if error != EAGAIN => Err(error),
            _ => Ok(transient),
        }
    }

    /// Runs `with` on the memory where it is now, and keeps it there meanwhile: a move waits, and is
    /// given up when it has waited for too long. While it is being moved this waits. Process context;
    /// one user of this [`Transient`] at a time. `with` has to return soon, and must not create, open
    /// or close a bridge. EINTR on a signal; the errors of [`Bridge::map`] when it cannot be mapped
    /// where it has been moved to, which may be another time.
    pub fn with<R>(&self, with: impl FnOnce(&Mapped) -> R) -> Result<R> {
        let result = self.at_rest()?.mapped.as_ref().map(with);
        self.0.follow_again();
        result.ok_or(EAGAIN)
    }

    /// The place, once it is mapped and not being moved.
    fn at_rest(&self) -> Result<Guard<'_, Place, MutexBackend>> {
        loop {
            let mut place = self.0.place.lock();
            if !place.is_moving {
                if place.mapped.is_some() {
                    return Ok(place);
                }
                drop(place);
                match self.0.map() {
                    Err(error) if error != EAGAIN => return Err(error),
                    _ => place = self.0.place.lock(),
                }
                if place.mapped.is_some() && !place.is_moving {
                    return Ok(place);
                }
            }
            let jiffies = msecs_to_jiffies(LOOK_MS);
            let waited = self
                .0
                .settled
                .wait_interruptible_timeout(&mut place, jiffies);
            if let CondVarTimeoutResult::Signal { .. } = waited {
                return Err(EINTR);
            }
        }
    }
}

impl Drop for Transient {
    fn drop(&mut self) {
        // From here on no watcher maps it any more.
        let bridge = self.0.bridge.lock().take();
        self.0.place.lock().mapped = None;
        // Outside of the locks, and as the last that holds on to it: this waits for a watcher that
        // runs, which takes them.
        drop(bridge);
    }
}

impl Shared {
    /// Maps the bridge, and tells the requester if it is not where it was.
    fn map(&self) -> Result {
        let bridge = self.bridge.lock();
        // Nobody wants it any more.
        let Some(bridge) = &*bridge else {
            return Ok(());
        };
        // Whoever is to let go waits for this, so that it finds what was mapped.
        let mut place = self.place.lock();
        if place.mapped.is_some() {
            return Ok(());
        }
        let mapped = bridge.map()?;
        let from = place.range.replace(mapped.range());
        if let Some(from) = from.filter(|from| *from != mapped.range()) {
            self.requester.relocated(from, &mapped);
        }
        place.mapped = Some(mapped);
        Ok(())
    }

    /// If this kernel has been late, which pins the bridge, says that it follows all the same.
    fn follow_again(&self) {
        let mut place = self.place.lock();
        let was_late = core::mem::replace(&mut place.is_late, false);
        drop(place);
        // Who waits may not have come to say so yet.
        let asked_ns = self.asked_ns.load(Relaxed);
        let is_late = asked_ns != 0 && now_ns().saturating_sub(asked_ns) > LATE_NS;
        if !was_late && !is_late {
            return;
        }
        // Outside of the lock: this waits for whoever closes an opener of the same bridge, who waits for
        // a watcher that runs, which takes it.
        let handle = self.bridge.lock().as_ref().map(|bridge| bridge.0.clone());
        let followed = handle.map(|handle| local::follow(&handle, Follow::Moves));
        if followed.is_some_and(|followed| followed.is_err()) {
            // Another time, if it does not get through.
            self.place.lock().is_late = true;
        }
    }
}

impl Watcher for Shared {
    fn let_go(&self) -> Result {
        let begun = now_ns();
        self.asked_ns.store(begun, Relaxed);
        let mut place = self.place.lock();
        self.asked_ns.store(0, Relaxed);
        place.is_moving = true;
        // Under the lock: whoever closes the bridge is the last to hold on to it.
        place.mapped = None;
        place.is_late |= now_ns().saturating_sub(begun) > LATE_NS;
        Ok(())
    }

    fn settled(&self) {
        // Whoever uses it next tries again.
        let _ = self.map();
        self.place.lock().is_moving = false;
        self.settled.notify_all();
    }

    fn owner_died(&self) {
        self.requester.owner_died();
    }
}
