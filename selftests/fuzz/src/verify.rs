// SPDX-License-Identifier: GPL-2.0

//! Whether what the kernel tells can be.

use adeos_proto::abi::{self, state};
use adeos_proto::bridge::BRIDGES;
use adeos_proto::id::MAX_VNODES;

use crate::start::{GRANULE, MIN_MEMORY};
use crate::world::World;

/// Bytes behind a buffer, which nobody may change.
pub(crate) const FENCE: [u8; 64] = [0xa5; 64];

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(what()),
    }
}

/// Checks that a vnode is as it was asked for.
pub(crate) fn started(asked: &abi::Start, facts: &abi::Query) -> Result<(), String> {
    let name = |field: &[u8; 32]| {
        let end = field.iter().position(|byte| *byte == 0);
        field.get(..end.unwrap_or(32)).map(<[u8]>::to_vec)
    };
    let base = asked.memory_base;
    let holds = facts.generation == asked.generation
        && (state::LOADED..=state::FAILED).contains(&facts.state)
        && name(&facts.name) == name(&asked.name)
        && facts.cpus == asked.cpus
        && facts.memory_size == asked.memory_size
        && (base == u64::MAX || base == facts.memory_base);
    ensure(holds, || format!("started, but listed is {}", brief(facts)))
}

/// Checks what was copied of a console.
pub(crate) fn console(
    asked: &abi::ConsoleRead,
    told: &abi::ConsoleRead,
    fence: &[u8],
) -> Result<(), String> {
    let holds = told.length <= asked.length.min(64 << 10) && fence == FENCE;
    ensure(holds, || {
        format!("more was copied than asked for: {told:?}")
    })
}

/// Checks the answer to a request that succeeded.
pub(crate) fn facts(number: u32, bytes: &[u8], world: &World) -> Result<(), String> {
    match number {
        abi::KMB_INFO => bytes
            .first_chunk()
            .map_or(Ok(()), |bytes| info(&abi::Info::from_bytes(bytes), world)),
        abi::KMB_QUERY => bytes
            .first_chunk()
            .map_or(Ok(()), |bytes| query(&abi::Query::from_bytes(bytes), world)),
        abi::ADEOS_CONNECT => bytes.first_chunk().map_or(Ok(()), |bytes| {
            let told = abi::Channel::from_bytes(bytes);
            ensure(told.channel < 8, || format!("no such channel: {told:?}"))
        }),
        abi::ADEOS_WHOAMI => bytes.first_chunk().map_or(Ok(()), |bytes| {
            let told = abi::Whoami::from_bytes(bytes);
            let holds = (told.abi_version, told.vnode, told.generation) == (abi::VERSION, 0, 1);
            ensure(holds, || format!("this is the root, not {told:?}"))
        }),
        abi::ADEOS_BRIDGE_STAT => bytes.first_chunk().map_or(Ok(()), |bytes| {
            let told = abi::BridgeStat::from_bytes(bytes);
            ensure(told.places as usize == BRIDGES, || {
                format!("impossible: {told:?}")
            })
        }),
        _ => Ok(()),
    }
}

fn info(told: &abi::Info, world: &World) -> Result<(), String> {
    let ([lendable, ..], [lent, ..]) = (told.lendable, told.lent);
    let holds = told.abi_version == abi::VERSION
        && told.max_vnodes == MAX_VNODES as u32
        && told.pool_largest <= told.pool_free
        && told.pool_free < told.pool_size
        && lendable & !world.lendable == 0
        && lent & !(world.lendable | world.one_cpus) == 0
        && lent & world.one_cpus == world.one_cpus;
    ensure(holds, || format!("impossible: {told:?}"))
}

fn query(told: &abi::Query, world: &World) -> Result<(), String> {
    if told.vnode == 0 {
        return Ok(());
    }
    let holds = if told.vnode == world.one {
        told.state == state::RUNNING
            && told.generation == world.one_generation
            && told.memory_base == world.one_base
    } else if told.state == state::EMPTY {
        told.cpus == [0; 4] && told.memory_size == 0 && told.name == [0; 32]
    } else {
        let [cpus, rest @ ..] = told.cpus;
        let named = told.name.first().is_some_and(|byte| *byte != 0);
        told.state <= state::FAILED
            && named
            && cpus != 0
            && cpus & !world.lendable == 0
            && rest == [0; 3]
            && told.memory_size >= MIN_MEMORY
            && (told.memory_size | told.memory_base) % GRANULE == 0
    };
    ensure(holds, || format!("impossible: {}", brief(told)))
}

fn brief(told: &abi::Query) -> String {
    format!(
        "vnode {} life {} state {} cpus {:x?} memory {:#x}+{:#x} name {:?}",
        told.vnode,
        told.generation,
        told.state,
        told.cpus,
        told.memory_base,
        told.memory_size,
        String::from_utf8_lossy(&told.name),
    )
}
