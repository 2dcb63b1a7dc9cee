// SPDX-License-Identifier: GPL-2.0

//! What says, at the start of a bridge, what the bridge is: a magic number, a version, and a size.

use crate::window::Window;

const MAGIC: usize = 0x0;
const VERSION: usize = 0x8;
const SIZE: usize = 0xc;

/// What bridges of a kind begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Says which kind it is.
    pub magic: u64,
    /// Version of what specifies it.
    pub version: u32,
    /// Bytes of the bridge.
    pub size: u32,
}

/// Why a bridge is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It does not say that it is of this kind.
    Magic,
    /// It is of another version: this one.
    Version(u32),
    /// It says that it is of another size, or is smaller.
    Size,
}

impl Signature {
    /// Says that a bridge is of this kind, whoever may have written over that. The magic number comes last.
    pub fn sign<W: Window>(&self, window: &W) {
        window.store_release(VERSION, self.version);
        window.store_release(SIZE, self.size);
        window.store_release64(MAGIC, self.magic);
    }

    /// Checks that a bridge is one that whoever has this signature can use.
    pub fn check<W: Window>(&self, window: &W) -> Result<(), Misfit> {
        if window.load_acquire64(MAGIC) != self.magic {
            return Err(Misfit::Magic);
        }
        let version = window.load_acquire(VERSION);
        if version != self.version {
            return Err(Misfit::Version(version));
        }
        let says = window.load_acquire(SIZE);
        if says != self.size || window.size() < says as usize {
            return Err(Misfit::Size);
        }
        Ok(())
    }
}
