// SPDX-License-Identifier: GPL-2.0

//! Which chunks of a lane are in use: runs that follow each other, given out in turn.
//!
//! Frames end in about the order in which they began, so the next run is looked for behind the last one.

use super::port::{Lane, Lanes};
use super::{CHUNK, CHUNKS};

const WORDS: usize = CHUNKS / 64;

/// The chunks of one lane, by their numbers in its station; its own, and nobody else's to see.
#[derive(Clone, Debug)]
pub struct Chunks {
    used: [u64; WORDS],
    first: usize,
    end: usize,
    free: usize,
    next: usize,
}

/// Chunks that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first.
    pub first: u16,
    /// How many.
    pub count: u16,
}

impl Run {
    /// All that a station has.
    pub const ALL: Self = Self {
        first: 0,
        count: CHUNKS as u16,
    };

    /// Chunks that so many bytes take.
    pub const fn for_bytes(bytes: usize) -> usize {
        bytes.div_ceil(CHUNK)
    }
}

impl Chunks {
    /// Those of a lane of a station with so many (VN-59), all of them free.
    pub const fn new(lane: Lane, lanes: Lanes) -> Self {
        let count = lanes.chunks();
        let first = count * (lane.index() & (lanes.count() - 1));
        Self {
            used: [0; WORDS],
            first,
            end: first + count,
            free: count,
            next: first,
        }
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.end.saturating_sub(self.first)
    }

    /// How many are free.
    pub const fn free(&self) -> usize {
        self.free
    }

    /// Takes so many that follow each other, if there are.
    pub fn take(&mut self, count: usize) -> Option<Run> {
        if count == 0 || count > self.free {
            return None;
        }
        let first = self.find(self.next, self.end, count).or_else(|| {
            let to = self.next.saturating_add(count).min(self.end);
            self.find(self.first, to, count)
        })?;
        self.set(first, count, true);
        self.free = self.free.saturating_sub(count);
        self.next = match first.saturating_add(count) {
            next if next < self.end => next,
            _ => self.first,
        };
        Some(Run {
            // Both are below the number of chunks.
            first: first as u16,
            count: count as u16,
        })
    }

    /// Gives back what was taken.
    pub fn give(&mut self, run: Run) {
        self.set(run.first.into(), run.count.into(), false);
        self.free = self.free.saturating_add(run.count.into()).min(self.count());
    }

    /// The first of so many free ones in a range.
    fn find(&self, from: usize, to: usize, count: usize) -> Option<usize> {
        let mut first = from;
        let mut at = from;
        while at < to {
            let word = self.used.get(at / 64)?.wrapping_shr((at % 64) as u32);
            if word & 1 != 0 {
                // Past all that follow it and are used too.
                at = at.saturating_add(word.trailing_ones() as usize);
                first = at;
                continue;
            }
            // Zeros behind the word's end say nothing.
            let clear = (word.trailing_zeros() as usize).min(64usize.saturating_sub(at % 64));
            at = at.saturating_add(clear);
            if at.min(to).saturating_sub(first) >= count {
                return Some(first);
            }
        }
        None
    }

    fn set(&mut self, first: usize, count: usize, used: bool) {
        for at in first..first.saturating_add(count) {
            if let Some(word) = self.used.get_mut(at / 64) {
                let bit = 1u64.wrapping_shl((at % 64) as u32);
                *word = if used { *word | bit } else { *word & !bit };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// No chunk is given out twice, none is lost, none is another lane's, and what fits is found.
        #[test]
        fn are_given_out_once(
            lane in 0u32..4,
            log2 in 0u32..3,
            calls in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, any::<bool>()), 0..300),
        ) {
            let lanes = Lanes::from_log2(log2).unwrap();
            let lane = Lane::new(lane % lanes.count() as u32).unwrap();
            let mut chunks = Chunks::new(lane, lanes);
            let own = lane.index() * chunks.count()..(lane.index() + 1) * chunks.count();
            let mut used: [bool; CHUNKS] = core::array::from_fn(|at| !own.contains(&at));
            let mut runs: Vec<Run> = Vec::new();
            for (which, count, gives) in calls {
                if gives && !runs.is_empty() {
                    let run = runs.swap_remove(which.index(runs.len()));
                    let (first, count) = (usize::from(run.first), usize::from(run.count));
                    used[first..first + count].fill(false);
                    chunks.give(run);
                } else if let Some(run) = chunks.take(count) {
                    let (first, taken) = (usize::from(run.first), usize::from(run.count));
                    prop_assert_eq!(taken, count);
                    prop_assert!(used[first..first + taken].iter().all(|used| !used));
                    used[first..first + taken].fill(true);
                    runs.push(run);
                } else {
                    let fits = count > 0 && used.windows(count).any(|run| run.iter().all(|used| !used));
                    prop_assert!(!fits, "{} would have fitted", count);
                }
                prop_assert_eq!(chunks.free(), used.iter().filter(|used| !**used).count());
            }
        }
    }
}
