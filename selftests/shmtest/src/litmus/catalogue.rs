// SPDX-License-Identifier: GPL-2.0

//! The litmus tests: what each part does, and which outcomes must not be. Loads and stores are plain moves of x86, in the order in
//! which they stand here; `x` and `y` are zero at first, and lie in different lines of a cache.

use super::{Cell, MOST};
use std::fmt;
use std::sync::atomic::{compiler_fence, fence, AtomicU32, Ordering};

/// What a part does in a round; what it has seen.
type Act = fn(&Cell<'_>) -> [u32; 2];

/// Who does what.
pub(super) enum Parts {
    /// A role for each part.
    Each(&'static [Act]),
    /// All do the same, however many there are; each counts the common word up by one.
    Same(Act),
}

impl Parts {
    /// What a part does.
    pub(super) fn act(&self, part: usize) -> Act {
        match self {
            Self::Each(acts) => acts.get(part).copied().unwrap_or(nothing),
            Self::Same(act) => *act,
        }
    }

    /// Whether so many roles can play it.
    pub(super) fn are_for(&self, roles: usize) -> bool {
        match self {
            Self::Each(acts) => roles == acts.len(),
            Self::Same(_) => (2..=MOST).contains(&roles),
        }
    }
}

/// What is told of a round.
pub(super) enum Told {
    /// What a part has seen, the first or the second time.
    Seen(usize, usize),
    /// What is in the end in `x`.
    X,
    /// The same of `y`.
    Y,
}

/// A litmus test.
pub(super) struct Test {
    pub(super) name: &'static str,
    pub(super) parts: Parts,
    pub(super) told: &'static [Told],
    /// Whether what is told, number for number, must not be.
    pub(super) is_forbidden: fn(&[u32]) -> bool,
}

impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The test of a name.
pub(super) fn find(name: &str) -> Option<&'static Test> {
    TESTS.iter().find(|test| test.name == name)
}

/// A plain store: the compiler moves nothing across it.
fn store(word: &AtomicU32, number: u32) {
    compiler_fence(Ordering::SeqCst);
    word.store(number, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
}

/// A plain load.
fn load(word: &AtomicU32) -> u32 {
    compiler_fence(Ordering::SeqCst);
    let number = word.load(Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    number
}

fn nothing(_: &Cell<'_>) -> [u32; 2] {
    [0; 2]
}

/// Counts a word up as a lock would: what was there.
fn exchange(word: &AtomicU32) -> u32 {
    let mut seen = word.load(Ordering::Relaxed);
    loop {
        match word.compare_exchange(seen, seen + 1, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(before) => return before,
            Err(now) => seen = now,
        }
    }
}

/// What all parts have seen, and what is left.
const ALL: &[Told] = &[
    Told::Seen(0, 0),
    Told::Seen(1, 0),
    Told::Seen(2, 0),
    Told::Seen(3, 0),
    Told::X,
];

/// Whether each had a turn of its own: they have seen 0, 1 and so on, and what is left is their number.
fn had_turns(told: &[u32]) -> bool {
    let Some((left, seen)) = told.split_last() else {
        return false;
    };
    let mut seen = seen.to_vec();
    seen.sort_unstable();
    seen.iter().copied().eq(0..*left) && *left as usize == seen.len()
}

/// Whether one has got it, and all others know which.
fn is_decided(told: &[u32]) -> bool {
    let Some((left, seen)) = told.split_last() else {
        return false;
    };
    let is_so = |(part, found): (u32, &u32)| *found == if part == *left { 0 } else { *left };
    (1..=seen.len() as u32).contains(left) && (1..).zip(seen).all(is_so)
}

/// All of them.
pub(super) static TESTS: [Test; 12] = [
    // Store buffering: a CPU reads before others see what it has stored.
    Test {
        name: "sb",
        parts: Parts::Each(&[
            |cell| {
                store(cell.x, 1);
                [load(cell.y), 0]
            },
            |cell| {
                store(cell.y, 1);
                [load(cell.x), 0]
            },
        ]),
        told: &[Told::Seen(0, 0), Told::Seen(1, 0)],
        is_forbidden: |_| false,
    },
    // Not across a fence.
    Test {
        name: "sb-fence",
        parts: Parts::Each(&[
            |cell| {
                store(cell.x, 1);
                fence(Ordering::SeqCst);
                [load(cell.y), 0]
            },
            |cell| {
                store(cell.y, 1);
                fence(Ordering::SeqCst);
                [load(cell.x), 0]
            },
        ]),
        told: &[Told::Seen(0, 0), Told::Seen(1, 0)],
        is_forbidden: |told| matches!(told, [0, 0]),
    },
    // Nor across an instruction with a lock.
    Test {
        name: "sb-swap",
        parts: Parts::Each(&[
            |cell| {
                cell.x.swap(1, Ordering::SeqCst);
                [load(cell.y), 0]
            },
            |cell| {
                cell.y.swap(1, Ordering::SeqCst);
                [load(cell.x), 0]
            },
        ]),
        told: &[Told::Seen(0, 0), Told::Seen(1, 0)],
        is_forbidden: |told| matches!(told, [0, 0]),
    },
    // Message passing: who sees the second store sees the first one.
    Test {
        name: "mp",
        parts: Parts::Each(&[
            |cell| {
                store(cell.x, 1);
                store(cell.y, 1);
                [0; 2]
            },
            |cell| [load(cell.y), load(cell.x)],
        ]),
        told: &[Told::Seen(1, 0), Told::Seen(1, 1)],
        is_forbidden: |told| matches!(told, [1, 0]),
    },
    // Load buffering: nobody sees what is stored behind a load before that load.
    Test {
        name: "lb",
        parts: Parts::Each(&[
            |cell| {
                let seen = load(cell.x);
                store(cell.y, 1);
                [seen, 0]
            },
            |cell| {
                let seen = load(cell.y);
                store(cell.x, 1);
                [seen, 0]
            },
        ]),
        told: &[Told::Seen(0, 0), Told::Seen(1, 0)],
        is_forbidden: |told| matches!(told, [1, 1]),
    },
    // Two writers of two words: not both are last with what they have stored first.
    Test {
        name: "2+2w",
        parts: Parts::Each(&[
            |cell| {
                store(cell.x, 1);
                store(cell.y, 2);
                [0; 2]
            },
            |cell| {
                store(cell.y, 1);
                store(cell.x, 2);
                [0; 2]
            },
        ]),
        told: &[Told::X, Told::Y],
        is_forbidden: |told| matches!(told, [1, 1]),
    },
    // Coherence: a word does not go back.
    Test {
        name: "corr",
        parts: Parts::Each(&[
            |cell| {
                store(cell.x, 1);
                store(cell.x, 2);
                [0; 2]
            },
            |cell| [load(cell.x), load(cell.x)],
        ]),
        told: &[Told::Seen(1, 0), Told::Seen(1, 1)],
        is_forbidden: |told| matches!(told, [first, second] if second < first),
    },
    // Who is told of a store by another one sees it too.
    Test {
        name: "wrc",
        parts: Parts::Each(&[
            |cell| {
                store(cell.x, 1);
                [0; 2]
            },
            |cell| {
                let seen = load(cell.x);
                store(cell.y, 1);
                [seen, 0]
            },
            |cell| [load(cell.y), load(cell.x)],
        ]),
        told: &[Told::Seen(1, 0), Told::Seen(2, 0), Told::Seen(2, 1)],
        is_forbidden: |told| matches!(told, [1, 1, 0]),
    },
    // Independent reads of independent writes: two readers do not see two stores in different order.
    Test {
        name: "iriw",
        parts: Parts::Each(&[
            |cell| {
                store(cell.x, 1);
                [0; 2]
            },
            |cell| {
                store(cell.y, 1);
                [0; 2]
            },
            |cell| [load(cell.x), load(cell.y)],
            |cell| [load(cell.y), load(cell.x)],
        ]),
        told: &[
            Told::Seen(2, 0),
            Told::Seen(2, 1),
            Told::Seen(3, 0),
            Told::Seen(3, 1),
        ],
        is_forbidden: |told| matches!(told, [1, 0, 1, 0]),
    },
    // All count the same word up.
    Test {
        name: "add",
        parts: Parts::Same(|cell| {
            cell.common.fetch_add(1, Ordering::Relaxed);
            [cell.x.fetch_add(1, Ordering::Relaxed), 0]
        }),
        told: ALL,
        is_forbidden: |told| !had_turns(told),
    },
    Test {
        name: "exchange",
        parts: Parts::Same(|cell| {
            exchange(cell.common);
            [exchange(cell.x), 0]
        }),
        told: ALL,
        is_forbidden: |told| !had_turns(told),
    },
    // One of all gets a word that nobody has.
    Test {
        name: "claim",
        parts: Parts::Same(|cell| {
            exchange(cell.common);
            let own = cell.part + 1;
            let got = cell
                .x
                .compare_exchange(0, own, Ordering::AcqRel, Ordering::Acquire);
            [got.unwrap_or_else(|found| found), 0]
        }),
        told: ALL,
        is_forbidden: |told| !is_decided(told),
    },
];
