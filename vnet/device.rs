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
use crate::statics::{
    refresh,
    Listed, //
};
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
    MutexGuard,
    SpinLock, //
};

/// A station that has joined.
struct Joined {
    own: Own,
    sender: Sender<KVec<Line>>,
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

/// How the device is connected.
struct Link {
    /// It is up, and has this address.
    up: Option<(Address, Listed)>,
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

/// How soon a station that has joined sees whether it may stay, and one that could not tries again, in ms.
const FOLLOW_MS: u32 = 1000;

/// How much later some try again, in ms: what is no segment goes when all have let go of it at once.
const SPREAD_MS: u32 = 512;

/// What [`Driver::count`] counts.
const NAMES: [&str; 13] = [
    "collisions",
    "deferred",
    "aborted",
    "missed",
    "waits",
    "words",
    "portals",
    "lies",
    "timeouts",
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
        frame_errors: 9,
    };
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
                link <- kernel::new_mutex!(Link {
                    up: None,
                    station: Station::Away,
                    refused: None,
                }, "vnet:link"),
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
        // Before others can send: their portals find it.
        let listed = Listed::new(self.handle)?;
        self.link.lock().up = Some((address, listed));
        self.handle.follow();
        Ok(())
    }

    fn stop(&self) {
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

    fn follow(&self) -> u32 {
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
        let all: [u64; NAMES.len()] = [
            sent.collisions,
            sent.deferred,
            sent.aborted,
            sent.missed,
            sent.waits,
            sent.sent,
            sent.raised,
            sent.lies,
            sent.timeouts,
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
        let identity = self.core.identity();
        let (me, life) = (identity.vnode, identity.generation);
        let seed = now_ns() ^ (u64::from(me.number()) << 48);
        without_soft_interrupts(|| {
            let (mut own, wire) = Own::join(segment.window(), me, life, address);
            let mut incoming = self.incoming.lock();
            incoming.taking = Some(Taking {
                taker: Taker::new(me, own.epoch(), wire),
                segment: segment.clone(),
            });
            incoming.is_asleep = false;
            drop(incoming);
            let mut outgoing = self.outgoing.lock();
            own.listen(segment.window(), outgoing.listens);
            outgoing.waiting = [None; MAX_VNODES];
            outgoing.joined = Some(Joined {
                sender: Sender::new(me, own.epoch(), seed, lines),
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

    /// Puts a frame on the wires that it is for; until when to wait if it was on none and has to be begun again.
    fn send(
        &self,
        window: &Mapped,
        sender: &mut Sender<KVec<Line>>,
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
