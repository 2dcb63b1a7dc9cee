// SPDX-License-Identifier: GPL-2.0

//! The pool's allocator of physical ranges (paper section 4.3, "physically contiguous memory").
//!
//! First fit from the lowest address; what comes back joins its free neighbours at once. Storage
//! is inline and bounded, so that an allocator can live in a static and sit behind a lock that
//! forbids allocation. It hands out addresses only: mapping and scrubbing are for its user.

use crate::id::PhysRange;
use crate::layout::GRANULE;

/// Why a call is refused. A call that is refused has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No free range is large enough, or the range is not memory of the pool.
    NoFit,
    /// A part of the range is in use.
    Taken,
    /// No allocation is exactly this range.
    Unknown,
    /// Base or size is not a multiple of the granule, or the alignment is no power of two.
    Misaligned,
    /// The table of ranges has no room.
    Full,
    /// A part of the range is in the pool already.
    Overlap,
}

/// What an allocation is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes, a multiple of [`GRANULE`].
    pub size: u64,
    /// Alignment in bytes, a power of two; less than [`GRANULE`] counts as that.
    pub align: u64,
    /// The allocation lies wholly in here.
    pub within: PhysRange,
}

/// A sorted list of ranges that do not overlap.
///
/// # Invariants
///
/// The used entries come first and rise; all others are `None`.
#[derive(Clone, Copy, Debug)]
struct Ranges<const N: usize>([Option<PhysRange>; N]);

impl<const N: usize> Ranges<N> {
    const fn new() -> Self {
        Self([None; N])
    }

    fn iter(&self) -> impl Iterator<Item = PhysRange> + Clone + '_ {
        self.0.iter().map_while(|entry| *entry)
    }

    fn len(&self) -> usize {
        self.iter().count()
    }

    fn overlaps(&self, range: PhysRange) -> bool {
        self.iter().any(|entry| entry.overlaps(range))
    }

    fn contains(&self, range: PhysRange) -> bool {
        self.iter().any(|entry| entry == range)
    }

    /// Puts a range in its place; the caller has made sure that there is room.
    fn insert(&mut self, range: PhysRange) {
        // Each entry behind the new one moves one place, which ends at the first empty place.
        let mut moving = Some(range);
        for entry in &mut self.0 {
            if entry.is_none() || moving < *entry {
                core::mem::swap(entry, &mut moving);
            }
            if moving.is_none() {
                return;
            }
        }
    }

    /// Takes a range out.
    fn remove(&mut self, range: PhysRange) {
        let Some(place) = self.iter().position(|entry| entry == range) else {
            return;
        };
        let mut moving = None;
        for entry in self.0.iter_mut().skip(place).rev() {
            core::mem::swap(entry, &mut moving);
        }
    }
}

/// An allocator with at most `N` free and `N` used ranges.
///
/// # Invariants
///
/// - Free ranges and used ones neither overlap nor touch the outside of what was added, and no
///   two free ones touch each other.
/// - `used + areas <= N`. Between two free ranges lies a used one or the border of an area, so
///   there is always room for what a `free` gives back, and `free` cannot fail for want of it.
#[derive(Clone, Copy, Debug)]
pub struct Allocator<const N: usize> {
    free: Ranges<N>,
    used: Ranges<N>,
    areas: usize,
}

impl<const N: usize> Allocator<N> {
    /// An allocator without memory.
    pub const fn new() -> Self {
        Self {
            free: Ranges::new(),
            used: Ranges::new(),
            areas: 0,
        }
    }

    /// Gives the allocator memory: the whole granules of `range`.
    ///
    /// `Misaligned` when there is none in it, `Overlap` when some of it was added before, `Full`.
    pub fn add(&mut self, range: PhysRange) -> Result<(), Error> {
        let whole = whole_granules(range).ok_or(Error::Misaligned)?;
        if self.free.overlaps(whole) || self.used.overlaps(whole) {
            return Err(Error::Overlap);
        }
        if !self.has_room() {
            return Err(Error::Full);
        }
        self.areas = self.areas.saturating_add(1);
        self.give(whole);
        Ok(())
    }

    /// Allocates the lowest range that suits. `NoFit`, `Misaligned` or `Full`.
    pub fn allocate(&mut self, request: &Request) -> Result<PhysRange, Error> {
        if request.size == 0 || request.size % GRANULE != 0 || !request.align.is_power_of_two() {
            return Err(Error::Misaligned);
        }
        if !self.has_room() {
            return Err(Error::Full);
        }
        let (from, found) = self
            .free
            .iter()
            .find_map(|free| Some((free, first_fit(free, request)?)))
            .ok_or(Error::NoFit)?;
        self.carve(from, found);
        Ok(found)
    }

    /// Allocates exactly `range`. `Taken`, `NoFit` (it is not in the pool), `Misaligned` or `Full`.
    pub fn take(&mut self, range: PhysRange) -> Result<(), Error> {
        if range.base() % GRANULE != 0 || range.size() % GRANULE != 0 {
            return Err(Error::Misaligned);
        }
        if self.used.overlaps(range) {
            return Err(Error::Taken);
        }
        if !self.has_room() {
            return Err(Error::Full);
        }
        let from = self
            .free
            .iter()
            .find(|free| free.contains(range))
            .ok_or(Error::NoFit)?;
        self.carve(from, range);
        Ok(())
    }

    /// Takes back an allocation, which must be exactly one that was made. `Unknown`.
    pub fn free(&mut self, range: PhysRange) -> Result<(), Error> {
        if !self.used.contains(range) {
            return Err(Error::Unknown);
        }
        self.used.remove(range);
        self.give(range);
        Ok(())
    }

    /// Bytes that were added.
    pub fn total(&self) -> u64 {
        sum(self.used.iter()).saturating_add(self.available())
    }

    /// Bytes that are free.
    pub fn available(&self) -> u64 {
        sum(self.free.iter())
    }

    /// Bytes of the largest free range.
    pub fn largest(&self) -> u64 {
        self.free.iter().map(PhysRange::size).max().unwrap_or(0)
    }

    /// The allocations, in rising order.
    pub fn used(&self) -> impl Iterator<Item = PhysRange> + Clone + '_ {
        self.used.iter()
    }

    /// The free ranges, in rising order.
    pub fn free_ranges(&self) -> impl Iterator<Item = PhysRange> + '_ {
        self.free.iter()
    }

    fn has_room(&self) -> bool {
        self.used.len().saturating_add(self.areas) < N
    }

    /// Moves `part` of the free range `from` to the used ones.
    fn carve(&mut self, from: PhysRange, part: PhysRange) {
        self.free.remove(from);
        let below = part.base().wrapping_sub(from.base());
        let above = from.end().wrapping_sub(part.end());
        for rest in [
            PhysRange::new(from.base(), below),
            PhysRange::new(part.end(), above),
        ]
        .into_iter()
        .flatten()
        {
            self.free.insert(rest);
        }
        self.used.insert(part);
    }

    /// Makes a range free and joins it with the free ranges that it touches.
    fn give(&mut self, range: PhysRange) {
        let below = self.free.iter().find(|free| free.end() == range.base());
        let above = self.free.iter().find(|free| free.base() == range.end());
        let base = below.unwrap_or(range).base();
        let end = above.unwrap_or(range).end();
        for neighbour in [below, above].into_iter().flatten() {
            self.free.remove(neighbour);
        }
        if let Some(joined) = PhysRange::new(base, end.wrapping_sub(base)) {
            self.free.insert(joined);
        }
    }
}

impl<const N: usize> Default for Allocator<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The lowest place in a free range that suits the request.
fn first_fit(free: PhysRange, request: &Request) -> Option<PhysRange> {
    let align = request.align.max(GRANULE);
    let lowest = free.base().max(request.within.base());
    let base = lowest.checked_next_multiple_of(align)?;
    let found = PhysRange::new(base, request.size)?;
    (free.contains(found) && request.within.contains(found)).then_some(found)
}

/// The part of a range that consists of whole granules.
fn whole_granules(range: PhysRange) -> Option<PhysRange> {
    let base = range.base().checked_next_multiple_of(GRANULE)?;
    let end = range.end() & !(GRANULE - 1);
    PhysRange::new(base, end.checked_sub(base)?)
}

fn sum(ranges: impl Iterator<Item = PhysRange>) -> u64 {
    ranges.fold(0, |bytes, range| bytes.saturating_add(range.size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn range(base: u64, size: u64) -> PhysRange {
        PhysRange::new(base, size).unwrap()
    }

    #[test]
    fn memory_counts_in_whole_granules_and_once() {
        let mut pool = Allocator::<8>::new();
        assert_eq!(pool.add(range(MIB, 2 * MIB)), Err(Error::Misaligned));
        assert_eq!(pool.add(range(3 * MIB, 8 * MIB)), Ok(()));
        assert_eq!(pool.free_ranges().next(), Some(range(4 * MIB, 6 * MIB)));
        assert_eq!(pool.add(range(8 * MIB, 4 * MIB)), Err(Error::Overlap));
    }

    #[test]
    fn allocations_are_the_lowest_that_suit() {
        let mut pool = Allocator::<8>::new();
        pool.add(range(2 * MIB, 62 * MIB)).unwrap();
        let mut request = Request {
            size: 4 * MIB,
            align: 16 * MIB,
            within: range(0, 64 * MIB),
        };
        assert_eq!(pool.allocate(&request), Ok(range(16 * MIB, 4 * MIB)));
        request.align = 1;
        request.within = range(15 * MIB, 49 * MIB);
        assert_eq!(pool.allocate(&request), Ok(range(20 * MIB, 4 * MIB)));
        request.size = 0;
        assert_eq!(pool.allocate(&request), Err(Error::Misaligned));
    }

    #[test]
    fn a_full_table_refuses_to_allocate_but_never_to_free() {
        let mut pool = Allocator::<4>::new();
        pool.add(range(0, 64 * MIB)).unwrap();
        for base in [4, 12, 20] {
            pool.take(range(base * MIB, 2 * MIB)).unwrap();
        }
        assert_eq!(pool.take(range(28 * MIB, 2 * MIB)), Err(Error::Full));
        assert_eq!(pool.free_ranges().count(), 4);
        for base in [12, 4, 20] {
            pool.free(range(base * MIB, 2 * MIB)).unwrap();
        }
        assert_eq!(pool.largest(), 64 * MIB);
    }
}
