// SPDX-License-Identifier: GPL-2.0

//! What vnodes ask of the root about bridges, as messages carry it.
//!
//! A request is the payload of one message, and so is what it is granted; the message's header
//! carries the status. Who asks is told by the mailbox, never by the payload: no field here can
//! make a vnode another one.

use super::table::{Create, Grant, Table};
use super::{Access, BridgeName, Error, Follow, Id, Key, Rights, Scope, Vnodes};
use crate::id::{Life, PhysRange};
use crate::layout::GRANULE;
use crate::record;

/// Version of the two records.
pub const VERSION: u16 = 2;

record! {
    /// A request; fields that an operation has no use for are zero.
    pub struct RequestRecord: 96 {
        /// [`VERSION`].
        version: u16,
        /// One of [`operation`].
        operation: u16,
        /// 1 to read, 2 to write as well.
        access: u16,
        /// 1 if the asker follows moves, 2 if it cannot.
        follow: u16,
        /// [`Rights::mode`].
        mode: u16,
        /// [`Rights::readers`].
        readers: u16,
        /// [`Rights::writers`].
        writers: u16,
        /// [`Id::index`].
        index: u16,
        /// [`Id::serial`].
        serial: u32,
        /// The freeze that is answered.
        freeze: u32,
        /// 1 for a global name, 2 for a local one.
        scope: u32,
        /// The vnode of a local name.
        vnode: u32,
        /// Bytes.
        size: u64,
        /// The name.
        name: [u8; 32],
        /// [`Rights::label`].
        label: [u64; 2],
        /// Zero.
        reserved: u64,
    }
}

record! {
    /// What a request is granted, in the reply to it.
    pub struct GrantRecord: 32 {
        /// [`Id::index`].
        index: u16,
        /// As in the request; 0 unless the bridge may be mapped now.
        access: u16,
        /// [`Id::serial`].
        serial: u32,
        /// Physical address; 0 unless the bridge may be mapped now.
        base: u64,
        /// Bytes; 0 unless the bridge may be mapped now.
        size: u64,
        /// [`Grant::place`].
        place: u32,
        /// Zero.
        reserved: u32,
    }
}

record! {
    /// What the root tells a user: its bridge's entry has changed.
    pub struct EventRecord: 8 {
        /// [`VERSION`].
        version: u16,
        /// [`Id::index`].
        index: u16,
        /// [`Id::serial`].
        serial: u32,
    }
}

impl EventRecord {
    /// The message for a user of this bridge.
    pub const fn new(id: Id) -> Self {
        Self {
            version: VERSION,
            index: id.index,
            serial: id.serial,
        }
    }

    /// Which bridge it is about; nothing in words of another version.
    pub fn id(&self) -> Option<Id> {
        (self.version == VERSION).then_some(Id {
            index: self.index,
            serial: self.serial,
        })
    }
}

/// Values of [`RequestRecord::operation`].
pub mod operation {
    /// Create a bridge and be its first user.
    pub const CREATE: u16 = 1;
    /// Become a user.
    pub const OPEN: u16 = 2;
    /// Be told where the bridge is, in order to map it.
    pub const MAP: u16 = 3;
    /// Have no mapping any more.
    pub const UNMAP: u16 = 4;
    /// Be a user no more.
    pub const CLOSE: u16 = 5;
    /// Say who may use the bridge.
    pub const PROTECT: u16 = 6;
    /// Take an orphan over.
    pub const ADOPT: u16 = 7;
    /// Agree to a freeze.
    pub const AGREE: u16 = 8;
    /// Refuse a freeze.
    pub const REFUSE: u16 = 9;
    /// Give a bridge another size.
    pub const RESIZE: u16 = 10;
}

/// A request that makes sense; whether it is granted is the table's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// See [`Table::reserve`].
    Create(Create),
    /// See [`Table::open`].
    Open(Key, Access, Follow),
    /// See [`Table::map`].
    Map(Id),
    /// See [`Table::unmap`].
    Unmap(Id),
    /// See [`Table::close`].
    Close(Id),
    /// See [`Table::protect`].
    Protect(Id, Rights),
    /// See [`Table::adopt`].
    Adopt(Id),
    /// See [`Table::agree`].
    Agree(Id, u32),
    /// See [`Table::refuse`].
    Refuse(Id, u32),
    /// See [`Table::check_resize`].
    Resize(Id, u64),
}

/// What the root does for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done(Id),
    /// The bridge may be mapped.
    Mapped(Grant),
    /// The bridge wants so many bytes of zeros, then [`Table::provide`] or [`Table::cancel`]; the
    /// reply waits for that.
    NeedsMemory(Id, u64),
    /// The bridge wants another place of so many bytes, then [`Table::begin_resizing`], a copy, and [`Table::resized`]; the reply
    /// waits for that.
    NeedsPlace(Id, u64),
}

impl Request {
    /// Checks a payload. `Malformed`.
    pub fn from_record(record: &RequestRecord) -> Result<Self, Error> {
        if record.version != VERSION {
            return Err(Error::Malformed);
        }
        let id = Id {
            index: record.index,
            serial: record.serial,
        };
        match record.operation {
            operation::CREATE => Ok(Self::Create(Create {
                key: key(record)?,
                size: record.size,
                rights: rights(record),
                follow: follow(record)?,
            })),
            operation::OPEN => Ok(Self::Open(
                key(record)?,
                access(record.access)?,
                follow(record)?,
            )),
            operation::MAP => Ok(Self::Map(id)),
            operation::UNMAP => Ok(Self::Unmap(id)),
            operation::CLOSE => Ok(Self::Close(id)),
            operation::PROTECT => Ok(Self::Protect(id, rights(record))),
            operation::ADOPT => Ok(Self::Adopt(id)),
            operation::AGREE => Ok(Self::Agree(id, record.freeze)),
            operation::REFUSE => Ok(Self::Refuse(id, record.freeze)),
            operation::RESIZE => Ok(Self::Resize(id, record.size)),
            _ => Err(Error::Malformed),
        }
    }

    /// The payload that says this.
    pub fn to_record(&self) -> RequestRecord {
        let blank = RequestRecord {
            version: VERSION,
            ..RequestRecord::default()
        };
        match *self {
            Self::Create(create) => RequestRecord {
                operation: operation::CREATE,
                follow: follow_number(create.follow),
                size: create.size,
                ..with_rights(with_key(blank, &create.key), create.rights)
            },
            Self::Open(key, access, follow) => RequestRecord {
                operation: operation::OPEN,
                access: access_number(access),
                follow: follow_number(follow),
                ..with_key(blank, &key)
            },
            Self::Map(id) => with_id(blank, operation::MAP, id, 0),
            Self::Unmap(id) => with_id(blank, operation::UNMAP, id, 0),
            Self::Close(id) => with_id(blank, operation::CLOSE, id, 0),
            Self::Protect(id, rights) => {
                with_rights(with_id(blank, operation::PROTECT, id, 0), rights)
            }
            Self::Adopt(id) => with_id(blank, operation::ADOPT, id, 0),
            Self::Agree(id, freeze) => with_id(blank, operation::AGREE, id, freeze),
            Self::Refuse(id, freeze) => with_id(blank, operation::REFUSE, id, freeze),
            Self::Resize(id, size) => RequestRecord {
                size,
                ..with_id(blank, operation::RESIZE, id, 0)
            },
        }
    }
}

impl<const N: usize> Table<N> {
    /// Root: does what a vnode asks, or says why not. `from` is the life whose mailbox the message
    /// was in, checked against its header.
    pub fn serve(&mut self, from: Life, request: &Request) -> Result<Answer, Error> {
        match *request {
            Request::Create(create) => {
                let id = self.reserve(from, &create)?;
                Ok(Answer::NeedsMemory(id, create.size))
            }
            Request::Open(key, access, follow) => {
                self.open(from, &key, access, follow).map(Answer::Done)
            }
            Request::Map(id) => self.map(from, id).map(Answer::Mapped),
            Request::Unmap(id) => self.unmap(from, id).map(|()| Answer::Done(id)),
            Request::Close(id) => self.close(from, id).map(|()| Answer::Done(id)),
            Request::Protect(id, rights) => {
                self.protect(from, id, rights).map(|()| Answer::Done(id))
            }
            Request::Adopt(id) => self.adopt(from, id).map(|()| Answer::Done(id)),
            Request::Agree(id, freeze) => self.agree(from, id, freeze).map(|()| Answer::Done(id)),
            Request::Refuse(id, freeze) => self.refuse(from, id, freeze).map(|()| Answer::Done(id)),
            Request::Resize(id, size) => {
                self.check_resize(from, id, size)?;
                Ok(match self.size(id)? == size {
                    true => Answer::Done(id),
                    false => Answer::NeedsPlace(id, size),
                })
            }
        }
    }
}

impl GrantRecord {
    /// What is done, without a place to map.
    pub fn done(id: Id) -> Self {
        Self {
            index: id.index,
            serial: id.serial,
            ..Self::default()
        }
    }
}

impl From<&Grant> for GrantRecord {
    fn from(grant: &Grant) -> Self {
        Self {
            access: access_number(grant.access),
            base: grant.range.base(),
            size: grant.range.size(),
            place: grant.place,
            ..Self::done(grant.id)
        }
    }
}

impl TryFrom<&GrantRecord> for Grant {
    type Error = Error;

    /// Checks the reply to a `Map`. The caller checks that the place lies in the cluster's pool.
    fn try_from(record: &GrantRecord) -> Result<Self, Error> {
        let range = PhysRange::new(record.base, record.size).ok_or(Error::Malformed)?;
        if range.base() % GRANULE != 0 || range.size() % GRANULE != 0 {
            return Err(Error::Malformed);
        }
        Ok(Self {
            id: Id {
                index: record.index,
                serial: record.serial,
            },
            access: access(record.access)?,
            range,
            place: record.place,
        })
    }
}

fn key(record: &RequestRecord) -> Result<Key, Error> {
    Ok(Key {
        scope: Scope::from_numbers(record.scope, record.vnode).ok_or(Error::Malformed)?,
        name: BridgeName::from_field(&record.name).map_err(|_| Error::Malformed)?,
    })
}

fn rights(record: &RequestRecord) -> Rights {
    Rights {
        mode: record.mode,
        readers: Vnodes(record.readers),
        writers: Vnodes(record.writers),
        label: record.label,
    }
}

fn access(number: u16) -> Result<Access, Error> {
    match number {
        1 => Ok(Access::Read),
        2 => Ok(Access::Write),
        _ => Err(Error::Malformed),
    }
}

const fn access_number(access: Access) -> u16 {
    match access {
        Access::Read => 1,
        Access::Write => 2,
    }
}

fn follow(record: &RequestRecord) -> Result<Follow, Error> {
    match record.follow {
        1 => Ok(Follow::Moves),
        2 => Ok(Follow::Stays),
        _ => Err(Error::Malformed),
    }
}

const fn follow_number(follow: Follow) -> u16 {
    match follow {
        Follow::Moves => 1,
        Follow::Stays => 2,
    }
}

fn with_key(record: RequestRecord, key: &Key) -> RequestRecord {
    let (scope, vnode) = key.scope.numbers();
    RequestRecord {
        scope,
        vnode,
        name: key.name.field(),
        ..record
    }
}

fn with_id(record: RequestRecord, operation: u16, id: Id, freeze: u32) -> RequestRecord {
    RequestRecord {
        operation,
        index: id.index,
        serial: id.serial,
        freeze,
        ..record
    }
}

fn with_rights(record: RequestRecord, rights: Rights) -> RequestRecord {
    RequestRecord {
        mode: rights.mode,
        readers: rights.readers.0,
        writers: rights.writers.0,
        label: rights.label,
        ..record
    }
}
