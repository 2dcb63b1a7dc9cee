// SPDX-License-Identifier: GPL-2.0

//! One Ethernet device: a station on a segment (paper section 7.1; docs/vnet.md).
//!
//! Locks: `incoming` and `outgoing`, each with soft interrupts held off, and neither inside the other: Linux may forward what is
//! received through another device.

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
use crate::segment::Segment;
use crate::statics::{
    refresh,
    Listed, //
};
use adeos_core::{
    now_ns,
    Core, //
};
use adeos_proto::id::{
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::layout::portal::NETWORK;
use adeos_proto::membership::each;
use adeos_proto::portal::Number;
use adeos_proto::vnet::frame::{
    MAX_LENGTH,
    MIN_LENGTH, //
};
use adeos_proto::vnet::incoming::{
    self,
    Taker, //
};
use adeos_proto::vnet::ledger::Line;
use adeos_proto::vnet::outgoing::{
    self,
    Do,
    Ready,
    Sender,
    Sending, //
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

/// A station that has joined.
struct Joined {
    own: Own,
    sender: Sender<KVec<Line>>,
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
    taker: Option<Taker>,
    is_asleep: bool,
    before: incoming::Counts,
}

/// A device.
#[pin_data]
pub(crate) struct Device {
    core: Arc<Core>,
    handle: Handle,
    segment: Segment,
    #[pin]
    outgoing: SpinLock<Outgoing>,
    #[pin]
    incoming: SpinLock<Incoming>,
    #[pin]
    listed: Mutex<Option<Listed>>,
    /// By station, its address as a number, or 0: what the queue of a packet is chosen by.
    addresses: [Atomic<u64>; MAX_VNODES],
}

/// How soon queues that wait are looked at if nobody says anything, in ns: whoever was to may have died.
const LOOK_NS: u64 = 4_000_000;

/// How soon a station that sleeps looks if nobody raises it, in ns: somebody may have written over what it says (VN-44).
const IDLE_NS: u64 = 1_000_000_000;

/// What [`Driver::count`] counts.
const NAMES: [&str; 12] = [
    "collisions",
    "deferred",
    "aborted",
    "missed",
    "waits",
    "words",
    "portals",
    "lies",
    "replaced",
    "bad_length",
    "nonsense",
    "late",
];

static TABLE: [[u8; 32]; NAMES.len()] = padded(NAMES);

/// Names as Linux wants to have them.
#[expect(
    clippy::indexing_slicing,
    reason = "it runs in the compiler, which has nothing else for constants"
)]
const fn padded<const N: usize>(names: [&str; N]) -> [[u8; 32]; N] {
    let mut table = [[0; 32]; N];
    let mut name = 0;
    while name < N {
        let bytes = names[name].as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            table[name][at] = bytes[at];
            at += 1;
        }
        name += 1;
    }
    table
}

impl Driver for Device {
    const COUNTERS: Counters = Counters {
        names: &TABLE,
        collisions: 0,
        aborted: 2,
        missed: 3,
        frame_errors: 8,
    };
    const RINGS: (u32, u32) = (CHUNKS as u32, PLACES as u32);
    const QUEUES: u32 = MAX_VNODES as u32;

    fn create(handle: Handle, segment: &CStr) -> Result<(Pin<KBox<Self>>, Address)> {
        let core = Core::get()?;
        let name = segment.to_str().map_err(|_| EINVAL)?;
        let address = Mac::of_vnode(name, core.identity().vnode);
        let segment = Segment::open(&core, segment)?;
        let device = KBox::pin_init(
            pin_init!(Self {
                core,
                handle,
                segment,
                outgoing <- kernel::new_spinlock!(Outgoing {
                    joined: None,
                    listens: Listens::default(),
                    lives: [None; MAX_VNODES],
                    known: u64::MAX,
                    waiting: [None; MAX_VNODES],
                    before: outgoing::Counts::default(),
                }, "vnet:outgoing"),
                incoming <- kernel::new_spinlock!(Incoming {
                    taker: None,
                    is_asleep: false,
                    before: incoming::Counts::default(),
                }, "vnet:incoming"),
                listed <- kernel::new_mutex!(None, "vnet:listed"),
                addresses: [const { Atomic::new(0) }; MAX_VNODES],
            }),
            GFP_KERNEL,
        )?;
        Ok((device, address.0))
    }

    fn open(&self, address: Address) -> Result {
        let mut lines = KVec::with_capacity(MAX_VNODES, GFP_KERNEL)?;
        for _ in 0..MAX_VNODES {
            lines.push(Line::NEW, GFP_KERNEL)?;
        }
        // Before others can send: their portals find it.
        *self.listed.lock() = Some(Listed::new(self.handle)?);
        let identity = self.core.identity();
        let (me, life) = (identity.vnode, identity.generation);
        let seed = now_ns() ^ (u64::from(me.number()) << 48);
        without_soft_interrupts(|| {
            let (mut own, wire) = Own::join(self.window(), me, life, Mac(address));
            let mut incoming = self.incoming.lock();
            incoming.taker = Some(Taker::new(me, own.epoch(), wire));
            incoming.is_asleep = false;
            drop(incoming);
            let mut outgoing = self.outgoing.lock();
            own.listen(self.window(), outgoing.listens);
            outgoing.waiting = [None; MAX_VNODES];
            outgoing.joined = Some(Joined {
                sender: Sender::new(me, own.epoch(), seed, lines),
                own,
            });
        });
        Ok(())
    }

    fn stop(&self) {
        let joined = without_soft_interrupts(|| {
            let mut incoming = self.incoming.lock();
            if let Some(taker) = incoming.taker.take() {
                incoming.before = incoming.before.plus(taker.counts());
            }
            drop(incoming);
            let mut outgoing = self.outgoing.lock();
            let joined = outgoing.joined.take()?;
            outgoing.before = outgoing.before.plus(joined.sender.counts());
            Some(joined)
        });
        if let Some(joined) = joined {
            joined.own.leave(self.window());
        }
        *self.listed.lock() = None;
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
        let (window, now) = (self.window(), now_ns());
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
        match self.send(sender, &mut sending, now) {
            None => Fate::Sent,
            Some(until) => waits(until),
        }
    }

    fn poll(&self, budget: usize) -> usize {
        let mut left = budget;
        self.receive(&mut left);
        self.settle();
        budget - left
    }

    fn sleep(&self) -> bool {
        let mut incoming = self.incoming.lock();
        let Some(taker) = &incoming.taker else {
            return true;
        };
        let is_asleep = taker.sleep(self.window());
        incoming.is_asleep = is_asleep;
        if is_asleep {
            self.handle.poll_within(IDLE_NS);
        }
        is_asleep
    }

    fn set_address(&self, address: Address) {
        without_soft_interrupts(|| {
            if let Some(joined) = &mut self.outgoing.lock().joined {
                joined.own.set_mac(self.window(), Mac(address));
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
            joined.own.listen(self.window(), listens);
        }
    }

    fn filter_bit(address: Address) -> u64 {
        Mac(address).filter_bit()
    }

    fn count(&self, counters: &mut [u64]) {
        let (sent, received) = without_soft_interrupts(|| {
            let incoming = self.incoming.lock();
            let received = match &incoming.taker {
                Some(taker) => incoming.before.plus(taker.counts()),
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
        let all: [u64; NAMES.len()] = [
            sent.collisions,
            sent.deferred,
            sent.aborted,
            sent.missed,
            sent.waits,
            sent.sent,
            sent.raised,
            sent.lies,
            received.replaced,
            received.length,
            received.nonsense,
            received.late,
        ];
        for (counter, value) in counters.iter_mut().zip(all) {
            *counter = value;
        }
    }
}

impl Device {
    #[inline]
    fn window(&self) -> &impl Window {
        self.segment.window()
    }

    /// Puts a frame on the wires that it is for; until when to wait if it was on none and has to be begun again.
    fn send(
        &self,
        sender: &mut Sender<KVec<Line>>,
        frame: &mut Sending,
        mut now: u64,
    ) -> Option<u64> {
        loop {
            match sender.step(self.window(), frame, now) {
                Do::Again => {}
                Do::Wait(until) => {
                    now = now_ns();
                    while now < until {
                        core::hint::spin_loop();
                        now = now_ns();
                    }
                }
                Do::Raise(vnode) => self.raise(vnode),
                Do::Done => return None,
                Do::Requeue(until) => return Some(until),
            }
        }
    }

    fn raise(&self, vnode: VnodeId) {
        if let Some(number) = Number::new(NETWORK) {
            self.core.raise(vnode, number);
        }
    }

    /// Takes what is on the wire, so many frames at most.
    fn receive(&self, left: &mut usize) {
        let window = self.window();
        let mut incoming = self.incoming.lock();
        if incoming.is_asleep {
            incoming.is_asleep = false;
            if let Some(taker) = &incoming.taker {
                taker.wake(window);
            }
        }
        loop {
            let Some(taker) = &mut incoming.taker else {
                return;
            };
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
            .taker
            .as_ref()
            .map_or(0, |taker| taker.awaiting(window));
        drop(incoming);
        for vnode in each(awaiting) {
            self.raise(vnode);
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
        joined.own.mend(self.window());
        self.look(joined, &mut outgoing.lives, &mut outgoing.known);
        let now = now_ns();
        let mut waits = false;
        for (queue, place) in VnodeId::all().zip(&mut outgoing.waiting) {
            let Some(until) = *place else {
                continue;
            };
            // If it has to wait again, it will say so.
            let is_shared = queue == self.core.identity().vnode;
            if now >= until || is_shared || joined.sender.can_begin(self.window(), queue, now) {
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
        if !joined.sender.look(self.window(), lives) {
            return;
        }
        for (vnode, address) in VnodeId::all().zip(&self.addresses) {
            let station = joined.sender.roster().station(vnode);
            address.store(station.map_or(0, |seen| seen.mac.to_word()), Relaxed);
        }
    }
}
