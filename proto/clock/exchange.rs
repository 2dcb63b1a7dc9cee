// SPDX-License-Identifier: GPL-2.0

//! Questions for the time and their answers, in shared memory: two words that two CPUs look at all
//! the while, because a message would take longer than what is to be measured
//! (docs/pipeline.md, 9.2).
//!
//! The asker has a place that it alone writes, and the root one for each asker. Questions are
//! numbered from 1. Both sides give up by themselves: each call here is one look.

use super::Sample;
use crate::window::Window;

/// Questions of one exchange.
pub const QUESTIONS: u64 = 64;

/// Bytes of a place: a cache line.
pub const PLACE_SIZE: usize = 0x40;

/// In the asker's place, a `u64`: number of the question, 0 for none.
pub const QUESTION: usize = 0x00;

/// In the root's place, a `u64`: number of the question that was answered last.
pub const ANSWERED: usize = 0x00;

/// In the root's place, a `u64`: its counter when the question came.
pub const RECEIVED: usize = 0x08;

/// In the root's place, a `u64`: its counter when it answered.
pub const REPLIED: usize = 0x10;

/// Makes a place say nothing. The asker its own, before it asks for an exchange.
pub fn clear<W: Window>(place: &W) {
    place.store_release64(QUESTION, 0);
}

/// What the asker tells the root before: the number of its first question. It is nothing that stands
/// in the root's place from an exchange before, also one of an earlier life; its own counter will do.
pub const fn announce(first: u64) -> [u8; 8] {
    first.to_le_bytes()
}

/// The number of the first question, as the asker has told it; `None` for what is no number.
pub fn announced(message: &[u8]) -> Option<u64> {
    let first = u64::from_le_bytes(message.try_into().ok()?);
    (first != 0).then_some(first)
}

/// A question that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    number: u64,
    sent: u64,
}

impl Asked {
    /// Asks. `tsc` as for [`super::read`].
    pub fn new<W: Window>(own: &W, number: u64, tsc: impl FnOnce() -> u64) -> Self {
        let sent = tsc();
        own.store_release64(QUESTION, number);
        Self { number, sent }
    }

    /// Looks for the answer. What it says is the root's claim.
    pub fn look<W: Window>(&self, root: &W, tsc: impl FnOnce() -> u64) -> Option<Sample> {
        if root.load_acquire64(ANSWERED) != self.number {
            return None;
        }
        let returned = tsc();
        Some(Sample {
            sent: self.sent,
            received: root.load_acquire64(RECEIVED),
            replied: root.load_acquire64(REPLIED),
            returned,
        })
    }
}

/// The root's end of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Answering {
    first: u64,
    /// The latest number that was answered; 0 before the first one.
    answered: u64,
}

/// What a look at the asker's place has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// No new question.
    Nothing,
    /// One was answered.
    Answered,
    /// The last one was answered, or what is there is no question.
    Over,
}

impl Answering {
    /// Begins, with a place of the root's that says nothing. The first question is to be `first`.
    pub fn new<W: Window>(root: &W, first: u64) -> Self {
        root.store_release64(ANSWERED, 0);
        Self { first, answered: 0 }
    }

    /// Answers the question that is there, if it is a new one. `tsc` as for [`super::read`].
    pub fn look<W: Window>(
        &mut self,
        asker: &impl Window,
        root: &W,
        tsc: impl Fn() -> u64,
    ) -> Look {
        let question = asker.load_acquire64(QUESTION);
        if question == self.answered {
            return Look::Nothing;
        }
        let received = tsc();
        let next = match self.answered {
            0 => self.first,
            answered => answered.wrapping_add(1),
        };
        let before = question.wrapping_sub(self.first);
        if question != next || before >= QUESTIONS {
            return Look::Over;
        }
        self.answered = question;
        root.store_release64(RECEIVED, received);
        root.store_release64(REPLIED, tsc());
        root.store_release64(ANSWERED, question);
        if before == QUESTIONS.wrapping_sub(1) {
            Look::Over
        } else {
            Look::Answered
        }
    }
}
