// SPDX-License-Identifier: GPL-2.0

//! Views in debugfs: `adeos/vnodes`, `adeos/pool`, `adeos/portals`.

#![deny(unsafe_code)]

use crate::core_state::Core;
use crate::portal;
use adeos_proto::id::VnodeId;
use kernel::debugfs::{
    Dir,
    File, //
};
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::Arc;

/// The directory; it goes when this is dropped.
#[pin_data]
pub(crate) struct Views {
    #[pin]
    vnodes: File<Arc<Core>>,
    #[pin]
    pool: File<Arc<Core>>,
    #[pin]
    portals: File<Arc<Core>>,
    dir: Dir,
}

impl Views {
    pub(crate) fn new(core: Arc<Core>) -> impl PinInit<Self, Error> {
        let dir = Dir::new(c"adeos");
        let (vnodes, pool, portals) = (core.clone(), core.clone(), core);
        try_pin_init!(Self {
            vnodes <- dir.read_callback_file(c"vnodes", vnodes, &show_vnodes),
            pool <- dir.read_callback_file(c"pool", pool, &show_pool),
            portals <- dir.read_callback_file(c"portals", portals, &show_portals),
            dir,
        })
    }
}

fn show_vnodes(core: &Arc<Core>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for vnode in VnodeId::all().skip(1) {
        let Ok(facts) = core.facts(vnode) else {
            continue;
        };
        let Some(assignment) = facts.assignment else {
            continue;
        };
        writeln!(
            f,
            "{} {} life {} {} cpus {} memory {:#x}+{:#x} progress {} silent {} ms",
            vnode.number(),
            assignment.name.as_str(),
            facts.generation.0,
            facts.state.name(),
            assignment.cpus,
            assignment.memory.base(),
            assignment.memory.size(),
            facts.progress,
            facts.silent_ms,
        )?;
    }
    Ok(())
}

fn show_pool(core: &Arc<Core>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let pool = core.pool().lock();
    for range in pool.used() {
        writeln!(f, "used {:#x}+{:#x}", range.base(), range.size())?;
    }
    for range in pool.free_ranges() {
        writeln!(f, "free {:#x}+{:#x}", range.base(), range.size())?;
    }
    Ok(())
}

fn show_portals(_core: &Arc<Core>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (raised, interrupts, taken) = portal::statistics();
    writeln!(f, "raised {} interrupts {}", raised, interrupts)?;
    for (portal, count) in taken {
        writeln!(f, "portal {} taken {}", portal, count)?;
    }
    Ok(())
}
