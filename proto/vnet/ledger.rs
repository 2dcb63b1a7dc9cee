// SPDX-License-Identifier: GPL-2.0

//! What a lane of a station has sent and others have not taken: whose chunks are whose.
//!
//! A frame stands in the sender's chunks until every station that it was sent to has taken it. Each counts what it has taken of
//! whom, in the order in which it was sent, and so the sender knows. That is a claim: one that makes no sense
//! settles all, and hurts nobody but who makes it, for a frame that was replaced is recognised ([`super::frame`]). This is
//! the sender's own, and nobody else's to see. docs/vnet.md, section 3.3.

use super::chunks::{Chunks, Run};
use super::PLACES;
use crate::id::VnodeId;
use crate::membership::{bit, each, Mask};
use core::ops::DerefMut;

/// In place of a frame that was given up.
const NONE: u16 = u16::MAX;

/// A frame, by its first chunk. Whoever makes a ledger has the memory for [`CHUNKS`](super::CHUNKS) of them.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    count: u8,
    /// Stations that have yet to take it.
    waiting: Mask,
    /// It is not sent yet to all that it is for.
    is_open: bool,
}

impl Frame {
    /// There is none.
    pub const NEW: Self = Self {
        count: 0,
        waiting: 0,
        is_open: false,
    };
}

/// What was sent to one station. Whoever makes a ledger has the memory for [`MAX_VNODES`](crate::id::MAX_VNODES) of them.
#[derive(Clone, Debug)]
pub struct Line {
    sent: u64,
    settled: u64,
    chunks: usize,
    /// First chunks of what is sent and not settled, by number.
    frames: [u16; PLACES],
}

impl Line {
    /// Nothing was.
    pub const NEW: Self = Self {
        sent: 0,
        settled: 0,
        chunks: 0,
        frames: [NONE; PLACES],
    };

    fn open(&self) -> u64 {
        self.sent.wrapping_sub(self.settled)
    }

    fn frame(&mut self, number: u64) -> Option<&mut u16> {
        self.frames.get_mut((number % PLACES as u64) as usize)
    }
}

/// The station has claimed to have taken what was never sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lie;

/// The memory that a ledger is in, which is too much for a stack.
#[derive(Clone, Debug)]
pub struct Books<L, F> {
    /// As many as vnodes; to a station without one nothing can be sent.
    pub lines: L,
    /// As many as a station has chunks, or up to the last one of the lane's.
    pub frames: F,
}

/// All that a lane has sent.
#[derive(Clone, Debug)]
pub struct Ledger<L, F> {
    chunks: Chunks,
    books: Books<L, F>,
}

impl<L, F> Ledger<L, F>
where
    L: DerefMut<Target = [Line]>,
    F: DerefMut<Target = [Frame]>,
{
    /// Nothing is sent, of these chunks.
    pub const fn new(chunks: Chunks, books: Books<L, F>) -> Self {
        Self { chunks, books }
    }

    /// Chunks for a frame of so many bytes. `None` while there are none.
    pub fn take(&mut self, bytes: usize) -> Option<Run> {
        let run = self.chunks.take(Run::for_bytes(bytes))?;
        if let Some(frame) = self.books.frames.get_mut(usize::from(run.first)) {
            *frame = Frame {
                count: run.count as u8,
                waiting: 0,
                is_open: true,
            };
        }
        Some(run)
    }

    /// Whether a frame may be sent to a station: it is not too far behind.
    pub fn may_send(&self, to: VnodeId) -> bool {
        let line = self.books.lines.get(to.index());
        // Others need some chunks, too (VN-26).
        let share = self.chunks.count() / 2;
        line.is_some_and(|line| line.open() < PLACES as u64 && line.chunks < share)
    }

    /// Frames that a station has not taken.
    pub fn open(&self, to: VnodeId) -> u64 {
        self.books.lines.get(to.index()).map_or(0, Line::open)
    }

    /// A frame was sent to a station. Only after [`may_send`](Self::may_send).
    pub fn sent(&mut self, run: Run, to: VnodeId) {
        let Some(line) = self.books.lines.get_mut(to.index()) else {
            return;
        };
        let number = line.sent;
        if let Some(place) = line.frame(number) {
            *place = run.first;
        }
        line.sent = number.wrapping_add(1);
        line.chunks = line.chunks.saturating_add(run.count.into());
        if let Some(frame) = self.books.frames.get_mut(usize::from(run.first)) {
            frame.waiting |= bit(to);
        }
    }

    /// The frame is sent to all that it was for. If that is none, its chunks are free.
    pub fn close(&mut self, run: Run) {
        let frame = self.books.frames.get_mut(usize::from(run.first));
        let Some(frame) = frame.filter(|frame| frame.is_open) else {
            return;
        };
        frame.is_open = false;
        if frame.waiting == 0 {
            self.chunks.give(run);
        }
    }

    /// A station says how many it has taken, ever; how many were new to the ledger.
    pub fn settle(&mut self, by: VnodeId, taken: u64) -> Result<u64, Lie> {
        let (claimed, open) = match self.books.lines.get(by.index()) {
            Some(line) => (taken.wrapping_sub(line.settled), line.open()),
            None => (0, 0),
        };
        let count = claimed.min(open);
        for _ in 0..count {
            self.settle_one(by);
        }
        if claimed > open {
            return Err(Lie);
        }
        Ok(count)
    }

    fn settle_one(&mut self, by: VnodeId) {
        let Some(line) = self.books.lines.get_mut(by.index()) else {
            return;
        };
        let number = line.settled;
        let first = line
            .frame(number)
            .map_or(NONE, |place| core::mem::replace(place, NONE));
        line.settled = number.wrapping_add(1);
        self.let_go(first, by);
    }

    /// Gives up what a station has not taken: the chunks can be used anew, and what it takes later it finds
    /// replaced (VN-27). Its count goes on. How many frames.
    pub fn abandon(&mut self, to: VnodeId) -> u64 {
        let (settled, sent) = match self.books.lines.get(to.index()) {
            Some(line) => (line.settled, line.sent),
            None => (0, 0),
        };
        let mut given_up = 0;
        for offset in 0..sent.wrapping_sub(settled) {
            let number = settled.wrapping_add(offset);
            let line = self.books.lines.get_mut(to.index());
            let place = line.and_then(|line| line.frame(number));
            let first = place.map_or(NONE, |place| core::mem::replace(place, NONE));
            given_up += u64::from(first != NONE);
            self.let_go(first, to);
        }
        given_up
    }

    /// The station is another one from now on, which has taken so many.
    pub fn restart(&mut self, to: VnodeId, taken: u64) {
        self.abandon(to);
        if let Some(line) = self.books.lines.get_mut(to.index()) {
            line.sent = taken;
            line.settled = taken;
        }
    }

    /// The stations that keep chunks.
    pub fn keepers(&self) -> impl Iterator<Item = VnodeId> + '_ {
        let lines = VnodeId::all().zip(&*self.books.lines);
        lines.filter_map(|(station, line)| (line.chunks > 0).then_some(station))
    }

    /// Stations that have not taken all that was sent to them.
    pub fn behind(&self) -> Mask {
        each(Mask::MAX)
            .filter(|to| self.open(*to) != 0)
            .fold(0, |mask, to| mask | bit(to))
    }

    fn let_go(&mut self, first: u16, by: VnodeId) {
        let Some(frame) = self.books.frames.get_mut(usize::from(first)) else {
            return;
        };
        frame.waiting &= !bit(by);
        let count = u16::from(frame.count);
        let is_free = frame.waiting == 0 && !frame.is_open;
        if let Some(line) = self.books.lines.get_mut(by.index()) {
            line.chunks = line.chunks.saturating_sub(count.into());
        }
        if is_free {
            self.chunks.give(Run { first, count });
        }
    }
}
