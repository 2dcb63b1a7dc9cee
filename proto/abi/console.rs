// SPDX-License-Identifier: GPL-2.0

//! The ioctls of `/dev/vcons/NAME`, the console of a vnode as another one shows it.
//!
//! An open file reads the console's output from the oldest byte that is there, and types what is
//! written to it. Any number of files read; one at a time types, in the whole machine. EBADF: a file
//! that is open for reading only asks for the keyboard, for all output, or for something to be sent.

use super::read_write;
use crate::record;

/// Tells all about the console and this file: [`Console`].
pub const VCONS_STATUS: u32 = read_write(48, Console::SIZE);
/// Takes the keyboard for this file: [`Keyboard`]. To write takes it as well. EBUSY another file, or
/// another vnode, has it, unless `steal` is 1; EACCES the console may not be written to from here;
/// ENOTCONN its vnode does not run, or has not loaded `vcons`.
pub const VCONS_TAKE: u32 = read_write(49, Keyboard::SIZE);
/// Gives the keyboard back: [`Keyboard`]. ENOLCK this file does not have it.
pub const VCONS_GIVE_BACK: u32 = read_write(50, Keyboard::SIZE);
/// Says whether this file wants all output: [`Hold`]. EACCES the console may not be written to from
/// here.
pub const VCONS_HOLD: u32 = read_write(51, Hold::SIZE);
/// Sends a break, hangs up, or sets the window's size: [`Signal`]. ENOLCK this file does not have
/// the keyboard.
pub const VCONS_SIGNAL: u32 = read_write(52, Signal::SIZE);
/// Root: says which other vnodes may read the console, and type: [`Allow`]. EPERM elsewhere.
pub const VCONS_ALLOW: u32 = read_write(53, Allow::SIZE);

record! {
    /// A console, and a file that shows it.
    pub struct Console: 112 {
        /// Bytes of this record.
        size: u32,
        /// Whose console it is.
        vnode: u32,
        /// What it is called.
        name: [u8; 32],
        /// Bits of [`flag`].
        flags: u32,
        /// The vnode that has the keyboard, or all ones.
        holder: u32,
        /// Counts the times that it was taken and given back.
        ticket: u32,
        /// Other vnodes that may read it, as bits.
        readers: u32,
        /// Other vnodes that may type as well, as bits.
        writers: u32,
        /// Files of this kernel that show it.
        files: u32,
        /// Where this file's next byte lies, counted from the console's first.
        position: u64,
        /// Bytes that were written to the console so far.
        written: u64,
        /// Bytes that were written over before this file had read them.
        lost: u64,
        /// Bytes that the vnode's kernel has written over before those that hold had read them.
        dropped: u64,
        /// Zero.
        reserved: [u64; 2],
    }
}

/// Bits of [`Console::flags`].
pub mod flag {
    /// The vnode runs.
    pub const ALIVE: u32 = 1 << 0;
    /// This file has the keyboard.
    pub const MINE: u32 = 1 << 1;
    /// This file wants all output.
    pub const HOLDS: u32 = 1 << 2;
    /// This kernel may write to the console.
    pub const WRITABLE: u32 = 1 << 3;
}

record! {
    /// The keyboard of a console.
    pub struct Keyboard: 8 {
        /// Bytes of this record.
        size: u32,
        /// 1 to take it from whoever has it.
        steal: u32,
    }
}

record! {
    /// Whether a file wants all output.
    pub struct Hold: 8 {
        /// Bytes of this record.
        size: u32,
        /// 1 if it does: programs of the vnode wait for it.
        hold: u32,
    }
}

record! {
    /// What is sent beside bytes.
    pub struct Signal: 24 {
        /// Bytes of this record.
        size: u32,
        /// One of [`signal`].
        signal: u32,
        /// Rows, columns, width and height in pixels.
        window: [u16; 4],
        /// Zero.
        reserved: u64,
    }
}

/// Values of [`Signal::signal`].
pub mod signal {
    /// A break.
    pub const BREAK: u32 = 1;
    /// The terminal has hung up.
    pub const HANG_UP: u32 = 2;
    /// The window has another size.
    pub const RESIZE: u32 = 3;
}

record! {
    /// Who may use a console beside the root.
    pub struct Allow: 16 {
        /// Bytes of this record.
        size: u32,
        /// Vnodes that may read it, as bits.
        readers: u32,
        /// Vnodes that may type as well, as bits.
        writers: u32,
        /// Zero.
        reserved: u32,
    }
}
