// SPDX-License-Identifier: GPL-2.0

//! The root's part in the membership: it makes the views, follows who has acknowledged them, and
//! gives the mailboxes to the lives that are members (docs/dsp.md, sections 4 and 6).
//!
//! A life joins when its status says that its nanokernel runs; it goes when its CPUs are proven
//! stopped (`fence.rs`). The logic is `proto/membership/publisher.rs` and `proto/dsp/links.rs`.
//!
//! Lock: [`Core`]'s `roster`, a mutex; `table` is taken inside it, and the locks of `locks`.

#![deny(unsafe_code)]

use crate::core_state::Core;
use crate::facts::Fence;
use crate::machine;
use crate::mapping::Part;
use crate::portal;
use adeos_proto::dsp::links::Links;
use adeos_proto::id::{
    Generation,
    Life,
    VnodeId, //
};
use adeos_proto::layout;
use adeos_proto::lifecycle::Cause;
use adeos_proto::membership::publisher::{
    Agreement,
    Departure,
    Progress,
    Publisher, //
};
use adeos_proto::membership::{
    bit,
    each,
    Mask,
    View,
    HISTORY, //
};
use adeos_proto::suspicion::Suspicion;
use kernel::prelude::*;

/// How long a member may take to acknowledge a view before it is called late. More than a hang
/// takes to be found.
const PATIENCE_NS: u64 = 5_000_000_000;

/// What the root knows of the membership. It is the root's own memory: nothing that others can
/// write counts, but what they acknowledge.
pub(crate) struct Roster {
    publisher: Publisher,
    links: KBox<Links>,
    /// The latest views, for this kernel's own follower; number n at n - 1 modulo [`HISTORY`].
    recent: KVec<View>,
    agreement: Agreement,
    /// The view that the agreement is about.
    awaited: u64,
    /// Members that have been reported, in their present life: for lying, for being late.
    liars: Mask,
    late: Mask,
}

/// Apart, so that only this takes the stack that the links take.
#[inline(never)]
fn no_links() -> Result<KBox<Links>> {
    Ok(KBox::new(Links::new(), GFP_KERNEL)?)
}

impl Roster {
    /// Makes view 1, with the root alone. Process context. In a box, and apart: only this takes the
    /// stack that it takes.
    #[inline(never)]
    pub(crate) fn new(membership: &Part<'_>, root: Generation) -> Result<KBox<Self>> {
        let mut roster = Self {
            publisher: Publisher::new(membership, root),
            links: no_links()?,
            recent: KVec::with_capacity(HISTORY as usize, GFP_KERNEL)?,
            agreement: Agreement::new(1, machine::now_ns(), PATIENCE_NS),
            awaited: 1,
            liars: 0,
            late: 0,
        };
        roster.remember();
        Ok(KBox::new(roster, GFP_KERNEL)?)
    }

    /// View `number`, if it is one of the latest.
    pub(crate) fn recent(&self, number: u64) -> Option<View> {
        let view = self.recent.get(Self::place(number))?;
        (view.number() == number).then_some(*view)
    }

    /// The latest view.
    pub(crate) fn latest(&self) -> View {
        *self.publisher.view()
    }

    /// The view that a member's present life has reached, as far as the root has seen.
    pub(crate) fn reached(&self, vnode: VnodeId) -> u64 {
        self.publisher.reached(vnode).unwrap_or(0)
    }

    fn place(number: u64) -> usize {
        (number.wrapping_sub(1) % HISTORY) as usize
    }

    fn remember(&mut self) {
        let view = self.latest();
        match self.recent.get_mut(Self::place(view.number())) {
            Some(place) => *place = view,
            // Cannot fail: there is room for the history. Views come in order.
            None => drop(self.recent.push(view, GFP_KERNEL)),
        }
    }

    fn join(&mut self, membership: &Part<'_>, life: Life) -> Mask {
        if self.publisher.join(membership, life).is_err() {
            return 0;
        }
        self.liars &= !bit(life.vnode);
        self.late &= !bit(life.vnode);
        self.remember();
        self.publisher.view().members()
    }

    /// Takes a life out of the membership, if it is a member; returns whom to tell. None of its
    /// CPUs executes anything any more.
    pub(crate) fn remove(
        &mut self,
        membership: &Part<'_>,
        life: Life,
        cause: Option<Cause>,
    ) -> Mask {
        let how = match cause {
            Some(cause) if cause.is_orderly() => Departure::Left,
            Some(cause) => Departure::Died(cause.number()),
            None => Departure::Died(layout::cause::NONE),
        };
        // One that has never joined is none.
        if self.publisher.remove(membership, life, how).is_err() {
            return 0;
        }
        self.remember();
        self.publisher.view().members()
    }

    /// Takes in what the members have acknowledged, and opens the mailboxes that can be; returns
    /// whose.
    fn observe(&mut self, core: &Core) -> Mask {
        self.publisher.observe(&core.control().membership());
        self.links
            .open_ready(&core.control().mailboxes(), &self.publisher)
    }

    /// Members that lie, or have become late, and have not been reported yet.
    fn complaints(&mut self) -> (Mask, Mask) {
        let liars = self.publisher.liars() & !self.liars;
        self.liars |= liars;

        let now_ns = machine::now_ns();
        let mut late = 0;
        match self.agreement.look(&self.publisher, now_ns) {
            Progress::Waiting(_) => return (liars, 0),
            Progress::Late(missing) => late = missing & !self.late,
            Progress::Agreed => {}
        }
        self.late |= late;
        let latest = self.publisher.view().number();
        if self.awaited != latest {
            self.awaited = latest;
            self.agreement = Agreement::new(latest, now_ns, PATIENCE_NS);
        }
        (liars, late)
    }
}

impl Core {
    /// The root's round: who has joined becomes a member, who has acknowledged gets its mailboxes.
    /// Process context.
    pub(crate) fn keep_members(&self) {
        let mut guard = self.roster().lock();
        let Some(roster) = &mut *guard else {
            return;
        };
        let mut told = 0;
        for vnode in VnodeId::all().skip(1) {
            match self.joining(vnode) {
                Some(life) if !roster.publisher.view().contains(life) => {
                    // It may have a lock as soon as it sees the view (IL-32).
                    self.locks().expect(life);
                    told |= roster.join(&self.control().membership(), life);
                }
                _ => {}
            }
        }
        told |= roster.observe(self);
        let (liars, late) = roster.complaints();
        let view = roster.latest();
        drop(guard);

        self.notice(told);
        for (mask, why) in [(liars, Suspicion::Liar), (late, Suspicion::Late)] {
            each(mask)
                .filter_map(|vnode| view.life(vnode))
                .for_each(|life| self.suspect(life, why));
        }
        while let Some(life) = self.endpoint().next_malformed() {
            self.suspect(life, Suspicion::Malformed);
        }
    }

    /// The life of a vnode that says that its nanokernel runs, and that has not ended.
    fn joining(&self, vnode: VnodeId) -> Option<Life> {
        let facts = self.facts(vnode).ok()?;
        let runs = facts.state.is_alive()
            && facts.progress >= layout::state::JOINED
            && facts.fence == Fence::Open;
        runs.then_some(Life {
            vnode,
            generation: facts.generation,
        })
    }

    /// Raises the notice portal of vnodes: there is a new view, or a mailbox has been opened (DS-6).
    /// No lock of ours is held.
    pub(crate) fn notice(&self, vnodes: Mask) {
        for vnode in each(vnodes) {
            if vnode.is_root() {
                self.doorbell().raise();
                self.endpoint().take(self, Mask::MAX);
            } else {
                portal::send(self.control(), VnodeId::ROOT, vnode, layout::portal::NOTICE);
            }
        }
    }

    /// Marks a life as one that the root mistrusts, by the first reason that there is, and says so in
    /// the log, once. One that is hostile is in quarantine from now on (DS-55). Process context.
    pub(crate) fn suspect(&self, life: Life, why: Suspicion) {
        if why.is_hostile() {
            self.endpoint().shun(life);
        }
        if !self.mark(life, why) {
            return;
        }
        pr_warn!(
            "vnode {}, life {}: {}{}\n",
            life.vnode.number(),
            life.generation.0,
            why.describe(),
            if why.is_hostile() {
                "; it is in quarantine"
            } else {
                ""
            }
        );
    }

    /// Notes a reason; whether it is news: the first one, or the first that is hostile.
    fn mark(&self, life: Life, why: Suspicion) -> bool {
        let mut table = self.table().lock();
        let Ok(facts) = table.facts_mut(life.vnode) else {
            return false;
        };
        let is_news = match facts.suspicion {
            None => true,
            Some(before) => !before.is_hostile() && why.is_hostile(),
        };
        if facts.generation != life.generation || !is_news {
            return false;
        }
        facts.suspicion = Some(why);
        table.count_change();
        drop(table);
        self.changed().notify_all();
        true
    }
}

impl Core {
    /// A life has written nonsense into its mailboxes with this kernel. Told once for each life.
    /// Process context.
    pub(crate) fn on_broken_link(&self, life: Life) {
        if self.identity().is_root() {
            self.suspect(life, Suspicion::BrokenMailbox);
            return;
        }
        pr_warn!(
            "vnode {}, life {}: {}\n",
            life.vnode.number(),
            life.generation.0,
            Suspicion::BrokenMailbox.describe()
        );
    }
}
