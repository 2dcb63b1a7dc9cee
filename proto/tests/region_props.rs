// SPDX-License-Identifier: GPL-2.0

//! The pool's allocator against a model that knows the owner of every granule.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

use adeos_proto::id::PhysRange;
use adeos_proto::layout::GRANULE;
use adeos_proto::region::{Allocator, Error, Request};
use proptest::prelude::*;

const GRANULES: u64 = 48;
const TABLE: usize = 10;

type Pool = Allocator<TABLE>;

fn range(first: u64, count: u64) -> PhysRange {
    PhysRange::new(first * GRANULE, count * GRANULE).unwrap()
}

fn granules(range: PhysRange) -> std::ops::Range<usize> {
    (range.base() / GRANULE) as usize..(range.end() / GRANULE) as usize
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Granule {
    Outside,
    Free,
    Used,
}

struct Model {
    granules: Vec<Granule>,
    used: Vec<PhysRange>,
    areas: usize,
}

impl Model {
    fn new() -> Self {
        Self {
            granules: vec![Granule::Outside; GRANULES as usize * 2],
            used: Vec::new(),
            areas: 0,
        }
    }

    fn all(&self, range: PhysRange, what: Granule) -> bool {
        self.granules[granules(range)]
            .iter()
            .all(|granule| *granule == what)
    }

    fn fill(&mut self, range: PhysRange, what: Granule) {
        self.granules[granules(range)].fill(what);
    }

    /// The one right answer to a request, found by trying every granule.
    fn first_fit(&self, request: &Request) -> Option<PhysRange> {
        let count = request.size / GRANULE;
        (0..=self.granules.len() as u64 - count)
            .map(|first| range(first, count))
            .find(|found| {
                found.base() % request.align.max(GRANULE) == 0
                    && request.within.contains(*found)
                    && self.all(*found, Granule::Free)
            })
    }

    fn has_room(&self) -> bool {
        self.used.len() + self.areas < TABLE
    }

    /// Runs of free granules: what the allocator must have as single ranges.
    fn free_runs(&self) -> Vec<PhysRange> {
        let mut runs = Vec::new();
        let mut first = None;
        for (at, granule) in self.granules.iter().enumerate() {
            match (granule, first) {
                (Granule::Free, None) => first = Some(at),
                (Granule::Free, Some(_)) | (_, None) => {}
                (_, Some(start)) => {
                    runs.push(range(start as u64, (at - start) as u64));
                    first = None;
                }
            }
        }
        runs
    }

    fn check(&self, pool: &Pool) {
        let mut used = self.used.clone();
        used.sort();
        assert_eq!(pool.used().collect::<Vec<_>>(), used);
        let free = self.free_runs();
        assert_eq!(pool.free_ranges().collect::<Vec<_>>(), free);
        let bytes = |runs: &[PhysRange]| runs.iter().map(|run| run.size()).sum::<u64>();
        assert_eq!(pool.available(), bytes(&free));
        assert_eq!(pool.total(), bytes(&free) + bytes(&used));
        assert_eq!(
            pool.largest(),
            free.iter().map(|run| run.size()).max().unwrap_or(0)
        );
    }
}

#[derive(Clone, Debug)]
enum Call {
    Add(PhysRange),
    Allocate(Request),
    Take(PhysRange),
    Free(usize),
    FreeUnknown(PhysRange),
}

fn any_range() -> impl Strategy<Value = PhysRange> {
    (0..GRANULES, 1..12u64).prop_map(|(first, count)| range(first, count))
}

fn any_request() -> impl Strategy<Value = Request> {
    (1..8u64, 0..24u32, any_range()).prop_map(|(count, shift, within)| Request {
        size: count * GRANULE,
        align: 1 << shift,
        within: PhysRange::new(within.base(), within.size() * 4).unwrap(),
    })
}

fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        1 => any_range().prop_map(Call::Add),
        4 => any_request().prop_map(Call::Allocate),
        2 => any_range().prop_map(Call::Take),
        4 => any::<usize>().prop_map(Call::Free),
        1 => any_range().prop_map(Call::FreeUnknown),
    ]
}

fn add(pool: &mut Pool, model: &mut Model, range: PhysRange) {
    let right = if !model.all(range, Granule::Outside) {
        Err(Error::Overlap)
    } else if !model.has_room() {
        Err(Error::Full)
    } else {
        model.fill(range, Granule::Free);
        model.areas += 1;
        Ok(())
    };
    assert_eq!(pool.add(range), right);
}

fn allocate(pool: &mut Pool, model: &mut Model, request: &Request) {
    let right = match model.first_fit(request) {
        _ if !model.has_room() => Err(Error::Full),
        None => Err(Error::NoFit),
        Some(found) => {
            model.fill(found, Granule::Used);
            model.used.push(found);
            Ok(found)
        }
    };
    assert_eq!(pool.allocate(request), right);
}

fn take(pool: &mut Pool, model: &mut Model, range: PhysRange) {
    let right = if model.used.iter().any(|used| used.overlaps(range)) {
        Err(Error::Taken)
    } else if !model.has_room() {
        Err(Error::Full)
    } else if !model.all(range, Granule::Free) {
        Err(Error::NoFit)
    } else {
        model.fill(range, Granule::Used);
        model.used.push(range);
        Ok(())
    };
    assert_eq!(pool.take(range), right);
}

fn free(pool: &mut Pool, model: &mut Model, range: PhysRange) {
    let right = match model.used.iter().position(|used| *used == range) {
        Some(place) => {
            model.used.remove(place);
            model.fill(range, Granule::Free);
            Ok(())
        }
        None => Err(Error::Unknown),
    };
    assert_eq!(pool.free(range), right);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// No overlap, no leak, alignment, first fit, coalescing, an error and no change when
    /// exhausted: all follow from equality with the model after each call.
    #[test]
    fn every_granule_has_the_owner_that_the_model_says(
        calls in prop::collection::vec(any_call(), 1..80)
    ) {
        let mut pool = Pool::new();
        let mut model = Model::new();
        add(&mut pool, &mut model, range(2, 20));
        for call in calls {
            match call {
                Call::Add(range) => add(&mut pool, &mut model, range),
                Call::Allocate(request) => allocate(&mut pool, &mut model, &request),
                Call::Take(range) => take(&mut pool, &mut model, range),
                Call::Free(which) if !model.used.is_empty() => {
                    let range = model.used[which % model.used.len()];
                    free(&mut pool, &mut model, range);
                }
                Call::Free(_) => {}
                Call::FreeUnknown(range) => free(&mut pool, &mut model, range),
            }
            model.check(&pool);
        }

        while let Some(range) = model.used.last().copied() {
            free(&mut pool, &mut model, range);
            model.check(&pool);
        }
        prop_assert_eq!(pool.available(), pool.total());
    }

    /// Numbers that make no sense are refused and change nothing.
    #[test]
    fn senseless_numbers_are_refused(
        base in any::<u64>(), size in any::<u64>(), align in any::<u64>()
    ) {
        let mut pool = Pool::new();
        pool.add(range(1, 8)).unwrap();
        let before: Vec<_> = pool.free_ranges().collect();
        let everything = PhysRange::new(0, u64::MAX).unwrap();
        let request = Request { size, align, within: everything };
        if let Ok(found) = pool.allocate(&request) {
            prop_assert!(range(1, 8).contains(found) && found.base() % align == 0);
            pool.free(found).unwrap();
        }
        if let Some(wild) = PhysRange::new(base, size) {
            if pool.take(wild).is_ok() {
                pool.free(wild).unwrap();
            }
            prop_assert_eq!(pool.free(wild), Err(Error::Unknown));
        }
        prop_assert_eq!(pool.free_ranges().collect::<Vec<_>>(), before);
    }
}
