// SPDX-License-Identifier: GPL-2.0

//! Domains of other modules: who wants interrupts ahead of Linux, or what Linux leaves.

use super::{
    each_cpu,
    errno,
    in_thread,
    is_free,
    may_have,
    refused,
    InStage,
    Owner,
    Pipeline,
    StageHandler,
    Table,
    SYNTHETIC, //
};
use crate::core_state::Core;
use crate::cpu;
use crate::machine;
use adeos_proto::pipeline::Stage;
use kernel::prelude::*;
use kernel::sync::Arc;

/// A domain's place in the pipeline of this kernel (paper section 4.1), which is given back when
/// this is dropped: then its handler does not run any more, on any CPU, and what was logged for it
/// has gone on to later stages.
///
/// It is made and dropped in process context, which sleeps for as long as RCU takes to let all
/// readers pass.
///
/// # Examples
///
/// ```ignore
/// fn on_tick(stage: &InStage<'_>, _vector: u8) -> Outcome {
///     // Ahead of Linux, which never hears of it.
///     TICKS.fetch_add(1, Relaxed);
///     Outcome::Taken
/// }
///
/// let domain = Domain::register("ticks", Stage::new(2)?, on_tick)?;
/// let vector = domain.allocate()?;
/// domain.send(1, vector)?;
/// ```
pub struct Domain {
    core: Arc<Core>,
    stage: Stage,
    /// Tables for what `drop` changes, which cannot fail for want of memory.
    rooms: [Option<KBox<Table>>; 2],
}

impl Domain {
    /// Takes a stage, for no vector yet; the name is for people. EBUSY when another domain has it (0
    /// is Adeos's, 4 is Linux's), or has just left it; ENODEV before the nanokernel is set up; ENOMEM.
    pub fn register(name: &'static str, stage: Stage, handler: StageHandler) -> Result<Self> {
        let core = Core::get()?;
        let room = || KBox::new(Table::new(), GFP_KERNEL);
        let rooms = [Some(room()?), Some(room()?)];
        core.pipeline().table.change(|table| {
            table
                .register(stage, Owner { name, handler })
                .map_err(refused)
        })?;
        Ok(Self { core, stage, rooms })
    }

    /// Has interrupts of a vector offered to this stage from now on: a synthetic one, below
    /// [`SYNTHETIC`], or one that Linux has no entry for. EBUSY for one of Linux's or Adeos's, or one
    /// that comes by hardware where the kernel does not have the patches. Process context; sleeps.
    /// ENOMEM.
    pub fn add(&self, vector: u8) -> Result {
        if !may_have(vector) {
            return Err(EBUSY);
        }
        self.pipeline()
            .table
            .change(|table| table.routes.add(self.stage, vector).map_err(refused))
    }

    /// The same for a vector that comes by hardware, that Linux has no entry for, and that no stage
    /// is registered for. ENOSPC when there is none.
    pub fn allocate(&self) -> Result<u8> {
        let mut found = 0;
        self.pipeline().table.change(|table| {
            let mut vectors = (SYNTHETIC..=u8::MAX).rev();
            found = vectors
                .find(|vector| is_free(*vector) && !table.routes.is_routed(*vector))
                .ok_or(ENOSPC)?;
            table.routes.add(self.stage, found).map_err(refused)
        })?;
        Ok(found)
    }

    /// Has interrupts of a vector no longer offered to this stage; what is logged for it goes on to
    /// later ones. Process context; sleeps. ENOMEM.
    pub fn remove(&self, vector: u8) -> Result {
        self.pipeline().table.change(|table| {
            table.routes.remove(self.stage, vector);
            Ok(())
        })
    }

    /// Interrupts a CPU of this kernel, which may be this one, by a vector that comes by hardware.
    /// Any context but NMIs. EINVAL for another vector, ENODEV for a CPU that is not there.
    pub fn send(&self, cpu: u32, vector: u8) -> Result {
        if !is_free(vector) {
            return Err(EINVAL);
        }
        cpu::interrupt_after(cpu, vector, || ())
    }

    /// Triggers a synthetic interrupt for a stage on this CPU, see [`InStage::trigger`]. Any context
    /// but NMIs.
    pub fn trigger(&self, to: Stage, vector: u8) -> Result {
        in_thread(&self.core, |stage| stage.trigger(to, vector))
    }

    /// The same on another CPU of this kernel, soon: by the portals' vector, whose interrupt does it
    /// there (PI-33). Any context but NMIs. EINVAL for a vector that is not synthetic, ENOENT when
    /// the stage is not registered for it, ENODEV for a CPU that is not there, EOPNOTSUPP where the
    /// kernel does not have the patches.
    pub fn trigger_on(&self, cpu: u32, to: Stage, vector: u8) -> Result {
        if vector >= SYNTHETIC {
            return Err(EINVAL);
        }
        if !machine::PATCHED {
            return Err(EOPNOTSUPP);
        }
        let pipeline = self.pipeline();
        // All with interrupts off: neither the stage nor the CPU goes meanwhile.
        in_thread(&self.core, |stage| {
            if !pipeline.table.get(stage).routes.has(to, vector) {
                return Err(ENOENT);
            }
            cpu::interrupt_after(cpu, super::PORTALS, || pipeline.cpus.ask(cpu, to, vector))
        })
    }

    /// Stalls the stage on this CPU: what comes is logged, and nothing of it is offered to anybody,
    /// until [`Self::unstall`], by the same CPU. Says whether it was stalled. The caller is such that
    /// it stays on its CPU. Any context but NMIs. ENODEV when the CPU is about to leave this kernel,
    /// which also ends a stall.
    pub fn stall(&self) -> Result<bool> {
        in_thread(&self.core, |stage| stage.stall(self.stage))
    }

    /// Ends a stall on this CPU: what was logged is replayed before this returns, the highest vector
    /// first; in a handler, see [`InStage::unstall`]. Any context but NMIs.
    pub fn unstall(&self) {
        in_thread(&self.core, |stage| stage.unstall(self.stage));
    }

    fn pipeline(&self) -> &Pipeline {
        self.core.pipeline()
    }
}

impl Drop for Domain {
    /// In the order of PI-41.
    fn drop(&mut self) {
        let which = self.stage;
        let [first, second] = core::mem::take(&mut self.rooms);
        let pipeline = self.core.pipeline();
        // Nobody else changes a stage that is a domain's, so neither of these can be refused.
        let change = |room: Option<KBox<Table>>, with: fn(&mut Table, Stage) -> Result| {
            let room = room.ok_or(ENOMEM)?;
            pipeline.table.change_in(room, |table| with(table, which))
        };
        let mut left = change(first, |table, which| {
            table.unregister(which).map_err(refused)
        });
        each_cpu::on_each(&self.core, |stage, _| {
            if let Err(error) = pipeline.retire(stage, which) {
                left = Err(error);
            }
        });
        let released = left.and_then(|()| {
            change(second, |table, which| {
                table.routes.release(which).map_err(refused)
            })
        });
        if let Err(error) = released {
            pr_err!(
                "stage {} of the pipeline is not given back (error {})\n",
                which.rank(),
                error.to_errno()
            );
        }
    }
}

impl Pipeline {
    fn retire(&self, stage: &InStage<'_>, which: Stage) -> Result {
        let routes = &self.table.get(stage).routes;
        let step = self.cpus.retire(stage, routes, which);
        self.carry_out(stage, step.map_err(errno)?);
        Ok(())
    }
}
