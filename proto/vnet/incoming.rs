// SPDX-License-Identifier: GPL-2.0

//! How a lane of a station takes what is on its wire.
//!
//! The caller copies the bytes. Whatever comes over the wire is taken, counted and answered for, so that its sender has its chunks
//! again, also if there is nothing in it. docs/vnet.md, section 3.4.

use super::frame::{self, Lost, Word};
use super::port::{Port, PORTS};
use super::wire::{Arrived, Receiver};
use super::{publish_taken, sleep, take_awaiting, wake, Taken};
use crate::window::Window;

/// What was counted, ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that were replaced before they were taken.
    pub replaced: u64,
    /// Frames of a length that none has.
    pub length: u64,
    /// What was on the wire and no frame of anybody's.
    pub nonsense: u64,
    /// What was sent to an earlier time of this station.
    pub late: u64,
}

impl Counts {
    /// These and others.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            replaced: self.replaced.wrapping_add(other.replaced),
            length: self.length.wrapping_add(other.length),
            nonsense: self.nonsense.wrapping_add(other.nonsense),
            late: self.late.wrapping_add(other.late),
        }
    }
}

/// A frame that is to be taken.
#[derive(Debug)]
#[must_use = "its sender waits for it to be taken"]
pub struct Incoming {
    word: Word,
    /// Bytes of it.
    pub length: usize,
    /// What its sender has left to do.
    pub offload: [u8; 16],
}

impl Incoming {
    /// Where its bytes are.
    pub const fn body(&self) -> usize {
        frame::body(self.word.from.vnode, self.word.chunk)
    }

    /// Who says that it has sent it.
    pub const fn from(&self) -> Port {
        self.word.from
    }
}

/// The taking end of a lane.
#[derive(Debug)]
pub struct Taker {
    me: Port,
    epoch: u8,
    wire: Receiver,
    /// By sending port.
    taken: [Taken; PORTS],
    counts: Counts,
}

impl Taker {
    /// That of a station that has just joined for the time `epoch`.
    pub const fn new(me: Port, epoch: u8, wire: Receiver) -> Self {
        Self {
            me,
            epoch,
            wire,
            taken: [Taken::NONE; PORTS],
            counts: Counts {
                replaced: 0,
                length: 0,
                nonsense: 0,
                late: 0,
            },
        }
    }

    /// What was counted.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes the next frame off the wire, [`None`] if there is none. What is no frame is counted, and one
    /// of `budget` for each.
    pub fn next<W: Window>(&mut self, window: &W, budget: &mut usize) -> Option<Incoming> {
        while *budget > 0 {
            let arrived = self.wire.take(window)?;
            *budget = budget.saturating_sub(1);
            let word = match arrived {
                Arrived::Word(bits) => Word::from_bits(bits),
                Arrived::Nonsense => None,
            };
            let Some(word) = word else {
                self.counts.nonsense = self.counts.nonsense.wrapping_add(1);
                continue;
            };
            if word.taker != self.epoch {
                // Who has sent it counts anew when it sees this one.
                self.counts.late = self.counts.late.wrapping_add(1);
                continue;
            }
            match frame::open(window, word) {
                Ok((length, offload)) => {
                    return Some(Incoming {
                        word,
                        length,
                        offload,
                    })
                }
                Err(lost) => {
                    self.count(lost);
                    self.answer(window, word);
                }
            }
        }
        None
    }

    /// The bytes were copied; whether they are those of the frame.
    pub fn taken<W: Window>(&mut self, window: &W, frame: Incoming) -> Result<(), Lost> {
        let result = frame::close(window, frame.word);
        self.answer(window, frame.word);
        if let Err(lost) = result {
            self.count(lost);
        }
        result
    }

    /// Ports that wait for what was taken, as bits: they are to be raised. After some frames have been taken.
    pub fn awaiting<W: Window>(&self, window: &W) -> u64 {
        take_awaiting(window, self.me)
    }

    /// Goes to sleep, unless there is something on the wire; whether it sleeps.
    pub fn sleep<W: Window>(&self, window: &W) -> bool {
        sleep(window, self.me);
        if self.wire.has_some(window) {
            wake(window, self.me);
            return false;
        }
        true
    }

    /// Does not sleep any more.
    pub fn wake<W: Window>(&self, window: &W) {
        wake(window, self.me);
    }

    fn answer<W: Window>(&mut self, window: &W, word: Word) {
        let Some(taken) = self.taken.get_mut(word.from.index()) else {
            return;
        };
        *taken = taken.next(word.sender);
        publish_taken(window, self.me, word.from, *taken);
    }

    fn count(&mut self, lost: Lost) {
        let count = match lost {
            Lost::Replaced => &mut self.counts.replaced,
            Lost::Length => &mut self.counts.length,
        };
        *count = count.wrapping_add(1);
    }
}
