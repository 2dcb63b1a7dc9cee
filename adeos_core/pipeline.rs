// SPDX-License-Identifier: GPL-2.0

//! The interrupt pipeline of this kernel (paper section 4.1 and its reference 26): what calls
//! proto/pipeline.rs and runs the handlers. docs/pipeline.md is the specification.
//!
//! What arrives by hardware is the portals' vector, and the vectors that Linux has no entry for: the
//! patches hand these over before Linux sees them. All else goes to Linux as ever. What other stages
//! trigger is synthetic, of a vector that the CPU uses for exceptions.
//!
//! Lock: the table's mutex, of process context, under which RCU is waited for; no other is taken there.

#![deny(unsafe_code)]

use crate::portal;
use adeos_proto::layout::PORTAL_VECTOR;
use adeos_proto::pipeline::{
    self as logic,
    Outcome,
    Stage,
    Step,
    FIRST_HARDWARE_VECTOR, //
};
use cpus::Cpus;
use kernel::prelude::*;
use table::{
    Owner,
    Published,
    Table, //
};

#[allow(unsafe_code)]
mod cpus;
mod domain;
#[allow(unsafe_code)]
mod each_cpu;
#[allow(unsafe_code)]
mod stage;
#[allow(unsafe_code)]
mod table;
#[cfg(CONFIG_ADEOS)]
#[allow(unsafe_code)]
mod vector;
mod view;

pub use domain::Domain;
pub(crate) use each_cpu::Hotplug;
pub(crate) use stage::in_thread;
pub use stage::InStage;
#[cfg(CONFIG_ADEOS)]
pub(crate) use vector::Vectors;
pub(crate) use view::show;

/// What runs when an interrupt is offered to a stage: for the vector that is given, on the CPU where
/// it came, with interrupts off.
pub type StageHandler = fn(&InStage<'_>, u8) -> Outcome;

/// Vectors below this one are the CPU's exceptions, and so free for synthetic interrupts.
pub const SYNTHETIC: u8 = FIRST_HARDWARE_VECTOR;

/// The portals' vector, which is offered to Adeos first and then to Linux.
pub(crate) const PORTALS: u8 = PORTAL_VECTOR as u8;
/// The synthetic vector that stands for it where no portal has interrupted.
pub(crate) const LOOK: u8 = 0;

/// The pipelines of this kernel.
#[pin_data]
pub(crate) struct Pipeline {
    cpus: Cpus,
    #[pin]
    table: Published,
}

impl Pipeline {
    /// Makes them, with the two stages that every kernel has: Adeos's and Linux's. Process context.
    /// ENOMEM.
    pub(crate) fn new() -> Result<impl PinInit<Self>> {
        let mut table = KBox::new(Table::new(), GFP_KERNEL)?;
        for (stage, name, handler) in [
            (Stage::ADEOS, "adeos", portal::on_interrupt as StageHandler),
            (Stage::LINUX, "linux", portal::in_linux),
        ] {
            table
                .register(stage, Owner { name, handler })
                .and_then(|()| table.routes.add(stage, PORTALS))
                .and_then(|()| table.routes.add(stage, LOOK))
                .map_err(refused)?;
        }
        let cpus = Cpus::new()?;
        Ok(pin_init!(Self {
            cpus,
            table <- Published::new(table),
        }))
    }

    /// An interrupt has come to this CPU: whether Linux is not to see it (PI-14, PI-50). That is so
    /// if a stage is registered for it, whether one takes it or not.
    #[cfg(CONFIG_ADEOS)]
    fn arrive(&self, stage: &InStage<'_>, vector: u8) -> bool {
        let routes = &self.table.get(stage).routes;
        if !routes.is_routed(vector) {
            return false;
        }
        let step = self.cpus.arrive(stage, routes, vector);
        self.carry_out(stage, step);
        if vector == PORTALS {
            self.collect(stage);
        }
        true
    }

    /// Triggers here what other CPUs ask for (PI-33).
    #[cfg(CONFIG_ADEOS)]
    fn collect(&self, stage: &InStage<'_>) {
        while let Some((to, vector)) = self.cpus.triggered(stage) {
            // Where the stage has gone meanwhile, so has what it was asked for.
            let _ = self.trigger(stage, to, vector);
        }
    }

    fn trigger(&self, stage: &InStage<'_>, to: Stage, vector: u8) -> Result {
        let routes = &self.table.get(stage).routes;
        let step = self.cpus.trigger(stage, routes, to, vector);
        self.carry_out(stage, step.map_err(errno)?);
        Ok(())
    }

    /// EINVAL for a stage that is no domain's: Adeos's and Linux's are nobody's to stall here, and
    /// whoever gets a free one finds it open.
    fn stall(&self, stage: &InStage<'_>, which: Stage) -> Result<bool> {
        let is_adeoss = which == Stage::ADEOS || which == Stage::LINUX;
        if is_adeoss || self.table.get(stage).owner(which).is_none() {
            return Err(EINVAL);
        }
        self.cpus.stall(stage, which)
    }

    fn unstall(&self, stage: &InStage<'_>, which: Stage) {
        let routes = &self.table.get(stage).routes;
        let step = self.cpus.unstall(stage, routes, which);
        self.carry_out(stage, step);
    }

    /// Runs the handlers until there is rest.
    fn carry_out(&self, stage: &InStage<'_>, mut step: Step) {
        while let Step::Run(delivery) = step {
            // Who has gone since the step was made passes on what comes.
            let owner = self.table.get(stage).owner(delivery.stage());
            let outcome = owner.map_or(Outcome::Passed, |owner| {
                (owner.handler)(stage, delivery.vector())
            });
            let routes = &self.table.get(stage).routes;
            step = self.cpus.done(stage, routes, delivery, outcome);
        }
    }

    /// Leaves nothing on this CPU, which is about to leave this kernel (PI-54): what is stalled is
    /// replayed, and no stage can be stalled any more.
    fn leave(&self, stage: &InStage<'_>) {
        self.cpus.set_leaving(stage, true);
        #[cfg(CONFIG_ADEOS)]
        self.collect(stage);
        for which in Stage::all() {
            self.unstall(stage, which);
        }
    }

    /// The CPU has come back.
    fn enter(&self, stage: &InStage<'_>) {
        self.cpus.set_leaving(stage, false);
    }
}

/// Whether a domain may have a vector: a synthetic one that Adeos does not have, or one that Linux has
/// no use for.
fn may_have(vector: u8) -> bool {
    vector != LOOK && (vector < SYNTHETIC || is_free(vector))
}

/// Whether an interrupt of a vector would be nothing but a spurious one to Linux.
#[cfg(CONFIG_ADEOS)]
fn is_free(vector: u8) -> bool {
    vector::is_free(vector)
}

/// Without the patches no interrupt comes here.
#[cfg(not(CONFIG_ADEOS))]
fn is_free(_: u8) -> bool {
    false
}

fn refused(why: logic::Refused) -> Error {
    match why {
        logic::Refused::Occupied => EBUSY,
        logic::Refused::Unregistered => ENOENT,
        logic::Refused::InUse => EBUSY,
    }
}

fn errno(error: logic::Error) -> Error {
    match error {
        logic::Error::Unregistered => ENOENT,
        logic::Error::Running => EBUSY,
    }
}
