// SPDX-License-Identifier: GPL-2.0

//! Words in shared memory that one kernel writes and others read whole or not at all.
//!
//! A sequence number stands before the words, odd while they are being written. A reader copies
//! them between two looks at the number and keeps the copy if both found the same even one. All
//! accesses are whole words with acquire or release order, which is enough: whoever loads a word
//! that the writer has stored also sees, later, the odd number that was stored before it. Nobody
//! waits, and a writer that dies midway leaves words that nobody takes for whole.

use crate::window::Window;

/// Bytes of a word.
pub const WORD: usize = 8;

/// Writes words, and returns the sequence number that they have now.
///
/// One writer at a time. `sequence` is the even number that the writer left last: its own count,
/// which it does not read back, so that what others scribble there is mended by the next write.
pub fn write<W: Window>(window: &W, at: usize, words: &[u64], sequence: u64) -> u64 {
    let writing = sequence.wrapping_add(1);
    window.store_release64(at, writing);
    for (offset, word) in offsets(at).zip(words) {
        // Release: whoever sees this word also sees that it is being written.
        window.store_release64(offset, *word);
    }
    let written = writing.wrapping_add(1);
    // Release: the words are there before the number says so.
    window.store_release64(at, written);
    written
}

/// Copies words; false if they were being written, and the copy is to be thrown away.
pub fn read<W: Window>(window: &W, at: usize, words: &mut [u64]) -> bool {
    let before = window.load_acquire64(at);
    if before % 2 != 0 {
        return false;
    }
    for (offset, word) in offsets(at).zip(words) {
        // Acquire: the sequence number is looked at again after the words.
        *word = window.load_acquire64(offset);
    }
    window.load_acquire64(at) == before
}

/// Where the words behind the sequence number lie.
fn offsets(at: usize) -> impl Iterator<Item = usize> {
    (1..).map(move |word: usize| at.wrapping_add(word.wrapping_mul(WORD)))
}
