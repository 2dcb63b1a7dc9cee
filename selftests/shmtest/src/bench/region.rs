// SPDX-License-Identifier: GPL-2.0

//! What two programs do with a region, in one kernel or in two.

use super::turns::{number_of, Bell, Bells, Line, Lines, Side, Sleep, Words, PATIENCE};
use super::{Turns, What};
use anyhow::{ensure, Result};
use bridge::pipe::{self, Receiver, Sender};
use bridge::{Access, Memory, Region, Shape};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// The word that is counted up.
const WORD: u64 = 0;
/// The word that says that the other one can begin.
const READY: u64 = 4096;
/// The pipe to who follows.
const THERE: u64 = 64 << 10;
/// The pipe to who leads.
const BACK: u64 = 1 << 20;
/// Bytes of messages that wait in a pipe: as many as in one of Linux.
const AHEAD: u32 = 64 << 10;

/// Leads what is done with a region; nanoseconds of a turn.
pub(super) fn lead(name: &str, turns: &Turns) -> Result<u128> {
    let region = Region::open(name, Access::Write)?;
    let memory = region.map()?;
    match turns.what {
        What::Word => super::lead(&mut Words(Word::new(&region, &memory, WORD)?), turns),
        What::Notice => {
            let mut bells = Bells(Notices::new(&region)?);
            Word::new(&region, &memory, READY)?.wait()?;
            super::lead(&mut bells, turns)
        }
        What::Message => {
            let shape = Shape {
                slots: AHEAD / turns.bytes,
                bytes: turns.bytes,
            };
            pipe::create(&memory, THERE, shape)?;
            pipe::create(&memory, BACK, Shape { slots: 1, bytes: 8 })?;
            let pipes = Pipes {
                to: Sender::new(&region, &memory, THERE)?,
                from: Receiver::new(&region, &memory, BACK)?,
            };
            Word::new(&region, &memory, READY)?.tell()?;
            super::lead(&mut Lines::new(pipes, turns.bytes), turns)
        }
    }
}

/// Follows it.
pub(super) fn follow(name: &str, turns: &Turns) -> Result<()> {
    let region = Region::open(name, Access::Write)?;
    let memory = region.map()?;
    let mut side: Box<dyn Side> = match turns.what {
        What::Word => Box::new(Words(Word::new(&region, &memory, WORD)?)),
        What::Notice => {
            let bells = Bells(Notices::new(&region)?);
            // No notice is given before both know how many there were.
            Word::new(&region, &memory, READY)?.tell()?;
            Box::new(bells)
        }
        What::Message => {
            Word::new(&region, &memory, READY)?.wait()?;
            let pipes = Pipes {
                to: Sender::new(&region, &memory, BACK)?,
                from: Receiver::new(&region, &memory, THERE)?,
            };
            Box::new(Lines::new(pipes, turns.bytes))
        }
    };
    super::follow(&mut *side, turns)
}

/// A word of a region.
struct Word<'a> {
    region: &'a Region,
    word: &'a AtomicU32,
    offset: u64,
}

impl<'a> Word<'a> {
    fn new(region: &'a Region, memory: &'a Memory, offset: u64) -> Result<Self> {
        let word = memory.word(usize::try_from(offset)?)?;
        Ok(Self {
            region,
            word,
            offset,
        })
    }

    /// Makes it one.
    fn tell(&self) -> Result<()> {
        self.word.store(1, Ordering::SeqCst);
        Ok(self.wake()?)
    }

    /// Waits until it is not zero.
    fn wait(&self) -> Result<()> {
        while self.word.load(Ordering::SeqCst) == 0 {
            match self.sleep(0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => result?,
            }
        }
        Ok(())
    }
}

impl Sleep for Word<'_> {
    fn word(&self) -> &AtomicU32 {
        self.word
    }

    fn sleep(&self, value: u32) -> io::Result<()> {
        self.region.wait_word(self.offset, value, Some(PATIENCE))
    }

    fn wake(&self) -> io::Result<()> {
        self.region.wake_word(self.offset, 1)
    }
}

/// Notices of a region, which both count.
struct Notices<'a> {
    region: &'a Region,
    seen: u64,
}

impl<'a> Notices<'a> {
    fn new(region: &'a Region) -> Result<Self> {
        let seen = region.stat()?.notices;
        Ok(Self { region, seen })
    }
}

impl Bell for Notices<'_> {
    fn ring(&mut self) -> Result<()> {
        self.seen += 1;
        Ok(self.region.notify()?)
    }

    fn wait(&mut self) -> Result<()> {
        let now = self.region.wait(self.seen, Some(PATIENCE))?;
        ensure!(now == self.seen + 1, "{now} notices after {}", self.seen);
        self.seen = now;
        Ok(())
    }
}

/// Pipes of the library, one each way.
struct Pipes<'a> {
    to: Sender<'a>,
    from: Receiver<'a>,
}

impl Line for Pipes<'_> {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        Ok(self.to.send(message, Some(PATIENCE))?)
    }

    fn receive(&mut self, bytes: usize) -> Result<u64> {
        let message = self.from.receive(Some(PATIENCE))?;
        ensure!(message.len() == bytes, "{} bytes came", message.len());
        number_of(&message)
    }
}
