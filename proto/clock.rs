// SPDX-License-Identifier: GPL-2.0

//! The cluster's common time, and how far two vnodes' time-stamp counters are apart (paper
//! section 6.5).
//!
//! The root publishes a line through time: so many nanoseconds at so many ticks of its counter,
//! and a rate. Everybody reads the line and the counter together, so that an update is seen by
//! all at one tick, from which on the new line goes where the old one was. A vnode whose counter
//! is not the root's adds the difference, which it estimates by asking the root for the time.
//! docs/pipeline.md, section 9, is the specification.
//!
//! Counters come in as arguments. Time does not stop while the cluster sleeps or is debugged, and
//! it is not the time of day.

pub mod exchange;

use crate::window::Window;

/// Bytes of the shared structure: one cache line, whose only writer is the root.
pub const SIZE: usize = 0x40;

/// Offset of the `u64` that is odd while the root changes the rest, and 0 before the first time.
pub const SEQUENCE: usize = 0x00;

/// Offset of the `u64` with the counter at the start of the line, in ticks.
pub const TSC: usize = 0x08;

/// Offset of the `u64` with the time at the start of the line, in ns.
pub const NS: usize = 0x10;

/// Offset of the `u64` with the rate, in ns per tick, times 2^48.
pub const RATE: usize = 0x18;

const _: () = assert!(RATE + 8 <= SIZE && SIZE.is_power_of_two(), "it is one line");

/// Bits of a rate behind the binary point. What a rate cannot hold costs less than one ns in
/// 2^48 ticks, a day at 3 GHz.
const FRACTION: u32 = 48;

/// The slowest counter that is taken for one, in kHz.
pub const MIN_KHZ: u32 = 1_000;

/// The fastest.
pub const MAX_KHZ: u32 = 10_000_000;

/// How far before the start of a line a counter may be, in ticks: months. A counter that seems
/// to be before that is after it, by up to 116 years at 5 GHz.
const MOST_BEFORE: u64 = 1 << 56;

/// How often [`read`] tries before it says that the root is busy. An update takes the root some
/// hundred ns, in which a reader that is not held up tries a few times.
const TRIES: usize = 256;

/// Why there is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The root has not published any yet.
    Unpublished,
    /// The root was changing it whenever it was looked at; or it has died in the middle.
    Busy,
    /// What is there is not a clock.
    Nonsense,
}

/// How long a tick is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u64);

impl Rate {
    /// The rate of a counter of this frequency; nothing outside [`MIN_KHZ`] to [`MAX_KHZ`].
    pub const fn from_khz(khz: u32) -> Option<Self> {
        if khz < MIN_KHZ || khz > MAX_KHZ {
            return None;
        }
        // 10^6 * 2^48 / khz by two divisions, as 128-bit ones do not exist in a kernel. Neither
        // overflows: 10^6 * 2^32 < 2^52, and the remainder is below khz < 2^24.
        const PER_MS: u64 = 1_000_000 << 32;
        let khz = khz as u64;
        let high = (PER_MS / khz) << (FRACTION - 32);
        let low = ((PER_MS % khz) << (FRACTION - 32)) / khz;
        Some(Self(high | low))
    }

    /// Takes a number that somebody says is a rate.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        const FASTEST: u64 = match Rate::from_khz(MAX_KHZ) {
            Some(rate) => rate.0,
            None => 0,
        };
        const SLOWEST: u64 = match Rate::from_khz(MIN_KHZ) {
            Some(rate) => rate.0,
            None => 0,
        };
        if raw < FASTEST || raw > SLOWEST {
            return None;
        }
        Some(Self(raw))
    }

    /// The number as the shared structure holds it.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Whole nanoseconds in so many ticks, rounded down; 2^64 - 1 when there are more.
    pub fn ns(self, ticks: u64) -> u64 {
        // Below 2^64 * 2^58, as no rate is more than 1000 ns per tick.
        let product = u128::from(ticks).wrapping_mul(u128::from(self.0));
        u64::try_from(product >> FRACTION).unwrap_or(u64::MAX)
    }
}

/// A line through time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The counter where it starts, in ticks.
    pub tsc: u64,
    /// The time there, in ns.
    pub ns: u64,
    /// How it goes on, and where it came from.
    pub rate: Rate,
}

impl Line {
    /// The time at a counter, in ns; never less at a later counter than at an earlier one.
    pub fn ns_at(&self, tsc: u64) -> u64 {
        let before = self.tsc.wrapping_sub(tsc);
        if before <= MOST_BEFORE {
            self.ns.saturating_sub(self.rate.ns(before))
        } else {
            let after = tsc.wrapping_sub(self.tsc);
            self.ns.saturating_add(self.rate.ns(after))
        }
    }
}

/// The root's end. It never reads back what it has written.
#[derive(Debug)]
pub struct Publisher {
    line: Line,
    sequence: u64,
}

impl Publisher {
    /// Publishes a first line, in memory that is all zeros. `tsc` reads the root's counter; its
    /// reading must lie between the memory accesses before and after it.
    pub fn start<W: Window>(window: &W, rate: Rate, ns: u64, tsc: impl FnOnce() -> u64) -> Self {
        let line = Line { tsc: 0, ns, rate };
        let mut publisher = Self { line, sequence: 0 };
        publisher.publish(window, || Line { tsc: tsc(), ..line });
        publisher
    }

    /// Goes on at another rate, from where the time is now. To be called with interrupts off:
    /// until it returns, nobody has a time. `tsc` as for [`Publisher::start`].
    pub fn update<W: Window>(&mut self, window: &W, rate: Rate, tsc: impl FnOnce() -> u64) {
        let old = self.line;
        self.publish(window, || {
            let tsc = tsc();
            let ns = old.ns_at(tsc);
            Line { tsc, ns, rate }
        });
    }

    /// Publishes the same line again: others may have written over it. To be called with interrupts
    /// off.
    pub fn mend<W: Window>(&mut self, window: &W) {
        let line = self.line;
        self.publish(window, || line);
    }

    /// The line that is published.
    pub const fn line(&self) -> Line {
        self.line
    }

    /// `line` reads the counter, once nobody can read the time by the old line any more: each
    /// counter that has been turned into a time by that one is earlier.
    fn publish<W: Window>(&mut self, window: &W, line: impl FnOnce() -> Line) {
        window.store_release64(SEQUENCE, self.sequence.wrapping_add(1));
        window.full_barrier();
        self.line = line();

        // Each store is a release: who sees one of them sees the odd number as well.
        window.store_release64(TSC, self.line.tsc);
        window.store_release64(NS, self.line.ns);
        window.store_release64(RATE, self.line.rate.raw());
        self.sequence = self.sequence.wrapping_add(2);
        window.store_release64(SEQUENCE, self.sequence);
    }
}

/// The common time in ns. `tsc` reads this CPU's counter, corrected to be the root's; its reading
/// must lie between the memory accesses before and after it. Any context; it may be called a
/// bounded number of times.
pub fn read<W: Window>(window: &W, mut tsc: impl FnMut() -> u64) -> Result<u64, Error> {
    for _ in 0..TRIES {
        match try_read(window, &mut tsc) {
            Err(Error::Busy) => {}
            result => return result,
        }
    }
    Err(Error::Busy)
}

/// As [`read`], in one try.
pub fn try_read<W: Window>(window: &W, tsc: impl FnOnce() -> u64) -> Result<u64, Error> {
    // Each load is an acquire: the last one is not older than what the others have seen.
    let sequence = window.load_acquire64(SEQUENCE);
    if sequence == 0 {
        return Err(Error::Unpublished);
    }
    if sequence % 2 == 1 {
        return Err(Error::Busy);
    }
    let now = tsc();
    let (start, ns) = (window.load_acquire64(TSC), window.load_acquire64(NS));
    let rate = window.load_acquire64(RATE);
    if window.load_acquire64(SEQUENCE) != sequence {
        return Err(Error::Busy);
    }

    let rate = Rate::from_raw(rate).ok_or(Error::Nonsense)?;
    let line = Line {
        tsc: start,
        ns,
        rate,
    };
    Ok(line.ns_at(now))
}

/// One question for the time and its answer: readings of two counters, in the order in which
/// they were made. The middle two are the peer's, and its claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Own counter, before the question was sent.
    pub sent: u64,
    /// The peer's, after the question came.
    pub received: u64,
    /// The peer's, before the answer was sent.
    pub replied: u64,
    /// Own counter, after the answer came.
    pub returned: u64,
}

/// Why a sample is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSample {
    /// A counter runs backwards, or the answer was there before the question.
    Impossible,
    /// It cannot be true together with the earlier ones: a counter was set, or runs at another
    /// rate, or the peer lies.
    Contradiction,
}

/// How far the peer's counter is ahead of the own one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Ticks to add to the own counter to have the peer's.
    pub ticks: i64,
    /// By how much that can be wrong either way, in ticks.
    pub error_ticks: u64,
}

/// The offsets that all samples allow.
///
/// The way of the question takes some time, so the offset is at most `received - sent`; so does
/// the way of the answer, so it is at least `replied - returned`. Each sample narrows the
/// range, and the result is never worse than from the sample with the shortest round trip alone.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    range: Option<(i64, i64)>,
}

impl Estimate {
    /// Nothing known.
    pub const fn new() -> Self {
        Self { range: None }
    }

    /// Takes a sample into account. A refused one changes nothing.
    pub fn add(&mut self, sample: &Sample) -> Result<(), BadSample> {
        let away = difference(sample.returned, sample.sent);
        let held = difference(sample.replied, sample.received);
        let least = difference(sample.replied, sample.returned);
        let most = difference(sample.received, sample.sent);
        // A range that is wider than an i64 is no result either.
        let is_range = most.checked_sub(least).is_some_and(|width| width >= 0);
        if away < 0 || held < 0 || !is_range {
            return Err(BadSample::Impossible);
        }

        let (low, high) = self.range.unwrap_or((least, most));
        let (low, high) = (low.max(least), high.min(most));
        if low > high {
            return Err(BadSample::Contradiction);
        }
        self.range = Some((low, high));
        Ok(())
    }

    /// The middle of what is possible; nothing before the first sample.
    pub fn offset(&self) -> Option<Offset> {
        let (low, high) = self.range?;
        let width = high.abs_diff(low);
        let half = width / 2;
        Some(Offset {
            ticks: low.wrapping_add_unsigned(half),
            error_ticks: width.wrapping_sub(half),
        })
    }
}

impl Default for Estimate {
    fn default() -> Self {
        Self::new()
    }
}

/// How far `a` is ahead of `b`, for counters that wrap and are less than 2^63 apart.
const fn difference(a: u64, b: u64) -> i64 {
    a.wrapping_sub(b) as i64
}
