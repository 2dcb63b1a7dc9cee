// SPDX-License-Identifier: GPL-2.0

//! The locks that this kernel has open, which it goes through after each view, and when it is woken.

#![deny(unsafe_code)]

use super::end::End;
use crate::bridge::Mapped;
use crate::core_state::Core;
use crate::events::Subscription;
use crate::machine::Identity;
use crate::pipeline::InStage;
use crate::portal::Delivery;
use crate::raw_spin_lock::RawSpinLock;
use adeos_proto::id::{
    Life,
    VnodeId, //
};
use adeos_proto::lock::{
    Lives,
    Standing, //
};
use adeos_proto::membership::{
    Change,
    View, //
};
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    Mutex, //
};

/// Locks that one kernel can have open: a wake-up looks at each, in an interrupt.
const MAX_LOCKS: usize = 256;

/// This kernel's locks.
///
/// Lock order: `walk`, `registry`, an end's state.
#[pin_data]
pub(crate) struct Locks {
    /// Held by who goes through the locks in process context: none is opened or closed meanwhile.
    #[pin]
    walk: Mutex<()>,
    #[pin]
    registry: RawSpinLock<Registry>,
}

struct Registry {
    ends: KVec<Arc<End>>,
    /// What this kernel knows of lives, open locks or not.
    lives: Lives,
    last: View,
}

impl Registry {
    /// Takes a view over. The kernel may have missed some before it.
    fn follow(&mut self, view: &View) {
        for vnode in VnodeId::all() {
            match (self.last.life(vnode), view.life(vnode)) {
                (_, Some(life)) => self.lives.joined(life),
                (Some(life), None) => self.lives.ended(life),
                (None, None) => {}
            }
        }
        if let Change::Left(life) | Change::Died(life, _) = view.change() {
            self.lives.ended(life);
        }
        self.last = *view;
    }
}

impl Locks {
    /// No lock is open. Process context. ENOMEM.
    pub(crate) fn new(identity: &Identity, me: Life) -> Result<impl PinInit<Self>> {
        let registry = Registry {
            ends: KVec::with_capacity(MAX_LOCKS, GFP_KERNEL)?,
            lives: match identity.is_root() {
                true => Lives::of_root(),
                false => Lives::of_vnode(),
            },
            last: View::before(me),
        };
        Ok(pin_init!(Self {
            walk <- kernel::new_mutex!((), "adeos:locks"),
            registry <- RawSpinLock::new(registry, c"adeos:lock_registry", kernel::static_lock_class!()),
        }))
    }

    /// Opens a lock. Process context. EEXIST, ENOSPC, ENXIO, ENOMEM.
    pub(super) fn open(&self, core: &Core, memory: &Arc<Mapped>, at: usize) -> Result<Arc<End>> {
        let _walk = self.walk.lock();
        let me = core.own_life();
        let lives = self.registry.lock().lives;
        if lives.standing(me) != Standing::Alive {
            return Err(ENXIO);
        }
        let end = End::new(memory.clone(), at, me, lives)?;
        let mut registry = self.registry.lock();
        let mut ends = registry.ends.iter();
        let added = if ends.any(|other| other.address() == end.address()) {
            Err(EEXIST)
        } else {
            let added = registry.ends.push_within_capacity(end.clone());
            added.map_err(|_| ENOSPC)
        };
        drop(registry);
        added?;
        end.recover(core);
        Ok(end)
    }

    /// Closes a lock, which nobody holds or waits for any more. Process context.
    pub(super) fn close(&self, core: &Core, end: &Arc<End>) {
        let _walk = self.walk.lock();
        end.leave(core);
        let mut registry = self.registry.lock();
        registry.ends.retain(|other| !Arc::ptr_eq(other, end));
    }

    /// Root: this life is about to become a member. It could hold a lock before this kernel's thread
    /// has taken over the view that it is in, and must not be called dead then. Process context.
    pub(crate) fn expect(&self, life: Life) {
        let mut registry = self.registry.lock();
        registry.lives.joined(life);
        let lives = registry.lives;
        drop(registry);
        self.each(|end| end.set_lives(&lives));
    }

    /// Calls a function for each lock. Process context; what it holds keeps the caller's own
    /// reference from being the last one, whose drop unmaps.
    fn each(&self, mut what: impl FnMut(&End)) {
        let _walk = self.walk.lock();
        for at in 0..MAX_LOCKS {
            let end = self.registry.lock().ends.get(at).cloned();
            let Some(end) = end else { break };
            what(&end);
        }
    }
}

/// Has locks follow the views until it is dropped.
pub(crate) fn subscribe() -> Result<Subscription> {
    Subscription::new(|core, view| {
        let locks = core.locks();
        let mut registry = locks.registry.lock();
        registry.follow(view);
        let lives = registry.lives;
        drop(registry);
        locks.each(|end| end.follow(core, &lives));
    })
}

/// Handler of the portal of locks: somebody takes this kernel for the next owner of one of them.
pub(crate) fn on_wake(stage: &InStage<'_>, _: Delivery) {
    let registry = stage.core().locks().registry.lock();
    for end in &registry.ends {
        end.on_wake(stage);
    }
}

/// The view of debugfs.
pub(crate) fn show(core: &Core, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut shown = Ok(());
    core.locks().each(|end| {
        if shown.is_ok() {
            shown = end.show(f);
        }
    });
    shown
}
