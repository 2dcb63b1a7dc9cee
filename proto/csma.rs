// SPDX-License-Identifier: GPL-2.0

//! Access to a wire that stations share: sense it, send, detect a collision, back off, give up.
//!
//! Paper section 7.1 and its footnote: "a software implementation of CSMA/CD". The rules are those of IEEE 802.3, 4.2.3.2, with
//! the times of shared memory: what takes a slot there is one exchange of a cache line here. Two things differ,
//! both for the better. Of the frames that collide one gets through, for an atomic operation has one winner
//! (the *capture* is fair: whoever loses waits no longer than the winner's next frame). And a wire is the way to one receiver:
//! stations that send to different ones do not meet.
//!
//! Time is an argument, in nanoseconds of a clock that does not run backwards, and so is chance. docs/vnet.md, section 4;
//! numbers are VN-n.

/// How stations behave on a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A slot time, in ns: how long a station needs to learn that it has met another one.
    pub slot_ns: u64,
    /// Collisions after which a frame is given up (attemptLimit).
    pub attempts: u32,
    /// Collisions after which the range of a wait is not doubled any more (backoffLimit).
    pub backoff_limit: u32,
    /// How long a frame may stand before the wire, in ns, whatever the reason.
    pub limit_ns: u64,
}

/// The rules of segments in shared memory (VN-31).
pub const RULES: Rules = Rules {
    slot_ns: 256,
    attempts: 16,
    backoff_limit: 10,
    limit_ns: 2_000_000,
};

/// Why a frame is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// It has collided too often.
    Collisions,
    /// The wire was not free for too long.
    Deferral,
}

/// What a station does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sense the wire, and send if it is free.
    Sense,
    /// Wait until this time.
    Wait(u64),
    /// Nothing more: the frame is lost.
    GiveUp(GivenUp),
}

/// What a frame has met on its way to the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Others that have sent in the same slot, and got through.
    pub collisions: u32,
    /// Times that another one's frame was on the wire when it was sensed.
    pub deferrals: u32,
}

/// Chance for one station: the same for the same seed (xorshift64*, Marsaglia and Vigna).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Chance that begins somewhere. Stations that begin with the same number collide again and again.
    pub const fn new(seed: u64) -> Self {
        // 0 would stay 0; neighbours are far apart from the start.
        Self((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1)
    }

    /// A number below `bound`, or 0 if that is 0.
    pub const fn roll(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (high.wrapping_mul(bound as u64) >> 32) as u32
    }
}

/// One frame on its way to the wire.
#[derive(Clone, Debug)]
pub struct Attempt {
    rules: Rules,
    begun: u64,
    not_before: u64,
    met: Met,
}

impl Attempt {
    /// A frame that is ready at this time.
    pub const fn new(rules: Rules, now: u64) -> Self {
        Self {
            rules,
            begun: now,
            not_before: now,
            met: Met {
                collisions: 0,
                deferrals: 0,
            },
        }
    }

    /// What to do at this time (VN-32).
    pub const fn step(&self, now: u64) -> Step {
        if self.met.collisions >= self.rules.attempts {
            return Step::GiveUp(GivenUp::Collisions);
        }
        if now.saturating_sub(self.begun) > self.rules.limit_ns {
            return Step::GiveUp(GivenUp::Deferral);
        }
        if now < self.not_before {
            return Step::Wait(self.not_before);
        }
        Step::Sense
    }

    /// The wire was sensed, and another one's frame was on it: sense it again.
    pub const fn deferred(&mut self) {
        self.met.deferrals = self.met.deferrals.saturating_add(1);
    }

    /// The wire was free, and another one has sent in the same slot: wait for a while, the range of which
    /// doubles each time (truncated binary exponential backoff; VN-33).
    pub const fn collided(&mut self, now: u64, dice: &mut Dice) {
        self.met.collisions = self.met.collisions.saturating_add(1);
        let exponent = if self.met.collisions < self.rules.backoff_limit {
            self.met.collisions
        } else {
            self.rules.backoff_limit
        };
        let slots = dice.roll(1u32.wrapping_shl(exponent)) as u64;
        self.not_before = now.saturating_add(slots.saturating_mul(self.rules.slot_ns));
    }

    /// What it has met so far.
    pub const fn met(&self) -> Met {
        self.met
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// VN-33: the n-th wait is below 2^n slots, 2^10 at most, and all of the range comes up.
        #[test]
        fn waits_are_in_range(seed: u64, collisions in 1u32..16) {
            let mut dice = Dice::new(seed);
            let mut attempt = Attempt::new(RULES, 1000);
            for n in 1..=collisions {
                attempt.collided(1000, &mut dice);
                let slots = (attempt.not_before - 1000) / RULES.slot_ns;
                prop_assert!(slots < 1 << n.min(RULES.backoff_limit));
            }
            prop_assert_eq!(attempt.met().collisions, collisions);
        }

        /// VN-32: it senses when its wait is over and not before, and it ends.
        #[test]
        fn ends(seed: u64, start in 0u64..1 << 60, outcomes in prop::collection::vec(any::<bool>(), 0..200)) {
            let mut dice = Dice::new(seed);
            let mut now = start;
            let mut attempt = Attempt::new(RULES, now);
            let mut collisions = 0;
            for collides in outcomes {
                match attempt.step(now) {
                    Step::Wait(until) => {
                        prop_assert!(until > now);
                        prop_assert_ne!(attempt.step(until - 1), Step::Sense);
                        now = until;
                    }
                    Step::Sense => {
                        now += 100;
                        if collides {
                            collisions += 1;
                            attempt.collided(now, &mut dice);
                        } else {
                            attempt.deferred();
                        }
                    }
                    Step::GiveUp(why) => {
                        let right = match collisions {
                            16.. => GivenUp::Collisions,
                            _ => GivenUp::Deferral,
                        };
                        prop_assert_eq!(why, right);
                        prop_assert!(collisions == 16 || now - start > RULES.limit_ns);
                        break;
                    }
                }
                prop_assert!(collisions <= RULES.attempts);
            }
        }

        #[test]
        fn dice_stay_below_their_bound(seed: u64, bound: u32) {
            let mut dice = Dice::new(seed);
            for _ in 0..20 {
                prop_assert!(dice.roll(bound) < bound.max(1));
            }
        }
    }

    /// Each face of a die comes up about as often as any other.
    #[test]
    fn dice_are_fair() {
        let mut faces = [0u32; 8];
        let mut dice = Dice::new(1);
        for _ in 0..80_000 {
            faces[dice.roll(8) as usize] += 1;
        }
        assert!(
            faces.iter().all(|n| (9_600..10_400).contains(n)),
            "{faces:?}"
        );
    }
}
