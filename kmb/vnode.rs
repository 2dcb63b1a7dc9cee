// SPDX-License-Identifier: GPL-2.0

//! What a started vnode holds of the machine, and how it comes back.

#![deny(unsafe_code)]

use crate::spec::Spec;
use adeos_core::cpu::LentCpus;
use adeos_core::{
    Assignment,
    Core,
    Mapping,
    Region, //
};
use adeos_proto::id::{
    Generation,
    PhysRange,
    VnodeId, //
};
use adeos_proto::layout;
use adeos_proto::lifecycle::{
    Cause,
    Event, //
};
use adeos_proto::window::Window;
use core::mem::ManuallyDrop;
use kernel::prelude::*;
use kernel::sync::Arc;

/// A vnode's number and life while it is being started; dropping it gives the number back.
pub(crate) struct Life {
    core: Arc<Core>,
    id: VnodeId,
    generation: Generation,
    keep: bool,
}

impl Life {
    /// Takes a number from the nanokernel.
    pub(crate) fn begin(core: &Arc<Core>, spec: &Spec, memory: PhysRange) -> Result<Self> {
        let (id, generation) = core.assign(&Assignment {
            name: spec.name,
            cpus: spec.cpus,
            memory,
            entry: spec.entry,
        })?;
        Ok(Self {
            core: core.clone(),
            id,
            generation,
            keep: false,
        })
    }

    /// Its number.
    pub(crate) fn id(&self) -> VnodeId {
        self.id
    }

    /// Its image is in place; from now on its CPUs may run.
    pub(crate) fn loaded(&self) -> Result {
        self.core.advance(self.id, self.generation, Event::Loaded)
    }

    /// Its CPU is on the way.
    pub(crate) fn started(&self) -> Result {
        self.core.advance(self.id, self.generation, Event::Started)
    }

    /// The start is done: the number stays taken. Which one, and which life of it.
    pub(crate) fn keep(mut self) -> (VnodeId, Generation) {
        self.keep = true;
        (self.id, self.generation)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if !self.keep {
            // Refused only while its CPU may run, and then the number has to stay taken.
            let _ = self
                .core
                .advance(self.id, self.generation, Event::Reclaimed);
        }
    }
}

/// CPUs and memory of a vnode. They go back in [`Vnode::take_back`] only: a CPU that does not
/// stop, or memory that cannot be scrubbed, is better lost than lent.
pub(crate) struct Vnode {
    core: Arc<Core>,
    id: VnodeId,
    generation: Generation,
    held: Option<ManuallyDrop<(Region, LentCpus)>>,
}

impl Vnode {
    /// What the vnode of this life holds from the moment on at which its CPUs may run.
    pub(crate) fn new(life: &Life, region: Region, cpus: LentCpus) -> Self {
        Self {
            core: life.core.clone(),
            id: life.id,
            generation: life.generation,
            held: Some(ManuallyDrop::new((region, cpus))),
        }
    }

    /// Ends the vnode: its CPUs are stopped, its memory is as it was.
    pub(crate) fn stop(&self) {
        // Refused for a vnode that has ended by itself.
        let _ = self
            .core
            .advance(self.id, self.generation, Event::Died(Cause::Killed));
    }

    /// Takes the vnode back whatever its state. EIO when a CPU does not stop and ENOMEM when its
    /// memory cannot be mapped for scrubbing: then it stays as it is, dead, and this can be tried
    /// again.
    pub(crate) fn take_back(&mut self) -> Result {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        // The number comes first: who is given the CPUs or the memory next is not to find them
        // in the table of vnodes still. The CPUs wait where a new life of the number does not write.
        let emptied = self.empty(&held.0).and_then(|()| {
            self.core
                .advance(self.id, self.generation, Event::Reclaimed)
        });
        if let Err(error) = emptied {
            self.held = Some(held);
            return Err(error);
        }
        drop(ManuallyDrop::into_inner(held));
        Ok(())
    }

    fn empty(&self, region: &Region) -> Result {
        self.stop();
        self.core.fence(self.id, self.generation)?;
        region.map()?.scrub();
        scrub_low(self.id)
    }
}

/// Fills a vnode's conventional memory with zeros, but for the page in which its CPUs wait.
fn scrub_low(vnode: VnodeId) -> Result {
    const PAGE: [u8; kernel::page::PAGE_SIZE] = [0; kernel::page::PAGE_SIZE];
    let low = Mapping::low(vnode)?;
    let memory = low.part(0, layout::LOW_WAITING_ROOM as usize);
    for offset in (0..memory.size()).step_by(PAGE.len()) {
        memory.write(offset, &PAGE);
    }
    Ok(())
}
