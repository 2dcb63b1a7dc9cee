// SPDX-License-Identifier: GPL-2.0

//! An Ethernet between vnodes: where what lies in the bridge of a segment.
//!
//! Paper section 7.1; docs/vnet.md is the specification. The window is the bridge. Each vnode has a *station* of the number
//! that it has itself, in a part of the bridge that nobody else writes: what it is ([`station`]), what it has
//! taken, and the memory in which its frames stand ([`frame`]). It has some lanes ([`port`]), and the way to each is a
//! *wire* ([`wire`]), on which all others contend by the rules of [`crate::csma`]; what goes over it is one word, which says
//! whose frame it is and where. So nobody ever has a wire: a station that dies in the middle of a frame has not sent it.

pub mod chunks;
pub mod forward;
pub mod frame;
pub mod incoming;
pub mod ledger;
pub mod members;
pub mod outgoing;
pub mod port;
pub mod station;
pub mod wire;

use crate::id::{VnodeId, MAX_VNODES};
use crate::record;
use crate::signature::Signature;
use crate::window::Window;
use port::{Port, PORTS};

/// Says that the bridge is a segment's.
pub const MAGIC: u64 = u64::from_le_bytes(*b"ADEOSVNT");
/// Version of what docs/vnet.md specifies.
pub const VERSION: u32 = 2;
/// Bytes of the bridge.
pub const SIZE: usize = 18 << 20;
/// What the name of the bridge begins with; the segment's follows.
pub const PREFIX: &str = "vnet.";

/// What a segment begins with (VN-1).
pub const SIGNATURE: Signature = Signature {
    magic: MAGIC,
    version: VERSION,
    size: SIZE as u32,
};

record! {
    /// What the segment is, at the start of the bridge.
    pub struct Header: 0x18 {
        /// [`SIGNATURE`], as the two that follow.
        magic: u64,
        /// [`VERSION`].
        version: u32,
        /// [`SIZE`].
        size: u32,
        /// Changes of stations, ever ([`station::changes`]).
        changes: u64,
    }
}

/// What the stations are, one after the other.
const STATIONS: usize = 0x1000;
/// Bytes from one to the next.
const STATION: usize = 0x100;
/// The ports' pages, one after the other.
const PAGES: usize = 0x4_0000;
const PAGE: usize = 0x1000;
/// The wires, one after the other.
const WIRES: usize = 0x8_0000;
/// Frames that can be on a wire and not taken yet.
pub const PLACES: usize = 0x200;
/// The heads of the stations' chunks.
const HEADS: usize = 0xc_0000;
/// Bytes of a head.
pub const HEAD: usize = 0x20;
/// The stations' frames, one after the other.
const STORES: usize = 0x10_0000;
/// Bytes of a chunk; a frame takes some that follow each other.
pub const CHUNK: usize = 0x800;
/// Chunks that a station has for its frames, all of its lanes together.
pub const CHUNKS: usize = 0x200;

const _: () = assert!(Header::SIZE <= STATIONS && station::Station::SIZE <= STATION);
const _: () = assert!(STATIONS + STATION * MAX_VNODES <= PAGES);
const _: () = assert!(PAGES + PAGE * PORTS <= WIRES);
const _: () = assert!(WIRES + PLACES * 8 * PORTS <= HEADS);
const _: () = assert!(HEADS + HEAD * CHUNKS * MAX_VNODES <= STORES);
const _: () = assert!(STORES + CHUNK * CHUNKS * MAX_VNODES <= SIZE);
const _: () = assert!(SIZE as u64 % crate::layout::GRANULE == 0);

/// Where what a port says lies in its page: one part to a pair of cache lines.
mod part {
    /// `u64` by sending port: frames taken from it ([`super::ledger`]).
    pub(super) const TAKEN: usize = 0x000;
    /// `u64`: where the next frame goes on the wire to it; senders write.
    pub(super) const HEAD: usize = 0x200;
    /// `u64`: not 0 while it sleeps.
    pub(super) const ASLEEP: usize = 0x280;
    /// `u64`: bits of ports that wait for it to take something; senders set.
    pub(super) const AWAITED: usize = 0x300;
}

const _: () = assert!(part::TAKEN + 8 * PORTS <= part::HEAD && part::AWAITED < PAGE);

/// Where a part of a port's page lies.
const fn at(port: Port, part: usize) -> usize {
    PAGES + PAGE * port.index() + part
}

/// The wire to a port.
pub const fn wire(to: Port) -> wire::Wire {
    wire::Wire {
        head: at(to, part::HEAD),
        places: WIRES + PLACES * 8 * to.index(),
        count: PLACES as u64,
    }
}

/// Where a chunk of a station lies; one that it does not have is its last.
pub const fn chunk(of: VnodeId, number: usize) -> usize {
    let number = if number < CHUNKS { number } else { CHUNKS - 1 };
    STORES + CHUNK * (CHUNKS * of.index() + number)
}

/// Where the head of a chunk lies, which is the frame's that begins there.
pub const fn head(of: VnodeId, number: usize) -> usize {
    let number = if number < CHUNKS { number } else { CHUNKS - 1 };
    HEADS + HEAD * (CHUNKS * of.index() + number)
}

/// Makes a new bridge, which is all zeros, a segment. Whoever has created it.
pub fn create<W: Window>(window: &W) {
    for to in port::each(u64::MAX) {
        wire(to).clear(window, 0);
    }
    SIGNATURE.sign(window);
}

/// Which time a sender has joined, above what a station has taken of it since.
const SENDER: u32 = 56;
const COUNT: u64 = (1 << SENDER) - 1;

/// What a port says that it has taken of another one (VN-24).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken(u64);

impl Taken {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// So many frames of a sender that has joined for the time `epoch`.
    pub const fn new(epoch: u8, count: u64) -> Self {
        Self((epoch as u64) << SENDER | count & COUNT)
    }

    /// How many of a time of the sender: none, if it has seen nothing of that time.
    pub const fn of(self, epoch: u8) -> u64 {
        if self.0 >> SENDER == epoch as u64 {
            self.0 & COUNT
        } else {
            0
        }
    }

    /// One more of that time, with which the count begins anew if it is another one.
    pub const fn next(self, epoch: u8) -> Self {
        Self::new(epoch, self.of(epoch).wrapping_add(1))
    }
}

/// Frames that a port has taken of another one since that has joined for the time `epoch`.
pub fn taken<W: Window>(window: &W, by: Port, from: Port, epoch: u8) -> u64 {
    Taken(window.load_acquire64(at(by, part::TAKEN) + 8 * from.index())).of(epoch)
}

/// Says how many frames of a port it has taken: their chunks are the sender's again. The station itself.
pub fn publish_taken<W: Window>(window: &W, me: Port, from: Port, taken: Taken) {
    window.store_release64(at(me, part::TAKEN) + 8 * from.index(), taken.0);
}

/// Says that a port sleeps. It has to look at its wire again before it does (VN-40).
pub fn sleep<W: Window>(window: &W, me: Port) {
    window.store_release64(at(me, part::ASLEEP), 1);
    window.full_barrier();
}

/// Says that it does not sleep any more.
pub fn wake<W: Window>(window: &W, me: Port) {
    window.store_release64(at(me, part::ASLEEP), 0);
}

/// Whether a port is to be raised, after something was put on its wire (VN-41): for as long as it says that it sleeps,
/// so that no sender that dies can take the news with it.
pub fn sleeps<W: Window>(window: &W, port: Port) -> bool {
    window.load_acquire64(at(port, part::ASLEEP)) != 0
}

/// Says that a port waits for another one to take something. It has to look again before it waits, and not
/// to wait for ever: whoever takes the word may die (VN-42).
pub fn await_taken<W: Window>(window: &W, me: Port, by: Port) {
    window.fetch_or64(at(by, part::AWAITED), me.bit());
}

/// The ports that wait, as bits, after something was taken: they are to be raised (VN-43).
pub fn take_awaiting<W: Window>(window: &W, me: Port) -> u64 {
    window.full_barrier();
    if window.load_acquire64(at(me, part::AWAITED)) == 0 {
        return 0;
    }
    window.swap64(at(me, part::AWAITED), 0)
}

/// What a port begins with: it has taken nothing, nobody waits, and its wire is free from a lap on that has not been (VN-20).
fn begin<W: Window>(window: &W, me: Port) -> wire::Receiver {
    for from in port::each(u64::MAX) {
        publish_taken(window, me, from, Taken::NONE);
    }
    window.store_release64(at(me, part::AWAITED), 0);
    wake(window, me);
    wire(me).begin(window)
}
