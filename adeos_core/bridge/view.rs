// SPDX-License-Identifier: GPL-2.0

//! What users see of bridges: the file `adeos/bridges` of debugfs and two ioctls of `/dev/adeos`.
//! The root shows its table, the others what the root publishes.

#![deny(unsafe_code)]

use super::{
    root,
    service, //
};
use crate::core_state::Core;
use crate::mover;
use crate::user;
use adeos_proto::abi;
use adeos_proto::bridge::entry::{
    self,
    Entry,
    ReadError, //
};
use adeos_proto::bridge::{
    Scope,
    BRIDGES, //
};
use adeos_proto::id::VnodeId;
use kernel::fmt;
use kernel::prelude::*;

/// The entry of a place: in the root what it knows, elsewhere what it publishes, over which others
/// could write. Process context; the table's lock may be taken.
pub(super) fn read(core: &Core, index: u16) -> Result<Option<Entry>, ReadError> {
    if core.identity().is_root() {
        return Ok(root::entry(index));
    }
    entry::read(&core.control().registry(), index)
}

/// The view in debugfs: a line for each bridge, then on the root what all have come to.
pub(crate) fn show(core: &Core, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for index in 0..BRIDGES as u16 {
        match read(core, index) {
            Ok(None) => {}
            Ok(Some(entry)) => show_entry(core, &entry, f)?,
            Err(error) => writeln!(f, "{} cannot be read: {:?}", index, error)?,
        }
    }
    if core.identity().is_root() {
        show_totals(f)?;
    }
    Ok(())
}

fn show_entry(core: &Core, entry: &Entry, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}.{} ", entry.id.index, entry.id.serial)?;
    match entry.key.scope {
        Scope::Global => write!(f, "{}", entry.key.name.as_str())?,
        Scope::Local(vnode) => write!(f, "{}/{}", vnode.number(), entry.key.name.as_str())?,
    }
    write!(
        f,
        " {:?} memory {:#x}+{:#x} owner {}.{}{}",
        entry.phase,
        entry.range.base(),
        entry.range.size(),
        entry.owner.vnode.number(),
        entry.owner.generation.0,
        if entry.is_orphan { " dead" } else { "" },
    )?;
    write!(
        f,
        " mode {:#x} readers {:#x} writers {:#x} users",
        entry.rights.mode, entry.rights.readers.0, entry.rights.writers.0
    )?;
    for (vnode, life) in VnodeId::all().zip(entry.users) {
        if life != 0 {
            write!(f, " {}.{}", vnode.number(), life)?;
        }
    }
    writeln!(
        f,
        " mapped {:#x} movable {} pinned {:#x} moves {} freezes {} open {}",
        entry.mapped.0,
        u32::from(entry.is_movable),
        entry.pinned_by.0,
        entry.place,
        entry.freeze,
        core.bridges().openers(entry.id),
    )
}

fn show_totals(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let counters = root::look(|table| table.counters());
    let (served, unserved) = mover::statistics();
    let (unanswered, strange) = service::counts();
    writeln!(
        f,
        "created {} destroyed {} moved {} refused {} timed_out {}",
        counters.created, counters.destroyed, counters.moved, counters.refused, counters.timed_out
    )?;
    writeln!(
        f,
        "longest_freeze_us {} freeze_timeout_ms {} served {} unserved {}",
        counters.longest_freeze_us,
        mover::FREEZE_MS,
        served,
        unserved
    )?;
    writeln!(
        f,
        "delayed {} unanswered {} strange {} refused_requests {}",
        root::delayed(),
        unanswered,
        strange,
        service::refusals()
    )
}

/// Serves [`abi::ADEOS_BRIDGE`].
#[inline(never)]
pub(crate) fn tell(core: &Core, arg: usize) -> Result {
    let asked = abi::Bridge::from_bytes(&user::read_record(arg)?);
    user::zero(asked.reserved == 0 && asked.reserved2 == 0)?;
    let index = u16::try_from(asked.index).map_err(|_| ENOENT)?;
    if usize::from(index) >= BRIDGES {
        return Err(ENOENT);
    }
    let answer = match read(core, index) {
        Ok(Some(entry)) => record(core, &entry),
        Ok(None) => abi::Bridge::default(),
        Err(ReadError::Busy) => return Err(EAGAIN),
        Err(ReadError::Corrupt) => return Err(EPROTO),
        Err(ReadError::Index) => return Err(ENOENT),
    };
    let answer = abi::Bridge {
        size: abi::Bridge::SIZE as u32,
        index: index.into(),
        ..answer
    };
    user::write_record(arg, &answer.to_bytes())
}

fn record(core: &Core, entry: &Entry) -> abi::Bridge {
    let published = entry.to_record();
    abi::Bridge {
        serial: published.serial,
        state: published.state,
        name: published.name,
        scope: published.scope,
        vnode: published.vnode,
        owner: published.owner,
        owner_generation: published.owner_generation,
        flags: published.flags,
        mode: published.mode.into(),
        readers: published.readers.into(),
        writers: published.writers.into(),
        mapped: published.mapped.into(),
        pinned_by: published.pinned_by.into(),
        place: published.place,
        freeze: published.freeze,
        base: published.base,
        bytes: published.size,
        users: published.users,
        openers: core.bridges().openers(entry.id),
        ..abi::Bridge::default()
    }
}

/// Serves [`abi::ADEOS_BRIDGE_STAT`].
#[inline(never)]
pub(crate) fn tell_totals(core: &Core, arg: usize) -> Result {
    let asked = abi::BridgeStat::from_bytes(&user::read_record(arg)?);
    user::zero(asked.reserved == [0; 3])?;
    if !core.identity().is_root() {
        return Err(EPERM);
    }
    let (served, unserved) = mover::statistics();
    let (unanswered, strange) = service::counts();
    let mut answer = abi::BridgeStat {
        size: abi::BridgeStat::SIZE as u32,
        places: BRIDGES as u32,
        freeze_timeout_ms: mover::FREEZE_MS,
        served,
        unserved,
        delayed: root::delayed(),
        unanswered,
        strange,
        ..abi::BridgeStat::default()
    };
    root::look(|table| {
        let counters = table.counters();
        answer.bridges = table.entries().count() as u32;
        answer.created = counters.created;
        answer.destroyed = counters.destroyed;
        answer.moved = counters.moved;
        answer.refused = counters.refused;
        answer.timed_out = counters.timed_out;
        answer.longest_freeze_us = counters.longest_freeze_us;
        let owned = answer.owned.iter_mut().zip(&mut answer.owned_bytes);
        for (vnode, (bridges, bytes)) in VnodeId::all().zip(owned) {
            let usage = table.usage(vnode);
            *bridges = usage.bridges.into();
            *bytes = usage.bytes;
        }
    });
    user::write_record(arg, &answer.to_bytes())
}
