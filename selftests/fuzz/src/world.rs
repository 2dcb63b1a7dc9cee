// SPDX-License-Identifier: GPL-2.0

//! What the machine has when a run begins, and what does not change while it lasts.

use adeos_proto::abi;
use adeos_proto::id::MAX_VNODES;
use fuzzing::{cpus, Arena, Device};

/// The machine as it is found. One vnode runs, which is not to be touched.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct World {
    /// Number of the vnode that is there.
    pub(crate) one: u32,
    /// Its life.
    pub(crate) one_generation: u32,
    /// Its CPUs.
    pub(crate) one_cpus: u64,
    /// Where its memory starts.
    pub(crate) one_base: u64,
    /// Bytes of it.
    pub(crate) one_size: u64,
    /// CPUs that can be lent.
    pub(crate) lendable: u64,
    /// CPUs that the machine has and that are offline, and lent to nobody.
    pub(crate) offline: u64,
    /// Bytes of the smallest vnode that a start asks for: the real image and initial RAM disk fit,
    /// and the vnode that is there shows that a kernel can live in so much.
    pub(crate) needs: u64,
    /// Bytes of the largest vnode that fits.
    pub(crate) largest: u64,
}

impl World {
    /// Looks at the machine.
    pub(crate) fn look(kmb: &Device, arena: &Arena, needs: u64) -> Result<Self, String> {
        let info = info(kmb, arena).map_err(|errno| format!("KMB_INFO: error {errno}"))?;
        let mut world = Self {
            lendable: first(&info.lendable),
            largest: info.pool_largest,
            ..Self::default()
        };
        for number in 1..MAX_VNODES as u32 {
            let facts = query(kmb, arena, number)
                .map_err(|errno| format!("KMB_QUERY {number}: error {errno}"))?;
            if facts.state == abi::state::EMPTY {
                continue;
            }
            if world.one != 0 {
                return Err("there is more than one vnode".into());
            }
            world.one = number;
            world.one_generation = facts.generation;
            world.one_cpus = first(&facts.cpus);
            world.one_base = facts.memory_base;
            world.one_size = facts.memory_size;
            world.needs = needs.max(facts.memory_size);
        }
        let all = (1u64 << cpus().min(63)) - 1;
        world.offline = all & !1 & !world.lendable & !first(&info.lent);
        if world.one == 0 || world.lendable == 0 {
            return Err("wants a vnode that runs, and CPUs for more".into());
        }
        Ok(world)
    }
}

fn first(words: &[u64; 4]) -> u64 {
    let [first, ..] = *words;
    first
}

/// Asks for the machine's facts; the error number if that fails.
pub(crate) fn info(kmb: &Device, arena: &Arena) -> Result<abi::Info, i32> {
    let record = abi::Info {
        size: abi::Info::SIZE as u32,
        ..Default::default()
    };
    let mut bytes = record.to_bytes();
    send(kmb, arena, abi::KMB_INFO, &mut bytes)?;
    Ok(abi::Info::from_bytes(&bytes))
}

/// Asks for a vnode's facts; the error number if that fails.
pub(crate) fn query(kmb: &Device, arena: &Arena, vnode: u32) -> Result<abi::Query, i32> {
    let record = abi::Query {
        size: abi::Query::SIZE as u32,
        vnode,
        ..Default::default()
    };
    let mut bytes = record.to_bytes();
    send(kmb, arena, abi::KMB_QUERY, &mut bytes)?;
    Ok(abi::Query::from_bytes(&bytes))
}

/// Takes a vnode back; the error number if that fails.
pub(crate) fn kill(kmb: &Device, arena: &Arena, vnode: u32, generation: u32) -> Result<(), i32> {
    let record = abi::Target {
        size: abi::Target::SIZE as u32,
        vnode,
        generation,
        reserved: 0,
    };
    send(kmb, arena, abi::KMB_KILL, &mut record.to_bytes())
}

/// Takes back a fault that was asked for and has not come.
pub(crate) fn disarm(kmb: &Device, arena: &Arena) -> Result<(), i32> {
    let record = abi::Fault {
        size: abi::Fault::SIZE as u32,
        ..Default::default()
    };
    send(kmb, arena, abi::KMB_FAULT, &mut record.to_bytes())
}

fn send(kmb: &Device, arena: &Arena, number: u32, bytes: &mut [u8]) -> Result<(), i32> {
    arena.write(Arena::RECORD, bytes);
    match kmb.ask(number, arena.address(Arena::RECORD)) {
        0 => {
            arena.read(Arena::RECORD, bytes);
            Ok(())
        }
        errno => Err(errno),
    }
}
