// SPDX-License-Identifier: GPL-2.0

//! What `include/bridge.h` declares: C over the crate of tools/libbridge.
//!
//! Each function turns what C says into values of that crate, calls it, and turns what comes of it into a number and errno. It does so by
//! pointers that the header describes: that they are so is what all of the functions are unsafe for. None unwinds into C: a panic ends the
//! process there.

mod arguments;
mod channel;
mod errno;
mod kept;
mod lock;
mod region;

#[cfg(test)]
mod tests;
