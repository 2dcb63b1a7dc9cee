// SPDX-License-Identifier: GPL-2.0

//! Why the root mistrusts a life, and what follows from it (docs/dsp.md, DS-55).

/// A reason. What a vnode that means well never does; but for being late, which it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// It has acknowledged a view that does not exist.
    Liar,
    /// It has not acknowledged a view in time.
    Late,
    /// It has written an index that makes no sense into its mailboxes with the root.
    BrokenMailbox,
    /// It has sent the root a message of no known kind, or of an impossible length.
    Malformed,
}

impl Suspicion {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Liar, Self::Late, Self::BrokenMailbox, Self::Malformed];

    /// The number that records hold; 0 is for a vnode that is not mistrusted.
    pub const fn number(self) -> u32 {
        match self {
            Self::Liar => 1,
            Self::Late => 2,
            Self::BrokenMailbox => 3,
            Self::Malformed => 4,
        }
    }

    /// Takes the number of a reason.
    pub fn new(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.number() == number)
    }

    /// Whether the root puts the vnode into quarantine: it takes nothing from it any more and sends
    /// it nothing, until its next life. One that is late may only be slow.
    pub const fn is_hostile(self) -> bool {
        !matches!(self, Self::Late)
    }

    /// The reason in words, for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Liar => "acknowledged a view that does not exist",
            Self::Late => "has not acknowledged a view in time",
            Self::BrokenMailbox => "wrote nonsense into its mailboxes",
            Self::Malformed => "sent malformed messages",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_interface() {
        for (number, why) in (1..).zip(Suspicion::ALL) {
            assert_eq!((why.number(), Suspicion::new(number)), (number, Some(why)));
            assert!(!why.describe().is_empty());
        }
        assert_eq!((Suspicion::new(0), Suspicion::new(5)), (None, None));
    }

    /// DS-55, DS-66.
    #[test]
    fn who_is_late_may_be_slow() {
        let hostile = Suspicion::ALL.into_iter().filter(|why| why.is_hostile());
        assert_eq!(hostile.count(), 3);
        assert!(!Suspicion::Late.is_hostile());
    }
}
