// SPDX-License-Identifier: GPL-2.0

//! `/dev/adeos`: programs' way to the nanokernel (the interface is `proto/abi.rs`).

#![deny(unsafe_code)]

use crate::bridge;
use crate::channel::End;
use crate::core_state::Core;
use crate::user;
use adeos_proto::abi;
use adeos_proto::id::VnodeId;
use adeos_proto::layout::{
    self,
    slot,
    Status, //
};
use adeos_proto::window::Window;
use kernel::fs::{
    File,
    Kiocb, //
};
use kernel::iov::{
    IovIterDest,
    IovIterSource, //
};
use kernel::miscdevice::{
    MiscDevice,
    MiscDeviceRegistration, //
};
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    Mutex, //
};

/// Bytes that one read or write moves at most.
const CHUNK: usize = 16 << 10;

/// An open `/dev/adeos`: nothing at first, one end of a channel later.
#[pin_data]
pub(crate) struct AdeosFile {
    core: Arc<Core>,
    #[pin]
    end: Mutex<Option<Arc<End>>>,
}

impl AdeosFile {
    fn end(&self) -> Result<Arc<End>> {
        self.end.lock().clone().ok_or(ENOTCONN)
    }

    /// Makes the file one end of a channel; it can be so once.
    fn become_end(&self, make: impl FnOnce() -> Result<Arc<End>>) -> Result<usize> {
        if self.end.lock().is_some() {
            return Err(EISCONN);
        }
        let end = make()?;
        let index = end.index();
        let mut place = self.end.lock();
        if place.is_some() {
            return Err(EISCONN);
        }
        *place = Some(end);
        Ok(index)
    }

    #[inline(never)]
    fn connect(&self, arg: usize) -> Result {
        let mut record = abi::Channel::from_bytes(&user::read_record(arg)?);
        let vnode = VnodeId::new(record.vnode)
            .filter(|vnode| !vnode.is_root())
            .ok_or(ENOENT)?;
        if !self.core.identity().is_root() {
            return Err(EPERM);
        }
        let end = || End::connect(&self.core, vnode, record.generation);
        record.channel = self.become_end(end)? as u32;
        user::write_record(arg, &record.to_bytes())
    }

    #[inline(never)]
    fn accept(&self, arg: usize) -> Result {
        let mut record = abi::Channel::from_bytes(&user::read_record(arg)?);
        let identity = self.core.identity();
        if identity.is_root() {
            return Err(EPERM);
        }
        let control = self.core.control();
        let state = slot::STATUS + Status::OFFSETS.state;
        control
            .slot(identity.vnode)
            .raise(state, layout::state::READY);
        crate::tell_root(&self.core);

        record.channel = self.become_end(|| End::accept(&self.core))? as u32;
        record.vnode = 0;
        record.generation = 0;
        user::write_record(arg, &record.to_bytes())
    }

    #[inline(never)]
    fn whoami(&self, arg: usize) -> Result {
        let asked = abi::Whoami::from_bytes(&user::read_record(arg)?);
        user::zero(asked.reserved == 0)?;
        let identity = self.core.identity();
        let block = self.core.control().read_boot_block(identity.vnode);
        let answer = abi::Whoami {
            size: abi::Whoami::SIZE as u32,
            abi_version: abi::VERSION,
            vnode: identity.vnode.number(),
            generation: identity.generation.0,
            features: identity.features,
            nr_cpus: block.nr_cpus,
            reserved: 0,
            name: block.name,
        };
        user::write_record(arg, &answer.to_bytes())
    }
}

#[vtable]
impl MiscDevice for AdeosFile {
    type Ptr = Arc<Self>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Arc<Self>> {
        let core = Core::get()?;
        Arc::pin_init(
            pin_init!(Self {
                core,
                end <- kernel::new_mutex!(None, "adeos:end"),
            }),
            GFP_KERNEL,
        )
    }

    fn read_iter(kiocb: Kiocb<'_, Arc<Self>>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let end = kiocb.file().end()?;
        let mut bytes = KVVec::from_elem(0, iov.len().min(CHUNK), GFP_KERNEL)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let received = end.receive(&mut bytes)?;
        let copied = iov.copy_to_iter(bytes.get(..received).ok_or(EINVAL)?);
        if copied < received {
            return Err(EFAULT);
        }
        Ok(received)
    }

    fn write_iter(kiocb: Kiocb<'_, Arc<Self>>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let end = kiocb.file().end()?;
        let mut written = 0;
        while !iov.is_empty() {
            let mut bytes = KVVec::from_elem(0u8, iov.len().min(CHUNK), GFP_KERNEL)?;
            let copied = iov.copy_from_iter(&mut bytes);
            let mut rest = bytes
                .get(..copied)
                .filter(|bytes| !bytes.is_empty())
                .ok_or(EFAULT)?;
            while !rest.is_empty() {
                match end.send(rest) {
                    Ok(sent) => {
                        written += sent;
                        rest = rest.get(sent..).unwrap_or(&[]);
                    }
                    Err(_) if written > 0 => return Ok(written),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(written)
    }

    fn ioctl(
        file: kernel::sync::ArcBorrow<'_, Self>,
        _: &File,
        cmd: u32,
        arg: usize,
    ) -> Result<isize> {
        match cmd {
            abi::ADEOS_CONNECT => file.connect(arg)?,
            abi::ADEOS_ACCEPT => file.accept(arg)?,
            abi::ADEOS_WHOAMI => file.whoami(arg)?,
            abi::ADEOS_BRIDGE => bridge::view::tell(&file.core, arg)?,
            abi::ADEOS_BRIDGE_STAT => bridge::view::tell_totals(&file.core, arg)?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }
}
