// SPDX-License-Identifier: GPL-2.0

//! A frame as it stands in its sender's chunks, and the head of its first chunk.
//!
//! Whoever takes it may come late, when the sender has put another frame there. So each frame has a *generation*, which the head
//! has while the frame stands, and which the word on the wire says: a taker looks before it has copied, and after. Heads lie
//! apart from chunks, each for one of them, so that nothing that is sent can look like one.

use super::chunks::Run;
use super::port::{Lane, Port, MAX_LANES};
use super::{chunk, head, CHUNK, CHUNKS, HEAD};
use crate::id::VnodeId;
use crate::record;
use crate::window::Window;

record! {
    /// What is said of a frame.
    pub struct Head: 0x20 {
        /// Which frame this is, and above it which time its sender has joined; 0 while it is written.
        generation: u32,
        /// Bytes of it.
        length: u32,
        /// What the sender leaves to whoever takes it (checksum, segments), as `struct virtio_net_hdr`.
        offload: [u8; 16],
        /// Zero.
        reserved: u64,
    }
}

/// Bytes of the largest frame: 64 KiB of a packet, the Ethernet header, and two VLAN tags.
pub const MAX_LENGTH: usize = 0xffff + 14 + 8;
/// Bytes of the smallest one, which has nothing but its header.
pub const MIN_LENGTH: usize = 14;

const _: () = assert!(MAX_LENGTH <= CHUNK * CHUNKS / MAX_LANES / 2 && Head::SIZE == HEAD);

/// What goes over a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Whose frame it is.
    pub from: Port,
    /// Its first chunk, of all that the station has.
    pub chunk: u16,
    /// Which of the sender's frames it is; not 0.
    pub generation: u16,
    /// Which time the sender has joined ([`super::station::Seen::epoch`]).
    pub sender: u8,
    /// Which time the station that it is for has joined.
    pub taker: u8,
}

const SENDER: u32 = 16;
const TAKER: u32 = 24;
const FROM: u32 = 32;
const LANE: u32 = 36;
const CHUNK_AT: u32 = 38;

const _: () = assert!(CHUNKS <= 1 << (super::wire::WORD_BITS - CHUNK_AT));

impl Word {
    /// What the head of its frame says while that stands.
    const fn stands(self) -> u32 {
        (self.sender as u32) << SENDER | self.generation as u32
    }

    /// As it goes over the wire.
    pub const fn bits(self) -> u64 {
        self.generation as u64
            | (self.sender as u64) << SENDER
            | (self.taker as u64) << TAKER
            | (self.from.vnode.number() as u64) << FROM
            | (self.from.lane.number() as u64) << LANE
            | (self.chunk as u64) << CHUNK_AT
    }

    /// What somebody has put on the wire; `None` if no station has such a chunk.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        let chunk = bits >> CHUNK_AT;
        let vnode = VnodeId::new((bits >> FROM & 0xf) as u32);
        let lane = Lane::new((bits >> LANE & 0x3) as u32);
        let (Some(vnode), Some(lane)) = (vnode, lane) else {
            return None;
        };
        if chunk >= CHUNKS as u64 {
            return None;
        }
        Some(Self {
            from: Port { vnode, lane },
            chunk: chunk as u16,
            generation: bits as u16,
            sender: (bits >> SENDER) as u8,
            taker: (bits >> TAKER) as u8,
        })
    }
}

/// Why a frame is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The sender has put another one there.
    Replaced,
    /// It is longer than any, or shorter, or does not lie in the sender's chunks.
    Length,
}

/// Where the bytes of a frame lie.
pub const fn body(of: VnodeId, first: u16) -> usize {
    chunk(of, first as usize)
}

/// Begins to replace what stands in chunks: nobody takes that any more. The sender.
pub fn begin<W: Window>(window: &W, me: VnodeId, run: Run) {
    for number in run.first..run.first.saturating_add(run.count) {
        window.store_release(head(me, number.into()) + Head::OFFSETS.generation, 0);
    }
    // Before the bytes that follow.
    window.full_barrier();
}

/// Says that the frame of a word stands, with `length` bytes behind the head. The sender.
pub fn finish<W: Window>(window: &W, word: Word, length: usize, offload: [u8; 16]) {
    let at = head(word.from.vnode, word.chunk.into());
    let said = Head {
        generation: 0,
        // No frame is that long.
        length: length as u32,
        offload,
        reserved: 0,
    };
    window.write(at, &said.to_bytes());
    window.store_release(at + Head::OFFSETS.generation, word.stands());
}

/// What a word stands for: how many bytes there are, and what is left to do with them.
pub fn open<W: Window>(window: &W, word: Word) -> Result<(usize, [u8; 16]), Lost> {
    let at = head(word.from.vnode, word.chunk.into());
    if !is_there(window, word) {
        return Err(Lost::Replaced);
    }
    let mut bytes = [0; Head::SIZE];
    window.read(at, &mut bytes);
    let said = Head::from_bytes(&bytes);
    let length = said.length as usize;
    let room = CHUNKS.saturating_sub(word.chunk.into()) * CHUNK;
    if !(MIN_LENGTH..=MAX_LENGTH.min(room)).contains(&length) {
        return Err(Lost::Length);
    }
    Ok((length, said.offload))
}

/// Whether what was copied is the frame of the word: after the copy.
pub fn close<W: Window>(window: &W, word: Word) -> Result<(), Lost> {
    window.full_barrier();
    if is_there(window, word) {
        Ok(())
    } else {
        Err(Lost::Replaced)
    }
}

fn is_there<W: Window>(window: &W, word: Word) -> bool {
    let at = head(word.from.vnode, word.chunk.into()) + Head::OFFSETS.generation;
    let generation = window.load_acquire(at);
    generation != 0 && generation == word.stands()
}
