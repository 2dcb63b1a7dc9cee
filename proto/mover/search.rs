// SPDX-License-Identifier: GPL-2.0

//! The search for what moves where: depth first, with a bound, in rounds of growing patience.
//!
//! A node is a list of choices. The blocks that must move are those that overlap the window or
//! the target of a choice; the next one of them that has no target gets one, after that the next.
//! Every arrangement that frees the window without moving a block for nothing is a leaf.

use super::places::Wish;
use super::{schedule, Block, Error, Extent, Hold, Pool, Room};
use crate::id::PhysRange;
use crate::region::Request;

/// Steps that each window gets in the first round, and how the number grows from round to round.
const FIRST_SHARE: u32 = 64;
const GROWTH: u32 = 8;

/// Which targets of a block are tried: those that displace nobody come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sweep {
    Free,
    Displacing,
}

/// A block and where it is to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) block: Block,
    /// The place tried last; none before the first try.
    pub(super) to: Option<PhysRange>,
    sweep: Sweep,
}

/// A search in one pool.
#[derive(Debug)]
pub(super) struct Search<'a, const N: usize, const M: usize> {
    pool: &'a Pool<N>,
    room: &'a mut Room<M>,
    /// Bytes that the best plan so far copies; none before the first.
    best: Option<u64>,
    steps_left: u32,
    /// Steps that the present window may still take in this round.
    share_left: u32,
    /// Some window is free of pinned blocks. Among the places that touch a border there is one if
    /// there is any: it only needs to be pushed down.
    has_window: bool,
    /// Some window has used up its share in this round.
    is_cut: bool,
    /// Some arrangement was left out because it has too many moves, or has no order.
    is_open: bool,
}

impl<'a, const N: usize, const M: usize> Search<'a, N, M> {
    pub(super) fn new(pool: &'a Pool<N>, room: &'a mut Room<M>, steps: u32) -> Self {
        Self {
            pool,
            room,
            best: None,
            steps_left: steps,
            share_left: 0,
            has_window: false,
            is_cut: false,
            is_open: false,
        }
    }

    /// Looks at every window, with more patience each time, until none wants more. The plan is
    /// then in the room.
    pub(super) fn run(mut self, request: &Request) -> Result<(), Error> {
        let wish = Wish::new(request.size, request.align, request.within);
        let mut share = FIRST_SHARE;
        loop {
            self.is_cut = false;
            let mut after = None;
            let nothing = core::iter::empty();
            while let Some(window) = self.pool.next_place(&wish, after, nothing.clone()) {
                self.share_left = share.min(self.steps_left);
                self.search_window(window);
                after = Some(window.base());
            }
            if !self.is_cut || self.steps_left == 0 {
                break;
            }
            share = share.saturating_mul(GROWTH);
        }

        self.room.best.extent = if self.is_cut {
            Extent::Cut
        } else {
            Extent::Whole
        };
        match self.best {
            Some(_) => Ok(()),
            None if !self.has_window => Err(Error::Impossible),
            None if self.is_cut || self.is_open || !self.pool.is_small() => Err(Error::Undecided),
            None => Err(Error::Impossible),
        }
    }

    /// Goes through the arrangements that free one window.
    fn search_window(&mut self, window: PhysRange) {
        if self.hits_pinned(window) {
            return;
        }
        self.has_window = true;
        self.room.choices.clear();
        self.enter(window);
        while let Some(choice) = self.room.choices.last_mut().copied() {
            if self.share_left == 0 {
                self.is_cut = true;
                return;
            }
            self.share_left = self.share_left.saturating_sub(1);
            self.steps_left = self.steps_left.saturating_sub(1);
            match self.next_choice(choice, window) {
                Some(next) => {
                    if let Some(top) = self.room.choices.last_mut() {
                        *top = next;
                    }
                    if self.is_allowed(&next, window) {
                        self.enter(window);
                    }
                }
                None => {
                    self.room.choices.pop();
                }
            }
        }
    }

    /// Comes to a new node: goes on with the next block that is in the way, or ends at a leaf.
    fn enter(&mut self, window: PhysRange) {
        let chosen = self.room.choices.iter().map(|choice| choice.block);
        let bytes = chosen
            .chain(self.in_the_way(window))
            .fold(0u64, |sum, block| sum.saturating_add(block.range.size()));
        let next = self.in_the_way(window).next();
        if self.best.is_some_and(|best| best <= bytes) {
            return;
        }
        match next {
            Some(_) if self.room.choices.is_full() => self.is_open = true,
            Some(block) => {
                let _ = self.room.choices.push(Choice {
                    block,
                    to: None,
                    sweep: Sweep::Free,
                });
            }
            None => self.record(window),
        }
    }

    /// Keeps the arrangement if it can be reached and is better than the best one so far.
    fn record(&mut self, window: PhysRange) {
        if schedule::order(self.pool, self.room).is_none() {
            self.is_open = true;
            return;
        }
        let moves = self.room.moves.iter();
        let bytes = moves.fold(0u64, |sum, step| sum.saturating_add(step.from.size()));
        if self.best.is_none_or(|best| bytes < best) {
            self.best = Some(bytes);
            let best = &mut self.room.best;
            best.moves.clone_from(&self.room.moves);
            best.place = window;
            best.bytes = bytes;
        }
    }

    /// Movable blocks without a target that overlap the window or a target.
    fn in_the_way(&self, window: PhysRange) -> impl Iterator<Item = Block> + Clone + '_ {
        let is_chosen = |block: &Block| {
            let mut chosen = self.room.choices.iter();
            chosen.any(|choice| choice.block == *block)
        };
        self.pool
            .blocks
            .iter()
            .filter(move |block| self.is_reserved(block.range, window) && !is_chosen(block))
    }

    fn next_choice(&self, choice: Choice, window: PhysRange) -> Option<Choice> {
        let Hold::Movable { align, within } = choice.block.hold else {
            return None;
        };
        let wish = Wish::new(choice.block.range.size(), align, within);
        let borders = self.room.choices.iter().filter_map(|choice| choice.to);
        let borders = borders
            .filter(move |to| Some(*to) != choice.to)
            .chain(core::iter::once(window));
        let after = choice.to.map(PhysRange::base);
        let to = self.pool.next_place(&wish, after, borders.clone());
        match (to, choice.sweep) {
            (Some(_), _) => Some(Choice { to, ..choice }),
            (None, Sweep::Free) => Some(Choice {
                to: self.pool.next_place(&wish, None, borders),
                sweep: Sweep::Displacing,
                ..choice
            }),
            (None, Sweep::Displacing) => None,
        }
    }

    /// Whether the target of the last choice can be, and belongs to its sweep.
    fn is_allowed(&self, choice: &Choice, window: PhysRange) -> bool {
        let Some(to) = choice.to else {
            return false;
        };
        let before = self.room.choices.iter().rev().skip(1);
        let clashes = before
            .clone()
            .any(|other| other.to.is_some_and(|to_too| to_too.overlaps(to)));
        if clashes || to.overlaps(window) || self.hits_pinned(to) {
            return false;
        }
        // A target that overlaps the block's own place costs a stop-over, so it comes late as well.
        let displaces = self.pool.blocks.iter().any(|block| {
            block.range.overlaps(to) && !before.clone().any(|other| other.block == block)
        });
        displaces == (choice.sweep == Sweep::Displacing)
    }

    fn is_reserved(&self, range: PhysRange, window: PhysRange) -> bool {
        let targets = self.room.choices.iter().filter_map(|choice| choice.to);
        range.overlaps(window) || targets.clone().any(|to| to.overlaps(range))
    }

    fn hits_pinned(&self, range: PhysRange) -> bool {
        self.pool
            .blocks
            .iter()
            .any(|block| block.hold == Hold::Pinned && block.range.overlaps(range))
    }
}
