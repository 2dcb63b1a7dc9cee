// SPDX-License-Identifier: GPL-2.0

//! The mover's plans, carried out in an allocator and compared with an exhaustive search.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

use adeos_proto::id::PhysRange;
use adeos_proto::layout::GRANULE;
use adeos_proto::mover::{Block, Error, Extent, Hold, Plan, Planner};
use adeos_proto::region::{Allocator, Request};
use proptest::prelude::*;
use reference::{first_fit, fits, least, range, Case};
use std::collections::BTreeMap;

#[path = "support/mover_reference.rs"]
mod reference;

/// Granules of the pools that the exhaustive search can cope with.
const GRANULES: u64 = 12;
const MOVES: usize = 12;
const STEPS: u32 = 1_000_000;

/// What is done with a case.
trait Mover {
    fn allocator(&self) -> Allocator<64>;
    fn plan(&self, steps: u32) -> Result<Plan<MOVES>, Error>;
    fn carry_out(&self, plan: &Plan<MOVES>);
}

impl Mover for Case {
    fn allocator(&self) -> Allocator<64> {
        let mut allocator = Allocator::new();
        for area in &self.areas {
            allocator.add(*area).unwrap();
        }
        for block in &self.blocks {
            allocator.take(block.range).unwrap();
        }
        allocator
    }

    fn plan(&self, steps: u32) -> Result<Plan<MOVES>, Error> {
        let allocator = self.allocator();
        let free: Vec<_> = allocator.free_ranges().collect();
        let mut planner = Planner::<48, MOVES>::new();
        use_before(&mut planner);
        let blocks = self.blocks.iter().copied();
        planner.picture(free.into_iter(), blocks).unwrap();
        planner.plan(&self.request, steps).copied()
    }

    /// MM-20, MM-21: carries a plan out as its user does, and allocates what it was made for.
    fn carry_out(&self, plan: &Plan<MOVES>) {
        let mut allocator = self.allocator();
        let mut holds: BTreeMap<_, _> = self
            .blocks
            .iter()
            .map(|block| (block.range, block.hold))
            .collect();
        let mut bytes = 0;
        for step in plan.moves() {
            let hold = holds.remove(&step.from).unwrap();
            let Hold::Movable { align, within } = hold else {
                panic!("a pinned block moves");
            };
            assert_eq!(step.to.base() % align, 0);
            assert!(within.contains(step.to) && step.to.size() == step.from.size());
            allocator.take(step.to).unwrap();
            allocator.free(step.from).unwrap();
            assert_eq!(holds.insert(step.to, hold), None);
            bytes += step.from.size();
        }
        assert_eq!(bytes, plan.bytes);
        assert!(self.request.within.contains(plan.place));
        assert_eq!(plan.place.base() % self.request.align, 0);
        assert_eq!(plan.place.size(), self.request.size);
        allocator.take(plan.place).unwrap();
    }
}

/// MM-2: what is left of an earlier plan must not show in the next one.
fn use_before(planner: &mut Planner<48, MOVES>) {
    let block = |first| Block {
        range: range(first, 1),
        hold: Hold::Movable {
            align: 1,
            within: range(0, 8),
        },
    };
    let free = [range(0, 1), range(2, 1), range(4, 1)];
    let blocks = [block(1), block(3)];
    planner
        .picture(free.into_iter(), blocks.into_iter())
        .unwrap();
    let request = Request {
        size: 3 * GRANULE,
        align: 1,
        within: range(0, 8),
    };
    assert_eq!(planner.plan(&request, STEPS).unwrap().moves().count(), 1);
}

/// Mostly none, sometimes one that excludes part of the pool.
fn any_bounds() -> impl Strategy<Value = PhysRange> {
    prop_oneof![
        3 => Just(range(0, 1000)),
        1 => (0..6u64, 4..12u64).prop_map(|(first, count)| range(first, count)),
    ]
}

fn any_align() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(GRANULE), 1 => Just(2 * GRANULE), 1 => Just(4 * GRANULE)]
}

fn any_hold() -> impl Strategy<Value = Hold> {
    prop_oneof![
        1 => Just(Hold::Pinned),
        5 => (any_align(), any_bounds()).prop_map(|(align, within)| Hold::Movable { align, within }),
    ]
}

/// Two areas or one, and blocks with gaps between them.
fn any_case(blocks: usize) -> impl Strategy<Value = Case> {
    let block = (0..3u64, 1..4u64, any_hold());
    let request = (1..8u64, any_align(), any_bounds());
    let split = prop_oneof![2 => Just(0), 1 => 2..10u64];
    (prop::collection::vec(block, 0..=blocks), request, split).prop_map(
        |(drawn, (count, align, within), split)| {
            let areas = match split {
                0 => vec![range(0, GRANULES)],
                _ => vec![range(0, split), range(split + 1, GRANULES - split)],
            };
            let mut blocks: Vec<Block> = Vec::new();
            let mut first = 0;
            for (gap, count, hold) in drawn {
                let place = range(first + gap, count);
                if areas.iter().any(|area| area.contains(place)) {
                    blocks.push(Block {
                        range: place,
                        hold: legal_here(hold, place),
                    });
                    first += gap + count;
                }
            }
            let request = Request {
                size: count * GRANULE,
                align,
                within,
            };
            Case {
                areas,
                blocks,
                request,
            }
        },
    )
}

/// A block lies where its own alignment and bounds allow it.
fn legal_here(hold: Hold, place: PhysRange) -> Hold {
    match hold {
        Hold::Movable { align, within } => Hold::Movable {
            align: if place.base() % align == 0 {
                align
            } else {
                GRANULE
            },
            within: if within.contains(place) {
                within
            } else {
                range(0, 1000)
            },
        },
        Hold::Pinned => hold,
    }
}

fn compare(case: &Case) {
    let least = least(case);
    match case.plan(STEPS) {
        Ok(plan) => {
            case.carry_out(&plan);
            assert_eq!(plan.extent, Extent::Whole);
            let any = least.any.unwrap();
            assert!(
                plan.bytes <= 2 * any,
                "MM-25: {} bytes, least {any}",
                plan.bytes
            );
            if let Some(once) = least.once {
                assert!(
                    plan.bytes <= once,
                    "MM-23: {} bytes, least {once}",
                    plan.bytes
                );
            }
        }
        Err(Error::Impossible) => assert_eq!(least.any, None, "MM-22"),
        Err(Error::Undecided) => assert_eq!(least.once, None, "MM-23"),
        Err(error) => panic!("{error:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// MM-20 to MM-23, MM-25.
    #[test]
    fn a_plan_is_found_where_there_is_one_and_moves_the_least(case in any_case(5)) {
        compare(&case);
    }
}

/// Pools too large for every place to be looked at: the same, many times as large.
fn any_large_case() -> impl Strategy<Value = Case> {
    (any_case(8), 22..40u64).prop_map(|(case, factor)| {
        let grow = |range: PhysRange| {
            PhysRange::new(range.base() * factor, range.size() * factor).unwrap()
        };
        let blocks = case.blocks.iter().enumerate().map(|(at, block)| {
            // Shorter than its room, so that gaps have sizes of their own.
            let range = grow(block.range);
            let range = PhysRange::new(range.base(), range.size() - at as u64 * GRANULE).unwrap();
            let hold = match block.hold {
                Hold::Movable { align, within } => Hold::Movable {
                    align,
                    within: grow(within),
                },
                Hold::Pinned => Hold::Pinned,
            };
            Block {
                range,
                hold: legal_here(hold, range),
            }
        });
        Case {
            areas: case.areas.iter().copied().map(grow).collect(),
            blocks: blocks.collect(),
            request: Request {
                size: case.request.size * factor,
                align: case.request.align,
                within: grow(case.request.within),
            },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// MM-20, MM-21, MM-26: at least as good as first fit, however large the pool.
    #[test]
    fn a_large_pool_is_served_as_by_first_fit(case in any_large_case()) {
        let plan = case.plan(100_000);
        match &plan {
            Ok(plan) => case.carry_out(plan),
            Err(Error::Impossible) => {
                let allocator = case.allocator();
                let pinned = case.blocks.iter().filter(|block| block.hold == Hold::Pinned);
                let pinned: Vec<_> = pinned.map(|block| block.range).collect();
                let is_short = allocator.available() < case.request.size;
                prop_assert!(is_short || !fits(&case, &pinned, &case.request), "MM-22");
            }
            Err(error) => prop_assert_eq!(*error, Error::Undecided),
        }
        if let Some(bytes) = first_fit(&case) {
            prop_assert!(plan.unwrap().bytes <= bytes);
        }
    }

    /// MM-24: a search ends where it is told to, and what it returns is right all the same.
    #[test]
    fn a_search_that_is_cut_is_right(case in any_case(8), steps in 0..300u32) {
        match case.plan(steps) {
            Ok(plan) => case.carry_out(&plan),
            Err(Error::Impossible) => prop_assert_eq!(first_fit(&case), None),
            Err(error) => prop_assert_eq!(error, Error::Undecided),
        }
    }
}

/// MM-1, MM-3.
#[test]
fn a_picture_that_makes_no_sense_is_refused() {
    let pinned = |first, count| Block {
        range: range(first, count),
        hold: Hold::Pinned,
    };
    let picture = |free: &[PhysRange], blocks: &[Block]| {
        Planner::<2, 4>::new().picture(free.iter().copied(), blocks.iter().copied())
    };
    assert_eq!(picture(&[range(0, 2)], &[pinned(2, 1)]), Ok(()));
    assert_eq!(
        picture(&[range(0, 2)], &[pinned(1, 1)]),
        Err(Error::Disorder)
    );
    assert_eq!(
        picture(&[range(4, 2), range(0, 2)], &[]),
        Err(Error::Disorder)
    );
    let scattered = [range(0, 1), range(2, 1), range(4, 1)];
    assert_eq!(picture(&scattered, &[]), Err(Error::Full));
    assert_eq!(
        picture(&[PhysRange::new(1, GRANULE).unwrap()], &[]),
        Err(Error::Misaligned)
    );

    let mut planner = Planner::<2, 4>::new();
    let picture = planner.picture([range(0, 2)].into_iter(), [pinned(2, 1)].into_iter());
    assert_eq!(picture, Ok(()));
    let mut request = Request {
        size: 3 * GRANULE,
        align: 1,
        within: range(0, 9),
    };
    assert_eq!(planner.plan(&request, STEPS), Err(Error::Impossible));
    request.align = 3;
    assert_eq!(planner.plan(&request, STEPS), Err(Error::Misaligned));
    for size in [0, 1, GRANULE + 1] {
        request = Request {
            size,
            align: 1,
            within: range(0, 9),
        };
        assert_eq!(planner.plan(&request, STEPS), Err(Error::Misaligned));
    }
}

/// A pool of twelve granules, whose last ones are pinned, and a request.
fn tight_case(blocks: &[(u64, u64, PhysRange)], pinned: PhysRange, request: Request) -> Case {
    let movable = blocks.iter().map(|(first, count, within)| Block {
        range: range(*first, *count),
        hold: Hold::Movable {
            align: 1,
            within: *within,
        },
    });
    let pinned = Block {
        range: pinned,
        hold: Hold::Pinned,
    };
    Case {
        areas: vec![range(0, GRANULES)],
        blocks: movable.chain([pinned]).collect(),
        request,
    }
}

/// MM-25: a block whose last place overlaps its first one stops over.
#[test]
fn a_block_stops_over_where_it_must() {
    let request = Request {
        size: 4 * GRANULE,
        align: 1,
        within: range(3, 4),
    };
    let case = tight_case(&[(1, 3, range(0, 12))], range(7, 5), request);
    let plan = case.plan(STEPS).unwrap();
    case.carry_out(&plan);
    assert_eq!((plan.moves().count(), plan.bytes), (2, 6 * GRANULE));
    assert_eq!(least(&case).any, Some(plan.bytes));
}

/// MM-22: what the search does not go through is undecided, not impossible.
#[test]
fn what_is_left_out_is_not_called_impossible() {
    let request = Request {
        size: 3 * GRANULE,
        align: 1,
        within: range(3, 4),
    };
    let blocks = [(2, 3, range(0, 12)), (7, 1, range(5, 7))];
    let case = tight_case(&blocks, range(8, 2), request);
    assert!(least(&case).any.is_some());
    assert_eq!(case.plan(STEPS), Err(Error::Undecided));

    // Two blocks must move, and there is room for one move.
    let free = [range(3, 9)];
    let blocks = [0, 1].map(|first| Block {
        range: range(first, 1),
        hold: Hold::Movable {
            align: 1,
            within: range(0, 12),
        },
    });
    let pinned = Block {
        range: range(2, 1),
        hold: Hold::Pinned,
    };
    let blocks = blocks.into_iter().chain([pinned]);
    let request = Request {
        size: 2 * GRANULE,
        align: 1,
        within: range(0, 2),
    };
    let mut one = Planner::<4, 1>::new();
    one.picture(free.into_iter(), blocks.clone()).unwrap();
    assert_eq!(one.plan(&request, STEPS), Err(Error::Undecided));
    let mut two = Planner::<4, 2>::new();
    two.picture(free.into_iter(), blocks).unwrap();
    assert_eq!(two.plan(&request, STEPS).unwrap().bytes, 2 * GRANULE);
}
