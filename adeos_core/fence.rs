// SPDX-License-Identifier: GPL-2.0

//! Fencing: a life that has ended is proven to execute nothing any more, and only then do the
//! others learn that it is gone (docs/dsp.md, DS-68; docs/inter-vnode-locks.md, IL-30).
//!
//! An INIT has no answer, and a CPU that has not taken it yet can start another one of its kernel
//! anew. So INIT alone is no proof, and a view that dropped the life on the strength of it could
//! hand its locks and mailboxes on while it still writes. The proof is `quarantine.rs`. A thread of
//! its own waits for it: a CPU that does not stop holds up nobody else's death.
//!
//! Lock order: [`Core`]'s `roster`, then `table`.

use crate::core_state::Core;
use crate::cpu::StartCpus;
use crate::facts::{
    Assignment,
    Fence, //
};
use crate::kthread::Body;
use adeos_proto::id::{
    Generation,
    Life,
    VnodeId, //
};
use adeos_proto::lifecycle::State;
use kernel::prelude::*;
use kernel::sync::Arc;

// SAFETY: This file stops only CPUs of vnodes that have ended, as the table has it.
const START_CPUS: StartCpus = unsafe { StartCpus::new() };

impl Core {
    /// Proves that the CPUs of a life that has ended have stopped, or waits for whoever is at it,
    /// and then takes the life out of the membership. Process context; sleeps. The root only.
    ///
    /// EIO when a CPU does not stop; it may be tried again. EBUSY when the life has not ended,
    /// ESTALE when the number is in another one.
    pub fn fence(&self, vnode: VnodeId, generation: Generation) -> Result {
        let life = Life { vnode, generation };
        let Some(assignment) = self.claim_fence(life)? else {
            return Ok(());
        };
        let stopped = START_CPUS.quarantine(assignment.apic_ids(), vnode);
        self.close_fence(life, stopped.is_ok());
        stopped
    }

    /// Makes this caller the one that fences a life, whose CPUs it returns; `None` when that is
    /// done already.
    fn claim_fence(&self, life: Life) -> Result<Option<Assignment>> {
        let mut table = self.table().lock();
        loop {
            let facts = table.facts_mut(life.vnode)?;
            if facts.generation != life.generation {
                return Err(ESTALE);
            }
            if !matches!(facts.state, State::Dead | State::Failed) {
                return Err(EBUSY);
            }
            match facts.fence {
                Fence::Closed => return Ok(None),
                Fence::Open | Fence::Failed => {
                    let assignment = facts.assignment.ok_or(ENOENT)?;
                    facts.fence = Fence::Closing;
                    return Ok(Some(assignment));
                }
                Fence::Closing => self.changed().wait(&mut table),
            }
        }
    }

    fn close_fence(&self, life: Life, stopped: bool) {
        // A join looks at the table under the first lock, so none comes after this. Whoever finds
        // the fence closed, under the second, finds the life gone from the view as well.
        let mut roster = self.roster().lock();
        let mut table = self.table().lock();
        let mut told = 0;
        if let Ok(facts) = table.facts_mut(life.vnode) {
            facts.fence = Fence::Failed;
            if stopped {
                facts.fence = Fence::Closed;
                if let Some(roster) = &mut *roster {
                    told = roster.remove(&self.control().membership(), life, facts.cause);
                }
            }
        }
        drop(table);
        drop(roster);
        self.changed().notify_all();
        self.notice(told);
        if !stopped {
            pr_err!(
                "vnode {}, life {}, is not proven to have stopped, and stays a member\n",
                life.vnode.number(),
                life.generation.0
            );
        }
    }

    /// A life of this vnode that has ended and that nobody has tried to fence yet.
    fn to_fence(&self, vnode: VnodeId) -> Option<Generation> {
        let facts = self.facts(vnode).ok()?;
        let has_ended = matches!(facts.state, State::Dead | State::Failed);
        (has_ended && facts.fence == Fence::Open).then_some(facts.generation)
    }
}

/// What the root's fencing thread runs: it fences each life once. Who wants to have a vnode back
/// tries again.
pub(crate) struct Fencer(pub(crate) Arc<Core>);

impl Body for Fencer {
    fn round(&self) {
        let core = &self.0;
        core.endings().wait();
        for vnode in VnodeId::all().skip(1) {
            if let Some(generation) = core.to_fence(vnode) {
                // What fails is logged, and noted in the table.
                let _ = core.fence(vnode, generation);
            }
        }
    }

    fn wake(&self) {
        self.0.endings().raise();
    }
}
