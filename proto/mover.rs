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
use schedule::Traveller;
use search::{Choice, Search};

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

/// A place that nobody asks for.
const NOWHERE: PhysRange = match PhysRange::new(0, GRANULE) {
    Some(range) => range,
    None => panic!("a granule is a range"),
};

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
    /// What stands where no plan is.
    const NONE: Self = Self {
        moves: List::new(),
        place: NOWHERE,
        bytes: 0,
        extent: Extent::Cut,
    };

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
struct Pool<const N: usize> {
    areas: List<PhysRange, N>,
    blocks: List<Block, N>,
}

impl<const N: usize> Pool<N> {
    fn fill(
        &mut self,
        free: impl Iterator<Item = PhysRange>,
        blocks: impl Iterator<Item = Block> + Clone,
    ) -> Result<(), Error> {
        let mut free = free.peekable();
        let mut used = blocks.clone().map(|block| block.range).peekable();
        loop {
            let next = match (free.peek(), used.peek()) {
                (Some(a), Some(b)) if a.base() < b.base() => free.next(),
                (_, Some(_)) => used.next(),
                (_, None) => free.next(),
            };
            let Some(next) = next else { break };
            self.extend(next)?;
        }
        for block in blocks {
            if let Hold::Movable { align, .. } = block.hold {
                if !align.is_power_of_two() {
                    return Err(Error::Misaligned);
                }
            }
            self.blocks.push(block).ok_or(Error::Full)?;
        }
        Ok(())
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

    fn free_bytes(&self) -> u64 {
        let sum = |bytes: u64, range: PhysRange| bytes.saturating_add(range.size());
        let used = self.blocks.iter().map(|block| block.range).fold(0, sum);
        self.areas.iter().fold(0, sum).saturating_sub(used)
    }
}

/// What a search remembers: it is too much for a stack.
#[derive(Clone, Copy, Debug)]
struct Room<const M: usize> {
    choices: List<Choice, M>,
    travellers: List<Traveller, M>,
    moves: List<Move, M>,
    best: Plan<M>,
}

/// Plans moves in a pool of at most `N` areas and `N` allocations, at most `M` of them.
///
/// It is made once, where there is room for it: all that planning takes is in it (MM-2).
#[derive(Clone, Copy, Debug)]
pub struct Planner<const N: usize, const M: usize> {
    pool: Pool<N>,
    room: Room<M>,
}

impl<const N: usize, const M: usize> Planner<N, M> {
    /// A planner with a picture of an empty pool.
    pub const fn new() -> Self {
        Self {
            pool: Pool {
                areas: List::new(),
                blocks: List::new(),
            },
            room: Room {
                choices: List::new(),
                travellers: List::new(),
                moves: List::new(),
                best: Plan::NONE,
            },
        }
    }

    /// Takes a new picture: the free ranges and the allocations, both in rising order, as an
    /// allocator lists them. `Misaligned`, `Disorder` or `Full`; then the picture is of no use.
    pub fn picture(
        &mut self,
        free: impl Iterator<Item = PhysRange>,
        blocks: impl Iterator<Item = Block> + Clone,
    ) -> Result<(), Error> {
        self.pool.areas.clear();
        self.pool.blocks.clear();
        self.pool.fill(free, blocks)
    }

    /// Plans moves for a request, trying at most `steps` places for blocks.
    ///
    /// Takes O(`steps` * (N + M) * M) comparisons (MM-24). `Misaligned`, `Impossible` or
    /// `Undecided`.
    pub fn plan(&mut self, request: &Request, steps: u32) -> Result<&Plan<M>, Error> {
        let sound = request.size != 0 && request.size % GRANULE == 0;
        if !sound || !request.align.is_power_of_two() {
            return Err(Error::Misaligned);
        }
        if self.pool.free_bytes() < request.size {
            return Err(Error::Impossible);
        }
        Search::new(&self.pool, &mut self.room, steps).run(request)?;
        Ok(&self.room.best)
    }
}

impl<const N: usize, const M: usize> Default for Planner<N, M> {
    fn default() -> Self {
        Self::new()
    }
}
