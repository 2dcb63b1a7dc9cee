// SPDX-License-Identifier: GPL-2.0

//! One Ethernet device: a station on a segment (paper section 7.1; docs/vnet.md).
//!
//! Whoever waits for the root does it in [`Driver::follow`], which no lock of Linux's is held for: that opens the bridge and
//! joins once the device is up, and closes it when it is not (VN-61).
//!
//! Locks: `link`, a mutex, which nobody waits for the root with; inside it `said`, and of each lane `incoming` and `outgoing`, all
//! with soft interrupts held off, and none of them inside another: Linux may forward what is received through another device.

#![deny(unsafe_code)]

use crate::netdev::{
    without_soft_interrupts,
    Address,
    Counters,
    Driver,
    Fate,
    Handle, //
};
use crate::packet::Outbound;
use crate::segment::{
    Seat,
    Segment, //
};
use adeos_core::Core;
use adeos_proto::id::{
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::layout::portal::NETWORK;
use adeos_proto::portal::Number;
use adeos_proto::vnet::port::{
    Lanes,
    Port,
    MAX_LANES, //
};
use adeos_proto::vnet::station::{
    Listens,
    Mac,
    Own,
    Roster, //
};
use adeos_proto::vnet::{
    incoming,
    outgoing,
    CHUNKS,
    PLACES, //
};
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::{
    Arc,
    Mutex,
    SpinLock, //
};
use lane::Lane;
use link::Link;

mod counters;
mod lane;
mod link;

/// What the station says of itself.
struct Said {
    own: Option<(Own, Arc<Segment>)>,
    listens: Listens,
}

/// A device.
#[pin_data]
pub(crate) struct Device {
    core: Arc<Core>,
    handle: Handle,
    seat: Seat,
    count: Lanes,
    #[pin]
    link: Mutex<Link>,
    #[pin]
    said: SpinLock<Said>,
    /// As many as `count`; the others do nothing.
    #[pin]
    lanes: [Lane; MAX_LANES],
    /// By station, its address as a number, or 0: what the queue of a packet is chosen by.
    addresses: [Atomic<u64>; MAX_VNODES],
}

impl Driver for Device {
    const COUNTERS: Counters = counters::COUNTERS;
    const RINGS: (u32, u32) = (CHUNKS as u32, PLACES as u32);
    const LANES: u32 = MAX_LANES as u32;
    const QUEUES: u32 = MAX_VNODES as u32;
    // Much longer than anything here waits.
    const WATCHDOG_MS: u32 = 5000;

    fn create(handle: Handle, segment: &CStr, lanes: u32) -> Result<(Pin<KBox<Self>>, Address)> {
        let core = Core::get()?;
        let name = segment.to_str().map_err(|_| EINVAL)?;
        let address = Mac::of_vnode(name, core.identity().vnode);
        let count = Lanes::new(lanes as usize).ok_or(EINVAL)?;
        let seat = Seat::take(segment)?;
        if !seat.seems_open(&core) {
            return Err(EACCES);
        }
        let device = KBox::pin_init(
            pin_init!(Self {
                core,
                handle,
                seat,
                count,
                link <- kernel::new_mutex!(Link::DOWN, "vnet:link"),
                said <- kernel::new_spinlock!(Said {
                    own: None,
                    listens: Listens::default(),
                }, "vnet:said"),
                lanes <- pin_init::pin_init_array_from_fn(|number| Lane::new(number as u32)),
                addresses: [const { Atomic::new(0) }; MAX_VNODES],
            }),
            GFP_KERNEL,
        )?;
        Ok((device, address.0))
    }

    fn open(&self, address: Address) -> Result {
        self.go_up(address)
    }

    fn stop(&self) {
        self.go_down();
    }

    fn follow(&self) -> u32 {
        self.look_after_link()
    }

    fn queue_of(&self, to: Address) -> u32 {
        let to = Mac(to).to_word();
        let is_its = |address: &Atomic<u64>| address.load(Relaxed) == to;
        let station = self.addresses.iter().position(is_its);
        // What is for several has that of this station, which sends nothing to itself.
        station.map_or(self.core.identity().vnode.number(), |station| {
            station as u32
        })
    }

    fn transmit(&self, packet: &Outbound<'_>, queue: u32) -> Fate {
        match self.place_of(queue) {
            Some((lane, place)) => lane.transmit(self, packet, queue, place),
            None => Fate::Lost,
        }
    }

    fn time_out(&self, queue: u32) {
        if let Some((lane, place)) = self.place_of(queue) {
            lane.time_out(self, queue, place);
        }
    }

    fn poll(&self, lane: u32, budget: usize) -> usize {
        let Some(it) = self.lanes.get(lane as usize) else {
            return 0;
        };
        let mut left = budget;
        it.receive(self, &mut left);
        if lane == 0 {
            self.mend();
        }
        it.settle(self);
        budget - left
    }

    fn sleep(&self, lane: u32) -> bool {
        let lane = self.lanes.get(lane as usize);
        lane.is_none_or(|lane| lane.sleep(self))
    }

    fn set_address(&self, address: Address) {
        let mut link = self.link.lock();
        let Some((own, _)) = &mut link.up else {
            return;
        };
        *own = address;
        without_soft_interrupts(|| {
            if let Some((own, segment)) = &mut self.said.lock().own {
                own.set_mac(segment.window(), Mac(address));
            }
        });
    }

    fn listen(&self, all: bool, all_groups: bool, filter: u64) {
        let listens = Listens {
            promiscuous: all,
            all_multicast: all_groups,
            filter,
        };
        let mut said = self.said.lock();
        said.listens = listens;
        if let Some((own, segment)) = &mut said.own {
            own.listen(segment.window(), listens);
        }
    }

    fn filter_bit(address: Address) -> u64 {
        Mac(address).filter_bit()
    }

    fn count(&self, counters: &mut [u64]) {
        let none = (outgoing::Counts::default(), incoming::Counts::default());
        let (sent, received) = self.lanes().fold(none, |(sent, received), lane| {
            let of_it = without_soft_interrupts(|| lane.counts());
            (sent.plus(of_it.0), received.plus(of_it.1))
        });
        counters::tell(&sent, &received, counters);
    }
}

impl Device {
    /// The lanes that it has.
    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().take(self.count.count())
    }

    /// The lane of a queue, and the station that the queue is for.
    fn place_of(&self, queue: u32) -> Option<(&Lane, VnodeId)> {
        let lane = self.lanes.get(queue as usize / MAX_VNODES)?;
        Some((lane, VnodeId::new(queue % MAX_VNODES as u32)?))
    }

    /// Has a lane of a station look at what there is.
    fn raise(&self, port: Port) {
        if let Some(number) = Number::new(NETWORK + port.lane.number()) {
            self.core.raise(port.vnode, number);
        }
    }

    /// Says anew what the station is, if somebody has written over that. Soft interrupts are held off.
    fn mend(&self) {
        if let Some((own, segment)) = &self.said.lock().own {
            own.mend(segment.window());
        }
    }

    /// Remembers the addresses of stations that a lane has read anew. Of two that do so at once one may have seen less; then it will
    /// read again when it looks again, which takes a second at most, and meanwhile some packets may have another one's queue.
    fn learn(&self, roster: &Roster) {
        for (vnode, address) in VnodeId::all().zip(&self.addresses) {
            let station = roster.station(vnode);
            address.store(station.map_or(0, |seen| seen.mac.to_word()), Relaxed);
        }
    }
}
