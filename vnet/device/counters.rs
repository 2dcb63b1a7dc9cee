// SPDX-License-Identifier: GPL-2.0

//! What a device counts beside what Linux counts for all of them (`ethtool -S`).

#![deny(unsafe_code)]

use crate::netdev::Counters;
use adeos_proto::vnet::{
    incoming,
    outgoing, //
};

/// Their names, in the order in which [`tell`] has them.
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

/// What Linux has to know of them.
pub(super) const COUNTERS: Counters = Counters {
    names: &TABLE,
    collisions: 0,
    aborted: 2,
    missed: 3,
    frame_errors: 9,
};

/// Puts what was sent and received there, as far as there is room.
pub(super) fn tell(sent: &outgoing::Counts, received: &incoming::Counts, counters: &mut [u64]) {
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
