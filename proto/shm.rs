// SPDX-License-Identifier: GPL-2.0

//! Bridges for programs, as far as no kernel is needed for them (paper section 7.4).
//!
//! A *region* is a bridge that programs create, open and map by `/dev/bridge_shm`. Its name says that it is one
//! ([`region_name`]), its [`label`] says whose, the registry says how much of the user's [`quota`] is taken, and who
//! waits for it is told through the [`board`]. docs/bridge-shm.md is the specification; its rules are cited as SH-n.

pub mod board;
pub mod label;
pub mod lock;
pub mod quota;

use crate::bridge::{BridgeName, BRIDGES};
use crate::id::{NameError, NAME_SIZE};

/// What the name of every region begins with in the registry; the name of the board is this, and no more.
pub const PREFIX: &str = "shm.";

/// Longest name that a program can say, in bytes: the rest is [`PREFIX`] and a zero.
pub const MAX_NAME: usize = NAME_SIZE - PREFIX.len() - 1;

/// Place of a region in the registry, below [`BRIDGES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region(u16);

impl Region {
    /// Checks a place.
    pub const fn new(index: u16) -> Option<Self> {
        if (index as usize) < BRIDGES {
            Some(Self(index))
        } else {
            None
        }
    }

    /// The place.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The name in the registry of what programs call `name`: 1 to [`MAX_NAME`] of the characters that bridges have in
/// their names. So none of the kernels' own bridges can be named.
pub fn region_name(name: &str) -> Result<BridgeName, NameError> {
    BridgeName::prefixed(PREFIX, name)
}

/// What programs call a bridge; nothing for one that is not theirs.
pub fn program_name(name: &BridgeName) -> Option<&str> {
    name.behind(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sh_names_of_programs_are_none_of_the_kernels_own() {
        assert_eq!(region_name("queue").unwrap().as_str(), "shm.queue");
        assert_eq!(region_name(".").unwrap().as_str(), "shm..");
        assert_eq!(region_name("root").unwrap().as_str(), "shm.root");
        assert_eq!(region_name(""), Err(NameError::Empty));
        assert_eq!(region_name("a/b"), Err(NameError::BadCharacter));
        assert_eq!(region_name("a\0"), Err(NameError::BadCharacter));
        assert!(region_name(&"x".repeat(MAX_NAME)).is_ok());
        assert_eq!(
            region_name(&"x".repeat(MAX_NAME + 1)),
            Err(NameError::TooLong)
        );
        for own in ["vcons", "vnet.vnet0", "shm.", "shm"] {
            assert_eq!(program_name(&BridgeName::new(own).unwrap()), None, "{own}");
        }
    }

    proptest! {
        #[test]
        fn sh_a_name_comes_back_as_it_was_said(name: String) {
            if let Ok(whole) = region_name(&name) {
                prop_assert_eq!(program_name(&whole), Some(name.as_str()));
            }
        }
    }
}
