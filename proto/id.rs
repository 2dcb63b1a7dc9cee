// SPDX-License-Identifier: GPL-2.0

//! What things are called: vnodes, their names and generations, ranges of physical memory.

use crate::record;

/// Vnodes that one machine can hold, the root among them.
///
/// Each vnode but the root needs a low-memory slot of its own (see [`crate::layout`]), and
/// conventional memory has room for fifteen.
pub const MAX_VNODES: usize = 16;

/// Number of a vnode; 0 is the root, the kernel that the firmware booted (paper section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VnodeId(u8);

impl VnodeId {
    /// The root vnode.
    pub const ROOT: Self = Self(0);

    /// Takes a number that somebody says is a vnode's.
    pub const fn new(number: u32) -> Option<Self> {
        if number < MAX_VNODES as u32 {
            Some(Self(number as u8))
        } else {
            None
        }
    }

    /// The number, below [`MAX_VNODES`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The number as records hold it.
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// Whether this is the root.
    pub const fn is_root(self) -> bool {
        self.0 == 0
    }

    /// All numbers, the root's first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MAX_VNODES as u8).map(Self)
    }
}

/// Which life of a vnode is meant: a restarted vnode is never mistaken for its predecessor.
///
/// Counts from 1; 0 means that the slot never held a vnode. It does not wrap: the slot is used
/// up after 2^32 - 1 starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub u32);

impl Generation {
    /// The life that follows this one.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

/// Bytes of a name in a record, the closing zero among them.
pub const NAME_SIZE: usize = 32;

/// Name of a vnode: 1 to 31 of a-z, A-Z, 0-9, `-`, `_` and `.`, starting with a letter or digit.
///
/// The set is what host names, file names and TOML keys take without quoting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VnodeName([u8; NAME_SIZE]);

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It has no character.
    Empty,
    /// It has more than 31.
    TooLong,
    /// It holds something else than letters, digits, `-`, `_`, `.`, or starts with a mark.
    BadCharacter,
    /// It is `root`, which vnode 0 is called.
    Reserved,
}

impl VnodeName {
    /// What vnode 0 is called.
    pub const ROOT: &'static str = "root";

    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() >= NAME_SIZE {
            return Err(NameError::TooLong);
        }
        let starts_well = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !starts_well || !name.bytes().all(is_plain) {
            return Err(NameError::BadCharacter);
        }
        if name == Self::ROOT {
            return Err(NameError::Reserved);
        }
        Ok(Self(record::set_text(name)))
    }

    /// Checks a name that stands in a record, padded with zeros.
    pub fn from_field(field: &[u8; NAME_SIZE]) -> Result<Self, NameError> {
        let end = field
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(NameError::TooLong)?;
        let (used, padding) = field.split_at_checked(end).unwrap_or_default();
        if padding.iter().any(|byte| *byte != 0) {
            return Err(NameError::BadCharacter);
        }
        Self::new(core::str::from_utf8(used).map_err(|_| NameError::BadCharacter)?)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        record::text(&self.0)
    }

    /// The name as records hold it: padded with zeros.
    pub const fn field(&self) -> [u8; NAME_SIZE] {
        self.0
    }
}

/// One life of a vnode: what owns things in shared memory, and whom messages are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    /// The vnode.
    pub vnode: VnodeId,
    /// Which of its lives.
    pub generation: Generation,
}

/// A range of physical memory, `base..base + size` in bytes; never empty and never wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PhysRange {
    base: u64,
    size: u64,
}

impl PhysRange {
    /// Makes a range; nothing when it would be empty or reach beyond 2^64.
    pub const fn new(base: u64, size: u64) -> Option<Self> {
        if size == 0 || base.checked_add(size).is_none() {
            return None;
        }
        Some(Self { base, size })
    }

    /// First byte.
    pub const fn base(self) -> u64 {
        self.base
    }

    /// Length in bytes.
    pub const fn size(self) -> u64 {
        self.size
    }

    /// One past the last byte.
    pub const fn end(self) -> u64 {
        // Cannot overflow: `new` has checked it.
        self.base.wrapping_add(self.size)
    }

    /// Whether all of `other` lies in this range.
    pub const fn contains(self, other: Self) -> bool {
        self.base <= other.base && other.end() <= self.end()
    }

    /// Whether the two share a byte.
    pub const fn overlaps(self, other: Self) -> bool {
        self.base < other.end() && other.base < self.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_hosts_and_files_take() {
        assert_eq!(VnodeName::new("db-1").unwrap().as_str(), "db-1");
        assert_eq!(VnodeName::new(""), Err(NameError::Empty));
        assert_eq!(VnodeName::new("-a"), Err(NameError::BadCharacter));
        assert_eq!(VnodeName::new("a/b"), Err(NameError::BadCharacter));
        assert_eq!(VnodeName::new("root"), Err(NameError::Reserved));
        assert_eq!(VnodeName::new(&"x".repeat(32)), Err(NameError::TooLong));
        assert_eq!(
            VnodeName::from_field(&[b'x'; NAME_SIZE]),
            Err(NameError::TooLong)
        );
        let mut field = [0; NAME_SIZE];
        field[..4].copy_from_slice(b"a\0b\0");
        assert_eq!(VnodeName::from_field(&field), Err(NameError::BadCharacter));
    }

    #[test]
    fn ranges_neither_wrap_nor_vanish() {
        assert_eq!(PhysRange::new(0, 0), None);
        assert_eq!(PhysRange::new(u64::MAX, 1), None);
        let a = PhysRange::new(0x1000, 0x1000).unwrap();
        let b = PhysRange::new(0x2000, 0x1000).unwrap();
        assert!(!a.overlaps(b) && !b.overlaps(a) && a.contains(a));
    }
}
