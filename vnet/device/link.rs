// SPDX-License-Identifier: GPL-2.0

//! How a device is connected: it joins its segment once it is up, and leaves it (docs/vnet.md, section 2.3).

#![deny(unsafe_code)]

use super::lane::{
    memory,
    Arrival, //
};
use super::Device;
use crate::netdev::{
    without_soft_interrupts,
    Address, //
};
use crate::segment::Segment;
use crate::statics::Listed;
use adeos_core::now_ns;
use adeos_proto::vnet::port::MAX_LANES;
use adeos_proto::vnet::station::{
    Mac,
    Own, //
};
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
        let mut memories = KVec::with_capacity(MAX_LANES, GFP_KERNEL)?;
        for _ in self.lanes() {
            memories.push(memory()?, GFP_KERNEL)?;
        }
        let identity = self.core.identity();
        let (me, life) = (identity.vnode, identity.generation);
        without_soft_interrupts(|| {
            let (own, wires) = Own::join(segment.window(), me, life, address, self.count);
            let arrival = Arrival {
                me,
                lanes: self.count,
                epoch: own.epoch(),
                seed: now_ns() ^ (u64::from(me.number()) << 48),
            };
            let wires = wires.into_iter().flatten();
            for ((lane, wire), memory) in self.lanes().zip(wires).zip(memories) {
                lane.begin_to_take(arrival, wire, &segment);
                lane.begin_to_send(arrival, memory, &segment);
            }
            let mut said = self.said.lock();
            let listens = said.listens;
            let (own, segment) = said.own.insert((own, segment));
            own.listen(segment.window(), listens);
        });
        self.handle.carrier_on();
        // What has come since it joined.
        for lane in 0..MAX_LANES as u32 {
            self.handle.schedule(lane);
        }
        Ok(())
    }

    /// Leaves the segment, which whoever calls has as well: what is dropped here is not the last of it. Process context, with the
    /// link locked.
    fn leave(&self) {
        self.handle.carrier_off();
        without_soft_interrupts(|| {
            self.lanes().for_each(|lane| lane.end());
            if let Some((own, segment)) = self.said.lock().own.take() {
                own.leave(segment.window());
            }
        });
    }
}
