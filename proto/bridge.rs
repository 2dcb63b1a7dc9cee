// SPDX-License-Identifier: GPL-2.0

//! Bridges: named regions of memory that vnodes share (paper sections 3 and 4.3).
//!
//! The root arbitrates. Its [`table::Table`] is private and decides; what others may know is
//! published, entry by entry, in the registry in shared memory ([`entry`]), which the root writes
//! and never reads back. Others ask by messages ([`request`]). docs/bridges-and-portals.md is the
//! specification; its rules are cited as BR-n. What is *in* a bridge is no business of this file.

use crate::id::{NameError, VnodeId, VnodeName, MAX_VNODES, NAME_SIZE};

pub mod account;
pub mod effects;
pub mod entry;
pub mod lives;
pub mod moving;
pub mod request;
pub mod resizing;
mod slot;
pub mod table;
pub mod versioned;

/// Bridges that one machine can have.
pub const BRIDGES: usize = 256;

/// One bridge, never mistaken for another that had the same place in the table (BR-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// Place in the table, below [`BRIDGES`].
    pub index: u16,
    /// Counts the bridges that had this place, from 1.
    pub serial: u32,
}

/// Why a call is refused. A call that is refused has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The table has no place left (ENOSPC).
    Full,
    /// The vnode has as many bridges, or as many bytes, as it may have (EDQUOT).
    Quota,
    /// There is a bridge of this scope and name (EEXIST).
    Exists,
    /// There is no such bridge, or no more (ENOENT).
    Unknown,
    /// The asker may not do this (EACCES).
    Denied,
    /// The asker has not opened the bridge (EBADF).
    NotUser,
    /// Size or place is not whole granules, or not as large as before (EINVAL).
    Size,
    /// Bits of the mode have no meaning, or leave the owner without access (EINVAL).
    Mode,
    /// The bridge is being moved: try again when it is not (EAGAIN).
    Moving,
    /// The bridge cannot be moved, now or ever (EBUSY).
    Pinned,
    /// An answer to a freeze that is over, or a step that is not the next one (ESTALE).
    Stale,
    /// The asker's life is over, or has not begun (ESTALE).
    Dead,
    /// The place that is offered is another bridge's (EINVAL).
    Overlap,
    /// The message asks for nothing that there is, or is malformed (EINVAL).
    Malformed,
}

/// Name of a bridge: what a vnode can be called, by the same check (`root` is none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeName(VnodeName);

impl BridgeName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        VnodeName::new(name).map(Self)
    }

    /// Checks a name that stands in a record, padded with zeros.
    pub fn from_field(field: &[u8; NAME_SIZE]) -> Result<Self, NameError> {
        VnodeName::from_field(field).map(Self)
    }

    /// The name of a bridge of a kind, whose names all begin so, with `rest` behind it: at least one character.
    pub fn prefixed(kind: &str, rest: &str) -> Result<Self, NameError> {
        if rest.is_empty() {
            return Err(NameError::Empty);
        }
        let mut whole = [0; NAME_SIZE - 1];
        let length = kind.len().saturating_add(rest.len());
        let used = whole.get_mut(..length).ok_or(NameError::TooLong)?;
        for (to, byte) in used.iter_mut().zip(kind.bytes().chain(rest.bytes())) {
            *to = byte;
        }
        Self::new(core::str::from_utf8(used).map_err(|_| NameError::BadCharacter)?)
    }

    /// What [`BridgeName::prefixed`] was told; nothing for a name of another kind.
    pub fn behind(&self, kind: &str) -> Option<&str> {
        self.as_str()
            .strip_prefix(kind)
            .filter(|rest| !rest.is_empty())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The name as records hold it.
    pub const fn field(&self) -> [u8; NAME_SIZE] {
        self.0.field()
    }
}

/// Who a name is for (paper section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The cluster: the name alone finds the bridge.
    Global,
    /// One vnode: its number and the name find the bridge, whichever life it is in.
    Local(VnodeId),
}

impl Scope {
    /// As records hold it: a kind, 1 or 2, and a vnode.
    pub(crate) const fn numbers(self) -> (u32, u32) {
        match self {
            Self::Global => (1, 0),
            Self::Local(vnode) => (2, vnode.number()),
        }
    }

    /// What the two numbers of a record say.
    pub(crate) fn from_numbers(kind: u32, vnode: u32) -> Option<Self> {
        match kind {
            1 => Some(Self::Global),
            2 => VnodeId::new(vnode).map(Self::Local),
            _ => None,
        }
    }
}

/// What finds a bridge: no two have the same (BR-20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Who the name is for.
    pub scope: Scope,
    /// The name.
    pub name: BridgeName,
}

/// A set of vnodes, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vnodes(pub u16);

const _: () = assert!(MAX_VNODES == u16::BITS as usize);

impl Vnodes {
    /// No vnode.
    pub const NONE: Self = Self(0);
    /// All vnodes.
    pub const ALL: Self = Self(u16::MAX);

    const fn bit(vnode: VnodeId) -> u16 {
        1u16.wrapping_shl(vnode.number())
    }

    /// Whether a vnode is in the set.
    pub const fn has(self, vnode: VnodeId) -> bool {
        self.0 & Self::bit(vnode) != 0
    }

    /// The set with one more.
    pub const fn with(self, vnode: VnodeId) -> Self {
        Self(self.0 | Self::bit(vnode))
    }

    /// The set with one less.
    pub const fn without(self, vnode: VnodeId) -> Self {
        Self(self.0 & !Self::bit(vnode))
    }

    /// Those in either set.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both sets.
    pub const fn among(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether nobody is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest vnode of the set.
    pub fn first(self) -> Option<VnodeId> {
        VnodeId::new(self.0.trailing_zeros())
    }
}

/// What a user does with a bridge. Who writes reads as well: x86 pages cannot be otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It reads.
    Read,
    /// It reads and writes.
    Write,
}

/// Bits of [`Rights::mode`].
pub mod mode {
    /// The owner may read.
    pub const OWNER_READ: u16 = 1 << 0;
    /// The owner may write.
    pub const OWNER_WRITE: u16 = 1 << 1;
    /// The vnodes of the set of readers may read.
    pub const OTHERS_READ: u16 = 1 << 2;
    /// The vnodes of the set of writers may write.
    pub const OTHERS_WRITE: u16 = 1 << 3;
    /// All bits that have a meaning.
    pub const ALL: u16 = OWNER_READ | OWNER_WRITE | OTHERS_READ | OTHERS_WRITE;
}

/// What the kernels that use a bridge write on it for each other, 16 bytes (BR-34). Adeos keeps it, and does not look
/// into it: `proto/shm/label.rs` has what programs' bridges say there.
pub type Label = [u64; 2];

/// Who may use a bridge, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Bits of [`mode`].
    pub mode: u16,
    /// Vnodes other than the owner that may read.
    pub readers: Vnodes,
    /// Vnodes other than the owner that may write, if they may read.
    pub writers: Vnodes,
    /// Whatever else those who may change rights have to say of them.
    pub label: Label,
}

impl Rights {
    /// All for the owner and for these vnodes, without a label.
    pub const fn open_to(vnodes: Vnodes) -> Self {
        Self {
            mode: mode::ALL,
            readers: vnodes,
            writers: vnodes,
            label: [0; 2],
        }
    }

    /// Checks the bits: known ones only, and an owner that can at least read.
    pub(crate) const fn is_sound(self) -> bool {
        self.mode & !mode::ALL == 0 && self.mode & mode::OWNER_READ != 0
    }

    /// What the owner may do, or what another life may; `None` for nothing (BR-30).
    pub fn allowed(self, asker: Asker) -> Option<Access> {
        let (may_read, may_write) = match asker {
            Asker::Owner => (
                self.mode & mode::OWNER_READ != 0,
                self.mode & mode::OWNER_WRITE != 0,
            ),
            Asker::Other(vnode) => (
                self.mode & mode::OTHERS_READ != 0 && self.readers.has(vnode),
                self.mode & mode::OTHERS_WRITE != 0 && self.writers.has(vnode),
            ),
        };
        match (may_read, may_write) {
            (false, _) => None,
            (true, false) => Some(Access::Read),
            (true, true) => Some(Access::Write),
        }
    }

    /// Whether this access is allowed.
    pub fn allow(self, asker: Asker, access: Access) -> bool {
        match self.allowed(asker) {
            None => false,
            Some(Access::Read) => access == Access::Read,
            Some(Access::Write) => true,
        }
    }
}

/// Who asks, as rights see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The life that owns the bridge.
    Owner,
    /// Any other, a later life of the owner's vnode among them.
    Other(VnodeId),
}

/// Whether a user can follow a bridge to another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// It can: it answers freezes.
    Moves,
    /// It cannot: the bridge is pinned while it is a user.
    Stays,
}

/// How far a move has come. From the outside a settled bridge is as good as any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has its place, and may be mapped.
    Settled,
    /// Its users have been asked to let go of it.
    Freezing,
    /// Nobody touches it: it can be copied.
    Frozen,
}
