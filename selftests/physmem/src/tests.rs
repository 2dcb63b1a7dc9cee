// SPDX-License-Identifier: GPL-2.0

//! What is found across the borders of the pieces that are read.

use super::{count, used, Range, PIECE};
use std::io;
use std::os::unix::fs::FileExt;

/// Memory of our own.
struct Bytes(Vec<u8>);

impl FileExt for Bytes {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset)
            .ok()
            .and_then(|at| self.0.get(at..))
            .unwrap_or_default();
        let length = from.len().min(into.len());
        into.split_at_mut(length)
            .0
            .copy_from_slice(from.split_at(length).0);
        Ok(length)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

const BASE: usize = 4096;

/// Memory with `text` at each of these places behind `BASE`.
fn memory(length: usize, text: &[u8], places: &[usize]) -> Bytes {
    let mut bytes = vec![0; BASE + length];
    for place in places {
        bytes
            .split_at_mut(BASE + place)
            .1
            .split_at_mut(text.len())
            .0
            .copy_from_slice(text);
    }
    Bytes(bytes)
}

fn range(length: usize) -> Range {
    Range {
        base: BASE as u64,
        length: length as u64,
    }
}

#[test]
fn a_text_is_found_once_wherever_it_lies() {
    let text = b"secret";
    for border in [PIECE, 2 * PIECE] {
        for place in border - text.len() - 1..border + 2 {
            let memory = memory(3 * PIECE, text, &[place]);
            assert_eq!(
                count(&memory, &range(3 * PIECE), "secre", 't').ok(),
                Some(1),
                "{place}"
            );
        }
    }
}

#[test]
fn what_is_not_whole_does_not_count() {
    let memory = memory(PIECE, b"secre", &[0, 100, PIECE - 5]);
    assert_eq!(count(&memory, &range(PIECE), "secre", 't').ok(), Some(0));
    assert_eq!(count(&memory, &range(PIECE), "secr", 'e').ok(), Some(3));
    assert_eq!(count(&memory, &range(PIECE - 1), "secr", 'e').ok(), Some(2));
}

#[test]
fn bytes_that_are_not_zero_are_counted() {
    let memory = memory(2 * PIECE + 10, b"12345", &[0, PIECE - 2, 2 * PIECE + 5]);
    assert_eq!(used(&memory, &range(2 * PIECE + 10)).ok(), Some(15));
    assert_eq!(used(&memory, &range(2 * PIECE + 9)).ok(), Some(14));
}

#[test]
fn memory_that_is_not_there_is_an_error() {
    let memory = memory(PIECE, b"", &[]);
    assert!(used(&memory, &range(PIECE + 1)).is_err());
    assert!(count(&memory, &range(PIECE), "", 'x').is_err());
    assert!(count(&memory, &range(PIECE), "head", 'ß').is_err());
}
