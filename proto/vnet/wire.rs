// SPDX-License-Identifier: GPL-2.0

//! The way to one station: places for words, which all other stations put there and it alone takes.
//!
//! A place is free or has a word, for each *lap* around the wire anew: the value of a free place says for which lap it is
//! free. So putting a word there is one atomic operation, which fails if another one was quicker or if the sender was
//! behind by laps; there is no moment in which somebody has the wire. `head` says where the next word goes. It may
//! be behind, by a sender that has died between its two stores: whoever finds that helps it on. docs/vnet.md, section 3.

use crate::window::Window;

/// Bits of the word that a sender can use.
pub const WORD_BITS: u32 = 48;
const LAP_BITS: u32 = 15;
const LAPS: u64 = (1 << LAP_BITS) - 1;
const FULL: u64 = 1 << (WORD_BITS + LAP_BITS);

/// Where the wire lies in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Offset of the head, a `u64` that counts places for ever.
    pub head: usize,
    /// Offset of the places, `u64` each.
    pub places: usize,
    /// How many there are, a power of two.
    pub count: u64,
}

/// What has become of one attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the word may not be on the wire"]
pub enum Sensed {
    /// The wire was free, and the word is on it.
    Sent,
    /// The wire was free, and another one has sent in the same place.
    Collision,
    /// Another one's word was found, and helped on: sense again.
    Busy,
    /// The station has not taken what was sent a lap ago.
    Full,
    /// What is there makes no sense: somebody has written over it. The station mends it when it looks.
    Corrupt,
}

/// What a place has for a lap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nothing yet.
    Free,
    /// A word that was put there.
    Word,
    /// It was there and is taken.
    Taken,
    /// The word of the lap before.
    Before,
    /// Something that cannot be.
    Nonsense,
}

const fn free(lap: u64) -> u64 {
    (lap & LAPS) << WORD_BITS
}

const fn full(lap: u64, word: u64) -> u64 {
    FULL | free(lap) | word & ((1 << WORD_BITS) - 1)
}

const fn look(value: u64, lap: u64) -> Place {
    let its = value >> WORD_BITS & LAPS;
    let word = value & ((1 << WORD_BITS) - 1);
    if value & FULL != 0 {
        if its == lap & LAPS {
            Place::Word
        } else if its == lap.wrapping_sub(1) & LAPS {
            Place::Before
        } else {
            Place::Nonsense
        }
    } else if word != 0 {
        Place::Nonsense
    } else if its == lap & LAPS {
        Place::Free
    } else if its == lap.wrapping_add(1) & LAPS {
        Place::Taken
    } else {
        Place::Nonsense
    }
}

impl Wire {
    const fn lap(&self, position: u64) -> u64 {
        position >> self.count.trailing_zeros()
    }

    const fn place(&self, position: u64) -> usize {
        self.places + 8 * (position & self.count.wrapping_sub(1)) as usize
    }

    /// Makes all places free from a lap on, which begins at the position that is returned. The station, before others
    /// send to it.
    pub fn clear<W: Window>(&self, window: &W, lap: u64) -> u64 {
        let begin = lap.wrapping_mul(self.count);
        for position in 0..self.count {
            window.store_release64(self.place(position), free(lap));
        }
        window.store_release64(self.head, begin);
        begin
    }

    /// Makes all places free from a lap on that has not been, as far as the wire tells. The station, when it joins.
    pub fn begin<W: Window>(&self, window: &W) -> Receiver {
        let head = window.load_acquire64(self.head);
        let tail = self.clear(window, self.lap(head).wrapping_add(2) & LAPS);
        Receiver { wire: *self, tail }
    }

    /// Senses the wire, and sends a word of [`WORD_BITS`] bits if it is free. Any station but the wire's own (VN-30).
    pub fn send<W: Window>(&self, window: &W, word: u64) -> Sensed {
        let head = window.load_acquire64(self.head);
        let (place, lap) = (self.place(head), self.lap(head));
        let seen = window.load_acquire64(place);
        match look(seen, lap) {
            Place::Free => match window.compare_exchange64(place, seen, full(lap, word)) {
                Ok(_) => {
                    self.help(window, head);
                    Sensed::Sent
                }
                Err(_) => Sensed::Collision,
            },
            Place::Word | Place::Taken => {
                self.help(window, head);
                Sensed::Busy
            }
            Place::Before => Sensed::Full,
            // What was the head may be none any more.
            Place::Nonsense if window.load_acquire64(self.head) != head => Sensed::Busy,
            Place::Nonsense => Sensed::Corrupt,
        }
    }

    /// Whether there is room, as far as can be seen without sending.
    pub fn has_room<W: Window>(&self, window: &W) -> bool {
        let head = window.load_acquire64(self.head);
        let seen = window.load_acquire64(self.place(head));
        look(seen, self.lap(head)) != Place::Before
    }

    /// Moves the head on from where a word is.
    fn help<W: Window>(&self, window: &W, head: u64) {
        // Whoever was quicker has done the same.
        let _ = window.compare_exchange64(self.head, head, head.wrapping_add(1));
    }
}

/// The station's end. It keeps to itself where it is.
#[derive(Debug)]
pub struct Receiver {
    wire: Wire,
    tail: u64,
}

/// What was on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// This word.
    Word(u64),
    /// Something that cannot be, which is mended.
    Nonsense,
}

impl Receiver {
    /// Takes what is next on the wire, if there is something.
    pub fn take<W: Window>(&mut self, window: &W) -> Option<Arrived> {
        // Before the place: who has moved the head on past it has put a word there.
        let head = window.load_acquire64(self.wire.head);
        let (place, lap) = (self.wire.place(self.tail), self.wire.lap(self.tail));
        let seen = window.load_acquire64(place);
        match look(seen, lap) {
            Place::Word => {
                window.store_release64(place, free(lap.wrapping_add(1)));
                self.tail = self.tail.wrapping_add(1);
                Some(Arrived::Word(seen & ((1 << WORD_BITS) - 1)))
            }
            Place::Free => {
                if head != self.tail {
                    // Senders look elsewhere, where this end would never come: bring them back.
                    let _ = window.compare_exchange64(self.wire.head, head, self.tail);
                }
                None
            }
            Place::Taken | Place::Before | Place::Nonsense => {
                window.store_release64(place, free(lap));
                Some(Arrived::Nonsense)
            }
        }
    }

    /// Whether there is something, as far as can be seen without taking it.
    pub fn has_some<W: Window>(&self, window: &W) -> bool {
        let place = self.wire.place(self.tail);
        let seen = window.load_acquire64(place);
        look(seen, self.wire.lap(self.tail)) != Place::Free
    }
}
