// SPDX-License-Identifier: GPL-2.0

//! Making and opening regions: what the calls of `/dev/bridge_shm` do, and what is checked of whom.

#![deny(unsafe_code)]

use crate::files;
use crate::hall;
use crate::handle::Handle;
use crate::pages::Pages;
use crate::statics;
use adeos_core::bridge::{
    Access,
    Bridge,
    Entry,
    Follow,
    Key,
    Rights,
    Scope,
    Spec,
    Vnodes, //
};
use adeos_core::caller::{
    self,
    Capability, //
};
use adeos_core::user;
use adeos_core::Core;
use adeos_proto::abi::shm as abi;
use adeos_proto::id::VnodeId;
use adeos_proto::record;
use adeos_proto::shm;
use adeos_proto::shm::label::{
    Caller,
    Label, //
};
use adeos_proto::shm::quota::Amount;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// Looks at an entry that the root is writing, a millisecond apart.
const ENTRY_TRIES: u32 = 100;

/// Does what is asked of the device: a new descriptor. Process context; waits for the root.
pub(crate) fn device_ioctl(cmd: u32, arg: usize) -> Result<isize> {
    let (handle, access) = match cmd {
        abi::SHM_CREATE => create(&read_region(arg)?)?,
        abi::SHM_OPEN => open(&read_region(arg)?)?,
        _ => return Err(ENOTTY),
    };
    files::give(handle, access == Access::Write)
}

fn read_region(arg: usize) -> Result<abi::Region> {
    let record = abi::Region::from_bytes(&user::read_record(arg)?);
    user::zero(record.reserved == 0 && record.reserved2 == 0)?;
    Ok(record)
}

fn access_of(number: u32) -> Result<Access> {
    match number {
        1 => Ok(Access::Read),
        2 => Ok(Access::Write),
        _ => Err(EINVAL),
    }
}

fn key_of(core: &Core, record: &abi::Region) -> Result<Key> {
    let scope = match (record.scope, record.vnode) {
        (1, 0) => Scope::Global,
        (2, u32::MAX) => Scope::Local(core.identity().vnode),
        (2, number) => Scope::Local(VnodeId::new(number).ok_or(EINVAL)?),
        _ => return Err(EINVAL),
    };
    let text = record::text(&record.name);
    // Behind the first zero there is nothing else.
    if record::set_text::<32>(text) != record.name {
        return Err(EINVAL);
    }
    let name = shm::region_name(text).map_err(|_| EINVAL)?;
    Ok(Key { scope, name })
}

/// The vnodes that two numbers say.
pub(crate) fn vnodes_of(readers: u32, writers: u32) -> Result<(Vnodes, Vnodes)> {
    let vnodes = |bits: u32| u16::try_from(bits).map(Vnodes).map_err(|_| EINVAL);
    let (readers, writers) = (vnodes(readers)?, vnodes(writers)?);
    Ok((readers.and(writers), writers))
}

pub(crate) fn mode_of(number: u32) -> Result<u16> {
    u16::try_from(number).map_err(|_| EINVAL)
}

fn create(record: &abi::Region) -> Result<(Arc<Handle>, Access)> {
    let core = Core::get()?;
    let access = access_of(record.access)?;
    let key = key_of(&core, record)?;
    let (readers, writers) = vnodes_of(record.readers, record.writers)?;
    let user = caller::user();
    let label = Label::new(user, caller::group(), mode_of(record.mode)?).ok_or(EINVAL)?;
    let spec = Spec {
        key,
        size: record.bytes,
        rights: Rights {
            readers,
            label: label.to_words(),
            ..Rights::open_to(writers)
        },
        follow: Follow::Moves,
    };
    statics::board(&core)?;
    let own = core.identity().vnode;
    let pages = Pages::new(own)?;
    // SH-20: before, to spare the root, and after: several may be made at once.
    let has = || Amount::of(Bridge::all(&core), own, user);
    check_quota(has().plus(spec.size))?;
    let bridge = Bridge::create(&core, &spec, Some(pages.clone()))?;
    hall::one_by_one(|| check_quota(has()))?;
    Handle::new(core, bridge, pages, access).map(|handle| (handle, access))
}

fn open(record: &abi::Region) -> Result<(Arc<Handle>, Access)> {
    let rest = [record.mode, record.readers, record.writers];
    if record.bytes != 0 || rest != [0; 3] {
        return Err(EINVAL);
    }
    let core = Core::get()?;
    let access = access_of(record.access)?;
    let key = key_of(&core, record)?;
    statics::board(&core)?;
    // Who may not is refused before the root is asked. One that cannot be read now is looked at once it is open.
    if let Some(entry) = Bridge::all(&core).find(|entry| entry.key == key) {
        check(&entry, access)?;
    }
    let pages = Pages::new(core.identity().vnode)?;
    let bridge = Bridge::open(&core, &key, access, Follow::Moves, Some(pages.clone()))?;
    let handle = Handle::new(core, bridge, pages, access)?;
    // It can be another one of the same name by now.
    handle.check_again()?;
    Ok((handle, access))
}

/// What is published of a region. The root may be writing it just now. Process context.
pub(crate) fn entry_of(bridge: &Bridge) -> Result<Entry> {
    let mut tries = 0..ENTRY_TRIES;
    loop {
        match bridge.entry() {
            Err(EAGAIN) if tries.next().is_some() => fsleep(Delta::from_millis(1)),
            result => return result,
        }
    }
}

/// Checks that the current process's user may have so much (SH-20). EDQUOT.
pub(crate) fn check_quota(amount: Amount) -> Result {
    if amount.is_within(statics::limit()) || caller::may(Capability::Exceed) {
        Ok(())
    } else {
        Err(EDQUOT)
    }
}

/// Checks that the current process may use a region (SH-11). EACCES.
pub(crate) fn check(entry: &Entry, access: Access) -> Result {
    let label = Label::from_words(entry.rights.label).ok_or(EACCES)?;
    let caller = Caller {
        user: caller::user(),
        in_group: caller::is_in_group,
    };
    if label.allows(&caller, access) || caller::may(Capability::Override) {
        Ok(())
    } else {
        Err(EACCES)
    }
}
