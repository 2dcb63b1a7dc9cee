// SPDX-License-Identifier: GPL-2.0

//! Locks and conditions in a region, for programs of all vnodes. They go on when who has one dies (docs/bridge-shm.md, section 7).

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use adeos_proto::shm::lock::{DIED, HOLDER, WAITERS};

use crate::memory::Memory;
use crate::region::Region;
use crate::word::{Place, Word};

/// How long one sleeps before one looks whether who has the lock lives.
const LOOK: Duration = Duration::from_secs(1);

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
pub(crate) fn take(place: &impl Place, timeout: Option<Duration>) -> io::Result<Option<Taken>> {
    let word = place.value();
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
            if place.is_alive(seen)? {
                return Ok(None);
            }
            is_dead = true;
            continue;
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
        goes_on(place.wait(asleep, left.min(LOOK)))?;
        seen = word.load(Ordering::Relaxed);
        // The same holder after all that time: does it live?
        is_dead = seen == asleep && !place.is_alive(seen)?;
    }
}

/// Frees the lock of a word, and says that what it protects is in doubt, if it is.
pub(crate) fn free(place: &impl Place, is_in_doubt: bool) -> io::Result<()> {
    let left = if is_in_doubt { DIED } else { 0 };
    let before = place.value().swap(left, Ordering::Release);
    if before & WAITERS != 0 {
        place.wake(1)?;
    }
    Ok(())
}

/// A lock in a region: four bytes, which are zero at first. Programs of all vnodes take it.
///
/// Who ends while it has the lock, program or vnode, leaves it to the next one, which is told so ([`Held::is_inherited`]). It is the open
/// [`Region`] that has it: threads of one program are kept apart as long as they take it by the same `Lock`, or by regions that they have
/// opened themselves. A child that was forked has its parent's open region, and opens one of its own.
///
/// ```no_run
/// use bridge::{Access, Lock, Memory, Region};
/// # fn mend(_: &Memory) {}
///
/// # fn main() -> std::io::Result<()> {
/// let region = Region::open("accounts", Access::Write)?;
/// let memory = region.map()?;
/// let lock = Lock::new(&region, &memory, 0)?;
///
/// let mut held = lock.lock()?;
/// if held.is_inherited() {
///     // Somebody has ended in the middle of what follows here.
///     mend(&memory);
///     held.recovered();
/// }
/// memory.write(64, b"one account")?;
/// memory.write(128, b"and another")?;
/// # Ok(())
/// # }
/// ```
pub struct Lock<'a> {
    word: Word<'a>,
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
        let word = Word::new(region, memory, offset)?;
        word.guard()?;
        Ok(Self { word })
    }

    /// Takes it, whenever it is free.
    pub fn lock(&self) -> io::Result<Held<'_>> {
        let taken = take(&self.word, None)?;
        taken
            .map(|taken| self.held(taken))
            .ok_or_else(|| io::ErrorKind::TimedOut.into())
    }

    /// Takes it, if it is free in this time.
    pub fn lock_within(&self, timeout: Duration) -> io::Result<Option<Held<'_>>> {
        let taken = take(&self.word, Some(timeout))?;
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
        let _ = free(&self.lock.word, self.is_in_doubt);
    }
}

/// A condition in a region: four bytes, which are zero at first. Who has a lock waits by it for what another one does with that lock.
///
/// ```no_run
/// use bridge::{Access, Condition, Lock, Region};
/// use std::sync::atomic::Ordering;
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// let region = Region::open("kitchen", Access::Write)?;
/// let memory = region.map()?;
/// let (lock, full) = (Lock::new(&region, &memory, 0)?, Condition::new(&region, &memory, 4)?);
/// let plates = memory.word(8)?;
///
/// let mut held = lock.lock()?;
/// while plates.load(Ordering::Relaxed) == 0 {
///     held = full.wait(held, Duration::from_secs(1))?;
/// }
/// plates.fetch_sub(1, Ordering::Relaxed);
/// # Ok(())
/// # }
/// ```
pub struct Condition<'a> {
    word: Word<'a>,
}

impl<'a> Condition<'a> {
    /// The condition at an offset, a multiple of 4, of a region that is open to write.
    pub fn new(region: &'a Region, memory: &'a Memory, offset: u64) -> io::Result<Self> {
        let word = Word::new(region, memory, offset)?;
        Ok(Self { word })
    }

    /// Frees a lock, sleeps until it is told of, or for no longer than this, and takes the lock again. What one waits for is looked at
    /// again then: one may wake for nothing.
    pub fn wait<'b>(&self, held: Held<'b>, timeout: Duration) -> io::Result<Held<'b>> {
        let lock = held.lock;
        let seen = self.word.value().load(Ordering::Acquire);
        drop(held);
        let slept = goes_on(self.word.wait(seen, timeout));
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
        self.word.value().fetch_add(1, Ordering::Release);
        self.word.wake(count)
    }
}

#[cfg(test)]
mod tests;
