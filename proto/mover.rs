// SPDX-License-Identifier: GPL-2.0

//! Plans which allocations of the pool move where, so that a request fits that does not fit now
//! (paper section 4.3, "defragmenting physical memory").
//!
//! A plan is a list of moves. Each is legal when its turn comes: the target is memory of the pool
//! that nothing occupies then, not even a part of what moves, and has the alignment and the
//! bounds that the allocation was made with. This file knows addresses only; who freezes, copies
//! and maps is elsewhere. What is promised, and how far, is docs/movable-memory.md.
//!
//! A search chooses a window for the request and a target for each block in its way, then for
//! each block in the way of a target, and so on; what it has chosen is then brought into an order
//! (see [`schedule`]). It keeps the plan that moves the fewest bytes.

use crate::id::PhysRange;
use crate::layout::GRANULE;
use crate::region::Request;
use list::List;
use search::Search;

mod list;
mod places;
mod schedule;
mod search;

/// Whether an allocation can be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Never.
    Pinned,
    /// To where these hold.
    Movable {
        /// Alignment in bytes, a power of two; less than [`GRANULE`] counts as that.
        align: u64,
        /// It lies wholly in here, for example below 4 GiB.
        within: PhysRange,
    },
}

/// An allocation of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it is.
    pub range: PhysRange,
    /// Whether it must stay there.
    pub hold: Hold,
}

/// One step of a plan: everything in `from` is copied to `to`, which is as large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where the block is when the turn of this move comes.
    pub from: PhysRange,
    /// Where it goes: free then, and without a byte in common with `from`.
    pub to: PhysRange,
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// It has tried all that it tries.
    Whole,
    /// It has ended because its steps were used up.
    Cut,
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A size is not a positive multiple of the granule, or an alignment no power of two.
    Misaligned,
    /// Ranges overlap, or do not come in rising order.
    Disorder,
    /// The pool has more areas or allocations than there is room for.
    Full,
    /// No plan exists: whatever moves where, the request never fits (MM-22).
    Impossible,
    /// None was found, and that there is none is not proven either.
    Undecided,
}

/// What to do so that a request fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan<const M: usize> {
    moves: List<Move, M>,
    /// Where the request fits after the last move.
    pub place: PhysRange,
    /// How many bytes the moves copy.
    pub bytes: u64,
    /// Whether all plans were looked at for one that copies fewer.
    pub extent: Extent,
}

impl<const M: usize> Plan<M> {
    /// The moves, in their order.
    pub fn moves(&self) -> impl Iterator<Item = Move> + '_ {
        self.moves.iter()
    }
}

/// A picture of the pool with at most `N` areas and `N` allocations.
///
/// # Invariants
///
/// Areas and blocks rise; neither overlap among themselves, no two areas touch, and each block
/// lies in an area.
#[derive(Clone, Copy, Debug)]
pub struct Pool<const N: usize> {
    areas: List<PhysRange, N>,
    blocks: List<Block, N>,
}

impl<const N: usize> Pool<N> {
    /// Takes the free ranges and the allocations, both in rising order, as an allocator lists
    /// them. `Misaligned`, `Disorder` or `Full`.
    pub fn new(
        free: impl Iterator<Item = PhysRange>,
        blocks: impl Iterator<Item = Block> + Clone,
    ) -> Result<Self, Error> {
        let mut pool = Self {
            areas: List::new(),
            blocks: List::new(),
        };
        let mut free = free.peekable();
        let mut used = blocks.clone().map(|block| block.range).peekable();
        loop {
            let next = match (free.peek(), used.peek()) {
                (Some(a), Some(b)) if a.base() < b.base() => free.next(),
                (_, Some(_)) => used.next(),
                (_, None) => free.next(),
            };
            let Some(next) = next else { break };
            pool.extend(next)?;
        }
        for block in blocks {
            if let Hold::Movable { align, .. } = block.hold {
                if !align.is_power_of_two() {
                    return Err(Error::Misaligned);
                }
            }
            pool.blocks.push(block).ok_or(Error::Full)?;
        }
        Ok(pool)
    }

    /// Adds a range that begins where the areas end or behind.
    fn extend(&mut self, next: PhysRange) -> Result<(), Error> {
        if next.base() % GRANULE != 0 || next.size() % GRANULE != 0 {
            return Err(Error::Misaligned);
        }
        match self.areas.last_mut() {
            Some(last) if next.base() < last.end() => return Err(Error::Disorder),
            Some(last) if next.base() == last.end() => {
                let size = last.size().saturating_add(next.size());
                *last = PhysRange::new(last.base(), size).ok_or(Error::Disorder)?;
            }
            Some(_) | None => self.areas.push(next).ok_or(Error::Full)?,
        }
        Ok(())
    }

    /// Plans at most `M` moves for a request, trying at most `steps` places for blocks.
    ///
    /// Takes O(`steps` * (N + M) * M) comparisons (MM-24). `Misaligned`, `Impossible` or
    /// `Undecided`.
    pub fn plan<const M: usize>(&self, request: &Request, steps: u32) -> Result<Plan<M>, Error> {
        let sound = request.size != 0 && request.size % GRANULE == 0;
        if !sound || !request.align.is_power_of_two() {
            return Err(Error::Misaligned);
        }
        if self.free_bytes() < request.size {
            return Err(Error::Impossible);
        }
        Search::new(self, steps).run(request)
    }

    fn free_bytes(&self) -> u64 {
        let sum = |bytes: u64, range: PhysRange| bytes.saturating_add(range.size());
        let used = self.blocks.iter().map(|block| block.range).fold(0, sum);
        self.areas.iter().fold(0, sum).saturating_sub(used)
    }
}
