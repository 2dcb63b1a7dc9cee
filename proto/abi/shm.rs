// SPDX-License-Identifier: GPL-2.0

//! The ioctls of `/dev/bridge_shm`, which makes and opens regions, and of the files that it gives (docs/bridge-shm.md).
//!
//! A region's file is mapped by `mmap`; it can be passed on, as any other. `read` takes the number of notices since its last
//! one, `write` of any number but 0 gives one; both want 8 bytes (EINVAL), and `poll` waits. What `read` cannot put where it is told
//! (EFAULT) is taken all the same, as with an eventfd. Nothing else that moves bytes of files, or room for them, does anything.
//!
//! Any call can come to ENOTTY when the file has none of this number, EFAULT when the record is not where the caller says, EINVAL
//! when its size is another one or what is reserved is not zero, and ENOMEM when the kernel has no memory; one that asks the
//! root (`SHM_CREATE`, `SHM_OPEN`, `SHM_PROTECT`) to ENOTCONN and ETIMEDOUT when that is not well, and to EINTR when the process is to
//! be killed. Where several of a call's errors fit, any of them is returned.

use super::read_write;
use crate::record;

/// Makes a region, and opens it: [`Region`]. Returns a descriptor, closed at exec. EINVAL a field is wrong, EEXIST there is
/// one of this name, EACCES another vnode's name, EDQUOT the user or the vnode has as much as it may have, ENOSPC there can be no
/// more regions, ENOMEM no memory is found.
pub const SHM_CREATE: u32 = read_write(64, Region::SIZE);
/// Opens the region of a name: [`Region`], of which bytes, mode and vnodes are zero. Returns a descriptor, closed at exec.
/// EINVAL a field is wrong, ENOENT there is none, EACCES user, group or vnode may not.
pub const SHM_OPEN: u32 = read_write(65, Region::SIZE);

/// Tells all about a region: [`Stat`].
pub const SHM_STAT: u32 = read_write(66, Stat::SIZE);
/// Says anew who may use the region: [`Protect`]. What is open stays so. EINVAL a field is wrong, EPERM the caller may not say so,
/// EACCES nobody may in this vnode, which is neither the owner's nor the root.
pub const SHM_PROTECT: u32 = read_write(67, Protect::SIZE);
/// Sleeps until the region's notices are another number than `seen`, which they are then: [`Wait`]. ETIMEDOUT, EINTR;
/// EOWNERDEAD a vnode that may use the region has died since this file was told of a death. With O_NONBLOCK no time is waited.
pub const SHM_WAIT: u32 = read_write(68, Wait::SIZE);
/// Gives a notice: wakes all that wait for one, in every vnode. EBADF the file is open for reading.
pub const SHM_NOTIFY: u32 = read_write(69, 0);
/// Sleeps while a word of the region has a value, until somebody wakes who sleeps on it: [`Word`]. It may return sooner.
/// EAGAIN the word has another value, EINVAL it is none; the other errors are those of [`SHM_WAIT`].
pub const SHM_WAIT_WORD: u32 = read_write(70, Word::SIZE);
/// Wakes those that sleep on a word, `value` of them at least: [`Word`]. EBADF the file is open for reading, EINVAL there is no such
/// word.
pub const SHM_WAKE_WORD: u32 = read_write(71, Word::SIZE);

/// Has the kernel free the lock whose word lies at an offset, if this file has it when it is closed for the last time: [`Guard`].
/// EBADF the file is open for reading, EINVAL there is no such word, ENOSPC there are [`MAX_GUARDS`] already.
pub const SHM_GUARD: u32 = read_write(72, Guard::SIZE);

/// Keeps the region when all files are closed, or does so no more: [`Keep`]. Both are for administrators of this vnode (EPERM). It is kept until
/// the module is unloaded. EINVAL it is neither, ENOENT it is not kept here.
pub const SHM_KEEP: u32 = read_write(73, Keep::SIZE);

/// Locks that one file can have guarded.
pub const MAX_GUARDS: usize = 64;

/// A time that never comes, as [`Wait::timeout_ms`] and [`Word::timeout_ms`].
pub const FOR_EVER: u64 = u64::MAX;

record! {
    /// A region that is to be made or opened.
    pub struct Region: 80 {
        /// Bytes of this record.
        size: u32,
        /// 1 to read, 2 to write as well.
        access: u32,
        /// 1 for a global name, 2 for a local one.
        scope: u32,
        /// The vnode of a local name, or all ones for this one.
        vnode: u32,
        /// Bytes of the region: whole units of 2 MiB.
        bytes: u64,
        /// Mode bits, as a file has them.
        mode: u32,
        /// Other vnodes that may read it, as bits.
        readers: u32,
        /// Other vnodes that may write as well, as bits.
        writers: u32,
        /// Zero.
        reserved: u32,
        /// What the region is called, padded with zeros.
        name: [u8; 32],
        /// Zero.
        reserved2: u64,
    }
}

record! {
    /// What there is to know of a region.
    pub struct Stat: 184 {
        /// Bytes of this record.
        size: u32,
        /// What this file may do: 1 read, 2 write as well.
        access: u32,
        /// Bytes of the region.
        bytes: u64,
        /// Its user.
        user: u32,
        /// Its group.
        group: u32,
        /// Mode bits.
        mode: u32,
        /// 1 for a global name, 2 for a local one.
        scope: u32,
        /// The vnode of a local name.
        vnode: u32,
        /// The vnode that owns it.
        owner: u32,
        /// The life of that vnode in which it was made.
        owner_life: u32,
        /// 1 if that life has ended.
        is_orphan: u32,
        /// Other vnodes that may read it, as bits.
        readers: u32,
        /// Other vnodes that may write as well, as bits.
        writers: u32,
        /// Notices so far.
        notices: u64,
        /// Counts deaths of vnodes that may use it, since this kernel has it open.
        deaths: u64,
        /// Times that it was moved to another place.
        moves: u32,
        /// This vnode.
        own_vnode: u32,
        /// Life of each vnode that uses it now, by number; 0 for those that do not.
        users: [u32; 16],
        /// What it is called.
        name: [u8; 32],
        /// What this file writes into the words of locks that it has ([`crate::shm::lock::Token`]).
        token: u32,
        /// Zero.
        reserved: u32,
    }
}

record! {
    /// Who may use a region.
    pub struct Protect: 32 {
        /// Bytes of this record.
        size: u32,
        /// Mode bits.
        mode: u32,
        /// Its user.
        user: u32,
        /// Its group.
        group: u32,
        /// Other vnodes that may read it, as bits.
        readers: u32,
        /// Other vnodes that may write as well, as bits.
        writers: u32,
        /// Zero.
        reserved: u64,
    }
}

record! {
    /// A wait for notices.
    pub struct Wait: 24 {
        /// Bytes of this record.
        size: u32,
        /// Zero.
        reserved: u32,
        /// The number that is known.
        seen: u64,
        /// How long to wait, or [`FOR_EVER`].
        timeout_ms: u64,
    }
}

record! {
    /// A word on which somebody sleeps.
    pub struct Word: 24 {
        /// Bytes of this record.
        size: u32,
        /// The value at which to sleep; how many to wake.
        value: u32,
        /// Where it lies in the region: a multiple of 4.
        offset: u64,
        /// How long to wait, or [`FOR_EVER`]; zero to wake.
        timeout_ms: u64,
    }
}

record! {
    /// A lock that is to be freed for who has it and ends.
    pub struct Guard: 16 {
        /// Bytes of this record.
        size: u32,
        /// Zero.
        reserved: u32,
        /// Where its word lies in the region: a multiple of 4.
        offset: u64,
    }
}

record! {
    /// Whether a region is kept.
    pub struct Keep: 8 {
        /// Bytes of this record.
        size: u32,
        /// 1 to keep it, 0 to do so no more.
        keep: u32,
    }
}
