// SPDX-License-Identifier: GPL-2.0

//! What `/dev/adeos` tells of bridges (docs/kmb-ioctl.md).

use crate::record;

record! {
    /// One bridge. The caller fills `size` and `index`; the meanings are those of
    /// docs/bridges-and-portals.md, section 2.5.
    pub struct Bridge: 192 {
        /// Bytes of this record.
        size: u32,
        /// Its place, below [`crate::bridge::BRIDGES`].
        index: u32,
        /// Counts the bridges of this place.
        serial: u32,
        /// One of [`crate::bridge::entry::state`].
        state: u32,
        /// Its name.
        name: [u8; 32],
        /// 1 for a global name, 2 for a local one.
        scope: u32,
        /// The vnode of a local name.
        vnode: u32,
        /// The owner's number.
        owner: u32,
        /// The owner's life.
        owner_generation: u32,
        /// Bits of [`crate::bridge::entry::flag`].
        flags: u32,
        /// Bits of [`crate::bridge::mode`].
        mode: u32,
        /// Vnodes other than the owner that may read, as bits.
        readers: u32,
        /// Vnodes other than the owner that may write, as bits.
        writers: u32,
        /// Vnodes that have it mapped, as bits.
        mapped: u32,
        /// Vnodes that keep it from moving, as bits.
        pinned_by: u32,
        /// Counts its moves.
        place: u32,
        /// Counts its freezes.
        freeze: u32,
        /// Physical address.
        base: u64,
        /// Bytes.
        bytes: u64,
        /// Life of each vnode that is a user; 0 for those that are not.
        users: [u32; 16],
        /// How often it is open in the kernel that is asked.
        openers: u32,
        /// Zero.
        reserved: u32,
        /// Zero.
        reserved2: u64,
    }
}

record! {
    /// What bridges and moves have come to. The caller fills `size`.
    pub struct BridgeStat: 320 {
        /// Bytes of this record.
        size: u32,
        /// Bridges that there are.
        bridges: u32,
        /// Bridges that there can be.
        places: u32,
        /// How long users may take to let go of a bridge, in ms.
        freeze_timeout_ms: u32,
        /// Bridges that were created.
        created: u64,
        /// Bridges whose memory was taken back.
        destroyed: u64,
        /// Moves.
        moved: u64,
        /// Freezes that a user refused.
        refused: u64,
        /// Freezes that a user did not answer in time.
        timed_out: u64,
        /// The longest time from a freeze to its end, in microseconds.
        longest_freeze_us: u64,
        /// Requests for memory for which room was made by moving bridges.
        served: u64,
        /// Requests for memory that failed though enough was free.
        unserved: u64,
        /// Events that could not be sent at once.
        delayed: u64,
        /// Answers that nobody could be given.
        unanswered: u64,
        /// Messages that nobody should have sent.
        strange: u64,
        /// Bridges that count for each vnode.
        owned: [u32; 16],
        /// Bytes of them.
        owned_bytes: [u64; 16],
        /// Zero.
        reserved: [u64; 3],
    }
}
