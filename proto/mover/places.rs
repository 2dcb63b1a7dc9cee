// SPDX-License-Identifier: GPL-2.0

//! The places in a pool that a search looks at for a block, in rising order.

use super::Pool;
use crate::id::PhysRange;
use crate::layout::GRANULE;

/// Up to so many granules, from the pool's first to its last, every aligned place is looked at
/// (MM-23). In larger pools those are that touch the end of something.
pub(super) const FEW_GRANULES: u64 = 256;

/// What a place must be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Bytes, at least one.
    pub(super) size: u64,
    /// A power of two, at least [`GRANULE`].
    pub(super) align: u64,
    pub(super) within: PhysRange,
}

impl Wish {
    pub(super) fn new(size: u64, align: u64, within: PhysRange) -> Self {
        let align = align.max(GRANULE);
        Self {
            size,
            align,
            within,
        }
    }

    /// The lowest place that starts at `from` or above.
    fn above(&self, from: u64) -> Option<u64> {
        from.max(self.within.base())
            .checked_next_multiple_of(self.align)
    }

    /// The highest place that ends at `to` or below.
    fn below(&self, to: u64) -> Option<u64> {
        let base = to.min(self.within.end()).checked_sub(self.size)?;
        Some(base & !self.align.wrapping_sub(1))
    }
}

impl<const N: usize> Pool<N> {
    /// The next place above `after` that lies in the pool; `others` are borders that lie in the
    /// pool besides its areas and blocks.
    pub(super) fn next_place(
        &self,
        wish: &Wish,
        after: Option<u64>,
        others: impl Iterator<Item = PhysRange> + Clone,
    ) -> Option<PhysRange> {
        let mut from = after;
        loop {
            let base = if self.is_small() {
                let lowest = match from {
                    Some(base) => base.checked_add(1)?,
                    None => self.areas.iter().next()?.base(),
                };
                wish.above(lowest)?
            } else {
                self.next_border(wish, from, others.clone())?
            };
            let place = PhysRange::new(base, wish.size)?;
            if base >= self.areas.iter().next_back()?.end() || base >= wish.within.end() {
                return None;
            }
            if wish.within.contains(place) && self.areas.iter().any(|area| area.contains(place)) {
                return Some(place);
            }
            from = Some(base);
        }
    }

    /// The next place above `after` that touches a border from above or from below.
    fn next_border(
        &self,
        wish: &Wish,
        after: Option<u64>,
        others: impl Iterator<Item = PhysRange>,
    ) -> Option<u64> {
        self.areas
            .iter()
            .chain(self.blocks.iter().map(|block| block.range))
            .chain(others)
            .chain(core::iter::once(wish.within))
            .flat_map(|range| [range.base(), range.end()])
            .flat_map(|border| [wish.above(border), wish.below(border)])
            .flatten()
            .filter(|base| after.is_none_or(|after| *base > after))
            .min()
    }

    /// Whether every place is looked at.
    pub(super) fn is_small(&self) -> bool {
        let first = self.areas.iter().next();
        let last = self.areas.iter().next_back();
        match (first, last) {
            (Some(first), Some(last)) => {
                last.end().wrapping_sub(first.base()) / GRANULE <= FEW_GRANULES
            }
            _ => true,
        }
    }
}
