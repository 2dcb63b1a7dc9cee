// SPDX-License-Identifier: GPL-2.0

//! A channel for one sender and one receiver, without a lock.
//!
//! ```no_run
//! use bridge::pipe::{self, Receiver, Sender};
//! use bridge::{Access, Options, Region, Shape, Vnodes};
//!
//! # fn main() -> std::io::Result<()> {
//! // One program makes it, and receives.
//! let region = Region::create("pipe", &Options::new(2 << 20).vnodes(Vnodes::ALL))?;
//! let memory = region.map()?;
//! pipe::create(&memory, 0, Shape { slots: 16, bytes: 4096 })?;
//! let mut receiver = Receiver::new(&region, &memory, 0)?;
//! let message = receiver.receive(None)?;
//!
//! // Another one, in whichever vnode, sends.
//! let region = Region::open("pipe", Access::Write)?;
//! let memory = region.map()?;
//! Sender::new(&region, &memory, 0)?.send(b"water", None)?;
//! # Ok(())
//! # }
//! ```

use std::io;
use std::sync::atomic::{fence, Ordering};
use std::time::{Duration, Instant};

use adeos_proto::shm::lock::{DIED, HOLDER};

use crate::lock;
use crate::memory::Memory;
use crate::region::Region;
use crate::slots::{at, Shape, Slots};
use crate::word::{Place, Word};

/// How long one sleeps before one looks whether the other end is there.
const LOOK: Duration = Duration::from_secs(1);

/// Makes a channel for one sender and one receiver at an offset, a multiple of 64, where [`Shape::size`] bytes are zeros.
pub fn create(memory: &Memory, offset: u64, shape: Shape) -> io::Result<()> {
    Slots::create(memory, offset, shape).map(drop)
}

/// Where the words of one end lie.
struct Offsets {
    end: u64,
    asleep: u64,
}

const SENDER: Offsets = Offsets {
    end: at::SENDER,
    asleep: at::NOT_FULL,
};
const RECEIVER: Offsets = Offsets {
    end: at::RECEIVER,
    asleep: at::NOT_EMPTY,
};

/// The words of one end.
struct Words<'a> {
    /// Who it is: a lock, which it has for as long as it is there.
    end: Word<'a>,
    /// 1 while it sleeps.
    asleep: Word<'a>,
}

/// What both ends have.
struct End<'a> {
    slots: Slots<'a>,
    own: Words<'a>,
    other: Words<'a>,
}

impl<'a> End<'a> {
    /// Takes an end, which nobody else has.
    fn take(
        region: &'a Region,
        memory: &'a Memory,
        offset: u64,
        own: &Offsets,
        other: &Offsets,
    ) -> io::Result<Self> {
        let slots = Slots::open(memory, offset)?;
        let words = |of: &Offsets| -> io::Result<Words<'a>> {
            Ok(Words {
                end: Word::new(region, memory, slots.offset(of.end))?,
                asleep: Word::new(region, memory, slots.offset(of.asleep))?,
            })
        };
        let (own, other) = (words(own)?, words(other)?);
        own.end.guard()?;
        if lock::take(&own.end, Some(Duration::ZERO))?.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "somebody has this end",
            ));
        }
        Ok(Self { slots, own, other })
    }

    /// Messages sent, and received.
    fn numbers(&self) -> io::Result<(u64, u64)> {
        let sent = self.slots.number(at::SENT)?.load(Ordering::Acquire);
        let received = self.slots.number(at::RECEIVED)?.load(Ordering::Acquire);
        self.slots.waiting(sent, received)?;
        Ok((sent, received))
    }

    /// Waits until the number of messages is one that will do: the two numbers.
    fn wait(
        &self,
        timeout: Option<Duration>,
        will_do: impl Fn(u64) -> bool,
    ) -> io::Result<(u64, u64)> {
        let begun = Instant::now();
        loop {
            let (sent, received) = self.numbers()?;
            if will_do(sent.wrapping_sub(received)) {
                return Ok((sent, received));
            }
            let left = timeout.map_or(LOOK, |timeout| timeout.saturating_sub(begun.elapsed()));
            if left.is_zero() {
                self.check_other(&will_do)?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            let asleep = &self.own.asleep;
            asleep.value().store(1, Ordering::Relaxed);
            // Who changes a number behind this sees it; what was changed before is seen here.
            fence(Ordering::SeqCst);
            let (sent, received) = self.numbers()?;
            if !will_do(sent.wrapping_sub(received)) {
                lock::goes_on(asleep.wait(1, left.min(LOOK)))?;
                self.check_other(&will_do)?;
            }
            asleep.value().store(0, Ordering::Relaxed);
        }
    }

    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) when the other end has died, and has left nothing to be done.
    fn check_other(&self, will_do: impl Fn(u64) -> bool) -> io::Result<()> {
        let is_done = || -> io::Result<bool> {
            let (sent, received) = self.numbers()?;
            Ok(will_do(sent.wrapping_sub(received)))
        };
        if is_done()? {
            return Ok(());
        }
        let other = self.other.end.value().load(Ordering::Acquire);
        let has_died = match other & HOLDER {
            0 => other & DIED != 0,
            _ => !self.other.end.is_alive(other)?,
        };
        // What it did before counts.
        if has_died && !is_done()? {
            return Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the other end has died",
            ));
        }
        Ok(())
    }

    /// Changes one of the numbers, and wakes the other end if it sleeps.
    fn publish(&self, of: u64, number: u64) -> io::Result<()> {
        self.slots.number(of)?.store(number, Ordering::Release);
        fence(Ordering::SeqCst);
        let asleep = &self.other.asleep;
        if asleep.value().load(Ordering::Relaxed) != 0 {
            asleep.value().store(0, Ordering::Relaxed);
            asleep.wake(1)?;
        }
        Ok(())
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        // What can fail is to wake, and nobody sleeps on it.
        let _ = lock::free(&self.own.end, false);
    }
}

/// The end that sends. Another one can have it when this is dropped.
pub struct Sender<'a>(End<'a>);

impl<'a> Sender<'a> {
    /// Takes the sending end of the channel at an offset. [`NotFound`](io::ErrorKind::NotFound) there is no channel (yet),
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) somebody has it.
    pub fn new(region: &'a Region, memory: &'a Memory, offset: u64) -> io::Result<Self> {
        End::take(region, memory, offset, &SENDER, &RECEIVER).map(Self)
    }

    /// How large its messages can be, and how many wait at most.
    pub fn shape(&self) -> Shape {
        self.0.slots.shape()
    }

    /// Sends a message; waits while there is no room. [`TimedOut`](io::ErrorKind::TimedOut),
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) there is none, and the receiver has died, EMSGSIZE it is larger than the channel's
    /// messages.
    pub fn send(&mut self, message: &[u8], timeout: Option<Duration>) -> io::Result<()> {
        self.0.slots.check(message)?;
        let slots = u64::from(self.shape().slots);
        let (sent, _) = self.0.wait(timeout, |waiting| waiting < slots)?;
        self.0.slots.put(sent, message)?;
        self.0.publish(at::SENT, sent.wrapping_add(1))
    }
}

/// The end that receives. Another one can have it when this is dropped.
pub struct Receiver<'a>(End<'a>);

impl<'a> Receiver<'a> {
    /// Takes the receiving end of the channel at an offset; errors as [`Sender::new`] has them.
    pub fn new(region: &'a Region, memory: &'a Memory, offset: u64) -> io::Result<Self> {
        End::take(region, memory, offset, &RECEIVER, &SENDER).map(Self)
    }

    /// How large its messages can be, and how many wait at most.
    pub fn shape(&self) -> Shape {
        self.0.slots.shape()
    }

    /// Takes a message; waits while there is none. [`TimedOut`](io::ErrorKind::TimedOut),
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) there is none, and the sender has died.
    pub fn receive(&mut self, timeout: Option<Duration>) -> io::Result<Vec<u8>> {
        let (_, received) = self.0.wait(timeout, |waiting| waiting > 0)?;
        let message = self.0.slots.get(received)?;
        self.0.publish(at::RECEIVED, received.wrapping_add(1))?;
        Ok(message)
    }

    /// Takes a message to where a buffer begins: its length. Waits as [`receive`](Self::receive) does. EMSGSIZE it does not fit, and is the
    /// next one still.
    pub fn receive_into(
        &mut self,
        buffer: &mut [u8],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let (_, received) = self.0.wait(timeout, |waiting| waiting > 0)?;
        let length = self.0.slots.get_into(received, buffer)?;
        self.0.publish(at::RECEIVED, received.wrapping_add(1))?;
        Ok(length)
    }
}
