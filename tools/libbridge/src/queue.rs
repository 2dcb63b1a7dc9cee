// SPDX-License-Identifier: GPL-2.0

//! A channel for any number of senders and receivers.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::lock::{Condition, Held, Lock};
use crate::memory::Memory;
use crate::region::Region;
use crate::slots::{at, Shape, Slots};

/// A channel in a region for any number of senders and receivers, of all vnodes. Each message comes to one of them, in the order in
/// which they were sent.
///
/// Who ends in the middle of it takes nothing with it: a message is there when all of it is, and is gone when its receiver has it.
///
/// ```no_run
/// use bridge::{Access, Queue, Region};
///
/// # fn main() -> std::io::Result<()> {
/// let region = Region::open("work", Access::Write)?;
/// let memory = region.map()?;
/// let queue = Queue::open(&region, &memory, 0)?;
/// queue.send(b"dig", None)?;
/// # Ok(())
/// # }
/// ```
pub struct Queue<'a> {
    slots: Slots<'a>,
    lock: Lock<'a>,
    not_empty: Condition<'a>,
    not_full: Condition<'a>,
}

impl<'a> Queue<'a> {
    /// Makes one at an offset, a multiple of 64, where [`Shape::size`] bytes are zeros.
    pub fn create(
        region: &'a Region,
        memory: &'a Memory,
        offset: u64,
        shape: Shape,
    ) -> io::Result<Self> {
        Self::of(region, memory, Slots::create(memory, offset, shape)?)
    }

    /// The one that there is at an offset. [`NotFound`](io::ErrorKind::NotFound) there is none (yet).
    pub fn open(region: &'a Region, memory: &'a Memory, offset: u64) -> io::Result<Self> {
        Self::of(region, memory, Slots::open(memory, offset)?)
    }

    fn of(region: &'a Region, memory: &'a Memory, slots: Slots<'a>) -> io::Result<Self> {
        Ok(Self {
            lock: Lock::new(region, memory, slots.offset(at::SENDER))?,
            not_empty: Condition::new(region, memory, slots.offset(at::NOT_EMPTY))?,
            not_full: Condition::new(region, memory, slots.offset(at::NOT_FULL))?,
            slots,
        })
    }

    /// How large its messages can be, and how many wait at most.
    pub fn shape(&self) -> Shape {
        self.slots.shape()
    }

    /// Sends a message; waits while there is no room. [`TimedOut`](io::ErrorKind::TimedOut), EMSGSIZE it is larger than the
    /// channel's messages.
    pub fn send(&self, message: &[u8], timeout: Option<Duration>) -> io::Result<()> {
        self.slots.check(message)?;
        let slots = u64::from(self.shape().slots);
        let (held, sent, _) = self.wait(timeout, &self.not_full, |waiting| waiting < slots)?;
        self.slots.put(sent, message)?;
        // With this the message is there.
        self.slots
            .number(at::SENT)?
            .store(sent.wrapping_add(1), Ordering::Release);
        drop(held);
        self.not_empty.notify_one()
    }

    /// Takes a message; waits while there is none. [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn receive(&self, timeout: Option<Duration>) -> io::Result<Vec<u8>> {
        self.take(timeout, |number| self.slots.get(number))
    }

    /// Takes a message to where a buffer begins: its length. Waits as [`receive`](Self::receive) does. EMSGSIZE it does not fit, and stays
    /// for who comes next.
    pub fn receive_into(&self, buffer: &mut [u8], timeout: Option<Duration>) -> io::Result<usize> {
        self.take(timeout, |number| self.slots.get_into(number, buffer))
    }

    /// Waits for a message, and takes it if it can be had.
    fn take<T>(
        &self,
        timeout: Option<Duration>,
        get: impl FnOnce(u64) -> io::Result<T>,
    ) -> io::Result<T> {
        let (held, _, received) = self.wait(timeout, &self.not_empty, |waiting| waiting > 0)?;
        let message = match get(received) {
            Ok(message) => message,
            Err(error) => {
                drop(held);
                // This one may have been woken for it, and others not.
                self.not_empty.notify_one()?;
                return Err(error);
            }
        };
        // With this it is gone.
        self.slots
            .number(at::RECEIVED)?
            .store(received.wrapping_add(1), Ordering::Release);
        drop(held);
        self.not_full.notify_one()?;
        Ok(message)
    }

    /// Takes the lock, and waits until the number of messages is one that will do: the two numbers.
    fn wait(
        &self,
        timeout: Option<Duration>,
        condition: &Condition<'_>,
        will_do: impl Fn(u64) -> bool,
    ) -> io::Result<(Held<'_>, u64, u64)> {
        let begun = Instant::now();
        let left = || timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
        let mut held = match left() {
            Some(left) => self
                .lock
                .lock_within(left)?
                .ok_or(io::ErrorKind::TimedOut)?,
            None => self.lock.lock()?,
        };
        loop {
            // Who has died with it has left one of the two numbers as it was, or changed it: both are whole.
            held.recovered();
            let sent = self.slots.number(at::SENT)?.load(Ordering::Acquire);
            let received = self.slots.number(at::RECEIVED)?.load(Ordering::Acquire);
            if will_do(self.slots.waiting(sent, received)?) {
                return Ok((held, sent, received));
            }
            let left = left().unwrap_or(Duration::MAX);
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            held = condition.wait(held, left)?;
        }
    }
}
