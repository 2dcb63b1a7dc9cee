// SPDX-License-Identifier: GPL-2.0

//! How a station sends: to whom, whether it has to wait, and for how long it does.
//!
//! The caller copies the bytes, has the time, and raises portals. A frame goes in three steps: [`Sender::begin`] finds its
//! chunks, [`Sender::finish`] says that it stands there, and [`Sender::step`] puts it on one wire after the other.
//! docs/vnet.md, sections 3 and 4.

use super::chunks::Run;
use super::forward::{addressees, targets};
use super::frame::{self, Head, Word};
use super::ledger::{Ledger, Line};
use super::station::{Lives, Mac, Roster};
use super::wire::Sensed;
use super::{await_taken, sleeps, taken, wire};
use crate::csma::{Attempt, Dice, GivenUp, Step, RULES};
use crate::id::{VnodeId, MAX_VNODES};
use crate::membership::{bit, each, Mask};
use crate::window::Window;
use core::ops::DerefMut;

/// How long frames that others hear as well wait for a station that takes nothing, in ns; and how long chunks are left to
/// it when there are no others (VN-50).
pub const PATIENCE_NS: u64 = 8_000_000;
/// How long frames wait that are for that station alone, in ns: nobody else waits behind them. After it what it has not taken
/// is given up, and what is for it is lost until it takes something.
pub const LONG_PATIENCE_NS: u64 = 1_000_000_000;

/// What is known of a station that is behind.
#[derive(Clone, Copy, Debug)]
enum Behind {
    /// Nothing waits for it.
    No,
    /// Something waits since this time.
    Since(u64),
    /// It is not waited for: when it was given up, it had taken so many.
    Stuck(u64),
}

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
        }
    }
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
    me: VnodeId,
    length: usize,
    to: Mask,
}

impl Outgoing {
    /// Where its bytes go.
    pub const fn body(&self) -> usize {
        frame::body(self.me, self.run.first)
    }
}

/// A frame that stands, on its way to the wires.
#[derive(Debug)]
#[must_use = "it has chunks"]
pub struct Sending {
    run: Run,
    word: Word,
    left: Mask,
    attempt: Option<Attempt>,
    sent: bool,
}

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Calls again, with the same time if it likes.
    Again,
    /// Calls again at this time, which may be now.
    Wait(u64),
    /// Raises the portal of a vnode, and calls again.
    Raise(VnodeId),
    /// Nothing more: the frame is with all that it was for, or counted.
    Done,
    /// It has not been sent to anybody, and is to be begun again when somebody takes something, or at this time.
    Requeue(u64),
}

/// The sending end of a station.
#[derive(Debug)]
pub struct Sender<L> {
    me: VnodeId,
    epoch: u8,
    ledger: Ledger<L>,
    roster: Roster,
    behind: [Behind; MAX_VNODES],
    dice: Dice,
    generation: u16,
    counts: Counts,
}

impl<L: DerefMut<Target = [Line]>> Sender<L> {
    /// That of a station that has joined for the time `epoch`. `seed` is another number for each; of `lines` there are
    /// as many as vnodes.
    pub const fn new(me: VnodeId, epoch: u8, seed: u64, lines: L) -> Self {
        Self {
            me,
            epoch,
            ledger: Ledger::new(lines),
            roster: Roster::NEW,
            behind: [Behind::No; MAX_VNODES],
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
        let Some(changed) = self.roster.refresh(window, self.me, lives) else {
            return false;
        };
        for station in each(changed) {
            self.ledger.restart(station, self.taken(window, station));
            self.set_behind(station, Behind::No);
        }
        true
    }

    /// Begins a frame of `length` bytes to an address, after a [`look`](Self::look).
    pub fn begin<W: Window>(&mut self, window: &W, to: Mac, length: usize, now: u64) -> Ready {
        let heard = targets(&self.roster, to);
        if heard == 0 {
            return Ready::Nobody;
        }
        // Who only listens is not waited for where somebody is spoken to.
        let meant = addressees(&self.roster, to);
        let (mut ready, mut missed, mut wait) = (0, 0, None);
        for station in each(heard) {
            let patience = match (meant, meant & bit(station)) {
                (0, _) => PATIENCE_NS,
                (_, 0) => 0,
                _ => LONG_PATIENCE_NS,
            };
            match self.is_ready(window, station, now, patience) {
                Ok(true) => ready |= bit(station),
                Ok(false) => missed += 1,
                Err(until) => wait = wait.max(Some(until)),
            }
        }
        if let Some(until) = wait {
            self.counts.waits = self.counts.waits.wrapping_add(1);
            return Ready::Wait(until);
        }
        self.counts.missed = self.counts.missed.wrapping_add(missed);
        if ready == 0 {
            return Ready::Missed;
        }
        let bytes = length.saturating_add(Head::SIZE);
        let run = match self.ledger.take(bytes) {
            Some(run) => run,
            None => match self.make_room(window, bytes, now) {
                Ok(run) => run,
                Err(until) => {
                    self.counts.waits = self.counts.waits.wrapping_add(1);
                    return Ready::Wait(until);
                }
            },
        };
        frame::begin(window, self.me, run.first);
        Ready::Begun(Outgoing {
            run,
            me: self.me,
            length,
            to: ready,
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
        let mut attempt = frame.attempt.take().unwrap_or(Attempt::new(RULES, now));
        match attempt.step(now) {
            Step::Sense => {}
            Step::Wait(until) => {
                frame.attempt = Some(attempt);
                return Do::Wait(until);
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
        match wire(to).send(window, word.bits()) {
            Sensed::Sent => {
                self.ledger.sent(frame.run, to);
                frame.sent = true;
                self.counts.sent = self.counts.sent.wrapping_add(1);
                let _ = self.next(frame, to, &attempt);
                if sleeps(window, to) {
                    self.counts.raised = self.counts.raised.wrapping_add(1);
                    return Do::Raise(to);
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
            Sensed::Full => match self.is_ready(window, to, now, LONG_PATIENCE_NS) {
                Err(until) if !frame.sent && frame.left == bit(to) => {
                    self.ledger.close(frame.run);
                    frame.left = 0;
                    self.counts.waits = self.counts.waits.wrapping_add(1);
                    Do::Requeue(until)
                }
                Ok(true) => {
                    frame.attempt = Some(attempt);
                    Do::Wait(now)
                }
                Err(_) | Ok(false) => {
                    self.counts.missed = self.counts.missed.wrapping_add(1);
                    self.next(frame, to, &attempt)
                }
            },
            Sensed::Corrupt => {
                // It looks when it is raised, and mends.
                self.counts.lies = self.counts.lies.wrapping_add(1);
                self.counts.missed = self.counts.missed.wrapping_add(1);
                let _ = self.next(frame, to, &attempt);
                Do::Raise(to)
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

    /// Whether a frame to a station which had to wait can be begun, as far as that station is concerned.
    pub fn can_begin<W: Window>(&mut self, window: &W, station: VnodeId, now: u64) -> bool {
        self.is_ready(window, station, now, LONG_PATIENCE_NS)
            .is_ok()
    }

    /// Whether a frame can be sent to a station now, or is lost to it; or until when to wait for that.
    fn is_ready<W: Window>(
        &mut self,
        window: &W,
        station: VnodeId,
        now: u64,
        patience: u64,
    ) -> Result<bool, u64> {
        self.settle(window, station);
        if let Behind::Stuck(_) = self.behind(station) {
            // Others may have filled its wire, and it has nothing of this sender's to take.
            if self.ledger.open(station) != 0 || !self.has_room(window, station) {
                return Ok(false);
            }
            self.set_behind(station, Behind::No);
        }
        if self.has_room(window, station) {
            return Ok(true);
        }
        await_taken(window, self.me, station);
        self.settle(window, station);
        if self.has_room(window, station) {
            return Ok(true);
        }
        let since = self.wait_for(station, now);
        let until = since.saturating_add(patience);
        if now < until {
            return Err(until);
        }
        if patience >= LONG_PATIENCE_NS {
            self.give_up(station);
            self.set_behind(station, Behind::Stuck(self.taken(window, station)));
        }
        Ok(false)
    }

    fn has_room<W: Window>(&self, window: &W, station: VnodeId) -> bool {
        self.ledger.may_send(station) && wire(station).has_room(window)
    }

    /// Since when something waits for a station: from now on, if nothing did.
    fn wait_for(&mut self, station: VnodeId, now: u64) -> u64 {
        match self.behind(station) {
            Behind::Since(since) => since,
            Behind::No | Behind::Stuck(_) => {
                self.set_behind(station, Behind::Since(now));
                now
            }
        }
    }

    /// Gives up what a station has not taken.
    fn give_up(&mut self, station: VnodeId) {
        let given_up = self.ledger.abandon(station);
        self.counts.missed = self.counts.missed.wrapping_add(given_up);
    }

    /// Chunks for a frame when there are none: of what others have taken meanwhile, or have had enough time for.
    fn make_room<W: Window>(&mut self, window: &W, bytes: usize, now: u64) -> Result<Run, u64> {
        let mut first = now.saturating_add(PATIENCE_NS);
        for station in each(self.ledger.behind()) {
            await_taken(window, self.me, station);
            self.settle(window, station);
            if self.ledger.open(station) == 0 || self.is_stuck(station) {
                continue;
            }
            let until = self.wait_for(station, now).saturating_add(PATIENCE_NS);
            if now < until {
                first = first.min(until);
            } else {
                self.give_up(station);
            }
        }
        self.ledger.take(bytes).ok_or(first)
    }

    fn settle<W: Window>(&mut self, window: &W, station: VnodeId) {
        let taken = self.taken(window, station);
        let settled = self.ledger.settle(station, taken);
        if settled.is_err() {
            self.counts.lies = self.counts.lies.wrapping_add(1);
        }
        match self.behind(station) {
            // It takes something: it is waited for anew.
            Behind::Since(_) if settled != Ok(0) => self.set_behind(station, Behind::No),
            Behind::Stuck(then) if taken != then => self.set_behind(station, Behind::No),
            _ => {}
        }
    }

    fn taken<W: Window>(&self, window: &W, by: VnodeId) -> u64 {
        taken(window, by, self.me, self.epoch)
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

    /// Whether a station is waited for in vain.
    pub fn is_stuck(&self, station: VnodeId) -> bool {
        matches!(self.behind(station), Behind::Stuck(_))
    }
}
