// SPDX-License-Identifier: GPL-2.0

//! Whose a region is, and what the mode bits let a program do with it (SH-10 to SH-15).

use crate::bridge::{self, Access};

/// Bits that a mode can have: reading and writing, for user, group and others, where files have them.
pub const MODE_BITS: u16 = 0o666;

/// Says that a bridge's label is one of these.
const MARK: u64 = 0x5348;
const MARK_SHIFT: u32 = 48;

/// Bits of one of the three classes of programs.
const READ: u16 = 4;
const WRITE: u16 = 2;

/// Whose a region is. Numbers are those of the first user namespace (SH-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// Bits of [`MODE_BITS`].
    pub mode: u16,
}

/// The program that asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<InGroup> {
    /// Its user.
    pub user: u32,
    /// Whether it is in a group, be it its first or another.
    pub in_group: InGroup,
}

impl Label {
    /// Checks what a program says of a region: `None` for a mode with other bits.
    pub const fn new(user: u32, group: u32, mode: u16) -> Option<Self> {
        if mode & !MODE_BITS == 0 {
            Some(Self { user, group, mode })
        } else {
            None
        }
    }

    /// As bridges carry it.
    pub const fn to_words(self) -> bridge::Label {
        [
            self.user as u64 | (self.group as u64) << 32,
            self.mode as u64 | MARK << MARK_SHIFT,
        ]
    }

    /// What a bridge carries; nothing where no program's kernel has written it.
    pub fn from_words([owner, rest]: bridge::Label) -> Option<Self> {
        if rest >> MARK_SHIFT != MARK {
            return None;
        }
        // The rest has no other bits than those of the mode.
        let mode = u16::try_from(rest ^ MARK << MARK_SHIFT).ok()?;
        Self::new(owner as u32, (owner >> 32) as u32, mode)
    }

    /// Whether a program may use the region so. As with files, only the bits of the first class that it is of count: a
    /// user is not helped by what its group may do. Who writes reads as well.
    pub fn allows(self, caller: &Caller<impl Fn(u32) -> bool>, access: Access) -> bool {
        let class = if caller.user == self.user {
            6
        } else if (caller.in_group)(self.group) {
            3
        } else {
            0
        };
        let wanted = match access {
            Access::Read => READ,
            Access::Write => READ | WRITE,
        };
        self.mode >> class & wanted == wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn may(label: Label, user: u32, groups: &[u32], access: Access) -> bool {
        let caller = Caller {
            user,
            in_group: |group| groups.contains(&group),
        };
        label.allows(&caller, access)
    }

    /// Every mode, every class of caller, both accesses, against what the bits are said to mean.
    #[test]
    fn sh_11_only_the_first_class_counts() {
        for mode in 0..=u16::from(u8::MAX) << 1 | 1 {
            let Some(label) = Label::new(10, 20, mode) else {
                assert_ne!(mode & 0o111, 0);
                continue;
            };
            let callers: [(u32, &[u32], u16); 6] = [
                (10, &[], 0o700),
                (10, &[20], 0o700),
                (11, &[20], 0o070),
                (11, &[5, 20, 7], 0o070),
                (11, &[10], 0o007),
                (20, &[], 0o007),
            ];
            for (user, groups, class) in callers {
                let reads = mode & class & 0o444 != 0;
                let writes = reads && mode & class & 0o222 != 0;
                assert_eq!(
                    may(label, user, groups, Access::Read),
                    reads,
                    "{mode:o} {user}"
                );
                assert_eq!(
                    may(label, user, groups, Access::Write),
                    writes,
                    "{mode:o} {user}"
                );
            }
        }
    }

    #[test]
    fn sh_10_a_bridge_without_a_label_is_nobodys() {
        assert_eq!(Label::from_words([0; 2]), None);
        let [owner, rest] = Label::new(1, 2, 0o600).unwrap().to_words();
        assert_eq!(Label::from_words([owner, rest | 0o100]), None);
        assert_eq!(Label::from_words([owner, rest | 1 << 20]), None);
        assert_eq!(Label::from_words([owner, rest | 1 << 63]), None);
    }

    proptest! {
        #[test]
        fn sh_10_a_label_comes_back_as_it_was_written(user: u32, group: u32, mode in 0..0o1000u16) {
            let label = Label::new(user, group, mode & MODE_BITS).unwrap();
            prop_assert_eq!(Label::from_words(label.to_words()), Some(label));
        }

        /// Whatever stands there, it is a label or not, and gives no right that its bits do not.
        #[test]
        fn sh_10_any_words_are_read(words: [u64; 2]) {
            if let Some(label) = Label::from_words(words) {
                prop_assert_eq!(label.to_words(), words);
            }
        }
    }
}
