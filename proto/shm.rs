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
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    let mut whole = [0; NAME_SIZE - 1];
    let length = PREFIX.len().saturating_add(name.len());
    let used = whole.get_mut(..length).ok_or(NameError::TooLong)?;
    for (to, byte) in used.iter_mut().zip(PREFIX.bytes().chain(name.bytes())) {
        *to = byte;
    }
    BridgeName::new(core::str::from_utf8(used).map_err(|_| NameError::BadCharacter)?)
}

/// What programs call a bridge; nothing for one that is not theirs.
pub fn program_name(name: &BridgeName) -> Option<&str> {
    name.as_str()
        .strip_prefix(PREFIX)
        .filter(|rest| !rest.is_empty())
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
