// SPDX-License-Identifier: GPL-2.0

//! Which answers `proto/abi/shm.rs` and docs/bridge-shm.md allow to a request. EINTR is not among them, for no signal comes;
//! nor what comes of a root that is not well.

use adeos_proto::abi::shm as abi;
use adeos_proto::shm::label::MODE_BITS;
use fuzzing::{u32_at, Allowed, Spot};
use libc::{
    EACCES, EAGAIN, EBADF, EDQUOT, EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM, ENOSPC, ENOTTY,
    EOWNERDEAD, EPERM, ETIMEDOUT,
};

use super::{Model, Open, Own};

/// Bytes of which a region has a multiple.
const GRANULE: u64 = 2 << 20;
/// There is never as much memory as this.
const TOO_MUCH: u64 = 1 << 40;

/// What a request goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To<'a> {
    /// No open file.
    Nobody,
    /// `/dev/bridge_shm`.
    Device,
    File(&'a Open),
}

fn fails(error: i32) -> Allowed {
    Allowed::fails(vec![error])
}

/// A record's bytes as it, if there are as many.
macro_rules! read {
    ($record:ident, $bytes:expr) => {
        match $bytes.first_chunk() {
            Some(bytes) => abi::$record::from_bytes(bytes),
            None => return Allowed::default(),
        }
    };
}

impl Model {
    /// The answers that a request may get.
    pub(crate) fn allowed(&self, to: To<'_>, number: u32, bytes: &[u8], spot: Spot) -> Allowed {
        let takes = |open: &Open| match number {
            abi::SHM_STAT | abi::SHM_PROTECT | abi::SHM_WAIT | abi::SHM_WAIT_WORD => None,
            abi::SHM_KEEP => None,
            abi::SHM_NOTIFY | abi::SHM_WAKE_WORD | abi::SHM_GUARD if open.can_write => None,
            abi::SHM_NOTIFY | abi::SHM_WAKE_WORD | abi::SHM_GUARD => Some(EBADF),
            _ => Some(ENOTTY),
        };
        let refused = match to {
            To::Nobody => Some(EBADF),
            To::Device if [abi::SHM_CREATE, abi::SHM_OPEN].contains(&number) => None,
            To::Device => Some(ENOTTY),
            To::File(open) => takes(open),
        };
        if let Some(error) = refused {
            return fails(error);
        }
        if number == abi::SHM_NOTIFY {
            return Allowed::fails(Vec::new());
        }
        if matches!(spot, Spot::Nowhere(_) | Spot::Partly(_)) {
            return fails(EFAULT);
        }
        if u32_at(bytes, 0) as usize != bytes.len() {
            return fails(EINVAL);
        }
        let mut allowed = match to {
            To::File(open) => self.of_file(open, number, bytes),
            _ if number == abi::SHM_CREATE => self.create(&read!(Region, bytes)),
            _ => self.open(&read!(Region, bytes)),
        };
        // Only these write an answer.
        let is_told = [abi::SHM_STAT, abi::SHM_WAIT].contains(&number);
        if is_told && spot == Spot::ReadOnly && allowed.success {
            allowed.success = false;
            allowed.errors.push(EFAULT);
        }
        allowed
    }

    fn create(&self, record: &abi::Region) -> Allowed {
        let is_sound = record.reserved == 0
            && record.reserved2 == 0
            && (1..=2).contains(&record.access)
            && (record.readers | record.writers) >> 16 == 0
            && record.mode & !u32::from(MODE_BITS) == 0;
        let Some(key) = self.key(record).filter(|_| is_sound) else {
            return fails(EINVAL);
        };
        let mut allowed = Allowed::maybe(&[EDQUOT, ENOSPC, ENOMEM]);
        if record.bytes == 0 || record.bytes % GRANULE != 0 {
            allowed.success = false;
            allowed.errors.push(EINVAL);
        }
        if record.bytes >= TOO_MUCH {
            // So many bytes may be no size at all.
            allowed.success = false;
            allowed.errors.push(EINVAL);
        }
        // The root may make all, others what is theirs.
        let is_foreign = key.local.is_some_and(|vnode| vnode != self.world.vnode);
        if is_foreign && self.world.vnode != 0 {
            allowed.success = false;
            allowed.errors.push(EACCES);
        }
        match self.which(&key) {
            super::Which::Shared(_) => allowed.errors.push(EEXIST),
            which if self.own(which).is_some() => {
                allowed.success = false;
                allowed.errors.push(EEXIST);
            }
            super::Which::Own(_) => {}
        }
        allowed
    }

    fn open(&self, record: &abi::Region) -> Allowed {
        let is_sound = record.reserved == 0
            && record.reserved2 == 0
            && (1..=2).contains(&record.access)
            && record.bytes == 0
            && record.readers | record.writers | record.mode == 0;
        let Some(key) = self.key(record).filter(|_| is_sound) else {
            return fails(EINVAL);
        };
        match self.which(&key) {
            super::Which::Shared(_) => Allowed::maybe(&[ENOENT, EACCES]),
            which => match self.own(which) {
                None => fails(ENOENT),
                Some(own) if self.may(own, record.access == 2) => Allowed::fails(Vec::new()),
                Some(_) => fails(EACCES),
            },
        }
    }

    fn of_file(&self, open: &Open, number: u32, bytes: &[u8]) -> Allowed {
        let own = self.own(open.which);
        match number {
            abi::SHM_STAT => match read!(Stat, bytes).reserved {
                0 => Allowed::fails(Vec::new()),
                _ => fails(EINVAL),
            },
            abi::SHM_PROTECT => self.protect(own, &read!(Protect, bytes)),
            abi::SHM_WAIT => wait(own, &read!(Wait, bytes)),
            abi::SHM_WAIT_WORD => self.wait_word(open, &read!(Word, bytes)),
            abi::SHM_WAKE_WORD => {
                let record = read!(Word, bytes);
                match is_word(open, record.offset) && record.timeout_ms == 0 {
                    true => Allowed::fails(Vec::new()),
                    false => fails(EINVAL),
                }
            }
            abi::SHM_GUARD => {
                let record = read!(Guard, bytes);
                if record.reserved != 0 || !is_word(open, record.offset) {
                    return fails(EINVAL);
                }
                let is_full = open.guards.len() >= abi::MAX_GUARDS;
                match is_full && !open.guards.contains(&record.offset) {
                    true => fails(ENOSPC),
                    // It is mapped for that.
                    false if own.is_none() => Allowed::maybe(&[EACCES]),
                    false => Allowed::fails(Vec::new()),
                }
            }
            _ => self.keep(own, &read!(Keep, bytes)),
        }
    }

    /// SH-14.
    fn protect(&self, own: Option<&Own>, record: &abi::Protect) -> Allowed {
        let is_sound = record.reserved == 0
            && (record.readers | record.writers) >> 16 == 0
            && record.mode & !u32::from(MODE_BITS) == 0;
        if !is_sound {
            return fails(EINVAL);
        }
        match own {
            _ if self.world.is_admin && own.is_some() => Allowed::fails(Vec::new()),
            _ if self.world.is_admin => Allowed::maybe(&[EACCES]),
            None => Allowed::maybe(&[EACCES, EPERM]),
            Some(own) => {
                let groups = [own.label.group, self.world.group];
                match record.user == own.label.user && groups.contains(&record.group) {
                    true => Allowed::fails(Vec::new()),
                    false => fails(EPERM),
                }
            }
        }
    }

    fn wait_word(&self, open: &Open, record: &abi::Word) -> Allowed {
        if !is_word(open, record.offset) {
            return fails(EINVAL);
        }
        let mut allowed = Allowed::maybe(&[ETIMEDOUT, EOWNERDEAD]);
        if self.own(open.which).is_none() {
            allowed.errors.push(EACCES);
        }
        let known = self.lock(open.which, record.offset);
        let known = known.filter(|_| record.offset < super::PAGE);
        // It may return sooner, but not because the word is another one.
        if known != Some(record.value) {
            allowed.errors.push(EAGAIN);
        }
        if known.is_some_and(|word| word != record.value) {
            return Allowed::maybe(&[EAGAIN]);
        }
        allowed
    }

    fn keep(&self, own: Option<&Own>, record: &abi::Keep) -> Allowed {
        match (record.keep, own) {
            _ if !self.world.is_admin => fails(EPERM),
            (2.., _) => fails(EINVAL),
            (1, _) => Allowed::fails(Vec::new()),
            (0, None) => Allowed::maybe(&[ENOENT]),
            (0, Some(own)) if own.is_kept => Allowed::fails(Vec::new()),
            (0, Some(_)) => fails(ENOENT),
        }
    }
}

fn is_word(open: &Open, offset: u64) -> bool {
    let end = offset.checked_add(4);
    offset % 4 == 0 && end.is_some_and(|end| end <= open.bytes)
}

fn wait(own: Option<&Own>, record: &abi::Wait) -> Allowed {
    if record.reserved != 0 {
        return fails(EINVAL);
    }
    match own.and_then(|own| own.notices) {
        Some(notices) if notices == record.seen => Allowed::fails(vec![ETIMEDOUT, EOWNERDEAD]),
        Some(_) => Allowed::fails(Vec::new()),
        None => Allowed::maybe(&[ETIMEDOUT, EOWNERDEAD]),
    }
}
