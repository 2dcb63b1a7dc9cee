// SPDX-License-Identifier: GPL-2.0

//! The view of debugfs: a line for each domain with its vectors, then for each CPU what its stages
//! have seen and hold.

use super::each_cpu::on_each;
use super::in_thread;
use crate::core_state::Core;
use adeos_proto::pipeline::{
    Counters,
    Pipeline,
    Stage, //
};
use kernel::fmt;
use kernel::prelude::*;

/// Shows it. Process context; sleeps.
pub(crate) fn show(core: &Core, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let table = in_thread(core, |stage| core.pipeline().table.get(stage).clone());
    for stage in Stage::all() {
        if let Some(owner) = table.owner(stage) {
            write!(f, "stage {} {} vectors", stage.rank(), owner.name)?;
            for vector in (0..=u8::MAX).filter(|vector| table.routes.has(stage, *vector)) {
                write!(f, " {:#04x}", vector)?;
            }
            writeln!(f)?;
        }
    }

    let mut copies = KVec::with_capacity(kernel::cpu::nr_cpu_ids() as usize, GFP_KERNEL)
        .map_err(|_| fmt::Error)?;
    on_each(core, |stage, cpu| {
        if let Some(pipeline) = core.pipeline().cpus.copy(stage) {
            // There is room for all CPUs.
            let _ = copies.push_within_capacity((cpu, pipeline));
        }
    });
    for (cpu, pipeline) in &copies {
        show_cpu(f, *cpu, pipeline)?;
    }
    Ok(())
}

fn show_cpu(f: &mut fmt::Formatter<'_>, cpu: u32, pipeline: &Pipeline) -> fmt::Result {
    writeln!(f, "cpu {} unclaimed {}", cpu, pipeline.unclaimed())?;
    for stage in Stage::all() {
        let Counters { runs, merged } = pipeline.counters(stage);
        let is_stalled = pipeline.is_stalled(stage);
        let is_logged = |vector: &u8| pipeline.is_logged(stage, *vector);
        if runs == 0 && merged == 0 && !is_stalled && !(0..=u8::MAX).any(|v| is_logged(&v)) {
            continue;
        }
        let state = if is_stalled { "stalled" } else { "open" };
        write!(
            f,
            "cpu {} stage {} {} runs {} merged {} logged",
            cpu,
            stage.rank(),
            state,
            runs,
            merged
        )?;
        for vector in (0..=u8::MAX).filter(is_logged) {
            write!(f, " {:#04x}", vector)?;
        }
        writeln!(f)?;
    }
    Ok(())
}
