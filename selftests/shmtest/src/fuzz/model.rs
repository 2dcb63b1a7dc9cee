// SPDX-License-Identifier: GPL-2.0

//! What a thread knows: what it has open, and all of the regions that nobody else does.

use std::collections::{BTreeMap, BTreeSet};

use adeos_proto::abi::shm as abi;
use adeos_proto::bridge::Access;
use adeos_proto::id::MAX_VNODES;
use adeos_proto::record;
use adeos_proto::shm;
use adeos_proto::shm::label::{Caller, Label};
use adeos_proto::shm::lock::{DIED, FILES, HOLDER, WAITERS};

use super::field::PAGE;
use super::plan::{own_names, OWN};
use super::World;

mod asks;
mod memory;

pub(super) use asks::To;
pub(super) use memory::Mapped;

/// What finds a region, in the words of this vnode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The vnode of a local name.
    pub(super) local: Option<u32>,
    pub(super) name: String,
}

/// Which region it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// One that only this thread knows.
    Own(usize),
    /// One that others may use, with the mark of its name.
    Shared(u16),
}

/// A region that only this thread knows.
#[derive(Clone, Debug)]
pub(super) struct Own {
    bytes: u64,
    label: Label,
    /// What was stored, by offset; the rest is zeros.
    marks: BTreeMap<u64, u64>,
    /// The same for words of locks.
    locks: BTreeMap<u64, u32>,
    /// Notices so far, once they were told.
    pub(super) notices: Option<u64>,
    pub(super) is_kept: bool,
}

/// An open file of a region.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) which: Which,
    pub(super) key: Key,
    pub(super) can_write: bool,
    pub(super) bytes: u64,
    pub(super) token: u32,
    guards: BTreeSet<u64>,
    /// Notices since it was read.
    pub(super) unread: u64,
    /// How many descriptors it has. What maps it keeps it as well.
    pub(super) descriptors: u64,
    /// Times that the region was moved, as was told last.
    pub(super) moves: u32,
}

/// In a token: the vnode, behind these bits.
const VNODE_SHIFT: u32 = 26;

/// All of it. A file is known by the number of its inode.
pub(super) struct Model {
    pub(super) world: World,
    own_names: [String; OWN as usize],
    own: [Option<Own>; OWN as usize],
    pub(super) files: BTreeMap<u64, Open>,
}

/// What every number begins with that is stored in a region. Each half of it is taken for a lock's word of vnode 15, which no
/// test has: so no kernel frees it.
const MARK: u64 = 0x3d00_0000_3c00_0000;

/// The number that is stored in a region, of some bits.
pub(super) fn mark(which: Which, bits: u64) -> u64 {
    let tag = match which {
        Which::Own(at) => 0xfff0 + at as u64,
        Which::Shared(tag) => tag.into(),
    };
    MARK | tag << 40 | (bits & 0xff_03ff_ffff)
}

/// The mark of a name that others use.
fn tag(key: &Key) -> u16 {
    let local = key.local.map_or(0xff, |vnode| vnode as u8);
    let bytes = [local].into_iter().chain(key.name.bytes());
    // FNV-1a, folded; those that mark regions of a thread's own are left out.
    let hash = bytes.fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    ((hash ^ hash >> 16) & 0x7fff) as u16
}

impl Model {
    pub(super) fn new(seed: u64, thread: u64, world: World) -> Self {
        Self {
            world,
            own_names: own_names(seed, thread),
            own: [const { None }; OWN as usize],
            files: BTreeMap::new(),
        }
    }

    /// What a record names; nothing where that is no name.
    pub(super) fn key(&self, record: &abi::Region) -> Option<Key> {
        let local = match (record.scope, record.vnode) {
            (1, 0) => None,
            (2, u32::MAX) => Some(self.world.vnode),
            (2, vnode) if (vnode as usize) < MAX_VNODES => Some(vnode),
            _ => return None,
        };
        let name = record::text(&record.name);
        let is_whole = record::set_text::<32>(name) == record.name;
        (is_whole && shm::region_name(name).is_ok()).then(|| Key {
            local,
            name: name.to_owned(),
        })
    }

    /// Which region that is.
    pub(super) fn which(&self, key: &Key) -> Which {
        let scopes = [None, Some(self.world.vnode)];
        let at = self
            .own_names
            .iter()
            .zip(scopes)
            .position(|(name, local)| *name == key.name && local == key.local);
        at.map_or_else(|| Which::Shared(tag(key)), Which::Own)
    }

    /// The record by which a region of this thread's own is opened to be read.
    pub(super) fn own_record(&self, which: Which) -> abi::Region {
        let (at, (scope, vnode)) = match which {
            Which::Own(0) => (0, (1, 0)),
            _ => (1, (2, u32::MAX)),
        };
        let name = self.own_names.get(at).map_or("", String::as_str);
        abi::Region {
            size: abi::Region::SIZE as u32,
            access: 1,
            scope,
            vnode,
            name: record::set_text(name),
            ..Default::default()
        }
    }

    /// What there is of a region that only this thread knows.
    pub(super) fn own(&self, which: Which) -> Option<&Own> {
        match which {
            Which::Own(at) => self.own.get(at)?.as_ref(),
            Which::Shared(_) => None,
        }
    }

    pub(super) fn own_mut(&mut self, which: Which) -> Option<&mut Own> {
        match which {
            Which::Own(at) => self.own.get_mut(at)?.as_mut(),
            Which::Shared(_) => None,
        }
    }

    /// Whether this program may use a region that only it knows.
    fn may(&self, own: &Own, can_write: bool) -> bool {
        let caller = Caller {
            user: self.world.user,
            in_group: |group| group == self.world.group,
            overrides: self.world.is_admin,
        };
        let access = if can_write {
            Access::Write
        } else {
            Access::Read
        };
        own.label.allows(&caller, access)
    }

    /// A region was made, as was asked.
    pub(super) fn made(&mut self, which: Which, asked: &abi::Region) {
        let label = Label {
            user: self.world.user,
            group: self.world.group,
            mode: asked.mode as u16,
        };
        if let Which::Own(at) = which {
            if let Some(own) = self.own.get_mut(at) {
                *own = Some(Own {
                    bytes: asked.bytes,
                    label,
                    marks: BTreeMap::new(),
                    locks: BTreeMap::new(),
                    notices: None,
                    is_kept: false,
                });
            }
        }
    }

    /// A region was opened: its file has this inode.
    pub(super) fn opened(&mut self, inode: u64, key: Key, can_write: bool, stat: &abi::Stat) {
        let open = Open {
            which: self.which(&key),
            key,
            can_write,
            bytes: stat.bytes,
            token: stat.token,
            guards: BTreeSet::new(),
            unread: 0,
            descriptors: 1,
            moves: stat.moves,
        };
        self.files.insert(inode, open);
    }

    /// Checks what is told of a file's region.
    pub(super) fn check(&self, open: &Open, stat: &abi::Stat) -> Result<(), String> {
        let (scope, vnode) = open.key.local.map_or((1, 0), |vnode| (2, vnode));
        let own_life = stat.users.get(self.world.vnode as usize);
        let others = self
            .files
            .values()
            .filter(|other| !std::ptr::eq(*other, open));
        let is_alone = others.into_iter().all(|other| other.token != stat.token);
        let mut facts = vec![
            ("size", stat.size as usize == abi::Stat::SIZE),
            ("access", stat.access == if open.can_write { 2 } else { 1 }),
            ("bytes", stat.bytes == open.bytes && stat.bytes > 0),
            ("mode", stat.mode & !0o666 == 0),
            ("scope", (stat.scope, stat.vnode) == (scope, vnode)),
            (
                "owner",
                (stat.owner as usize) < MAX_VNODES && stat.owner_life != 0,
            ),
            ("orphan", stat.is_orphan <= 1),
            ("vnodes", (stat.readers | stat.writers) >> 16 == 0),
            ("own vnode", stat.own_vnode == self.world.vnode),
            ("users", own_life.is_some_and(|life| *life != 0)),
            ("name", record::text(&stat.name) == open.key.name),
            (
                "token",
                stat.token == open.token && self.is_token(stat.token),
            ),
            ("token of another file", is_alone),
            ("reserved", stat.reserved == 0),
        ];
        if let Some(own) = self.own(open.which) {
            let label = (own.label.user, own.label.group, u32::from(own.label.mode));
            let notices = own.notices.unwrap_or(stat.notices);
            facts.extend([
                ("label", (stat.user, stat.group, stat.mode) == label),
                ("notices", stat.notices == notices),
                (
                    "owner",
                    stat.owner == self.world.vnode && stat.is_orphan == 0,
                ),
                ("size of what was made", stat.bytes == own.bytes),
            ]);
        }
        match facts.iter().find(|(_, holds)| !holds) {
            Some((what, _)) => Err(format!("{what}: {stat:?}")),
            None => Ok(()),
        }
    }

    /// SH-60: it is one of this vnode's.
    fn is_token(&self, token: u32) -> bool {
        token & !HOLDER == 0 && token >> VNODE_SHIFT == self.world.vnode && token % FILES != 0
    }

    /// The label was changed.
    pub(super) fn protected(&mut self, which: Which, asked: &abi::Protect) {
        if let Some(own) = self.own_mut(which) {
            own.label = Label {
                user: asked.user,
                group: asked.group,
                mode: asked.mode as u16,
            };
        }
    }

    /// Locks at an offset are freed when the file is closed.
    pub(super) fn guarded(&mut self, inode: u64, offset: u64) {
        if let Some(open) = self.files.get_mut(&inode) {
            open.guards.insert(offset);
        }
    }

    /// A notice was given.
    pub(super) fn notified(&mut self, which: Which) {
        if let Some(notices) = self.own_mut(which).and_then(|own| own.notices.as_mut()) {
            *notices = notices.wrapping_add(1);
        }
        for open in self.files.values_mut().filter(|open| open.which == which) {
            open.unread += 1;
        }
    }

    /// A file is closed, and nothing maps it: how many locks its kernel has freed.
    pub(super) fn released(&mut self, inode: u64) -> u64 {
        let Some(open) = self.files.remove(&inode) else {
            return 0;
        };
        let is_used = self.files.values().any(|other| other.which == open.which);
        let Some(own) = self.own_mut(open.which) else {
            return 0;
        };
        let mut freed = 0;
        for offset in &open.guards {
            if let Some(word) = own.locks.get_mut(offset) {
                if *word & HOLDER == open.token {
                    *word = *word & WAITERS | DIED;
                    freed += 1;
                }
            }
        }
        if !is_used && !own.is_kept {
            self.forget(open.which);
        }
        freed
    }

    /// A region that only this thread knows is not kept any more.
    pub(super) fn not_kept(&mut self, which: Which) {
        let is_used = self.files.values().any(|open| open.which == which);
        if let Some(own) = self.own_mut(which) {
            own.is_kept = false;
            if !is_used {
                self.forget(which);
            }
        }
    }

    fn forget(&mut self, which: Which) {
        if let Which::Own(at) = which {
            if let Some(own) = self.own.get_mut(at) {
                *own = None;
            }
        }
    }

    /// Whether a number may be found in a region: what was stored there, or, in one of others', what can have been.
    pub(super) fn check_number(
        &self,
        which: Which,
        offset: u64,
        number: u64,
    ) -> Result<(), String> {
        let holds = match self.own(which) {
            _ if offset < PAGE => true,
            Some(_) => self.number(which, offset) == number,
            None => number == 0 || number == mark(which, number),
        };
        holds
            .then_some(())
            .ok_or_else(|| format!("{number:#x} at {offset:#x} of {which:?}"))
    }

    /// The same of a lock's word.
    pub(super) fn check_lock(&self, which: Which, offset: u64, word: u32) -> Result<(), String> {
        let wanted = self.lock(which, offset);
        wanted
            .is_none_or(|wanted| wanted == word)
            .then_some(())
            .ok_or_else(|| format!("lock {word:#x} at {offset:#x}, not {wanted:#x?}"))
    }

    /// A lock's word, where only this thread stores.
    pub(super) fn lock(&self, which: Which, offset: u64) -> Option<u32> {
        let own = self.own(which)?;
        Some(own.locks.get(&offset).copied().unwrap_or(0))
    }

    /// A number that is in a region of this thread's own.
    pub(super) fn number(&self, which: Which, offset: u64) -> u64 {
        let own = self.own(which);
        own.and_then(|own| own.marks.get(&offset).copied())
            .unwrap_or(0)
    }

    /// A number that is known to be there was never written.
    pub(super) fn is_fresh(&self, which: Which, offset: u64) -> bool {
        let own = self.own(which);
        own.is_some_and(|own| !own.marks.contains_key(&offset))
    }

    /// A number was stored.
    pub(super) fn stored(&mut self, which: Which, offset: u64, number: u64) {
        if let Some(own) = self.own_mut(which) {
            own.marks.insert(offset, number);
        }
    }

    /// The same of a lock's word.
    pub(super) fn stored_lock(&mut self, which: Which, offset: u64, word: u32) {
        if let Some(own) = self.own_mut(which) {
            own.locks.insert(offset, word);
        }
    }
}

#[cfg(test)]
mod tests;
