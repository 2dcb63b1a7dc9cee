// SPDX-License-Identifier: GPL-2.0

//! The table of routes and handlers, one for all CPUs. Whoever is in the pipeline finds it without
//! a lock; a change is made to a copy, which is then published whole (PI-40).

use super::stage::InStage;
use super::StageHandler;
use adeos_proto::pipeline::{
    Refused,
    Routes,
    Stage,
    STAGES, //
};
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Release, //
};
use kernel::sync::Mutex;

/// Who has a stage.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    /// For people.
    pub(super) name: &'static str,
    pub(super) handler: StageHandler,
}

/// What is published.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) routes: Routes,
    owners: [Option<Owner>; STAGES],
}

impl Table {
    pub(super) const fn new() -> Self {
        Self {
            routes: Routes::new(),
            owners: [None; STAGES],
        }
    }

    fn clone_into(&self, other: &mut Self) {
        *other = self.clone();
    }

    pub(super) fn owner(&self, stage: Stage) -> Option<Owner> {
        self.owners.get(stage.rank()).copied().flatten()
    }

    /// Gives a stage to somebody, for no vector yet.
    pub(super) fn register(&mut self, stage: Stage, owner: Owner) -> Result<(), Refused> {
        self.routes.register(stage)?;
        if let Some(place) = self.owners.get_mut(stage.rank()) {
            *place = Some(owner);
        }
        Ok(())
    }

    /// Takes it back; it stays occupied until [`Routes::release`].
    pub(super) fn unregister(&mut self, stage: Stage) -> Result<(), Refused> {
        self.routes.unregister(stage)?;
        if let Some(place) = self.owners.get_mut(stage.rank()) {
            *place = None;
        }
        Ok(())
    }
}

/// The table that is in use.
///
/// # Invariants
///
/// `address` is that of the table in the box, or of one that is kept until RCU has let all pass
/// that may have found it.
#[pin_data]
pub(super) struct Published {
    address: Atomic<usize>,
    /// The table; it is held by whoever makes a change.
    #[pin]
    table: Mutex<KBox<Table>>,
}

impl Published {
    pub(super) fn new(table: KBox<Table>) -> impl PinInit<Self> {
        // INVARIANT: What a box holds does not move with it.
        pin_init!(Self {
            address: Atomic::new(core::ptr::from_ref(&*table) as usize),
            table <- kernel::new_mutex!(table, "adeos:pipeline"),
        })
    }

    /// The table of this moment. A later call may find another one.
    pub(super) fn get<'a>(&'a self, _: &'a InStage<'_>) -> &'a Table {
        let address = self.address.load(Acquire) as *const Table;
        // SAFETY: By the invariant it is there until RCU has let this one pass, which by its own
        // invariant is in a section of RCU for as long as the reference lives. Tables do not change.
        unsafe { &*address }
    }

    /// Makes a change, or none if `with` refuses it; when this returns, no CPU uses the table from
    /// before. Process context; sleeps. ENOMEM, and the errors of `with`.
    pub(super) fn change(&self, with: impl FnOnce(&mut Table) -> Result) -> Result {
        self.change_in(KBox::new(Table::new(), GFP_KERNEL)?, with)
    }

    /// The same with room for the new table that the caller has kept; only `with` can refuse it.
    pub(super) fn change_in(
        &self,
        mut new: KBox<Table>,
        with: impl FnOnce(&mut Table) -> Result,
    ) -> Result {
        let mut table = self.table.lock();
        Table::clone_into(&table, &mut new);
        with(&mut new)?;
        // INVARIANT: The old one is kept until after the wait below.
        self.address
            .store(core::ptr::from_ref(&*new) as usize, Release);
        let old = core::mem::replace(&mut *table, new);
        kernel::sync::rcu::synchronize_rcu();
        drop(old);
        Ok(())
    }
}
