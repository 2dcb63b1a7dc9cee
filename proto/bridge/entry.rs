// SPDX-License-Identifier: GPL-2.0

//! The registry of bridges as it lies in shared memory: a header and one entry per bridge.
//!
//! The root alone writes, each entry as [`versioned`] words. What a reader gets is whole, checked,
//! and possibly out of date; whoever is going to use a bridge opens it by a request, which is what
//! checks rights (BR-50 to BR-55).

use super::versioned::{self, WORD};
use super::{Access, Asker, BridgeName, Id, Key, Phase, Rights, Scope, Vnodes, BRIDGES};
use crate::id::{Generation, Life, PhysRange, VnodeId, MAX_VNODES};
use crate::layout::GRANULE;
use crate::record;
use crate::record::Field;
use crate::window::Window;

/// Magic number of the registry.
pub const MAGIC: u64 = u64::from_le_bytes(*b"ADEOSBRG");
/// Version of the registry.
pub const VERSION: u32 = 1;

/// Offset of the word that counts published changes, `u64`.
pub const CHANGES: usize = 0x20;
/// Offset of the ranges that bridges lie in: base and size of each, `u64`; zeros behind the last.
pub const POOL: usize = 0x28;
/// Ranges that there can be.
pub const POOL_RANGES: usize = 8;
/// Offset of the first entry.
pub const ENTRIES: usize = 0x100;
/// Bytes from one entry to the next: the sequence number, then [`EntryRecord`].
pub const ENTRY_SIZE: usize = 0x100;
/// Bytes of the registry.
pub const SIZE: usize = ENTRIES + BRIDGES * ENTRY_SIZE;

/// Words of an entry behind its sequence number.
const WORDS: usize = EntryRecord::SIZE / WORD;

const _: () = assert!(WORD + EntryRecord::SIZE == ENTRY_SIZE && WORDS == 31);
const _: () = assert!(SIZE == 0x1_0100 && Header::SIZE == CHANGES);
const _: () = assert!(CHANGES + WORD == POOL && POOL + POOL_RANGES * 2 * WORD <= ENTRIES);

/// Looks at an entry before a reader gives up: many times what the root takes to write one.
const TRIES: usize = 64;

record! {
    /// Start of the registry; the root writes it once, before anybody else reads.
    pub struct Header: 32 {
        /// [`MAGIC`].
        magic: u64,
        /// [`VERSION`].
        version: u32,
        /// [`BRIDGES`].
        bridges: u32,
        /// [`ENTRIES`].
        entries: u32,
        /// [`ENTRY_SIZE`].
        entry_size: u32,
        /// Zero.
        reserved: u64,
    }
}

record! {
    /// What is published of one bridge.
    pub struct EntryRecord: 248 {
        /// Counts the bridges of this place.
        serial: u32,
        /// One of [`state`].
        state: u32,
        /// Its name.
        name: [u8; 32],
        /// 1 for a global name, 2 for a local one.
        scope: u32,
        /// The vnode of a local name.
        vnode: u32,
        /// The owner's number.
        owner: u32,
        /// The owner's life.
        owner_generation: u32,
        /// Bits of [`flag`].
        flags: u32,
        /// Bits of [`super::mode`].
        mode: u16,
        /// Vnodes other than the owner that may read.
        readers: u16,
        /// Vnodes other than the owner that may write.
        writers: u16,
        /// Vnodes that have it mapped.
        mapped: u16,
        /// Vnodes without which it could be moved.
        pinned_by: u16,
        /// Zero.
        reserved: u16,
        /// Physical address.
        base: u64,
        /// Bytes.
        size: u64,
        /// Counts its moves to another place.
        place: u32,
        /// Counts its freezes.
        freeze: u32,
        /// Life of each vnode that is a user; 0 for those that are not.
        users: [u32; 16],
        /// [`Rights::label`].
        label: [u64; 2],
        /// Zero.
        reserved2: [u64; 9],
    }
}

/// Values of [`EntryRecord::state`].
pub mod state {
    /// No bridge.
    pub const NONE: u32 = 0;
    /// [`super::Phase::Settled`].
    pub const SETTLED: u32 = 1;
    /// [`super::Phase::Freezing`].
    pub const FREEZING: u32 = 2;
    /// [`super::Phase::Frozen`].
    pub const FROZEN: u32 = 3;
}

/// Bits of [`EntryRecord::flags`].
pub mod flag {
    /// Its users are ready for it to move.
    pub const MOVABLE: u32 = 1 << 0;
    /// The owner's life is over.
    pub const ORPHAN: u32 = 1 << 1;
}

/// A bridge as the registry shows it, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which one.
    pub id: Id,
    /// What it is called.
    pub key: Key,
    /// Who owns it.
    pub owner: Life,
    /// Whether the owner's life is over.
    pub is_orphan: bool,
    /// Who may use it.
    pub rights: Rights,
    /// Where it is.
    pub range: PhysRange,
    /// Counts its moves: who has mapped it at another count maps anew.
    pub place: u32,
    /// How far a move has come.
    pub phase: Phase,
    /// Counts its freezes: what an answer to a freeze must name.
    pub freeze: u32,
    /// Whether it was made to be moved.
    pub is_movable: bool,
    /// Users that have it mapped.
    pub mapped: Vnodes,
    /// Users that keep it from moving.
    pub pinned_by: Vnodes,
    /// Life of each user; 0 for the vnodes that are none.
    pub users: [u32; MAX_VNODES],
}

/// Why an entry cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// It is being written, or the root stopped while it wrote: try again later.
    Busy,
    /// What it says makes no sense.
    Corrupt,
    /// There is no entry of this index.
    Index,
}

impl Entry {
    /// Whether a life may use the bridge so (BR-30).
    pub fn allows(&self, life: Life, access: Access) -> bool {
        let asker = if self.owner == life && !self.is_orphan {
            Asker::Owner
        } else {
            Asker::Other(life.vnode)
        };
        self.rights.allow(asker, access)
    }

    /// Checks a copy of an entry; `None` inside when there is no bridge.
    pub fn from_record(index: u16, record: &EntryRecord) -> Result<Option<Self>, ReadError> {
        let phase = match record.state {
            state::NONE => return Ok(None),
            state::SETTLED => Phase::Settled,
            state::FREEZING => Phase::Freezing,
            state::FROZEN => Phase::Frozen,
            _ => return Err(ReadError::Corrupt),
        };
        Self::checked(index, record, phase)
            .map(Some)
            .ok_or(ReadError::Corrupt)
    }

    fn checked(index: u16, record: &EntryRecord, phase: Phase) -> Option<Self> {
        let key = Key {
            scope: Scope::from_numbers(record.scope, record.vnode)?,
            name: BridgeName::from_field(&record.name).ok()?,
        };
        let owner = Life {
            vnode: VnodeId::new(record.owner)?,
            generation: Generation(record.owner_generation),
        };
        let rights = Rights {
            mode: record.mode,
            readers: Vnodes(record.readers),
            writers: Vnodes(record.writers),
            label: record.label,
        };
        let range = PhysRange::new(record.base, record.size)?;
        let is_whole = range.base() % GRANULE == 0 && range.size() % GRANULE == 0;
        if !is_whole || !rights.is_sound() || record.serial == 0 {
            return None;
        }
        Some(Self {
            id: Id {
                index,
                serial: record.serial,
            },
            key,
            owner,
            is_orphan: record.flags & flag::ORPHAN != 0,
            rights,
            range,
            place: record.place,
            phase,
            freeze: record.freeze,
            is_movable: record.flags & flag::MOVABLE != 0,
            mapped: Vnodes(record.mapped),
            pinned_by: Vnodes(record.pinned_by),
            users: record.users,
        })
    }

    /// The entry as it is published.
    pub fn to_record(&self) -> EntryRecord {
        let (scope, vnode) = self.key.scope.numbers();
        let movable = if self.is_movable { flag::MOVABLE } else { 0 };
        let orphan = if self.is_orphan { flag::ORPHAN } else { 0 };
        EntryRecord {
            serial: self.id.serial,
            state: match self.phase {
                Phase::Settled => state::SETTLED,
                Phase::Freezing => state::FREEZING,
                Phase::Frozen => state::FROZEN,
            },
            name: self.key.name.field(),
            scope,
            vnode,
            owner: self.owner.vnode.number(),
            owner_generation: self.owner.generation.0,
            flags: movable | orphan,
            mode: self.rights.mode,
            readers: self.rights.readers.0,
            writers: self.rights.writers.0,
            label: self.rights.label,
            mapped: self.mapped.0,
            pinned_by: self.pinned_by.0,
            base: self.range.base(),
            size: self.range.size(),
            place: self.place,
            freeze: self.freeze,
            users: self.users,
            ..EntryRecord::default()
        }
    }

    /// Whether this life is a user.
    pub fn has_user(&self, life: Life) -> bool {
        let found = self.users.get(life.vnode.index());
        life.generation.0 != 0 && found == Some(&life.generation.0)
    }
}

/// Root: makes an empty registry, before anybody else looks at it.
pub fn format<W: Window>(window: &W) {
    for offset in (0..SIZE).step_by(WORD) {
        window.store_release64(offset, 0);
    }
    write_header(window);
}

/// Root: writes the header, which is always the same: others may have written over it (BR-55).
pub fn write_header<W: Window>(window: &W) {
    let header = Header {
        magic: MAGIC,
        version: VERSION,
        bridges: BRIDGES as u32,
        entries: ENTRIES as u32,
        entry_size: ENTRY_SIZE as u32,
        reserved: 0,
    };
    window.write(0, &header.to_bytes());
    window.full_barrier();
}

/// Whether there is a registry that this kernel understands (BR-55). Any vnode, before it reads.
pub fn is_sound<W: Window>(window: &W) -> bool {
    let mut bytes = [0; Header::SIZE];
    window.read(0, &mut bytes);
    let header = Header::from_bytes(&bytes);
    header.magic == MAGIC
        && header.version == VERSION
        && header.bridges == BRIDGES as u32
        && header.entries == ENTRIES as u32
        && header.entry_size == ENTRY_SIZE as u32
}

/// Root: says which ranges bridges lie in, before anybody else looks. Those beyond
/// [`POOL_RANGES`] are left out, and no bridge that lies there can be mapped.
pub fn set_pool<W: Window>(window: &W, ranges: impl Iterator<Item = PhysRange>) {
    let ranges = ranges.map(|range| (range.base(), range.size()));
    for (at, (base, size)) in pool_offsets().zip(ranges.chain(core::iter::repeat((0, 0)))) {
        window.store_release64(at, base);
        window.store_release64(at.wrapping_add(WORD), size);
    }
}

/// The ranges that bridges lie in (BR-42). Any vnode, once, before it has any reason to doubt.
pub fn pool<W: Window>(window: &W) -> [Option<PhysRange>; POOL_RANGES] {
    let mut ranges = [None; POOL_RANGES];
    for (range, at) in ranges.iter_mut().zip(pool_offsets()) {
        let base = window.load_acquire64(at);
        *range = PhysRange::new(base, window.load_acquire64(at.wrapping_add(WORD)));
    }
    ranges
}

fn pool_offsets() -> impl Iterator<Item = usize> {
    (POOL..).step_by(2 * WORD).take(POOL_RANGES)
}

/// Where an entry lies; nothing beyond the last.
fn offset(index: u16) -> Option<usize> {
    let index = usize::from(index);
    (index < BRIDGES).then(|| ENTRIES.wrapping_add(index.wrapping_mul(ENTRY_SIZE)))
}

/// Root: publishes an entry whose sequence number was `sequence`, and returns the new one. One
/// writer at a time, with interrupts off, for readers give up soon.
pub fn write<W: Window>(window: &W, index: u16, record: &EntryRecord, sequence: u64) -> u64 {
    let Some(at) = offset(index) else {
        return sequence;
    };
    let mut words = [0u64; WORDS];
    for (word, bytes) in words.iter_mut().zip(record.to_bytes().chunks(WORD)) {
        *word = Field::get(bytes);
    }
    versioned::write(window, at, &words, sequence)
}

/// Reads an entry: a whole one, or an error after a bounded number of looks. Any vnode.
pub fn read<W: Window>(window: &W, index: u16) -> Result<Option<Entry>, ReadError> {
    let at = offset(index).ok_or(ReadError::Index)?;
    let mut words = [0u64; WORDS];
    if !(0..TRIES).any(|_| versioned::read(window, at, &mut words)) {
        return Err(ReadError::Busy);
    }
    let mut bytes = [0; EntryRecord::SIZE];
    for (word, to) in words.iter().zip(bytes.chunks_mut(WORD)) {
        word.put(to);
    }
    Entry::from_record(index, &EntryRecord::from_bytes(&bytes))
}

/// Finds a bridge by its key. Entries that cannot be read are passed over. Any vnode.
pub fn find<W: Window>(window: &W, key: &Key) -> Option<Entry> {
    (0..BRIDGES as u16)
        .filter_map(|index| read(window, index).ok().flatten())
        .find(|entry| entry.key == *key)
}

/// Changes published so far: when it is what it was, no entry has changed.
pub fn changes<W: Window>(window: &W) -> u64 {
    window.load_acquire64(CHANGES)
}
