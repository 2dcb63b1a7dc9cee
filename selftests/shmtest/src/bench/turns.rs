// SPDX-License-Identifier: GPL-2.0

//! What two programs do in turn, whatever it is that they do it by.

use anyhow::{ensure, Context, Result};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What does not come in this time does not come.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// One of the two.
pub(super) trait Side {
    /// Leads so many turns.
    fn lead(&mut self, count: u32) -> Result<()>;
    /// Follows so many.
    fn follow(&mut self, count: u32) -> Result<()>;
}

/// A word on which one sleeps.
pub(super) trait Sleep {
    /// The word, which is zero at first.
    fn word(&self) -> &AtomicU32;
    /// Sleeps while it has a value. [`WouldBlock`](io::ErrorKind::WouldBlock) it has another one.
    fn sleep(&self, value: u32) -> io::Result<()>;
    /// Wakes one that sleeps.
    fn wake(&self) -> io::Result<()>;
}

/// Two that count a word up.
pub(super) struct Words<S>(pub(super) S);

impl<S: Sleep> Words<S> {
    /// Counts it up each time that it is this one's turn: that of 0 when it is even.
    fn count(&self, turn: u32, count: u32) -> Result<()> {
        let word = self.0.word();
        for _ in 0..count {
            loop {
                let seen = word.load(Ordering::SeqCst);
                if seen % 2 == turn {
                    break;
                }
                match self.0.sleep(seen) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => result?,
                }
            }
            word.fetch_add(1, Ordering::SeqCst);
            self.0.wake()?;
        }
        Ok(())
    }
}

impl<S: Sleep> Side for Words<S> {
    // It begins with the answer to the last one of those before, and does not wait for that to its own last one: as many answers as
    // turns.
    fn lead(&mut self, count: u32) -> Result<()> {
        self.count(0, count)
    }

    fn follow(&mut self, count: u32) -> Result<()> {
        self.count(1, count)
    }
}

/// What tells another one that there is something.
pub(super) trait Bell {
    /// Tells it.
    fn ring(&mut self) -> Result<()>;
    /// Waits until it is told.
    fn wait(&mut self) -> Result<()>;
}

/// Two that answer each other.
pub(super) struct Bells<B>(pub(super) B);

impl<B: Bell> Side for Bells<B> {
    fn lead(&mut self, count: u32) -> Result<()> {
        for _ in 0..count {
            self.0.ring()?;
            self.0.wait()?;
        }
        Ok(())
    }

    fn follow(&mut self, count: u32) -> Result<()> {
        for _ in 0..count {
            self.0.wait()?;
            self.0.ring()?;
        }
        Ok(())
    }
}

/// What carries messages both ways.
pub(super) trait Line {
    /// Sends one.
    fn send(&mut self, message: &[u8]) -> Result<()>;
    /// Takes one of so many bytes: its number.
    fn receive(&mut self, bytes: usize) -> Result<u64>;
}

/// One that sends messages, and one that takes them. The number of the last one is sent back.
pub(super) struct Lines<L> {
    line: L,
    message: Vec<u8>,
    next: u64,
}

/// The number that a message begins with.
pub(super) fn number_of(message: &[u8]) -> Result<u64> {
    let number = message.first_chunk().context("the message is short")?;
    Ok(u64::from_le_bytes(*number))
}

impl<L> Lines<L> {
    /// By messages of so many bytes, 8 at least.
    pub(super) fn new(line: L, bytes: u32) -> Self {
        Self {
            line,
            message: vec![0; bytes as usize],
            next: 0,
        }
    }
}

impl<L: Line> Side for Lines<L> {
    fn lead(&mut self, count: u32) -> Result<()> {
        for _ in 0..count {
            self.next += 1;
            let begin = self.message.first_chunk_mut();
            *begin.context("a message has 8 bytes at least")? = self.next.to_le_bytes();
            self.line.send(&self.message)?;
        }
        let last = self.line.receive(8)?;
        ensure!(last == self.next, "{last} came of {}", self.next);
        Ok(())
    }

    fn follow(&mut self, count: u32) -> Result<()> {
        for _ in 0..count {
            self.next += 1;
            let number = self.line.receive(self.message.len())?;
            ensure!(number == self.next, "{number} came, not {}", self.next);
        }
        self.line.send(&self.next.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{channel, Receiver, Sender};
    use std::thread;

    /// Channels of the standard library, as bells and as a line.
    struct Channel(Sender<Vec<u8>>, Receiver<Vec<u8>>);

    fn pair() -> [Channel; 2] {
        let (there, from) = channel();
        let (back, to) = channel();
        [Channel(there, to), Channel(back, from)]
    }

    impl Bell for Channel {
        fn ring(&mut self) -> Result<()> {
            Ok(self.0.send(Vec::new())?)
        }

        fn wait(&mut self) -> Result<()> {
            ensure!(self.1.recv()?.is_empty(), "it was not rung");
            Ok(())
        }
    }

    impl Line for Channel {
        fn send(&mut self, message: &[u8]) -> Result<()> {
            Ok(self.0.send(message.to_vec())?)
        }

        fn receive(&mut self, bytes: usize) -> Result<u64> {
            let message = self.1.recv()?;
            ensure!(message.len() == bytes, "{} bytes came", message.len());
            number_of(&message)
        }
    }

    /// A word on which nobody sleeps.
    struct Busy<'a>(&'a AtomicU32);

    impl Sleep for Busy<'_> {
        fn word(&self) -> &AtomicU32 {
            self.0
        }

        fn sleep(&self, _: u32) -> io::Result<()> {
            thread::yield_now();
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn wake(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Has two sides do it, in two goes.
    fn both(mut one: impl Side, mut other: impl Side + Send) {
        thread::scope(|scope| {
            scope.spawn(move || {
                other.follow(3).unwrap();
                other.follow(40).unwrap();
            });
            one.lead(3).unwrap();
            one.lead(40).unwrap();
        });
    }

    #[test]
    fn two_count_a_word_up() {
        let word = AtomicU32::new(0);
        both(Words(Busy(&word)), Words(Busy(&word)));
        assert_eq!(word.load(Ordering::SeqCst), 86);
    }

    #[test]
    fn two_answer_each_other() {
        let [one, other] = pair();
        both(Bells(one), Bells(other));
    }

    #[test]
    fn each_message_comes_once() {
        let [one, other] = pair();
        both(Lines::new(one, 64), Lines::new(other, 64));
    }

    #[test]
    fn a_message_that_is_lost_is_noticed() {
        let [mut one, other] = pair();
        let mut other = Lines::new(other, 16);
        let mut message = [0; 16];
        for number in [1_u64, 3] {
            message[..8].copy_from_slice(&number.to_le_bytes());
            one.send(&message).unwrap();
        }
        assert!(other.follow(2).is_err());
    }
}
