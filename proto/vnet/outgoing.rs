// SPDX-License-Identifier: GPL-2.0

//! How a lane of a station sends: to whom, whether it has to wait, and for how long it does.
//!
//! The caller copies the bytes, has the time, and raises portals. A frame goes in three steps: [`Sender::begin`] finds its
//! chunks, [`Sender::finish`] says that it stands there, and [`Sender::step`] puts it on one wire after the other.
//! docs/vnet.md, sections 3 and 4.

use super::chunks::{Chunks, Run};
use super::forward::{audience, Audience};
use super::frame::{self, Word};
use super::ledger::{Books, Frame, Ledger, Line};
use super::port::{Lanes, Port};
use super::station::{Lives, Mac, Roster};
use super::wire::Sensed;
use super::{await_taken, sleeps, taken, wire};
use crate::csma::{Attempt, Dice, GivenUp, Step, RULES};
use crate::id::{VnodeId, MAX_VNODES};
use crate::membership::{bit, each, Mask};
use crate::window::Window;
use core::ops::DerefMut;

mod counts;

pub use counts::Counts;

/// How long a frame for several stations waits for those that take nothing, all of them together, in ns; and how long chunks
/// are left to them when there are no others (VN-50).
pub const PATIENCE_NS: u64 = 8_000_000;
/// How long frames wait that are for that station alone, in ns: nobody else waits behind them. After it what it has not taken
/// is given up, and what is for it is lost until it takes something.
pub const LONG_PATIENCE_NS: u64 = 1_000_000_000;

/// From one wait for several stations to the next, in ns: whoever takes slowly is not to slow all down.
const QUIET_NS: u64 = 100_000_000;

/// What is known of a station that is behind.
#[derive(Clone, Copy, Debug)]
enum Behind {
    /// Nothing waits for it.
    No,
    /// Something that is for it waits since this time.
    Since(u64),
    /// It is not waited for, since a time at which it had taken so many.
    Stuck { since: u64, taken: u64 },
}

/// Whether a frame can be sent to a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// Now.
    Free,
    /// Once it has taken something.
    Full,
    /// Nobody waits for that any more.
    Stuck,
}

/// What becomes of a frame that is to be sent.
#[derive(Debug)]
#[must_use = "it has chunks"]
pub enum Ready {
    /// Nobody on the segment hears it.
    Nobody,
    /// Those who hear it are too far behind: it is lost.
    Missed,
    /// It has to wait until somebody takes something, or until this time at most, and be begun again.
    Wait(u64),
    /// It has its chunks: its bytes go to [`Outgoing::body`].
    Begun(Outgoing),
}

/// A frame that has chunks, and is not sent yet.
#[derive(Debug)]
#[must_use = "it has chunks"]
pub struct Outgoing {
    run: Run,
    me: Port,
    length: usize,
    to: Mask,
}

impl Outgoing {
    /// Where its bytes go.
    pub const fn body(&self) -> usize {
        frame::body(self.me.vnode, self.run.first)
    }
}

/// A frame that stands, on its way to the wires.
#[derive(Debug)]
#[must_use = "it has chunks"]
pub struct Sending {
    run: Run,
    word: Word,
    left: Mask,
    begun: Option<u64>,
    attempt: Option<Attempt>,
    sent: bool,
}

impl Sending {
    /// Whether it is for this station, and nobody else has got it.
    fn is_for(&self, station: VnodeId) -> bool {
        !self.sent && self.left == bit(station)
    }
}

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Calls again, with the same time if it likes.
    Again,
    /// Calls again at this time, which may be now.
    Wait(u64),
    /// Raises the portal of a lane, and calls again.
    Raise(Port),
    /// Nothing more: the frame is with all that it was for, or counted.
    Done,
    /// It has not been sent to anybody, and is to be begun again when somebody takes something, or at this time.
    Requeue(u64),
}

/// The sending end of a lane.
#[derive(Debug)]
pub struct Sender<L, F> {
    me: Port,
    epoch: u8,
    ledger: Ledger<L, F>,
    roster: Roster,
    behind: [Behind; MAX_VNODES],
    /// When the last wait for several stations began.
    several: Option<u64>,
    /// Since when there are too few chunks, and how many are wanted.
    short: Option<(u64, usize)>,
    /// By station, when it has last taken something that was sent to it, or been sent something after it had taken all.
    progress: [u64; MAX_VNODES],
    /// By station, since when frames for it have come back from its wire.
    returned: [Option<u64>; MAX_VNODES],
    dice: Dice,
    generation: u16,
    counts: Counts,
}

impl<L, F> Sender<L, F>
where
    L: DerefMut<Target = [Line]>,
    F: DerefMut<Target = [Frame]>,
{
    /// That of a lane of a station with so many, which has joined for the time `epoch`. `seed` is another number for each.
    pub const fn new(me: Port, lanes: Lanes, epoch: u8, seed: u64, books: Books<L, F>) -> Self {
        Self {
            me,
            epoch,
            ledger: Ledger::new(Chunks::new(me.lane, lanes), books),
            roster: Roster::NEW,
            behind: [Behind::No; MAX_VNODES],
            several: None,
            short: None,
            progress: [0; MAX_VNODES],
            returned: [None; MAX_VNODES],
            dice: Dice::new(seed),
            generation: seed as u16,
            counts: Counts {
                collisions: 0,
                deferred: 0,
                aborted: 0,
                missed: 0,
                waits: 0,
                sent: 0,
                raised: 0,
                lies: 0,
                timeouts: 0,
            },
        }
    }

    /// What was counted.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Who is on the segment, as far as this has seen.
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The membership has changed.
    pub fn expire(&mut self) {
        self.roster.expire();
    }

    /// Looks who is there, and forgets those who have left; whether it has read anew what they say.
    pub fn look<W: Window>(&mut self, window: &W, lives: &Lives) -> bool {
        let Some(changed) = self.roster.refresh(window, self.me.vnode, lives) else {
            return false;
        };
        for station in each(changed) {
            self.ledger.restart(station, self.taken(window, station));
            self.set_behind(station, Behind::No);
            self.set_returned(station, None);
        }
        true
    }

    /// Begins a frame of `length` bytes to an address, after a [`look`](Self::look).
    pub fn begin<W: Window>(&mut self, window: &W, to: Mac, length: usize, now: u64) -> Ready {
        let Audience { heard, meant } = audience(&self.roster, to);
        if heard == 0 {
            return Ready::Nobody;
        }
        let (mut free, mut full, mut missed) = (0, 0, 0);
        for station in each(heard) {
            let place = match self.room(window, station, now) {
                Room::Free => &mut free,
                Room::Full => &mut full,
                Room::Stuck => &mut missed,
            };
            *place |= bit(station);
        }
        let wait = match meant {
            0 => self.wait_for_several(full, now),
            // Who only listens is not waited for where somebody is spoken to.
            _ => self.wait_for_each(window, full & meant, now),
        };
        if let Some(until) = wait {
            self.counts.waits = self.counts.waits.wrapping_add(1);
            return Ready::Wait(until);
        }
        missed |= full;
        self.counts.missed = self.counts.missed.wrapping_add(missed.count_ones().into());
        if free == 0 {
            return Ready::Missed;
        }
        let run = match self.take_chunks(window, length, now) {
            Ok(run) => run,
            Err(until) => {
                self.counts.waits = self.counts.waits.wrapping_add(1);
                return Ready::Wait(until);
            }
        };
        frame::begin(window, self.me.vnode, run);
        Ready::Begun(Outgoing {
            run,
            me: self.me,
            length,
            to: free,
        })
    }

    /// Says that the bytes of a frame are there.
    pub fn finish<W: Window>(&mut self, window: &W, frame: Outgoing, offload: [u8; 16]) -> Sending {
        // 0 is that of no frame.
        self.generation = match self.generation.wrapping_add(1) {
            0 => 1,
            generation => generation,
        };
        let Outgoing {
            run,
            me,
            length,
            to,
        } = frame;
        let word = Word {
            from: me,
            chunk: run.first,
            generation: self.generation,
            sender: self.epoch,
            taker: 0,
        };
        frame::finish(window, word, length, offload);
        Sending {
            run,
            word,
            left: to,
            begun: None,
            attempt: None,
            sent: false,
        }
    }

    /// Gives up a frame that was begun.
    pub fn abort(&mut self, frame: Outgoing) {
        self.ledger.close(frame.run);
    }

    /// Takes one step with a frame that stands.
    pub fn step<W: Window>(&mut self, window: &W, frame: &mut Sending, now: u64) -> Do {
        let Some(to) = each(frame.left).next() else {
            self.ledger.close(frame.run);
            return Do::Done;
        };
        // All wires together are given the time of one.
        let begun = *frame.begun.get_or_insert(now);
        let mut attempt = frame.attempt.take().unwrap_or(Attempt::new(RULES, begun));
        match attempt.step(now) {
            Step::Sense => {}
            Step::Wait(until) => {
                frame.attempt = Some(attempt);
                return Do::Wait(until);
            }
            // It may have been this CPU that had no time.
            Step::GiveUp(GivenUp::Deferral) if self.may_return(frame, to, now) => {
                return self.requeue(frame, to, now)
            }
            Step::GiveUp(GivenUp::Collisions | GivenUp::Deferral) => {
                self.counts.aborted = self.counts.aborted.wrapping_add(1);
                return self.next(frame, to, &attempt);
            }
        }
        let taker = self.roster.station(to).map_or(0, |seen| seen.epoch);
        let word = Word {
            taker,
            ..frame.word
        };
        let port = self.port(to);
        match wire(port).send(window, word.bits()) {
            Sensed::Sent => {
                if self.ledger.open(to) == 0 {
                    self.note_progress(to, now);
                }
                self.ledger.sent(frame.run, to);
                self.set_returned(to, None);
                frame.sent = true;
                self.counts.sent = self.counts.sent.wrapping_add(1);
                let _ = self.next(frame, to, &attempt);
                if sleeps(window, port) {
                    self.counts.raised = self.counts.raised.wrapping_add(1);
                    return Do::Raise(port);
                }
                Do::Again
            }
            Sensed::Collision => {
                attempt.collided(now, &mut self.dice);
                frame.attempt = Some(attempt);
                Do::Wait(now)
            }
            Sensed::Busy => {
                attempt.deferred();
                frame.attempt = Some(attempt);
                Do::Wait(now)
            }
            Sensed::Full if self.may_return(frame, to, now) => self.requeue(frame, to, now),
            Sensed::Full => {
                self.counts.missed = self.counts.missed.wrapping_add(1);
                self.next(frame, to, &attempt)
            }
            Sensed::Corrupt => {
                // It looks when it is raised, and mends.
                self.counts.lies = self.counts.lies.wrapping_add(1);
                self.counts.missed = self.counts.missed.wrapping_add(1);
                let _ = self.next(frame, to, &attempt);
                Do::Raise(port)
            }
        }
    }

    /// The frame goes on to the next station.
    fn next(&mut self, frame: &mut Sending, from: VnodeId, attempt: &Attempt) -> Do {
        let met = attempt.met();
        self.counts.collisions = self.counts.collisions.wrapping_add(met.collisions.into());
        self.counts.deferred = self
            .counts
            .deferred
            .wrapping_add((met.deferrals > 0).into());
        frame.left &= !bit(from);
        Do::Again
    }

    /// Whether a frame can be begun again later: it is for this station alone, to which none has got through for less than a second.
    fn may_return(&self, frame: &Sending, station: VnodeId, now: u64) -> bool {
        let since = self.returned.get(station.index()).copied().flatten();
        frame.is_for(station)
            && since.is_none_or(|since| now.saturating_sub(since) < LONG_PATIENCE_NS)
    }

    fn set_returned(&mut self, station: VnodeId, since: Option<u64>) {
        if let Some(place) = self.returned.get_mut(station.index()) {
            *place = since;
        }
    }

    /// The frame, which nobody has got, is begun again later.
    fn requeue(&mut self, frame: &mut Sending, station: VnodeId, now: u64) -> Do {
        let since = self.returned.get(station.index()).copied().flatten();
        self.set_returned(station, since.or(Some(now)));
        self.ledger.close(frame.run);
        frame.left = 0;
        self.counts.waits = self.counts.waits.wrapping_add(1);
        Do::Requeue(now.saturating_add(PATIENCE_NS))
    }

    /// Whether a frame to a station which had to wait can be begun, as far as that station is concerned.
    pub fn can_begin<W: Window>(&mut self, window: &W, station: VnodeId, now: u64) -> bool {
        let is_there = self.roster.station(station).is_some();
        !is_there
            || self.room(window, station, now) != Room::Full
            || self.wait_for_each(window, bit(station), now).is_none()
    }

    /// Whoever sends to a station, or to several, has been kept for much longer than this lets anybody wait: gives up all that
    /// the station has not taken, or all those that are behind, so that the next frame waits for nothing (VN-55).
    pub fn time_out<W: Window>(&mut self, window: &W, station: Option<VnodeId>, now: u64) {
        let stations = station.map_or_else(|| self.ledger.behind(), bit);
        for station in each(stations) {
            let given_up = self.abandon(window, station, now);
            self.counts.aborted = self.counts.aborted.wrapping_add(given_up);
        }
        self.short = None;
        self.counts.timeouts = self.counts.timeouts.wrapping_add(1);
    }

    fn room<W: Window>(&mut self, window: &W, station: VnodeId, now: u64) -> Room {
        self.settle(window, station, now);
        if let Behind::Stuck { since, .. } = self.behind(station) {
            // Others may have filled its wire, or somebody may have written over what it was to take.
            let is_new =
                self.ledger.open(station) == 0 || now.saturating_sub(since) >= LONG_PATIENCE_NS;
            if !is_new || !wire(self.port(station)).has_room(window) {
                return Room::Stuck;
            }
            self.ledger.restart(station, self.taken(window, station));
        } else if !self.has_room(window, station) {
            await_taken(window, self.me, self.port(station));
            self.settle(window, station, now);
            if !self.has_room(window, station) {
                return Room::Full;
            }
        }
        self.set_behind(station, Behind::No);
        Room::Free
    }

    fn has_room<W: Window>(&self, window: &W, station: VnodeId) -> bool {
        self.ledger.may_send(station) && wire(self.port(station)).has_room(window)
    }

    /// Until when a frame waits for some of several stations; [`None`] if it does not.
    fn wait_for_several(&mut self, full: Mask, now: u64) -> Option<u64> {
        if full == 0 {
            return None;
        }
        let begun = match self.several {
            Some(begun) if now.saturating_sub(begun) < QUIET_NS => begun,
            _ => *self.several.insert(now),
        };
        let until = begun.saturating_add(PATIENCE_NS);
        (now < until).then_some(until)
    }

    /// Until when a frame waits for stations that it is meant for; [`None`] if it does not: what they have not taken is
    /// given up.
    fn wait_for_each<W: Window>(&mut self, window: &W, full: Mask, now: u64) -> Option<u64> {
        let mut wait = None;
        for station in each(full) {
            let since = match self.behind(station) {
                Behind::Since(since) => since,
                Behind::No | Behind::Stuck { .. } => now,
            };
            let until = since.saturating_add(LONG_PATIENCE_NS);
            if now < until {
                self.set_behind(station, Behind::Since(since));
                wait = wait.max(Some(until));
            } else {
                self.give_up(window, station, now);
            }
        }
        wait
    }

    /// Gives up what a station has not taken, and does not wait for it any more.
    fn give_up<W: Window>(&mut self, window: &W, station: VnodeId, now: u64) {
        let given_up = self.abandon(window, station, now);
        self.counts.missed = self.counts.missed.wrapping_add(given_up);
    }

    /// Does that; how many frames it had not taken.
    fn abandon<W: Window>(&mut self, window: &W, station: VnodeId, now: u64) -> u64 {
        let taken = self.taken(window, station);
        self.set_behind(station, Behind::Stuck { since: now, taken });
        self.ledger.abandon(station)
    }

    /// Chunks for a frame: if there are none, of what others have taken meanwhile; or of those who have taken nothing for
    /// longest, once there have been too few for a while. Or until when to wait for that.
    fn take_chunks<W: Window>(&mut self, window: &W, bytes: usize, now: u64) -> Result<Run, u64> {
        let count = Run::for_bytes(bytes);
        let mut run = self.ledger.take(bytes);
        if run.is_none() {
            for station in each(self.ledger.behind()) {
                await_taken(window, self.me, self.port(station));
                self.settle(window, station, now);
            }
            run = self.ledger.take(bytes);
        }
        // Whoever wanted more may never have come back; it would have, long before that.
        self.short = self
            .short
            .filter(|(since, _)| now.saturating_sub(*since) < LONG_PATIENCE_NS);
        let since = self.short.map_or(now, |(since, _)| since);
        let until = since.saturating_add(PATIENCE_NS);
        while run.is_none() && now >= until {
            let Some(station) = self
                .ledger
                .keepers()
                .min_by_key(|station| self.progress(*station))
            else {
                break;
            };
            self.give_up(window, station, now);
            run = self.ledger.take(bytes);
        }
        match (run, self.short) {
            // That a smaller one has found some says nothing to who waits for more.
            (Some(_), Some((_, wanted))) if count < wanted => {}
            (Some(_), _) => self.short = None,
            (None, short) => {
                let wanted = short.map_or(0, |(_, wanted)| wanted);
                self.short = Some((since, wanted.max(count)));
            }
        }
        run.ok_or(until)
    }

    fn progress(&self, station: VnodeId) -> u64 {
        self.progress.get(station.index()).copied().unwrap_or(0)
    }

    fn note_progress(&mut self, station: VnodeId, now: u64) {
        if let Some(place) = self.progress.get_mut(station.index()) {
            *place = now;
        }
    }

    fn settle<W: Window>(&mut self, window: &W, station: VnodeId, now: u64) {
        let taken = self.taken(window, station);
        let settled = self.ledger.settle(station, taken);
        if settled != Ok(0) {
            self.note_progress(station, now);
        }
        if settled.is_err() {
            self.counts.lies = self.counts.lies.wrapping_add(1);
            // Whatever it has counted, from here on both count the same.
            self.ledger.restart(station, taken);
        }
        match self.behind(station) {
            // It takes something: it is waited for anew.
            Behind::Since(_) if settled != Ok(0) => self.set_behind(station, Behind::No),
            Behind::Stuck { taken: then, .. } if taken != then => {
                self.set_behind(station, Behind::No)
            }
            _ => {}
        }
    }

    fn taken<W: Window>(&self, window: &W, by: VnodeId) -> u64 {
        taken(window, self.port(by), self.me, self.epoch)
    }

    /// The lane of a station to which this one sends. One that is not there has none that matters.
    fn port(&self, station: VnodeId) -> Port {
        let seen = self.roster.station(station);
        let lanes = seen.map_or(Lanes::ONE, |seen| seen.lanes);
        self.me.towards(station, lanes)
    }

    fn behind(&self, station: VnodeId) -> Behind {
        self.behind
            .get(station.index())
            .copied()
            .unwrap_or(Behind::No)
    }

    fn set_behind(&mut self, station: VnodeId, behind: Behind) {
        if let Some(place) = self.behind.get_mut(station.index()) {
            *place = behind;
        }
    }
}
