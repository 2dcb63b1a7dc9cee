// SPDX-License-Identifier: GPL-2.0

//! Makes room in the pool by moving bridges (paper section 4.3, "defragmenting physical memory").
//!
//! What moves where is `proto/mover.rs`'s to say; docs/movable-memory.md, section 4, is what this
//! file keeps to. Bridges are frozen one at a time, each for no longer than the time-out and one
//! copy. A vnode's own memory is never moved.
//!
//! Lock order: `PLANNER`, the server's `UNSCRUBBED`, the bridges' table, the pool. `PLANNER` is held
//! while users are waited for: whoever frees memory, answers a freeze or dies needs none of it.

use crate::bridge::{
    root,
    server, //
};
use crate::core_state::{
    Core,
    POOL_RANGES, //
};
use crate::machine;
use crate::pool::{
    errno,
    Region, //
};
use crate::quiet::Quiet;
use adeos_proto::bridge::{
    Id,
    Phase, //
};
use adeos_proto::id::PhysRange;
use adeos_proto::layout;
use adeos_proto::mover::{
    self as plan,
    Block,
    Hold,
    Move,
    Planner, //
};
use adeos_proto::region::{
    Error,
    Request, //
};
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::Arc;

/// How long users have to let go of a bridge, in ms.
pub(crate) const FREEZE_MS: u32 = 1000;
/// How often the clock is looked at while they are waited for, in ms.
const LOOK_MS: u32 = 20;
/// Moves of a plan at most.
const MOVES: usize = 48;
/// Places that a search tries: a fraction of a second.
const STEPS: u32 = 20_000;
/// Plans that are begun for one request. Each that fails has found a bridge that is pinned, or that
/// somebody else was quicker.
const PLANS: usize = 16;

kernel::sync::global_lock! {
    // SAFETY: `init_statics` is called in the module's initialisation, before any other use.
    unsafe(uninit) static PLANNER: Mutex<Planner<POOL_RANGES, MOVES>> = Planner::new();
}

/// Requests for which room was made, and those for which there was enough but no room.
static SERVED: Atomic<u64> = Atomic::new(0);
static UNSERVED: Atomic<u64> = Atomic::new(0);
/// The line that says why there is no room: who asks for it is another vnode.
static EXPLAINED: Quiet = Quiet::new();

/// Prepares the statics of this file.
pub(crate) fn init_statics() {
    // SAFETY: Called once, from the module's initialisation.
    unsafe { PLANNER.init() };
}

/// Requests for which room was made, and those that failed though enough was free.
pub(crate) fn statistics() -> (u64, u64) {
    (SERVED.load(Relaxed), UNSERVED.load(Relaxed))
}

/// Allocates what does not fit, if moving bridges makes it fit. Process context; takes seconds where
/// users do not answer. ENOMEM, with a reason in the log if enough is free; EINTR when the process
/// is to be killed.
pub(crate) fn make_room(core: &Arc<Core>, request: &Request) -> Result<PhysRange> {
    if let Some(range) = find_room(core, request)? {
        return Ok(range);
    }
    let mut planner = PLANNER.lock();
    let mut is_proven = false;
    for _ in 0..PLANS {
        // What others have freed meanwhile may be enough.
        if let Some(range) = find_room(core, request)? {
            return Ok(range);
        }
        take_picture(core, &mut planner)?;
        let plan = match planner.plan(request, STEPS) {
            Ok(plan) => plan,
            Err(error) => {
                is_proven = error == plan::Error::Impossible;
                break;
            }
        };
        let mut is_done = true;
        for step in plan.moves() {
            is_done = carry_out(core, step)?;
            if !is_done {
                break;
            }
        }
        // MM-43. Somebody may have been quicker: then there is another plan.
        if is_done && core.pool().lock().take(plan.place).is_ok() {
            SERVED.add(1, Relaxed);
            return Ok(plan.place);
        }
    }
    UNSERVED.add(1, Relaxed);
    explain(core, request, is_proven);
    Err(ENOMEM)
}

/// Allocates what fits without a move; `None` when none does though enough is free.
fn find_room(core: &Arc<Core>, request: &Request) -> Result<Option<PhysRange>> {
    // What waits to be scrubbed is as good as free.
    server::reclaim(core);
    let mut pool = core.pool().lock();
    match pool.allocate(request) {
        Ok(range) => Ok(Some(range)),
        Err(Error::NoFit) if pool.available() >= request.size => Ok(None),
        Err(error) => Err(errno(error)),
    }
}

/// MM-1: what the pool looks like now. Only bridges move, and only those that nothing pins.
fn take_picture(core: &Core, planner: &mut Planner<POOL_RANGES, MOVES>) -> Result {
    root::look(|table| {
        let pool = core.pool().lock();
        let hold = |range| match table.at(range) {
            Some(id) if table.can_move(id) => Hold::Movable {
                align: layout::GRANULE,
                within: Region::ANYWHERE,
            },
            _ => Hold::Pinned,
        };
        let blocks = pool.used().map(|range| Block {
            range,
            hold: hold(range),
        });
        let taken = planner.picture(pool.free_ranges(), blocks);
        // An allocator lists its ranges in order, and has no more than the planner has room for.
        taken.map_err(|_| ENOMEM)
    })
}

/// Moves one bridge, as MM-41 says. False when that did not work out and another plan is wanted:
/// somebody was quicker, or a user has pinned the bridge.
fn carry_out(core: &Arc<Core>, step: Move) -> Result<bool> {
    let Some(id) = root::look(|table| table.at(step.from)) else {
        return Ok(false);
    };
    let Ok(target) = Region::take(core, step.to) else {
        return Ok(false);
    };
    if !freeze(core, id)? {
        return Ok(false);
    }
    // It may have got another size since, and with it another place; from now on it stays where it is.
    if root::look(|table| table.at(step.from)) != Some(id) {
        thaw(core, id);
        return Ok(false);
    }
    if let Err(error) = server::copy(step.from, &target) {
        // Nothing has been written yet: what failed is the mapping.
        thaw(core, id);
        return Err(error);
    }
    let moved = root::change(core, |table| table.moved(id, step.to, machine::now_us()));
    match moved {
        Ok(()) => _ = target.keep(),
        Err(_) => {
            // The last user has gone meanwhile. The copy goes the way of the bridge.
            server::give_back(target);
            thaw(core, id);
        }
    }
    // This frees the source, or all of the bridge.
    server::reclaim(core);
    Ok(moved.is_ok())
}

/// Ends a freeze, if it is not over, or if the bridge has not gone with its last user.
pub(crate) fn thaw(core: &Core, id: Id) {
    let _ = root::change(core, |table| table.thaw(id, machine::now_us()));
}

/// Has all users let go of a bridge; whether they have. Who refuses or is late pins it (BR-75).
fn freeze(core: &Core, id: Id) -> Result<bool> {
    let timeout_us = u64::from(FREEZE_MS) * 1000;
    let begun = root::change(core, |table| {
        table.freeze(id, machine::now_us(), timeout_us)
    });
    if begun.is_err() {
        return Ok(false);
    }
    loop {
        let phase = root::change(core, |table| {
            table.expire(machine::now_us());
            table.phase(id)
        });
        match phase {
            Ok(Phase::Frozen) => return Ok(true),
            Ok(Phase::Settled) | Err(_) => return Ok(false),
            Ok(Phase::Freezing) => {}
        }
        if let Err(error) = core.bridges().wait_for_answer(LOOK_MS) {
            thaw(core, id);
            return Err(error);
        }
    }
}

/// Says why there is no room, and whether no moves whatsoever could have made any.
fn explain(core: &Core, request: &Request, is_proven: bool) {
    let Some(left_out) = EXPLAINED.allows() else {
        return;
    };
    let doubt = if is_proven {
        ""
    } else {
        ", as far as was tried"
    };
    let free = core.pool().lock().available();
    let (stuck, first) = root::look(|table| {
        let mut stuck = table.entries().filter(|entry| !table.can_move(entry.id));
        let first = stuck.next();
        (stuck.count().wrapping_add(first.iter().count()), first)
    });
    match first {
        Some(entry) => pr_warn!(
            "no {} MiB in one piece{}, though {} MiB are free: {} bridges cannot be moved, \"{}\" first (pinned by vnodes {:#x}; {} such lines were left out)\n",
            request.size >> 20,
            doubt,
            free >> 20,
            stuck,
            entry.key.name.as_str(),
            entry.pinned_by.0,
            left_out
        ),
        None => pr_warn!(
            "no {} MiB in one piece{}, though {} MiB are free: the memory of vnodes lies between ({} such lines were left out)\n",
            request.size >> 20,
            doubt,
            free >> 20,
            left_out
        ),
    }
}
