// SPDX-License-Identifier: GPL-2.0

//! Locks and conditions in a region, for programs of all vnodes. They go on when who has one dies (docs/bridge-shm.md, section 7).

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use adeos_proto::shm::lock::{is_alive, DIED, HOLDER, WAITERS};

use crate::memory::Memory;
use crate::region::Region;

/// How long one sleeps before one looks whether who has the lock lives.
const LOOK: Duration = Duration::from_secs(1);

/// What a lock needs of where it lies.
pub(crate) trait Place {
    /// The word at an offset.
    fn word(&self, offset: u64) -> io::Result<&AtomicU32>;
    /// Sleeps while the word has a value, or less long.
    fn wait(&self, offset: u64, value: u32, timeout: Duration) -> io::Result<()>;
    /// Wakes some that sleep on the word.
    fn wake(&self, offset: u64, count: u32) -> io::Result<()>;
    /// What stands in the words of locks that this one has.
    fn token(&self) -> u32;
    /// Whether who has the lock of a word lives.
    fn is_alive(&self, word: u32) -> io::Result<bool>;
}

/// A region, and all of it mapped.
pub(crate) struct Mapped<'a> {
    pub(crate) region: &'a Region,
    pub(crate) memory: &'a Memory,
}

impl Place for Mapped<'_> {
    fn word(&self, offset: u64) -> io::Result<&AtomicU32> {
        self.memory
            .word(usize::try_from(offset).map_err(io::Error::other)?)
    }

    fn wait(&self, offset: u64, value: u32, timeout: Duration) -> io::Result<()> {
        self.region.wait_word(offset, value, Some(timeout))
    }

    fn wake(&self, offset: u64, count: u32) -> io::Result<()> {
        self.region.wake_word(offset, count)
    }

    fn token(&self) -> u32 {
        self.region.token()
    }

    fn is_alive(&self, word: u32) -> io::Result<bool> {
        Ok(is_alive(word, &self.region.stat()?.users))
    }
}

/// What ends a wait without telling anything: the word is looked at again.
pub(crate) fn goes_on(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
            ) || error.raw_os_error() == Some(libc::EOWNERDEAD) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// What becomes of taking a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is had.
    Had,
    /// It is had, and who had it before has died with it.
    Inherited,
}

/// Takes the lock of a word; nothing when the time is over first.
pub(crate) fn take(
    place: &impl Place,
    offset: u64,
    timeout: Option<Duration>,
) -> io::Result<Option<Taken>> {
    let word = place.word(offset)?;
    let begun = Instant::now();
    // Who has slept cannot know whether it was the last one.
    let mut mine = place.token();
    let mut is_dead = false;
    let mut seen = word.load(Ordering::Relaxed);
    loop {
        if seen & HOLDER == 0 || is_dead {
            let new = mine | seen & WAITERS;
            match word.compare_exchange(seen, new, Ordering::Acquire, Ordering::Relaxed) {
                Ok(before) if is_dead || before & DIED != 0 => return Ok(Some(Taken::Inherited)),
                Ok(_) => return Ok(Some(Taken::Had)),
                Err(now) => {
                    seen = now;
                    is_dead = false;
                    continue;
                }
            }
        }
        let left = timeout.map_or(LOOK, |timeout| timeout.saturating_sub(begun.elapsed()));
        if left.is_zero() {
            return Ok(None);
        }
        let asleep = seen | WAITERS;
        if seen != asleep {
            if let Err(now) =
                word.compare_exchange(seen, asleep, Ordering::Relaxed, Ordering::Relaxed)
            {
                seen = now;
                continue;
            }
        }
        mine |= WAITERS;
        goes_on(place.wait(offset, asleep, left.min(LOOK)))?;
        seen = word.load(Ordering::Relaxed);
        // The same holder after all that time: does it live?
        is_dead = seen == asleep && !place.is_alive(seen)?;
    }
}

/// Frees the lock of a word, and says that what it protects is in doubt, if it is.
pub(crate) fn free(place: &impl Place, offset: u64, is_in_doubt: bool) -> io::Result<()> {
    let left = if is_in_doubt { DIED } else { 0 };
    let before = place.word(offset)?.swap(left, Ordering::Release);
    if before & WAITERS != 0 {
        place.wake(offset, 1)?;
    }
    Ok(())
}

/// A lock in a region: four bytes, which are zero at first. Programs of all vnodes take it.
///
/// Who ends while it has the lock, program or vnode, leaves it to the next one, which is told so ([`Held::is_inherited`]). It is the open
/// [`Region`] that has it: threads of one program are kept apart as long as they take it by the same `Lock`, or by regions that they have
/// opened themselves.
pub struct Lock<'a> {
    place: Mapped<'a>,
    offset: u64,
}

/// A lock that is had: freed when dropped.
#[must_use = "it is freed at once otherwise"]
pub struct Held<'a> {
    lock: &'a Lock<'a>,
    is_in_doubt: bool,
}

impl<'a> Lock<'a> {
    /// The lock at an offset, a multiple of 4, of a region that is open to write. ENOSPC this region has 64 others.
    pub fn new(region: &'a Region, memory: &'a Memory, offset: u64) -> io::Result<Self> {
        region.guard(offset)?;
        let place = Mapped { region, memory };
        place.word(offset)?;
        Ok(Self { place, offset })
    }

    /// Takes it, whenever it is free.
    pub fn lock(&self) -> io::Result<Held<'_>> {
        let taken = take(&self.place, self.offset, None)?;
        taken
            .map(|taken| self.held(taken))
            .ok_or_else(|| io::ErrorKind::TimedOut.into())
    }

    /// Takes it, if it is free in this time.
    pub fn lock_within(&self, timeout: Duration) -> io::Result<Option<Held<'_>>> {
        let taken = take(&self.place, self.offset, Some(timeout))?;
        Ok(taken.map(|taken| self.held(taken)))
    }

    /// Takes it if it is free now.
    pub fn try_lock(&self) -> io::Result<Option<Held<'_>>> {
        self.lock_within(Duration::ZERO)
    }

    fn held(&self, taken: Taken) -> Held<'_> {
        Held {
            lock: self,
            is_in_doubt: taken == Taken::Inherited,
        }
    }
}

impl Held<'_> {
    /// Whether who had it before has ended with it, and nobody has said since that all is well: what it protects may be half-done.
    pub fn is_inherited(&self) -> bool {
        self.is_in_doubt
    }

    /// Says that what it protects is whole again. Else the next one is told as this one was.
    pub fn recovered(&mut self) {
        self.is_in_doubt = false;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // What can fail is to wake, which who sleeps does by itself after a second.
        let _ = free(&self.lock.place, self.lock.offset, self.is_in_doubt);
    }
}

/// A condition in a region: four bytes, which are zero at first.
pub struct Condition<'a> {
    place: Mapped<'a>,
    offset: u64,
}

impl<'a> Condition<'a> {
    /// The condition at an offset, a multiple of 4, of a region that is open to write.
    pub fn new(region: &'a Region, memory: &'a Memory, offset: u64) -> io::Result<Self> {
        let place = Mapped { region, memory };
        place.word(offset)?;
        Ok(Self { place, offset })
    }

    /// Frees a lock, sleeps until it is told of, or for no longer than this, and takes the lock again. What one waits for is looked at
    /// again then: one may wake for nothing.
    pub fn wait<'b>(&self, held: Held<'b>, timeout: Duration) -> io::Result<Held<'b>> {
        let lock = held.lock;
        let seen = self.place.word(self.offset)?.load(Ordering::Acquire);
        drop(held);
        let slept = goes_on(self.place.wait(self.offset, seen, timeout));
        let held = lock.lock()?;
        slept.map(|()| held)
    }

    /// Wakes one that waits.
    pub fn notify_one(&self) -> io::Result<()> {
        self.notify(1)
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) -> io::Result<()> {
        self.notify(u32::MAX)
    }

    fn notify(&self, count: u32) -> io::Result<()> {
        self.place
            .word(self.offset)?
            .fetch_add(1, Ordering::Release);
        self.place.wake(self.offset, count)
    }
}

#[cfg(test)]
mod tests;
