// SPDX-License-Identifier: GPL-2.0

//! What vnodes may have of bridges, what they have, and what has happened so far.

use super::BRIDGES;

/// What a vnode may have. It counts by number, not by life: a vnode that dies again and again,
/// and leaves bridges that others still use, does not get more (BR-40).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bridges that it owns.
    pub bridges: u16,
    /// Bytes of them.
    pub bytes: u64,
}

impl Quota {
    /// What every vnode but the root has (BR-40).
    pub const DEFAULT: Self = Self {
        bridges: 32,
        bytes: 256 << 20,
    };
    /// No bound but the table's and the pool's: the root's.
    pub const UNBOUNDED: Self = Self {
        bridges: BRIDGES as u16,
        bytes: u64::MAX,
    };
}

/// What a vnode has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bridges that it owns, or owned when it died.
    pub bridges: u16,
    /// Bytes of them, those that are not yet taken back among them.
    pub bytes: u64,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bridges that got memory.
    pub created: u64,
    /// Bridges whose memory was taken back.
    pub destroyed: u64,
    /// Moves to another place.
    pub moved: u64,
    /// Freezes that a user refused.
    pub refused: u64,
    /// Freezes that a user did not answer in time.
    pub timed_out: u64,
    /// The longest time from a freeze to its end, in microseconds.
    pub longest_freeze_us: u64,
}

impl Counters {
    pub(super) fn note_freeze(&mut self, began_us: u64, now_us: u64) {
        let took = now_us.saturating_sub(began_us);
        self.longest_freeze_us = self.longest_freeze_us.max(took);
    }
}
