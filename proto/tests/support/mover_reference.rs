// SPDX-License-Identifier: GPL-2.0

//! Other movers to compare the mover with: one that tries everything, and one that is simple.

use adeos_proto::id::PhysRange;
use adeos_proto::layout::GRANULE;
use adeos_proto::mover::{Block, Hold};
use adeos_proto::region::Request;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// A pool as the tests draw it: areas, blocks in them, and a request.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) areas: Vec<PhysRange>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) request: Request,
}

pub(crate) fn range(first: u64, count: u64) -> PhysRange {
    PhysRange::new(first * GRANULE, count * GRANULE).unwrap()
}

/// What the exhaustive search finds out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Least {
    /// Bytes of the best plan.
    pub(crate) any: Option<u64>,
    /// Bytes of the best plan in which no block moves twice.
    pub(crate) once: Option<u64>,
}

/// Where every block is, in granules, and which have moved.
type State = (Vec<u64>, u32);

/// The least bytes over all legal plans, by trying all of them: Dijkstra over where all blocks
/// can be. Shares no code and no idea with the mover.
pub(crate) fn least(case: &Case) -> Least {
    Least {
        any: dijkstra(case, false),
        once: dijkstra(case, true),
    }
}

fn dijkstra(case: &Case, each_once: bool) -> Option<u64> {
    let start: Vec<u64> = case
        .blocks
        .iter()
        .map(|block| block.range.base() / GRANULE)
        .collect();
    let mut best: HashMap<State, u64> = HashMap::new();
    let mut heap = BinaryHeap::from([Reverse((0, (start, 0u32)))]);
    while let Some(Reverse((bytes, state))) = heap.pop() {
        if best.get(&state).is_some_and(|known| *known <= bytes) {
            continue;
        }
        let taken: Vec<_> = (0..case.blocks.len())
            .map(|at| range(state.0[at], case.blocks[at].range.size() / GRANULE))
            .collect();
        if fits(case, &taken, &case.request) {
            return Some(bytes);
        }
        for (at, block) in case.blocks.iter().enumerate() {
            let Hold::Movable { align, within } = block.hold else {
                continue;
            };
            if each_once && state.1 >> at & 1 == 1 {
                continue;
            }
            let size = block.range.size();
            for to in places(
                case,
                &taken,
                &Request {
                    size,
                    align,
                    within,
                },
            ) {
                let mut next = state.clone();
                next.0[at] = to.base() / GRANULE;
                next.1 |= if each_once { 1 << at } else { 0 };
                heap.push(Reverse((bytes + size, next)));
            }
        }
        best.insert(state, bytes);
    }
    None
}

/// All free places for something.
fn places(case: &Case, taken: &[PhysRange], what: &Request) -> Vec<PhysRange> {
    let count = what.size / GRANULE;
    let last = case.areas.iter().map(|area| area.end()).max().unwrap_or(0);
    (0..last / GRANULE)
        .map(|first| range(first, count))
        .filter(|place| {
            place.base() % what.align == 0
                && what.within.contains(*place)
                && case.areas.iter().any(|area| area.contains(*place))
                && !taken.iter().any(|taken| taken.overlaps(*place))
        })
        .collect()
}

pub(crate) fn fits(case: &Case, taken: &[PhysRange], what: &Request) -> bool {
    !places(case, taken, what).is_empty()
}

/// The least bytes with which a simple mover does it: for some window that touches the end of
/// something, each block in the way goes, lowest first, to the lowest place that is free.
pub(crate) fn first_fit(case: &Case) -> Option<u64> {
    let mut ends: Vec<u64> = case.areas.iter().map(|area| area.base()).collect();
    ends.extend(
        case.blocks
            .iter()
            .flat_map(|block| [block.range.base(), block.range.end()]),
    );
    let windows = ends.iter().filter_map(|end| {
        let base = end
            .max(&case.request.within.base())
            .next_multiple_of(case.request.align);
        let window = PhysRange::new(base, case.request.size)?;
        let is_good = case.request.within.contains(window)
            && case.areas.iter().any(|area| area.contains(window));
        is_good.then_some(window)
    });
    windows.filter_map(|window| evict(case, window)).min()
}

fn evict(case: &Case, window: PhysRange) -> Option<u64> {
    let mut taken: Vec<_> = case.blocks.iter().map(|block| block.range).collect();
    taken.push(window);
    let mut bytes = 0;
    for (at, block) in case.blocks.iter().enumerate() {
        if !block.range.overlaps(window) {
            continue;
        }
        let Hold::Movable { align, within } = block.hold else {
            return None;
        };
        let size = block.range.size();
        taken[at] = *places(
            case,
            &taken,
            &Request {
                size,
                align,
                within,
            },
        )
        .first()?;
        bytes += size;
    }
    Some(bytes)
}
