// SPDX-License-Identifier: GPL-2.0

//! Which chunks of a station are in use: runs that follow each other, given out in turn.
//!
//! Frames end in about the order in which they began, so the next run is looked for behind the last one.

use super::{CHUNK, CHUNKS};

const WORDS: usize = CHUNKS / 64;

/// The chunks of one station; its own, and nobody else's to see.
#[derive(Clone, Debug)]
pub struct Chunks {
    used: [u64; WORDS],
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
    /// Chunks that so many bytes take.
    pub const fn for_bytes(bytes: usize) -> usize {
        bytes.div_ceil(CHUNK)
    }
}

impl Chunks {
    /// All of them free.
    pub const fn new() -> Self {
        Self {
            used: [0; WORDS],
            free: CHUNKS,
            next: 0,
        }
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
        let first = self
            .find(self.next, CHUNKS, count)
            .or_else(|| self.find(0, self.next.saturating_add(count).min(CHUNKS), count))?;
        self.set(first, count, true);
        self.free = self.free.saturating_sub(count);
        self.next = first.saturating_add(count) % CHUNKS;
        Some(Run {
            // Both are below the number of chunks.
            first: first as u16,
            count: count as u16,
        })
    }

    /// Gives back what was taken.
    pub fn give(&mut self, run: Run) {
        self.set(run.first.into(), run.count.into(), false);
        self.free = self.free.saturating_add(run.count.into()).min(CHUNKS);
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

impl Default for Chunks {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// No chunk is given out twice, none is lost, and what fits is found.
        #[test]
        fn are_given_out_once(calls in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, any::<bool>()), 0..300)) {
            let mut chunks = Chunks::new();
            let mut used = [false; CHUNKS];
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
