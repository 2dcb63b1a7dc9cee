// SPDX-License-Identifier: GPL-2.0

//! What a lane counts of what it sends.

/// What was counted, ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Collisions on wires.
    pub collisions: u64,
    /// Frames that were not the first on the wire when they were ready.
    pub deferred: u64,
    /// Frames that a wire was given up for, because of collisions or of time.
    pub aborted: u64,
    /// Frames that a station did not get, because it was too far behind.
    pub missed: u64,
    /// Times that a frame had to wait for somebody to take an older one.
    pub waits: u64,
    /// Words that were put on wires.
    pub sent: u64,
    /// Portals that were raised for them.
    pub raised: u64,
    /// Claims of others that made no sense.
    pub lies: u64,
    /// Queues that had been stopped for too long ([`Sender::time_out`]).
    pub timeouts: u64,
}

impl Counts {
    /// These and others.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            collisions: self.collisions.wrapping_add(other.collisions),
            deferred: self.deferred.wrapping_add(other.deferred),
            aborted: self.aborted.wrapping_add(other.aborted),
            missed: self.missed.wrapping_add(other.missed),
            waits: self.waits.wrapping_add(other.waits),
            sent: self.sent.wrapping_add(other.sent),
            raised: self.raised.wrapping_add(other.raised),
            lies: self.lies.wrapping_add(other.lies),
            timeouts: self.timeouts.wrapping_add(other.timeouts),
        }
    }
}
