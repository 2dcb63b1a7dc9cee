// SPDX-License-Identifier: GPL-2.0

//! How a device is connected: it joins its segment once it is up, and leaves it (docs/vnet.md, section 2.3).

#![deny(unsafe_code)]

use super::{
    Device,
    Joined,
    Taking, //
};
use crate::netdev::{
    without_soft_interrupts,
    Address, //
};
use crate::segment::Segment;
use crate::statics::Listed;
use adeos_core::now_ns;
use adeos_proto::id::MAX_VNODES;
use adeos_proto::vnet::incoming::Taker;
use adeos_proto::vnet::ledger::{
    Books,
    Frame,
    Line, //
};
use adeos_proto::vnet::outgoing::Sender;
use adeos_proto::vnet::port::{
    Lanes,
    Port, //
};
use adeos_proto::vnet::station::{
    Mac,
    Own, //
};
use adeos_proto::vnet::CHUNKS;
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    MutexGuard, //
};

/// How the device is connected.
pub(super) struct Link {
    /// It is up, and has this address.
    pub(super) up: Option<(Address, Listed)>,
    station: Station,
    /// Why it could not join, the last time.
    refused: Option<Error>,
}

/// Where the device's station is.
enum Station {
    /// It has no bridge open.
    Away,
    /// It has left; the bridge is to be closed.
    Left(Arc<Segment>),
    /// It has joined: there is a carrier.
    Joined(Arc<Segment>),
}

impl Link {
    /// That of a device that is down.
    pub(super) const DOWN: Self = Self {
        up: None,
        station: Station::Away,
        refused: None,
    };
}

/// How soon a station that has joined sees whether it may stay, and one that could not tries again, in ms.
const FOLLOW_MS: u32 = 1000;

/// How much later some try again, in ms: what is no segment goes when all have let go of it at once.
const SPREAD_MS: u32 = 512;

impl Device {
    /// The device is up: has it join soon. Process context.
    pub(super) fn go_up(&self, address: Address) -> Result {
        // Before others can send: their portals find it.
        let listed = Listed::new(self.handle)?;
        self.link.lock().up = Some((address, listed));
        self.handle.follow();
        Ok(())
    }

    /// It is down: leaves the segment, and has the bridge closed soon. Process context.
    pub(super) fn go_down(&self) {
        let mut link = self.link.lock();
        if let Station::Joined(segment) = &link.station {
            let segment = segment.clone();
            self.leave();
            link.station = Station::Left(segment);
        }
        let up = link.up.take();
        link.refused = None;
        drop(link);
        drop(up);
        self.handle.follow();
    }

    /// Does what may wait for the root: opens the bridge and joins if the device is up, sees whether it may stay, closes the bridge if
    /// it is down. How soon to look again, in ms, or 0. Process context, with no lock of Linux's.
    pub(super) fn look_after_link(&self) -> u32 {
        let mut link = self.link.lock();
        let is_up = link.up.is_some();
        let segment = match core::mem::replace(&mut link.station, Station::Away) {
            Station::Joined(segment) if segment.is_open(&self.core) => {
                segment.mend();
                link.station = Station::Joined(segment);
                return FOLLOW_MS;
            }
            Station::Joined(segment) => {
                self.leave();
                self.refuse(&mut link, EACCES);
                drop(link);
                // Which closes the bridge.
                drop(segment);
                return FOLLOW_MS;
            }
            Station::Left(segment) if is_up && segment.is_open(&self.core) => Ok(segment),
            Station::Left(segment) => {
                drop(link);
                drop(segment);
                // It is opened anew, or why not is told.
                return u32::from(is_up);
            }
            Station::Away if !is_up => return 0,
            Station::Away => {
                drop(link);
                let opened = Segment::open(&self.core, &self.seat)
                    .and_then(|segment| Ok(Arc::new(segment, GFP_KERNEL)?));
                link = self.link.lock();
                opened
            }
        };
        self.arrive(link, segment)
    }

    /// The bridge of the segment is open, or is not; how soon to look again, in ms.
    fn arrive(&self, mut link: MutexGuard<'_, Link>, segment: Result<Arc<Segment>>) -> u32 {
        let Some((address, _)) = link.up else {
            // It is not wanted any more.
            drop(link);
            drop(segment);
            return 0;
        };
        let joined = segment.and_then(|segment| {
            self.join(segment.clone(), Mac(address))?;
            Ok(segment)
        });
        match joined {
            Ok(segment) => {
                if link.refused.take().is_some() {
                    pr_info!("on the segment {} now\n", self.seat.segment());
                }
                link.station = Station::Joined(segment);
                FOLLOW_MS
            }
            Err(error) => {
                self.refuse(&mut link, error);
                FOLLOW_MS + now_ns() as u32 % SPREAD_MS
            }
        }
    }

    /// It is not on its segment, and is to know why: once.
    fn refuse(&self, link: &mut Link, error: Error) {
        if link.refused.replace(error) == Some(error) {
            return;
        }
        let segment = self.seat.segment();
        match error {
            EACCES => pr_warn!("not on the segment {segment}: this vnode may not be there\n"),
            EPROTO => pr_warn!("not on the segment {segment}: its bridge is none\n"),
            EPROTONOSUPPORT => pr_warn!("not on the segment {segment}: it is of another version\n"),
            error => pr_warn!("not on the segment {segment}: {error:?}\n"),
        }
    }

    /// Joins a segment: there is a carrier from here on (VN-60). Process context, with the link locked and up.
    fn join(&self, segment: Arc<Segment>, address: Mac) -> Result {
        let mut lines = KVec::with_capacity(MAX_VNODES, GFP_KERNEL)?;
        for _ in 0..MAX_VNODES {
            lines.push(Line::NEW, GFP_KERNEL)?;
        }
        let frames = KVec::from_elem(Frame::NEW, CHUNKS, GFP_KERNEL)?;
        let identity = self.core.identity();
        let (me, life) = (identity.vnode, identity.generation);
        let seed = now_ns() ^ (u64::from(me.number()) << 48);
        without_soft_interrupts(|| {
            let lanes = Lanes::ONE;
            let port = Port::first(me);
            let (mut own, [wire, ..]) = Own::join(segment.window(), me, life, address, lanes);
            let mut incoming = self.incoming.lock();
            incoming.taking = wire.map(|wire| Taking {
                taker: Taker::new(port, own.epoch(), wire),
                segment: segment.clone(),
            });
            incoming.is_asleep = false;
            drop(incoming);
            let mut outgoing = self.outgoing.lock();
            own.listen(segment.window(), outgoing.listens);
            outgoing.waiting = [None; MAX_VNODES];
            outgoing.joined = Some(Joined {
                sender: Sender::new(port, lanes, own.epoch(), seed, Books { lines, frames }),
                own,
                segment,
            });
        });
        self.handle.carrier_on();
        // What has come since it joined.
        self.handle.schedule();
        Ok(())
    }

    /// Leaves the segment, which whoever calls has as well. Process context, with the link locked.
    fn leave(&self) {
        self.handle.carrier_off();
        let left = without_soft_interrupts(|| {
            let mut incoming = self.incoming.lock();
            let taking = incoming.taking.take();
            if let Some(taking) = &taking {
                incoming.before = incoming.before.plus(taking.taker.counts());
            }
            drop(incoming);
            let mut outgoing = self.outgoing.lock();
            let segment = match outgoing.joined.take() {
                Some(Joined {
                    own,
                    sender,
                    segment,
                }) => {
                    outgoing.before = outgoing.before.plus(sender.counts());
                    own.leave(segment.window());
                    Some(segment)
                }
                None => None,
            };
            (segment, taking)
        });
        // With soft interrupts: this may be the last of the segment.
        drop(left);
    }
}
