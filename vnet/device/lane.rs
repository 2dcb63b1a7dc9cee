// SPDX-License-Identifier: GPL-2.0

//! A lane of a device: what it sends, and what it receives (docs/vnet.md, section 2.5).
//!
//! Each has a CPU of its own that receives; whoever sends locks the lane of the packet's flow, and no other one.

#![deny(unsafe_code)]

use super::Device;
use crate::netdev::Fate;
use crate::packet::{
    Inbound,
    Outbound, //
};
use crate::segment::Segment;
use crate::statics::refresh;
use adeos_core::bridge::Mapped;
use adeos_core::now_ns;
use adeos_proto::id::{
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::membership::{
    bit,
    each,
    Mask, //
};
use adeos_proto::vnet::frame::{
    MAX_LENGTH,
    MIN_LENGTH, //
};
use adeos_proto::vnet::incoming::{
    self,
    Taker, //
};
use adeos_proto::vnet::ledger::{
    Books,
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
    self,
    Lanes,
    Port, //
};
use adeos_proto::vnet::station::{
    Lives,
    Mac, //
};
use adeos_proto::vnet::wire::Receiver;
use adeos_proto::vnet::CHUNKS;
use adeos_proto::window::Window;
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    SpinLock, //
};

/// The memory of what a lane has sent.
pub(super) type Sent = Books<KVec<Line>, KVec<Frame>>;

/// The sending half of a station that has joined.
struct Joined {
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
    lives: Lives,
    known: u64,
    waiting: Waiting,
    /// What stations before this one have counted.
    before: outgoing::Counts,
}

/// Queues of which a packet has had to wait, by station, and until when at most.
struct Waiting {
    who: Mask,
    until: [u64; MAX_VNODES],
}

impl Waiting {
    const NONE: Self = Self {
        who: 0,
        until: [0; MAX_VNODES],
    };

    fn set(&mut self, station: VnodeId, until: u64) {
        self.who |= bit(station);
        if let Some(place) = self.until.get_mut(station.index()) {
            *place = until;
        }
    }

    fn clear(&mut self, station: VnodeId) {
        self.who &= !bit(station);
    }

    fn until(&self, station: VnodeId) -> u64 {
        self.until.get(station.index()).copied().unwrap_or(0)
    }
}

/// What receives.
struct Incoming {
    taking: Option<Taking>,
    is_asleep: bool,
    before: incoming::Counts,
}

/// How a station has joined.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) me: VnodeId,
    pub(super) lanes: Lanes,
    pub(super) epoch: u8,
    /// Another number each time.
    pub(super) seed: u64,
}

/// A lane.
#[pin_data]
pub(super) struct Lane {
    number: u32,
    #[pin]
    outgoing: SpinLock<Outgoing>,
    #[pin]
    incoming: SpinLock<Incoming>,
}

/// How soon queues that wait are looked at if nobody says anything, in ns: whoever was to may have died.
const LOOK_NS: u64 = 4_000_000;

/// How soon a lane that sleeps looks if nobody raises it, in ns: somebody may have written over what it says (VN-44).
const IDLE_NS: u64 = 1_000_000_000;

/// Memory for what a lane is going to send.
pub(super) fn memory() -> Result<Sent> {
    let mut lines = KVec::with_capacity(MAX_VNODES, GFP_KERNEL)?;
    for _ in 0..MAX_VNODES {
        lines.push(Line::NEW, GFP_KERNEL)?;
    }
    let frames = KVec::from_elem(Frame::NEW, CHUNKS, GFP_KERNEL)?;
    Ok(Books { lines, frames })
}

impl Lane {
    /// One of a device that is on no segment.
    pub(super) fn new(number: u32) -> impl PinInit<Self> {
        pin_init!(Self {
            number,
            outgoing <- kernel::new_spinlock!(Outgoing {
                joined: None,
                lives: [None; MAX_VNODES],
                known: u64::MAX,
                waiting: Waiting::NONE,
                before: outgoing::Counts::default(),
            }, "vnet:outgoing"),
            incoming <- kernel::new_spinlock!(Incoming {
                taking: None,
                is_asleep: false,
                before: incoming::Counts::default(),
            }, "vnet:incoming"),
        })
    }

    /// The queue of it that a station has.
    fn queue_of(&self, station: VnodeId) -> u32 {
        self.number * MAX_VNODES as u32 + station.number()
    }

    /// Takes what comes over a wire from here on. Soft interrupts are held off.
    #[inline(never)] // What it takes of the stack is not to come to what the other half does.
    pub(super) fn begin_to_take(&self, arrival: Arrival, wire: Receiver, segment: &Arc<Segment>) {
        let Some(me) = self.port(arrival) else {
            return;
        };
        let mut incoming = self.incoming.lock();
        incoming.is_asleep = false;
        incoming.taking = Some(Taking {
            taker: Taker::new(me, arrival.epoch, wire),
            segment: segment.clone(),
        });
    }

    /// Sends from here on. Soft interrupts are held off.
    #[inline(never)] // As above.
    pub(super) fn begin_to_send(&self, arrival: Arrival, memory: Sent, segment: &Arc<Segment>) {
        let Some(me) = self.port(arrival) else {
            return;
        };
        // Lanes that begin with the same number would meet on a wire again and again.
        let seed = arrival.seed ^ u64::from(self.number) << 40;
        let mut outgoing = self.outgoing.lock();
        outgoing.waiting = Waiting::NONE;
        outgoing.joined = Some(Joined {
            sender: Sender::new(me, arrival.lanes, arrival.epoch, seed, memory),
            segment: segment.clone(),
        });
    }

    fn port(&self, arrival: Arrival) -> Option<Port> {
        Some(Port {
            vnode: arrival.me,
            lane: port::Lane::new(self.number)?,
        })
    }

    /// Neither takes nor sends any more. Soft interrupts are held off; whoever calls has the segment as well, so that this is
    /// not the last of it.
    pub(super) fn end(&self) {
        let mut incoming = self.incoming.lock();
        if let Some(taking) = &incoming.taking {
            incoming.before = incoming.before.plus(taking.taker.counts());
        }
        incoming.taking = None;
        drop(incoming);
        let mut outgoing = self.outgoing.lock();
        if let Some(joined) = &outgoing.joined {
            outgoing.before = outgoing.before.plus(joined.sender.counts());
        }
        outgoing.joined = None;
    }

    /// What it has counted. Soft interrupts are held off.
    pub(super) fn counts(&self) -> (outgoing::Counts, incoming::Counts) {
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
    }

    /// Sends a packet of one of its queues, which is that of this station.
    pub(super) fn transmit(
        &self,
        device: &Device,
        packet: &Outbound<'_>,
        queue: u32,
        place: VnodeId,
    ) -> Fate {
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
        look(device, joined, &mut outgoing.lives, &mut outgoing.known);
        let sender = &mut joined.sender;
        let (window, now) = (joined.segment.window(), now_ns());
        let mut waits = |until: u64| {
            outgoing.waiting.set(place, until);
            device.handle.stop_queue(queue);
            device.handle.poll_within(self.number, LOOK_NS);
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
        match send(device, window, sender, &mut sending, now) {
            None => Fate::Sent,
            Some(until) => waits(until),
        }
    }

    /// A queue of it has been stopped for too long.
    pub(super) fn time_out(&self, device: &Device, queue: u32, place: VnodeId) {
        let mut outgoing = self.outgoing.lock();
        let outgoing = &mut *outgoing;
        let me = device.core.identity().vnode;
        // That of this station has what is for several.
        let station = (place != me).then_some(place);
        if let Some(joined) = &mut outgoing.joined {
            let window = joined.segment.window();
            joined.sender.time_out(window, station, now_ns());
        }
        outgoing.waiting.clear(place);
        device.handle.wake_queue(queue);
    }

    /// Goes to sleep, unless there is something on the wire; whether it sleeps.
    pub(super) fn sleep(&self, device: &Device) -> bool {
        let mut incoming = self.incoming.lock();
        let Some(taking) = &incoming.taking else {
            return true;
        };
        let is_asleep = taking.taker.sleep(taking.segment.window());
        incoming.is_asleep = is_asleep;
        if is_asleep {
            device.handle.poll_within(self.number, IDLE_NS);
        }
        is_asleep
    }

    /// Takes what is on the wire, so many frames at most.
    pub(super) fn receive(&self, device: &Device, left: &mut usize) {
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
            let packet = Inbound::new(&device.handle, self.number, frame.length);
            let packet = packet.map(|mut packet| {
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
        for port in port::each(awaiting) {
            device.raise(port);
        }
    }

    /// Takes what others say that they have taken, and has packets sent again that had to wait.
    pub(super) fn settle(&self, device: &Device) {
        let mut outgoing = self.outgoing.lock();
        let outgoing = &mut *outgoing;
        let Some(joined) = outgoing.joined.as_mut() else {
            return;
        };
        look(device, joined, &mut outgoing.lives, &mut outgoing.known);
        if outgoing.waiting.who == 0 {
            return;
        }
        let now = now_ns();
        for station in each(outgoing.waiting.who) {
            // If it has to wait again, it will say so.
            let is_shared = station == device.core.identity().vnode;
            if now >= outgoing.waiting.until(station)
                || is_shared
                || joined
                    .sender
                    .can_begin(joined.segment.window(), station, now)
            {
                outgoing.waiting.clear(station);
                device.handle.wake_queue(self.queue_of(station));
            }
        }
        if outgoing.waiting.who != 0 {
            device.handle.poll_within(self.number, LOOK_NS);
        }
    }
}

/// Looks who is there.
fn look(device: &Device, joined: &mut Joined, lives: &mut Lives, known: &mut u64) {
    if refresh(lives, known) {
        joined.sender.expire();
    }
    if joined.sender.look(joined.segment.window(), lives) {
        device.learn(joined.sender.roster());
    }
}

/// Puts a frame on the wires that it is for; until when to wait if it was on none and has to be begun again.
fn send(
    device: &Device,
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
            Do::Raise(port) => device.raise(port),
            Do::Done => return None,
            Do::Requeue(until) => return Some(until),
        }
    }
}
