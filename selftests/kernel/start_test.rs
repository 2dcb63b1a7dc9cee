// SPDX-License-Identifier: GPL-2.0

//! Starts a vnode's first CPU a second time, for selftests/030-deaths.sh: INIT, and the STARTUP of
//! its start again, as a machine delivers it that kept the second one of the start.

use adeos_core::cpu::StartCpus;
use adeos_core::Core;
use adeos_proto::id::VnodeId;
use adeos_proto::layout;
use kernel::prelude::*;
use kernel::time::delay::udelay;
use kernel::time::Delta;

module! {
    type: StartTest,
    name: "start_test",
    authors: ["The Adeos cluster project"],
    description: "Test of a vnode's CPU being started twice",
    license: "GPL",
    params: {
        vnode: u32 {
            default: 0,
            description: "Number of the vnode",
        },
    },
}

// SAFETY: The CPUs are those of a vnode, as the table has it; that the vnode comes to harm by this
// is what it is for.
const START_CPUS: StartCpus = unsafe { StartCpus::new() };

struct StartTest;

impl kernel::Module for StartTest {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let number = module_parameters::vnode.value();
        let vnode = VnodeId::new(number)
            .filter(|id| !id.is_root())
            .ok_or(EINVAL)?;
        let assignment = Core::get()?.facts(vnode)?.assignment.ok_or(ENOENT)?;
        let apic_id = assignment.apic_ids().next().ok_or(ENOENT)?;
        let page = u8::try_from(layout::low_slot(vnode) / kernel::page::PAGE_SIZE as u64)?;
        START_CPUS.init(apic_id);
        udelay(Delta::from_micros(20));
        START_CPUS.startup(apic_id, page);
        Ok(Self)
    }
}
