// SPDX-License-Identifier: GPL-2.0

//! One Ethernet device: a station on a segment (paper section 7.1; docs/vnet.md).
//!
//! Whoever waits for the root does it in [`Driver::follow`], which no lock of Linux's is held for: that opens the bridge and
//! joins once the device is up, and closes it when it is not (VN-61).
//!
//! Locks: `link`, a mutex, which nobody waits for the root with; inside it `incoming` and `outgoing`, each with soft interrupts
//! held off, and neither inside the other: Linux may forward what is received through another device.

#![deny(unsafe_code)]

use crate::netdev::{
    without_soft_interrupts,
    Address,
    Counters,
    Driver,
    Fate,
    Handle, //
};
use crate::packet::{
    Inbound,
    Outbound, //
};
use crate::segment::{
    Seat,
    Segment, //
};
use crate::statics::refresh;
use adeos_core::bridge::Mapped;
use adeos_core::{
    now_ns,
    Core, //
};
use adeos_proto::id::{
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::layout::portal::NETWORK;
use adeos_proto::portal::Number;
use adeos_proto::vnet::frame::{
    MAX_LENGTH,
    MIN_LENGTH, //
};
use adeos_proto::vnet::incoming::{
    self,
    Taker, //
};
use adeos_proto::vnet::ledger::{
    Frame,
    Line, //
};
use adeos_proto::vnet::outgoing::{
    self,
    Do,
    Ready,
    Sender,
    Sending, //
};
use adeos_proto::vnet::port::{
    each,
    Port, //
};
use adeos_proto::vnet::station::{
    Listens,
    Lives,
    Mac,
    Own, //
};
use adeos_proto::vnet::{
    CHUNKS,
    PLACES, //
};
use adeos_proto::window::Window;
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
use link::Link;

mod counters;
mod link;

/// A station that has joined.
struct Joined {
    own: Own,
    sender: Sender<KVec<Line>, KVec<Frame>>,
    segment: Arc<Segment>,
}

/// The wire of a station that has joined.
struct Taking {
    taker: Taker,
    segment: Arc<Segment>,
}

/// What sends.
struct Outgoing {
    joined: Option<Joined>,
    listens: Listens,
    lives: Lives,
    known: u64,
    /// Queues of which a packet has had to wait, and until when at most.
    waiting: [Option<u64>; MAX_VNODES],
    /// What stations before this one have counted.
    before: outgoing::Counts,
}

/// What receives.
struct Incoming {
    taking: Option<Taking>,
    is_asleep: bool,
    before: incoming::Counts,
}

/// A device.
#[pin_data]
pub(crate) struct Device {
    core: Arc<Core>,
    handle: Handle,
    seat: Seat,
    #[pin]
    link: Mutex<Link>,
    #[pin]
    outgoing: SpinLock<Outgoing>,
    #[pin]
    incoming: SpinLock<Incoming>,
    /// By station, its address as a number, or 0: what the queue of a packet is chosen by.
    addresses: [Atomic<u64>; MAX_VNODES],
}

/// How soon queues that wait are looked at if nobody says anything, in ns: whoever was to may have died.
const LOOK_NS: u64 = 4_000_000;

/// How soon a station that sleeps looks if nobody raises it, in ns: somebody may have written over what it says (VN-44).
const IDLE_NS: u64 = 1_000_000_000;

impl Driver for Device {
    const COUNTERS: Counters = counters::COUNTERS;
    const RINGS: (u32, u32) = (CHUNKS as u32, PLACES as u32);
    const QUEUES: u32 = MAX_VNODES as u32;
    // Much longer than anything here waits.
    const WATCHDOG_MS: u32 = 5000;

    fn create(handle: Handle, segment: &CStr) -> Result<(Pin<KBox<Self>>, Address)> {
        let core = Core::get()?;
        let name = segment.to_str().map_err(|_| EINVAL)?;
        let address = Mac::of_vnode(name, core.identity().vnode);
        let seat = Seat::take(segment)?;
        if !seat.seems_open(&core) {
            return Err(EACCES);
        }
        let device = KBox::pin_init(
            pin_init!(Self {
                core,
                handle,
                seat,
                link <- kernel::new_mutex!(Link::DOWN, "vnet:link"),
                outgoing <- kernel::new_spinlock!(Outgoing {
                    joined: None,
                    listens: Listens::default(),
                    lives: [None; MAX_VNODES],
                    known: u64::MAX,
                    waiting: [None; MAX_VNODES],
                    before: outgoing::Counts::default(),
                }, "vnet:outgoing"),
                incoming <- kernel::new_spinlock!(Incoming {
                    taking: None,
                    is_asleep: false,
                    before: incoming::Counts::default(),
                }, "vnet:incoming"),
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
        let length = packet.length();
        let address = packet.pieces().next().and_then(|bytes| bytes.first_chunk());
        let (Some(address), Some(offload)) = (address, packet.offload()) else {
            return Fate::Lost;
        };
        if !(MIN_LENGTH..=MAX_LENGTH).contains(&length) {
            return Fate::Lost;
        }
        let mut outgoing = self.outgoing.lock();
        let outgoing = &mut *outgoing;
        let Some(joined) = outgoing.joined.as_mut() else {
            return Fate::Lost;
        };
        self.look(joined, &mut outgoing.lives, &mut outgoing.known);
        let sender = &mut joined.sender;
        let (window, now) = (joined.segment.window(), now_ns());
        let mut waits = |until: u64| {
            if let Some(place) = outgoing.waiting.get_mut(queue as usize) {
                *place = Some(until);
            }
            self.handle.stop_queue(queue);
            self.handle.poll_within(LOOK_NS);
            Fate::Waits
        };
        let frame = match sender.begin(window, Mac(*address), length, now) {
            Ready::Nobody => return Fate::Sent,
            Ready::Missed => return Fate::Lost,
            Ready::Wait(until) => return waits(until),
            Ready::Begun(frame) => frame,
        };
        let mut at = frame.body();
        for piece in packet.pieces() {
            window.write(at, piece);
            at += piece.len();
        }
        if at != frame.body() + length {
            sender.abort(frame);
            return Fate::Lost;
        }
        let mut sending = sender.finish(window, frame, offload);
        match self.send(window, sender, &mut sending, now) {
            None => Fate::Sent,
            Some(until) => waits(until),
        }
    }

    fn time_out(&self, queue: u32) {
        let mut outgoing = self.outgoing.lock();
        let outgoing = &mut *outgoing;
        let me = self.core.identity().vnode;
        // That of this station has what is for several.
        let station = VnodeId::new(queue).filter(|station| *station != me);
        if let Some(joined) = &mut outgoing.joined {
            let window = joined.segment.window();
            joined.sender.time_out(window, station, now_ns());
        }
        if let Some(place) = outgoing.waiting.get_mut(queue as usize) {
            *place = None;
        }
        self.handle.wake_queue(queue);
    }

    fn poll(&self, budget: usize) -> usize {
        let mut left = budget;
        self.receive(&mut left);
        self.settle();
        budget - left
    }

    fn sleep(&self) -> bool {
        let mut incoming = self.incoming.lock();
        let Some(taking) = &incoming.taking else {
            return true;
        };
        let is_asleep = taking.taker.sleep(taking.segment.window());
        incoming.is_asleep = is_asleep;
        if is_asleep {
            self.handle.poll_within(IDLE_NS);
        }
        is_asleep
    }

    fn set_address(&self, address: Address) {
        let mut link = self.link.lock();
        let Some((own, _)) = &mut link.up else {
            return;
        };
        *own = address;
        without_soft_interrupts(|| {
            if let Some(joined) = &mut self.outgoing.lock().joined {
                joined.own.set_mac(joined.segment.window(), Mac(address));
            }
        });
    }

    fn listen(&self, all: bool, all_groups: bool, filter: u64) {
        let listens = Listens {
            promiscuous: all,
            all_multicast: all_groups,
            filter,
        };
        let mut outgoing = self.outgoing.lock();
        outgoing.listens = listens;
        if let Some(joined) = &mut outgoing.joined {
            joined.own.listen(joined.segment.window(), listens);
        }
    }

    fn filter_bit(address: Address) -> u64 {
        Mac(address).filter_bit()
    }

    fn count(&self, counters: &mut [u64]) {
        let (sent, received) = without_soft_interrupts(|| {
            let incoming = self.incoming.lock();
            let received = match &incoming.taking {
                Some(taking) => incoming.before.plus(taking.taker.counts()),
                None => incoming.before,
            };
            drop(incoming);
            let outgoing = self.outgoing.lock();
            let sent = match &outgoing.joined {
                Some(joined) => outgoing.before.plus(joined.sender.counts()),
                None => outgoing.before,
            };
            (sent, received)
        });
        counters::tell(&sent, &received, counters);
    }
}

impl Device {
    /// Puts a frame on the wires that it is for; until when to wait if it was on none and has to be begun again.
    fn send(
        &self,
        window: &Mapped,
        sender: &mut Sender<KVec<Line>, KVec<Frame>>,
        frame: &mut Sending,
        mut now: u64,
    ) -> Option<u64> {
        loop {
            match sender.step(window, frame, now) {
                Do::Again => {}
                Do::Wait(until) => {
                    now = now_ns();
                    while now < until {
                        core::hint::spin_loop();
                        now = now_ns();
                    }
                }
                Do::Raise(port) => self.raise(port),
                Do::Done => return None,
                Do::Requeue(until) => return Some(until),
            }
        }
    }

    fn raise(&self, port: Port) {
        if let Some(number) = Number::new(NETWORK + port.lane.number()) {
            self.core.raise(port.vnode, number);
        }
    }

    /// Takes what is on the wire, so many frames at most.
    fn receive(&self, left: &mut usize) {
        let mut incoming = self.incoming.lock();
        if incoming.is_asleep {
            incoming.is_asleep = false;
            if let Some(taking) = &incoming.taking {
                taking.taker.wake(taking.segment.window());
            }
        }
        loop {
            let Some(Taking { taker, segment }) = &mut incoming.taking else {
                return;
            };
            let window = segment.window();
            let Some(frame) = taker.next(window, left) else {
                break;
            };
            let offload = frame.offload;
            let packet = Inbound::new(&self.handle, frame.length).map(|mut packet| {
                let mut at = frame.body();
                packet.fill(|piece| {
                    window.read(at, piece);
                    at += piece.len();
                });
                packet
            });
            let is_whole = taker.taken(window, frame).is_ok();
            drop(incoming);
            if let Some(packet) = packet.filter(|_| is_whole) {
                packet.receive(&offload);
            }
            incoming = self.incoming.lock();
        }
        let awaiting = incoming
            .taking
            .as_ref()
            .map_or(0, |taking| taking.taker.awaiting(taking.segment.window()));
        drop(incoming);
        for port in each(awaiting) {
            self.raise(port);
        }
    }

    /// Says anew what was written over, takes what others say that they have taken, and has packets sent again that had to
    /// wait.
    fn settle(&self) {
        let mut outgoing = self.outgoing.lock();
        let outgoing = &mut *outgoing;
        let Some(joined) = outgoing.joined.as_mut() else {
            return;
        };
        joined.own.mend(joined.segment.window());
        self.look(joined, &mut outgoing.lives, &mut outgoing.known);
        let now = now_ns();
        let mut waits = false;
        for (queue, place) in VnodeId::all().zip(&mut outgoing.waiting) {
            let Some(until) = *place else {
                continue;
            };
            // If it has to wait again, it will say so.
            let is_shared = queue == self.core.identity().vnode;
            if now >= until
                || is_shared
                || joined.sender.can_begin(joined.segment.window(), queue, now)
            {
                *place = None;
                self.handle.wake_queue(queue.number());
            } else {
                waits = true;
            }
        }
        if waits {
            self.handle.poll_within(LOOK_NS);
        }
    }

    /// Looks who is there.
    fn look(&self, joined: &mut Joined, lives: &mut Lives, known: &mut u64) {
        if refresh(lives, known) {
            joined.sender.expire();
        }
        if !joined.sender.look(joined.segment.window(), lives) {
            return;
        }
        for (vnode, address) in VnodeId::all().zip(&self.addresses) {
            let station = joined.sender.roster().station(vnode);
            address.store(station.map_or(0, |seen| seen.mac.to_word()), Relaxed);
        }
    }
}
