// SPDX-License-Identifier: GPL-2.0

//! Which answers docs/kmb-ioctl.md allows to a request. Where a request has several faults any of
//! theirs will do, since the page does not say what is looked at first. Not allowed is EIO, for every
//! CPU here can be stopped, nor EINTR, for no signal comes.

use std::ops::Range;

use adeos_proto::abi;
use adeos_proto::bridge::BRIDGES;
use adeos_proto::id::MAX_VNODES;
use fuzzing::{u32_at, Allowed, Spot};
use libc::{
    EBUSY, EEXIST, EFAULT, EINVAL, EISCONN, ENODATA, ENOENT, ENOMEM, ENOSPC, ENOTCONN, ENOTTY,
    EPERM, ESTALE,
};

use crate::plan::KNOWN;
use crate::start::StartPlan;
use crate::world::World;

mod start;

/// What any start can meet, because others were quicker or a fault was asked for.
pub(crate) const RACES: [i32; 4] = [EBUSY, ENOMEM, EEXIST, ENOSPC];

/// A request as it is sent.
pub(crate) struct Sent<'a> {
    /// Whether it goes to `/dev/kmb`; otherwise to `/dev/adeos`.
    pub(crate) to_kmb: bool,
    /// The ioctl's number.
    pub(crate) number: u32,
    /// The record.
    pub(crate) bytes: &'a [u8],
    /// Where the record lies.
    pub(crate) spot: Spot,
    /// The plan, if this is a start.
    pub(crate) start: Option<&'a StartPlan>,
    /// Where the buffer lies, if this is a console.
    pub(crate) buffer: Spot,
}

impl Sent<'_> {
    /// The answers that the request may get.
    pub(crate) fn allowed(&self, world: &World) -> Allowed {
        let known = KNOWN
            .iter()
            .any(|(name, number)| *number == self.number && name.starts_with("KMB") == self.to_kmb);
        if !known {
            return Allowed::fails(vec![ENOTTY]);
        }
        if matches!(self.spot, Spot::Nowhere(_) | Spot::Partly(_)) {
            return Allowed::fails(vec![EFAULT]);
        }
        let mut allowed = self.answers(world);
        if u32_at(self.bytes, 0) as usize != self.bytes.len() {
            allowed.success = false;
            allowed.errors.push(EINVAL);
        }
        let silent = [abi::KMB_STOP, abi::KMB_KILL, abi::KMB_FAULT];
        if allowed.success && self.spot == Spot::ReadOnly && !silent.contains(&self.number) {
            allowed.success = false;
            allowed.errors.push(EFAULT);
        }
        allowed
    }

    fn answers(&self, world: &World) -> Allowed {
        let vnode = u32_at(self.bytes, 4);
        let is_vnode = (1..MAX_VNODES as u32).contains(&vnode);
        match self.number {
            abi::KMB_INFO => Allowed::fails(self.reserved(abi::Info::OFFSETS.reserved)),
            abi::ADEOS_WHOAMI => {
                let (from, to) = (abi::Whoami::OFFSETS.reserved, abi::Whoami::OFFSETS.name);
                Allowed::fails(self.not_zero(from..to))
            }
            abi::ADEOS_BRIDGE_STAT => {
                Allowed::fails(self.reserved(abi::BridgeStat::OFFSETS.reserved))
            }
            abi::KMB_START => match self.start {
                Some(plan) => start::answers(plan, self.bytes, world),
                None => Allowed::default(),
            },
            abi::KMB_STOP | abi::KMB_KILL => self.target(vnode, is_vnode, world),
            abi::KMB_QUERY => {
                let mut errors = self.reserved(abi::Query::OFFSETS.reserved);
                if vnode >= MAX_VNODES as u32 {
                    errors.push(ENOENT);
                }
                Allowed::fails(errors)
            }
            abi::KMB_CONSOLE => self.console(is_vnode),
            abi::KMB_WAIT => Allowed::fails(self.reserved(abi::Wait::OFFSETS.reserved)),
            abi::KMB_FAULT => {
                let mut errors = self.reserved(abi::Fault::OFFSETS.reserved);
                if u32_at(self.bytes, abi::Fault::OFFSETS.step) > abi::step::LAST {
                    errors.push(EINVAL);
                }
                Allowed::fails(errors)
            }
            abi::ADEOS_CONNECT if is_vnode => {
                Allowed::maybe(&[ENOENT, ESTALE, ENOTCONN, EBUSY, EISCONN])
            }
            abi::ADEOS_CONNECT => Allowed::fails(vec![ENOENT]),
            abi::ADEOS_ACCEPT => Allowed::fails(vec![EPERM]),
            // The place of a bridge stands where others have a vnode.
            abi::ADEOS_BRIDGE => {
                let mut errors = self.reserved(abi::Bridge::OFFSETS.reserved);
                if vnode as usize >= BRIDGES {
                    errors.push(ENOENT);
                }
                Allowed::fails(errors)
            }
            _ => Allowed::maybe(&[]),
        }
    }

    /// EINVAL if one of the bytes from there to the record's end is not zero.
    fn reserved(&self, offset: usize) -> Vec<i32> {
        self.not_zero(offset..self.bytes.len())
    }

    /// EINVAL if one of these bytes is not zero.
    fn not_zero(&self, bytes: Range<usize>) -> Vec<i32> {
        match self
            .bytes
            .get(bytes)
            .unwrap_or_default()
            .iter()
            .all(|byte| *byte == 0)
        {
            true => Vec::new(),
            false => vec![EINVAL],
        }
    }

    fn target(&self, vnode: u32, is_vnode: bool, world: &World) -> Allowed {
        let mut errors = self.reserved(abi::Target::OFFSETS.reserved);
        if !is_vnode {
            errors.push(ENOENT);
        } else if vnode == world.one {
            // Its own life is never asked for.
            errors.push(ESTALE);
        }
        if !errors.is_empty() {
            return Allowed::fails(errors);
        }
        match self.number {
            abi::KMB_STOP => Allowed::maybe(&[ENOENT, ESTALE, ENOTCONN]),
            _ => Allowed::maybe(&[ENOENT, ESTALE, EBUSY]),
        }
    }

    fn console(&self, is_vnode: bool) -> Allowed {
        let mut errors = self.reserved(abi::ConsoleRead::OFFSETS.reserved);
        if !is_vnode {
            errors.push(ENOENT);
        }
        if !errors.is_empty() {
            return Allowed::fails(errors);
        }
        match self.buffer {
            // How much there is to copy only the kernel knows.
            Spot::Partly(_) | Spot::Nowhere(_) => Allowed::maybe(&[ENODATA, EFAULT]),
            _ => Allowed::maybe(&[ENODATA]),
        }
    }
}

/// Whether a request is one of `/dev/kmb`.
pub(crate) fn is_of_kmb(number: u32) -> bool {
    let is_known = |(name, known): &(&str, u32)| *known == number && name.starts_with("KMB");
    KNOWN.iter().any(is_known)
}
