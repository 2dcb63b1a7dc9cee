// SPDX-License-Identifier: GPL-2.0

//! `/dev/kmb`: translates requests of programs, and nothing else.

#![deny(unsafe_code)]

use crate::manager::{
    self,
    FAULTS, //
};
use crate::spec::Spec;
use adeos_core::{
    cpu,
    now_ns,
    user,
    Core, //
};
use adeos_proto::abi;
use adeos_proto::console;
use adeos_proto::id::{
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::layout;
use kernel::fs::File;
use kernel::miscdevice::{
    MiscDevice,
    MiscDeviceRegistration, //
};
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    ArcBorrow, //
};
use kernel::uaccess::{
    UserPtr,
    UserSlice, //
};

/// Bytes of console that one request copies at most.
const CONSOLE_CHUNK: usize = 64 << 10;
/// Time between two looks at a console that is waited for, in ms.
const CONSOLE_POLL_MS: u32 = 20;

/// An open `/dev/kmb`.
pub(crate) struct KmbFile {
    core: Arc<Core>,
}

#[vtable]
impl MiscDevice for KmbFile {
    type Ptr = Arc<Self>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { core: Core::get()? }, GFP_KERNEL)?)
    }

    fn ioctl(file: ArcBorrow<'_, Self>, _: &File, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            abi::KMB_INFO => file.info(arg)?,
            abi::KMB_START => file.start(arg)?,
            abi::KMB_STOP => file.stop(arg)?,
            abi::KMB_KILL => file.kill(arg)?,
            abi::KMB_QUERY => file.query(arg)?,
            abi::KMB_CONSOLE => file.console(arg)?,
            abi::KMB_WAIT => file.wait(arg)?,
            abi::KMB_FAULT => file.fault(arg)?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }
}

// Each handler has a frame of its own, instead of all of them one together: records are large.
impl KmbFile {
    #[inline(never)]
    fn info(&self, arg: usize) -> Result {
        let record = abi::Info::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == [0; 2])?;
        let usage = self.core.pool_usage();
        let mut lendable = cpu::online();
        lendable.remove(0);
        let answer = abi::Info {
            abi_version: abi::VERSION,
            layout_version: layout::VERSION,
            max_vnodes: MAX_VNODES as u32,
            pool_size: usage.total,
            pool_free: usage.free,
            pool_largest: usage.largest,
            lendable: lendable.words(),
            lent: cpu::lent().words(),
            count: self.core.changes(),
            ..record
        };
        user::write_record(arg, &answer.to_bytes())
    }

    #[inline(never)]
    fn start(&self, arg: usize) -> Result {
        let mut record = abi::Start::from_bytes(&user::read_record(arg)?);
        let spec = Spec::new(&record)?;
        let before = now_ns();
        let (vnode, generation) = manager::start(&self.core, &spec)?;
        record.vnode = vnode.number();
        record.generation = generation.0;
        record.load_us = now_ns().saturating_sub(before) / 1000;
        user::write_record(arg, &record.to_bytes()).inspect_err(|_| {
            // Nobody would know of it. If this fails it is still there, to be killed by its number.
            let _ = manager::kill(&self.core, vnode, generation.0);
        })
    }

    #[inline(never)]
    fn stop(&self, arg: usize) -> Result {
        let (vnode, generation) = target(arg)?;
        self.core.ask_to_stop(vnode, generation)
    }

    #[inline(never)]
    fn kill(&self, arg: usize) -> Result {
        let (vnode, generation) = target(arg)?;
        manager::kill(&self.core, vnode, generation)
    }

    #[inline(never)]
    fn query(&self, arg: usize) -> Result {
        let mut record = abi::Query::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == 0 && record.reserved2 == [0; 37])?;
        let vnode = VnodeId::new(record.vnode).ok_or(ENOENT)?;
        // Nothing that the caller has sent comes back as if it were known.
        record = abi::Query {
            size: record.size,
            vnode: record.vnode,
            ..abi::Query::default()
        };
        self.tell(vnode, &mut record)?;
        user::write_record(arg, &record.to_bytes())
    }

    /// Fills in what is known of a vnode.
    #[inline(never)]
    fn tell(&self, vnode: VnodeId, record: &mut abi::Query) -> Result {
        let facts = self.core.facts(vnode)?;
        record.generation = facts.generation.0;
        record.state = facts.state.number();
        record.progress = facts.progress;
        record.cause = facts
            .cause
            .map_or(layout::cause::NONE, |cause| cause.number());
        record.cause_apic_id = facts.cause_apic_id;
        record.features = facts.features;
        record.silent_ms = facts.silent_ms;
        record.started_ns = facts.started_ns;
        record.ended_ns = facts.ended_ns;
        record.console_written = console::SLOT
            .written(&self.core.control().slot(vnode))
            .unwrap_or(0);
        record.release = facts.release;
        record.message = facts.message;
        record.suspicion = facts.suspicion.map_or(0, |why| why.number());
        if let Some(assignment) = facts.assignment {
            record.entry = assignment.entry;
            record.cpus = assignment.cpus.words();
            record.memory_base = assignment.memory.base();
            record.memory_size = assignment.memory.size();
            record.name = assignment.name.field();
        }
        Ok(())
    }

    #[inline(never)]
    fn console(&self, arg: usize) -> Result {
        let mut record = abi::ConsoleRead::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == 0)?;
        let vnode = VnodeId::new(record.vnode)
            .filter(|vnode| !vnode.is_root())
            .ok_or(ENOENT)?;
        let mut bytes = KVVec::from_elem(0, CONSOLE_CHUNK.min(record.length as usize), GFP_KERNEL)?;
        let end = now_ns().saturating_add(u64::from(record.timeout_ms) * 1_000_000);

        let chunk = loop {
            let slot = self.core.control().slot(vnode);
            // A number that was never used has no console: nothing was written to it.
            let chunk = console::SLOT
                .read(&slot, record.position, &mut bytes)
                .map_err(|_| ENODATA)?;
            if chunk.copied > 0 || bytes.is_empty() || now_ns() >= end {
                break chunk;
            }
            self.core
                .wait_for_change(self.core.changes(), CONSOLE_POLL_MS)?;
        };

        let address = UserPtr::from_addr(usize::try_from(record.buffer)?);
        let copied = bytes.get(..chunk.copied).ok_or(EINVAL)?;
        UserSlice::new(address, copied.len())
            .writer()
            .write_slice(copied)?;
        record.position = chunk.next;
        record.length = chunk.copied as u32;
        record.lost = chunk.lost;
        user::write_record(arg, &record.to_bytes())
    }

    #[inline(never)]
    fn wait(&self, arg: usize) -> Result {
        let mut record = abi::Wait::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == 0)?;
        record.count = self.core.wait_for_change(record.count, record.timeout_ms)?;
        user::write_record(arg, &record.to_bytes())
    }

    #[inline(never)]
    fn fault(&self, arg: usize) -> Result {
        let record = abi::Fault::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == 0)?;
        FAULTS.set(record.step)
    }
}

fn target(arg: usize) -> Result<(VnodeId, u32)> {
    let record = abi::Target::from_bytes(&user::read_record(arg)?);
    user::zero(record.reserved == 0)?;
    let vnode = VnodeId::new(record.vnode)
        .filter(|vnode| !vnode.is_root())
        .ok_or(ENOENT)?;
    Ok((vnode, record.generation))
}
