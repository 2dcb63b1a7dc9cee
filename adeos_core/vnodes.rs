// SPDX-License-Identifier: GPL-2.0

//! The root's table of vnodes: who is there, in which life, and how it goes.
//!
//! The states and what moves between them are `proto/lifecycle.rs`; this file carries the actions
//! out and keeps the facts. Lock: [`Core`]'s `table`, a mutex; no other is taken inside it.

use crate::core_state::Core;
use crate::cpu::StartCpus;
use crate::facts::{
    Assignment,
    Facts,
    Fence, //
};
use crate::machine;
use crate::portal;
use adeos_proto::id::{
    Generation,
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::layout::{
    self,
    request,
    slot,
    BootBlock,
    Status, //
};
use adeos_proto::lifecycle::{
    Action,
    Cause,
    Event,
    State, //
};
use adeos_proto::liveness::{
    Boot,
    Monitor,
    Verdict, //
};
use adeos_proto::window::Window;
use kernel::prelude::*;

/// CPUs of a vnode whose beats are watched; those beyond run unwatched.
const WATCHED: usize = 64;

// SAFETY: This file sends INIT only to CPUs in the table: those of a vnode that is to end.
const START_CPUS: StartCpus = unsafe { StartCpus::new() };

struct Entry {
    facts: Facts,
    monitor: Monitor<WATCHED>,
    boot: Boot,
}

impl Entry {
    /// An empty entry. Apart, so that only this takes the stack that an entry takes.
    #[inline(never)]
    fn new() -> Result<KBox<Self>> {
        let entry = Self {
            facts: Facts::EMPTY,
            monitor: Monitor::new(),
            boot: Boot::new(),
        };
        Ok(KBox::new(entry, GFP_KERNEL)?)
    }
}

/// All vnodes of the machine.
pub(crate) struct Table {
    entries: KVec<KBox<Entry>>,
    /// Counts changes that users may wait for.
    count: u64,
}

impl Table {
    pub(crate) fn new() -> Result<Self> {
        let mut entries = KVec::with_capacity(MAX_VNODES, GFP_KERNEL)?;
        for _ in 0..MAX_VNODES {
            entries.push(Entry::new()?, GFP_KERNEL)?;
        }
        Ok(Self { entries, count: 0 })
    }

    /// What is known of a vnode. ENOENT for a number beyond the table.
    pub(crate) fn facts_mut(&mut self, vnode: VnodeId) -> Result<&mut Facts> {
        Ok(&mut self.entry(vnode)?.facts)
    }

    /// Notes that something has changed that users may wait for, who are to be woken afterwards.
    pub(crate) fn count_change(&mut self) {
        self.count = self.count.wrapping_add(1);
    }

    fn entry(&mut self, vnode: VnodeId) -> Result<&mut Entry> {
        Ok(self.entries.get_mut(vnode.index()).ok_or(ENOENT)?)
    }

    /// Moves a vnode on, and carries out what has to be done at once.
    fn on(&mut self, vnode: VnodeId, event: Event) -> Result<Action> {
        let now = machine::now_ns();
        let entry = self.entry(vnode)?;
        let before = entry.facts.state;
        // A start that has failed before its CPU was on the way has nothing to be proven.
        let has_run = matches!(before, State::Dead | State::Failed);
        if event == Event::Reclaimed && has_run && entry.facts.fence != Fence::Closed {
            return Err(EBUSY);
        }
        let (state, action) = before.on(event).map_err(|_| EBUSY)?;
        let facts = &mut entry.facts;
        facts.state = state;
        match event {
            Event::Died(cause) => facts.cause = Some(cause),
            Event::NoSign => facts.cause = Some(Cause::NoStart),
            Event::Loaded => facts.started_ns = now,
            Event::Reclaimed => {
                facts.assignment = None;
                portal::set_receiver(vnode, None);
            }
            _ => {}
        }
        if matches!(action, Action::StopCpus) {
            facts.ended_ns = now;
            facts.assignment.iter().for_each(stop_cpus);
        }
        if before != state {
            self.count_change();
        }
        Ok(action)
    }
}

/// INIT to each CPU of a vnode, the first one first: it could start the others again. Which ones
/// is this kernel's own knowledge: the boot block is memory that the vnode can overwrite.
fn stop_cpus(assignment: &Assignment) {
    assignment.apic_ids().for_each(|id| START_CPUS.init(id));
}

/// The root's API for kmb. Process context; all methods may sleep.
impl Core {
    /// Gives a vnode a number and a life. Its slot is made ready; nothing of it runs yet.
    ///
    /// EEXIST the name is in use, ENOSPC no number is free, EBUSY another vnode has one of the
    /// CPUs or a part of the memory.
    pub fn assign(&self, assignment: &Assignment) -> Result<(VnodeId, Generation)> {
        let mut table = self.table().lock();
        for entry in &table.entries {
            let Some(other) = entry.facts.assignment else {
                continue;
            };
            if other.name == assignment.name {
                return Err(EEXIST);
            }
            let shares_cpus = !other.cpus.intersection(&assignment.cpus).is_empty();
            if shares_cpus || other.memory.overlaps(assignment.memory) {
                return Err(EBUSY);
            }
        }

        let is_free = |vnode: &VnodeId| {
            let entry = table.entries.get(vnode.index());
            entry.is_some_and(|entry| entry.facts.state == State::Empty)
        };
        let vnode = VnodeId::all().skip(1).find(is_free).ok_or(ENOSPC)?;

        let entry = table.entry(vnode)?;
        let generation = entry.facts.generation.next().ok_or(ENOSPC)?;
        entry.facts = Facts {
            generation,
            assignment: Some(*assignment),
            ..Facts::EMPTY
        };
        entry.monitor.reset();
        entry.boot = Boot::new();
        table.on(vnode, Event::Assigned)?;
        self.control().clear_slot(vnode);
        drop(table);
        // CA-21.
        self.control().write_header();
        crate::bridge::mend(self);
        crate::clock::mend(self);
        self.changed().notify_all();
        Ok((vnode, generation))
    }

    /// Tells the nanokernel what the vnode may use, and thereby the vnode: its boot block (paper
    /// section 5, step 5). The caller has assigned it.
    pub fn declare(&self, vnode: VnodeId) -> Result {
        let facts = self.facts(vnode)?;
        let assignment = facts.assignment.ok_or(ENOENT)?;
        let (wall_tsc, wall_ns) = machine::clocks();
        let block = BootBlock {
            generation: facts.generation.0,
            nr_cpus: assignment.cpus.len() as u32,
            wall_tsc,
            wall_ns,
            memory_base: assignment.memory.base(),
            memory_size: assignment.memory.size(),
            name: assignment.name.field(),
            entry: assignment.entry,
            ..self.control().boot_block(vnode)
        };
        self.control()
            .write_boot_block(vnode, &block, assignment.apic_ids());
        portal::set_receiver(vnode, assignment.apic_ids().next());
        Ok(())
    }

    /// Lets a vnode's CPU leave the image's entry, which nobody else executes any more.
    pub fn let_go(&self, vnode: VnodeId) {
        self.control()
            .set_boot_field(vnode, BootBlock::OFFSETS.go, 1);
    }

    /// Moves a vnode on in its life. ESTALE when that life is over and the number has another, EBUSY
    /// when the event cannot happen now.
    pub fn advance(&self, vnode: VnodeId, life: Generation, event: Event) -> Result {
        let mut table = self.table().lock();
        if table.entry(vnode)?.facts.generation != life {
            return Err(ESTALE);
        }
        table.on(vnode, event)?;
        drop(table);
        self.changed().notify_all();
        self.endings().raise();
        Ok(())
    }

    /// What is known of a vnode. ENOENT for a number beyond the table.
    pub fn facts(&self, vnode: VnodeId) -> Result<Facts> {
        Ok(self.table().lock().entry(vnode)?.facts)
    }

    /// Count of changes so far.
    pub fn changes(&self) -> u64 {
        self.table().lock().count
    }

    /// Waits until the count of changes differs from `count`, a signal comes or the time is over;
    /// returns the count. EINTR on a signal.
    pub fn wait_for_change(&self, count: u64, timeout_ms: u32) -> Result<u64> {
        use kernel::sync::CondVarTimeoutResult as Waited;
        let mut jiffies = kernel::time::msecs_to_jiffies(timeout_ms);
        let mut table = self.table().lock();
        while table.count == count && jiffies > 0 {
            jiffies = match self
                .changed()
                .wait_interruptible_timeout(&mut table, jiffies)
            {
                Waited::Woken { jiffies } => jiffies,
                Waited::Timeout => 0,
                Waited::Signal { .. } => return Err(EINTR),
            };
        }
        Ok(table.count)
    }

    /// Asks a vnode to shut down. ENOENT when there is none, ESTALE when another life is meant,
    /// ENOTCONN when its adeos_core does not run.
    pub fn ask_to_stop(&self, vnode: VnodeId, generation: u32) -> Result {
        let mut table = self.table().lock();
        let facts = &table.entry(vnode)?.facts;
        if facts.assignment.is_none() {
            return Err(ENOENT);
        }
        if generation != 0 && generation != facts.generation.0 {
            return Err(ESTALE);
        }
        if !facts.state.is_alive() || facts.progress < layout::state::JOINED {
            return Err(ENOTCONN);
        }
        table.on(vnode, Event::StopAsked)?;
        let taken = self.control().read_boot_block(vnode).request_count;
        self.control()
            .set_boot_field(vnode, BootBlock::OFFSETS.request, request::SHUTDOWN);
        self.control().set_boot_field(
            vnode,
            BootBlock::OFFSETS.request_count,
            taken.wrapping_add(1),
        );
        drop(table);
        self.changed().notify_all();
        portal::send(self.control(), VnodeId::ROOT, vnode, layout::portal::NOTICE);
        Ok(())
    }

    /// Looks at all vnodes: what they say of themselves and how their CPUs beat.
    pub(crate) fn look_at_vnodes(&self) {
        let mut changed = false;
        for vnode in VnodeId::all().skip(1) {
            let mut table = self.table().lock();
            let before = table.count;
            if let Ok(Some(event)) = look(self, &mut table, vnode) {
                report(&mut table, vnode, event);
            }
            changed |= table.count != before;
        }
        if changed {
            self.changed().notify_all();
            self.endings().raise();
        }
    }
}

/// Takes in what a vnode says; tells what that means for its life.
fn look(core: &Core, table: &mut Table, vnode: VnodeId) -> Result<Option<Event>> {
    let now_ns = machine::now_ns();
    let entry = table.entry(vnode)?;
    if !entry.facts.state.is_alive() {
        return Ok(None);
    }
    let generation = entry.facts.generation.0;
    let Some(status) = core.control().read_status(vnode, generation) else {
        let limit_ms = u64::from(crate::module_parameters::start_timeout_ms.value());
        let late = now_ns.saturating_sub(entry.facts.started_ns) / 1_000_000 > limit_ms;
        return Ok(match entry.facts.state {
            State::Loaded => late.then_some(Event::NoSign),
            // What it has said of itself is spoilt; its end is still to be seen.
            _ => watch_beats(core, entry, vnode, now_ns),
        });
    };

    let progressed = take_in(&mut entry.facts, &status);
    let event = if status.state >= layout::state::DEAD {
        // It says that it has ended, and then nothing more: take its word, if not its reason.
        Some(Event::Died(
            Cause::claimed(status.cause).unwrap_or(Cause::Halt),
        ))
    } else if entry.facts.state == State::Loaded {
        Some(Event::SignOfLife)
    } else {
        watch_beats(core, entry, vnode, now_ns)
    };
    if progressed {
        table.count_change();
    }
    Ok(event)
}

/// Copies what a vnode says into what is known of it; whether it has come farther.
fn take_in(facts: &mut Facts, status: &Status) -> bool {
    let farther = status.state.min(layout::state::DEAD) > facts.progress;
    facts.progress = facts.progress.max(status.state.min(layout::state::DEAD));
    facts.features = status.features;
    facts.release = status.release;
    facts.message = status.message;
    if status.state >= layout::state::DEAD {
        facts.cause_apic_id = status.cause_apic_id;
    }
    farther
}

fn watch_beats(core: &Core, entry: &mut Entry, vnode: VnodeId, now_ns: u64) -> Option<Event> {
    let slot = core.control().slot(vnode);
    let cpus = entry
        .facts
        .assignment
        .map_or(0, |assignment| assignment.cpus.len());
    let beat = |position: usize| slot.load_acquire(slot::BEATS + position * 4);
    let limit_ms = crate::module_parameters::silent_ms.value();
    match entry.monitor.tick(now_ns / 1_000_000, limit_ms, cpus, beat) {
        Verdict::Unknown => {
            // Its console may be spoilt; then it says nothing.
            let said = adeos_proto::console::SLOT.written(&slot).unwrap_or(0);
            let limit_ms = crate::module_parameters::start_timeout_ms.value();
            let is_silent = entry.boot.tick(now_ns / 1_000_000, limit_ms, said);
            is_silent.then_some(Event::Died(Cause::Hang))
        }
        Verdict::Alive { silent_ms } => {
            entry.boot = Boot::new();
            entry.facts.silent_ms = silent_ms.min(u64::from(u32::MAX)) as u32;
            None
        }
        Verdict::Silent {
            position,
            silent_ms,
        } => {
            entry.facts.silent_ms = silent_ms.min(u64::from(u32::MAX)) as u32;
            let apic_id = entry
                .facts
                .assignment
                .and_then(|it| it.apic_ids().nth(position));
            entry.facts.cause_apic_id = apic_id.unwrap_or(layout::NO_APIC);
            Some(Event::Died(Cause::Hang))
        }
    }
}

fn report(table: &mut Table, vnode: VnodeId, event: Event) {
    if table.on(vnode, event).is_err() {
        return;
    }
    let Ok(entry) = table.entry(vnode) else {
        return;
    };
    let facts = &entry.facts;
    let Some(assignment) = facts.assignment else {
        return;
    };
    if let (State::Dead | State::Failed, Some(cause)) = (facts.state, facts.cause) {
        pr_warn!(
            "vnode {} \"{}\", life {}, has ended: {} (APIC {:#x}) {}\n",
            vnode.number(),
            assignment.name.as_str(),
            facts.generation.0,
            cause.describe(),
            facts.cause_apic_id,
            adeos_proto::record::text(&facts.message)
        );
    }
}
