// SPDX-License-Identifier: GPL-2.0

//! How long a caller looks for its answer by itself before it sleeps.
//!
//! Falling asleep and being woken costs more than most answers take, and looking for one that takes
//! long costs the CPU. So a caller looks for as long as the vnode's answers have lately taken, with
//! something to spare; where they take longer than is worth it, hardly at all. Time comes in as an
//! argument; nothing here is shared.

use crate::id::{VnodeId, MAX_VNODES};
use crate::membership::{has, Mask};

/// The longest look, in nanoseconds. Linux's halt polling waits as long before it halts a CPU
/// (`drivers/cpuidle/governors/haltpoll.c`).
pub const LONGEST_NS: u32 = 200_000;

/// The shortest look, in nanoseconds: enough to find that answers have become quick again where
/// they take no longer than this.
pub const SHORTEST_NS: u32 = 10_000;

/// An answer counts as this much of what is known, so that one that is late changes little.
const SHARE: u32 = 8;

/// A time that has been slow for long is forgotten as fast as one that is not by far.
const SLOWEST_NS: u32 = 2 * LONGEST_NS;

const _: () = assert!(SHORTEST_NS < LONGEST_NS);

/// Every so many looks one is as long as can be: how long answers take that one sleeps for, their
/// own time does not tell.
const TRIAL: u32 = 16;

/// What is known of the answers of each vnode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long they have taken lately, in nanoseconds, none more than `SLOWEST_NS`.
    usual_ns: [u32; MAX_VNODES],
    /// Looks so far, all vnodes together.
    looks: u32,
}

impl Patience {
    /// Nothing is known: a caller looks for as long as is ever worth it.
    pub const fn new() -> Self {
        Self {
            usual_ns: [LONGEST_NS; MAX_VNODES],
            looks: 0,
        }
    }

    /// How long to look for an answer of this vnode, in nanoseconds: between [`SHORTEST_NS`] and
    /// [`LONGEST_NS`].
    pub fn look_ns(&mut self, vnode: VnodeId) -> u32 {
        self.looks = self.looks.wrapping_add(1);
        match self.usual_ns.get(vnode.index()) {
            Some(&usual) if usual <= LONGEST_NS => {
                usual.saturating_mul(2).clamp(SHORTEST_NS, LONGEST_NS)
            }
            _ if self.looks % TRIAL == 0 => LONGEST_NS,
            _ => SHORTEST_NS,
        }
    }

    /// Notes that an answer of this vnode has taken so long, in nanoseconds, a sleep and what it
    /// costs included.
    pub fn learn(&mut self, vnode: VnodeId, took_ns: u64) {
        let took = u32::try_from(took_ns).unwrap_or(SLOWEST_NS).min(SLOWEST_NS);
        let Some(usual) = self.usual_ns.get_mut(vnode.index()) else {
            return;
        };
        *usual = if *usual > LONGEST_NS && took <= LONGEST_NS {
            // Looking pays again: what sleeping cost says nothing any more.
            took
        } else {
            (*usual - *usual / SHARE).saturating_add(took / SHARE)
        };
    }

    /// Forgets what is known of vnodes that are no members: their next lives may answer otherwise.
    pub fn keep(&mut self, members: Mask) {
        for (vnode, usual) in VnodeId::all().zip(&mut self.usual_ns) {
            if !has(members, vnode) {
                *usual = LONGEST_NS;
            }
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::bit;
    use proptest::prelude::*;

    const PEER: VnodeId = VnodeId::ROOT;

    fn after(patience: &mut Patience, times: u32, took_ns: u64) -> u32 {
        for _ in 0..times {
            patience.learn(PEER, took_ns);
        }
        patience.look_ns(PEER)
    }

    #[test]
    fn answers_that_are_quick_are_looked_for_twice_as_long_as_they_take() {
        let look = after(&mut Patience::new(), 100, 40_000);
        assert!((80_000..80_050).contains(&look), "{look}");
    }

    #[test]
    fn answers_that_take_long_are_hardly_looked_for() {
        assert_eq!(after(&mut Patience::new(), TRIAL, 5_000_000), SHORTEST_NS);
    }

    #[test]
    fn one_late_answer_changes_little() {
        let mut patience = Patience::new();
        let before = after(&mut patience, 100, 20_000);
        let look = after(&mut patience, 1, u64::MAX);
        assert!(look > before && look <= LONGEST_NS, "{look}");
    }

    /// Who sleeps pays for that, and so would never learn that it need not have slept.
    #[test]
    fn answers_that_become_quick_again_are_looked_for_again() {
        let mut patience = Patience::new();
        after(&mut patience, 1000, u64::MAX);
        for _ in 0..TRIAL {
            let slept = patience.look_ns(PEER) < 60_000;
            patience.learn(PEER, if slept { 5_000_000 } else { 60_000 });
        }
        assert_eq!(patience.look_ns(PEER), 120_000);
    }

    #[test]
    fn what_one_vnode_takes_says_nothing_of_another() {
        let mut patience = Patience::new();
        after(&mut patience, 100, u64::MAX);
        let other = VnodeId::new(1).unwrap();
        assert_eq!(patience.look_ns(other), LONGEST_NS);
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let mut patience = Patience::new();
        let look = after(&mut patience, 100, u64::MAX);
        patience.keep(bit(PEER));
        assert_eq!(patience.look_ns(PEER), look);
        patience.keep(0);
        assert_eq!(patience.look_ns(PEER), LONGEST_NS);
    }

    proptest! {
        #[test]
        fn a_look_is_never_shorter_or_longer_than_what_is_promised(
            took in proptest::collection::vec(any::<u64>(), 0..100),
        ) {
            let mut patience = Patience::new();
            for took_ns in took {
                patience.learn(PEER, took_ns);
                let look = patience.look_ns(PEER);
                prop_assert!((SHORTEST_NS..=LONGEST_NS).contains(&look));
            }
        }

        #[test]
        fn what_is_known_comes_near_to_what_answers_take(took_ns in 0..u64::from(SLOWEST_NS)) {
            let mut patience = Patience::new();
            after(&mut patience, 200, took_ns);
            let usual = u64::from(patience.usual_ns[PEER.index()]);
            prop_assert!(usual.abs_diff(took_ns) <= 2 * u64::from(SHARE));
        }
    }
}
