// SPDX-License-Identifier: GPL-2.0

//! Who is on a segment, and what each wants to hear.
//!
//! A station has the number of its vnode. It says itself what it is; others believe it as far as the membership has that
//! life of the vnode. A word that counts changes tells when to read it all anew. docs/vnet.md, section 2.

use super::chunks::Run;
use super::frame;
use super::port::{Lanes, Port, MAX_LANES};
use super::wire::Receiver;
use super::{begin, Header, STATION, STATIONS};
use crate::id::{Generation, VnodeId, MAX_VNODES};
use crate::membership::{bit, each, Mask};
use crate::record;
use crate::window::Window;

record! {
    /// What a station says of itself.
    pub struct Station: 0x18 {
        /// The life of its vnode, which time it has joined, how many lanes it has, and [`ACTIVE`] and the like.
        state: u64,
        /// Its address, the first byte lowest.
        mac: u64,
        /// The multicast addresses that it listens to, see [`Mac::filter_bit`].
        filter: u64,
    }
}

/// It takes frames.
const ACTIVE: u64 = 1;
/// It takes those for others as well.
const PROMISCUOUS: u64 = 1 << 1;
/// It takes all for groups.
const ALL_MULTICAST: u64 = 1 << 2;
const LANES: u32 = 3;
const EPOCH: u32 = 8;
const LIFE: u32 = 32;

/// Where what a station says lies.
const fn record_of(station: VnodeId) -> usize {
    STATIONS + STATION * station.index()
}

/// Times that a station tries to count its change while others count theirs: then they have, and all read anew.
const TRIES: u32 = 64;

/// Address of a station on an Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The address that a vnode has on a segment if nobody says another one: locally administered, and the same in each
    /// life (VN-12).
    pub fn of_vnode(segment: &str, vnode: VnodeId) -> Self {
        let [a, b, c, ..] = hash(segment.bytes()).to_le_bytes();
        Self([0x02, 0xad, a, b, c, vnode.number() as u8])
    }

    /// Whether it is a group's.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// The bit of a group in [`Station::filter`]; several have the same.
    pub fn filter_bit(self) -> u64 {
        1u64.wrapping_shl(hash(self.0.into_iter()) >> 26)
    }

    /// It as a number, the first byte lowest.
    pub const fn to_word(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    const fn from_word(word: u64) -> Self {
        let [a, b, c, d, e, f, _, _] = word.to_le_bytes();
        Self([a, b, c, d, e, f])
    }
}

/// FNV-1a, of 32 bits.
fn hash(bytes: impl Iterator<Item = u8>) -> u32 {
    bytes.fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// What a station listens to, beside frames for itself and for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listens {
    /// To all that is sent.
    pub promiscuous: bool,
    /// To all that is sent to groups.
    pub all_multicast: bool,
    /// To the groups of these bits ([`Mac::filter_bit`]).
    pub filter: u64,
}

/// A station, as another one sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The life of its vnode.
    pub life: Generation,
    /// Counts how often it has joined.
    pub epoch: u8,
    /// Its address.
    pub mac: Mac,
    /// How many lanes it has.
    pub lanes: Lanes,
    /// What it listens to.
    pub listens: Listens,
}

/// The station that this kernel is: what it has said.
#[derive(Debug)]
pub struct Own {
    me: VnodeId,
    life: Generation,
    epoch: u8,
    lanes: Lanes,
    mac: Mac,
    listens: Listens,
}

/// The wires to the lanes of a station; to as many as it has.
pub type Wires = [Option<Receiver>; MAX_LANES];

impl Own {
    /// Joins the segment with so many lanes: from here on others send. The wires are empty, and begin where no word of an
    /// earlier time is taken for one of now (VN-20).
    pub fn join<W: Window>(
        window: &W,
        me: VnodeId,
        life: Generation,
        mac: Mac,
        lanes: Lanes,
    ) -> (Self, Wires) {
        let state = record_of(me) + Station::OFFSETS.state;
        let before = window.load_acquire64(state);
        window.store_release64(state, before & !ACTIVE);
        // What it has sent before may be on a wire yet, and have lain across what are two lanes' chunks now.
        frame::begin(window, me, Run::ALL);
        let mut wires = Wires::default();
        for (lane, wire) in lanes.each().zip(&mut wires) {
            *wire = Some(begin(window, Port { vnode: me, lane }));
        }
        let own = Self {
            me,
            life,
            epoch: ((before >> EPOCH) as u8).wrapping_add(1),
            lanes,
            mac,
            listens: Listens::default(),
        };
        own.publish(window);
        (own, wires)
    }

    /// Leaves it. What is on the wire is lost.
    pub fn leave<W: Window>(self, window: &W) {
        let state = record_of(self.me) + Station::OFFSETS.state;
        window.store_release64(state, self.state() & !ACTIVE);
        count_change(window);
    }

    /// Takes another address.
    pub fn set_mac<W: Window>(&mut self, window: &W, mac: Mac) {
        self.mac = mac;
        self.publish(window);
    }

    /// Listens to something else.
    pub fn listen<W: Window>(&mut self, window: &W, listens: Listens) {
        if self.listens != listens {
            self.listens = listens;
            self.publish(window);
        }
    }

    /// Says anew what it is, if somebody has written over that; whether it had to (VN-53).
    pub fn mend<W: Window>(&self, window: &W) -> bool {
        let is_there = self
            .words()
            .into_iter()
            .all(|(offset, word)| window.load_acquire64(record_of(self.me) + offset) == word);
        if !is_there {
            self.publish(window);
        }
        !is_there
    }

    /// Which time this is that the station has joined.
    pub const fn epoch(&self) -> u8 {
        self.epoch
    }

    const fn state(&self) -> u64 {
        let mut state = (self.life.0 as u64) << LIFE
            | (self.epoch as u64) << EPOCH
            | (self.lanes.log2() as u64) << LANES
            | ACTIVE;
        if self.listens.promiscuous {
            state |= PROMISCUOUS;
        }
        if self.listens.all_multicast {
            state |= ALL_MULTICAST;
        }
        state
    }

    /// What it says of itself, by offset; what makes it be there comes last.
    const fn words(&self) -> [(usize, u64); 3] {
        [
            (Station::OFFSETS.mac, self.mac.to_word()),
            (Station::OFFSETS.filter, self.listens.filter),
            (Station::OFFSETS.state, self.state()),
        ]
    }

    fn publish<W: Window>(&self, window: &W) {
        for (offset, word) in self.words() {
            window.store_release64(record_of(self.me) + offset, word);
        }
        count_change(window);
    }
}

/// Counts a change, so that the others read anew.
fn count_change<W: Window>(window: &W) {
    let mut seen = changes(window);
    for _ in 0..TRIES {
        match window.compare_exchange64(Header::OFFSETS.changes, seen, seen.wrapping_add(1)) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// How often something has changed.
pub fn changes<W: Window>(window: &W) -> u64 {
    window.load_acquire64(Header::OFFSETS.changes)
}

fn see<W: Window>(window: &W, station: VnodeId) -> Option<Seen> {
    let record = record_of(station);
    let state = window.load_acquire64(record + Station::OFFSETS.state);
    if state & ACTIVE == 0 {
        return None;
    }
    // Who has a number of lanes that nobody has is not there, for nobody could send to it.
    let lanes = Lanes::from_log2((state >> LANES & 3) as u32)?;
    Some(Seen {
        life: Generation((state >> LIFE) as u32),
        epoch: (state >> EPOCH) as u8,
        mac: Mac::from_word(window.load_acquire64(record + Station::OFFSETS.mac)),
        lanes,
        listens: Listens {
            promiscuous: state & PROMISCUOUS != 0,
            all_multicast: state & ALL_MULTICAST != 0,
            filter: window.load_acquire64(record + Station::OFFSETS.filter),
        },
    })
}

/// The lives that the membership has, by vnode.
pub type Lives = [Option<Generation>; MAX_VNODES];

/// All stations of a segment but one's own, as of some count of changes.
#[derive(Clone, Debug)]
pub struct Roster {
    changes: u64,
    is_stale: bool,
    present: Mask,
    stations: [Option<Seen>; MAX_VNODES],
}

impl Roster {
    /// One that knows nobody yet.
    pub const NEW: Self = Self {
        changes: 0,
        is_stale: true,
        present: 0,
        stations: [None; MAX_VNODES],
    };

    /// The membership has changed: all is to be read anew.
    pub fn expire(&mut self) {
        self.is_stale = true;
    }

    /// Reads anew what may have changed; the stations that have come, left or are others now (VN-21). [`None`] if
    /// nothing was to be read.
    pub fn refresh<W: Window>(&mut self, window: &W, me: VnodeId, lives: &Lives) -> Option<Mask> {
        // Before the stations: what changes while they are read is read again the next time.
        let changes = changes(window);
        if changes == self.changes && !self.is_stale {
            return None;
        }
        self.changes = changes;
        self.is_stale = false;
        let mut changed = 0;
        self.present = 0;
        for (vnode, known) in VnodeId::all().zip(&mut self.stations) {
            let life = lives.get(vnode.index()).copied().flatten();
            let now = see(window, vnode).filter(|seen| vnode != me && life == Some(seen.life));
            // What was sent to other lanes than now is nobody's to count.
            let joined = |seen: Seen| (seen.life, seen.epoch, seen.lanes);
            if known.map(joined) != now.map(joined) {
                changed |= bit(vnode);
            }
            if now.is_some() {
                self.present |= bit(vnode);
            }
            *known = now;
        }
        Some(changed)
    }

    /// A station, if it is there.
    pub fn station(&self, vnode: VnodeId) -> Option<&Seen> {
        self.stations.get(vnode.index())?.as_ref()
    }

    /// All that are there.
    pub fn stations(&self) -> impl Iterator<Item = (VnodeId, &Seen)> {
        each(self.present).filter_map(|vnode| Some((vnode, self.station(vnode)?)))
    }
}
