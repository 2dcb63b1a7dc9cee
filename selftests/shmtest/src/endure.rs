// SPDX-License-Identifier: GPL-2.0

//! Uses a region while somebody means harm to what kernels tell each other of it: whatever wakes too much, too late or not at all,
//! each wait ends in its time, a word that counts up goes on, and no two have a lock at once.

use anyhow::{ensure, Context, Result};
use bridge::{Access, Lock, Memory, Region};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A word that two count up in turn.
const TURN: u64 = 0;
/// A lock, and what it protects: a number for each of the two, and their sum.
const LOCK: u64 = 256;
const SUM: usize = 264;
/// How long one waits for the other's turn, and for a notice: a kernel looks once a second by itself (SH-42).
const WAIT: Duration = Duration::from_millis(2500);
const NOTICE: Duration = Duration::from_millis(300);
/// Whoever has the lock frees it at once.
const LOCKED: Duration = Duration::from_secs(60);

/// What was done.
#[derive(Default)]
struct Done {
    turns: u32,
    locks: u32,
    notices: u32,
    /// The longest that a wait took.
    longest: Duration,
}

impl fmt::Display for Done {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            turns,
            locks,
            notices,
            longest,
        } = self;
        let longest = longest.as_millis();
        write!(
            to,
            "turns={turns} locks={locks} notices={notices} longest={longest}"
        )
    }
}

impl Done {
    /// Notes how long a wait took, and whether it told anything.
    fn note<T>(&mut self, begun: Instant, result: io::Result<T>) -> Result<Option<T>> {
        self.longest = self.longest.max(begun.elapsed());
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error)
                if [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock].contains(&error.kind()) =>
            {
                Ok(None)
            }
            // Somebody may have died, which ends a wait as well.
            Err(error) if error.raw_os_error() == Some(Errno::OWNERDEAD.raw_os_error()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Counts the word up if it is this one's turn, or waits until it is.
    fn take_turn(&mut self, region: &Region, memory: &Memory, role: u32) -> Result<()> {
        let word = memory.word(usize::try_from(TURN)?)?;
        let seen = word.load(Ordering::SeqCst);
        if seen % 2 != role % 2 {
            let begun = Instant::now();
            self.note(begun, region.wait_word(TURN, seen, Some(WAIT)))?;
            return Ok(());
        }
        let before = word.fetch_add(1, Ordering::SeqCst);
        ensure!(
            before == seen,
            "the other one has counted {seen} to {before}"
        );
        self.turns += 1;
        Ok(region.wake_word(TURN, 1)?)
    }

    fn take_lock(&mut self, region: &Region, memory: &Memory, role: u32) -> Result<()> {
        let lock = Lock::new(region, memory, LOCK)?;
        let held = lock.lock_within(LOCKED)?.context("nobody frees the lock")?;
        let own = memory.word(SUM + 4 + 4 * (role as usize % 2))?;
        let other = memory.word(SUM + 4 + 4 * ((role as usize + 1) % 2))?;
        let sum = memory.word(SUM)?;
        let before = own.load(Ordering::Relaxed) + other.load(Ordering::Relaxed);
        ensure!(
            sum.load(Ordering::Relaxed) == before,
            "two have the lock at once"
        );
        own.store(own.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        sum.store(before + 1, Ordering::Relaxed);
        drop(held);
        self.locks += 1;
        Ok(())
    }
}

/// Does so for some time, as one of two.
pub(crate) fn endure(name: &str, role: u32, seconds: u64) -> Result<String> {
    let region = Region::open(name, Access::Write)?;
    let memory = region.map()?;
    let mut done = Done::default();
    let mut seen = region.stat()?.notices;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        done.take_turn(&region, &memory, role)?;
        done.take_lock(&region, &memory, role)?;
        region.notify()?;
        let begun = Instant::now();
        if let Some(told) = done.note(begun, region.wait(seen, Some(NOTICE)))? {
            seen = told;
            done.notices += 1;
        }
    }
    Ok(done.to_string())
}
