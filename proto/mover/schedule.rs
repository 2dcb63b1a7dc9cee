// SPDX-License-Identifier: GPL-2.0

//! Brings what a search has chosen into an order in which each move is legal.
//!
//! A move that can be made is made: it takes nothing that another one needs. Where none can be
//! made, blocks stand in each other's way in a circle, or one overlaps its own target; one of
//! them, the smallest that finds a place, then goes there first, and each block at most once.

use super::list::List;
use super::places::Wish;
use super::search::Choice;
use super::{Hold, Move, Pool, Room};
use crate::id::PhysRange;

/// A block on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traveller {
    at: PhysRange,
    to: PhysRange,
    wish: Wish,
    has_stopped_over: bool,
}

impl Traveller {
    fn has_arrived(&self) -> bool {
        self.at == self.to
    }
}

/// Writes the moves for the choices; `None` when no order was found or it has more than `M` moves.
pub(super) fn order<const N: usize, const M: usize>(
    pool: &Pool<N>,
    room: &mut Room<M>,
) -> Option<()> {
    room.travellers.clear();
    for choice in room.choices.iter() {
        let Hold::Movable { align, within } = choice.block.hold else {
            return None;
        };
        room.travellers.push(Traveller {
            at: choice.block.range,
            to: choice.to?,
            wish: Wish::new(choice.block.range.size(), align, within),
            has_stopped_over: false,
        })?;
    }

    room.moves.clear();
    while room.travellers.iter().any(|one| !one.has_arrived()) {
        let step = direct(&room.travellers)
            .or_else(|| stop_over(pool, &room.choices, &room.travellers))?;
        for traveller in room.travellers.iter_mut() {
            if traveller.at == step.from {
                traveller.has_stopped_over = step.to != traveller.to;
                traveller.at = step.to;
            }
        }
        room.moves.push(step)?;
    }
    Some(())
}

/// A move to a target that is free. Blocks that stay overlap no target, and targets not another.
fn direct<const M: usize>(travellers: &List<Traveller, M>) -> Option<Move> {
    travellers
        .iter()
        .filter(|one| !one.has_arrived())
        .find(|one| !travellers.iter().any(|other| other.at.overlaps(one.to)))
        .map(|one| Move {
            from: one.at,
            to: one.to,
        })
}

/// A move out of the others' way, to where nobody is or is to go.
fn stop_over<const N: usize, const M: usize>(
    pool: &Pool<N>,
    choices: &List<Choice, M>,
    travellers: &List<Traveller, M>,
) -> Option<Move> {
    let stays = |range: PhysRange| !choices.iter().any(|choice| choice.block.range == range);
    let is_free = |place: PhysRange| {
        let mut blocks = pool.blocks.iter().map(|block| block.range);
        !blocks.any(|range| stays(range) && range.overlaps(place))
            && !travellers
                .iter()
                .any(|one| one.at.overlaps(place) || one.to.overlaps(place))
    };
    let borders = travellers.iter().flat_map(|one| [one.at, one.to]);
    travellers
        .iter()
        .filter(|one| !one.has_arrived() && !one.has_stopped_over)
        .filter_map(|one| {
            let mut place = pool.next_place(&one.wish, None, borders.clone())?;
            while !is_free(place) {
                place = pool.next_place(&one.wish, Some(place.base()), borders.clone())?;
            }
            Some(Move {
                from: one.at,
                to: place,
            })
        })
        .min_by_key(|step| step.from.size())
}
