// SPDX-License-Identifier: GPL-2.0

//! What physical memory holds, by `/dev/mem`, for tests: a range of it is read whole, and one number printed.

#[cfg(test)]
mod tests;

use anyhow::{ensure, Context, Result};
use clap::{Parser, Subcommand};
use memchr::memmem::Finder;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// How much is read at once: what a huge page has.
const PIECE: usize = 2 << 20;

#[derive(Parser)]
#[command(about, disable_version_flag = true)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// How often a text is there
    ///
    /// It is given in two parts, and is whole nowhere in this program's own memory, so that a search in the memory that
    /// it runs in does not find itself.
    Count {
        #[command(flatten)]
        range: Range,
        /// All of the text but its last byte
        head: String,
        /// Its last byte
        last: char,
    },
    /// How many bytes are not zero
    Used {
        #[command(flatten)]
        range: Range,
    },
}

#[derive(clap::Args)]
struct Range {
    /// Physical address of the first byte, decimal or 0x...
    #[arg(value_parser = number)]
    base: u64,
    /// Number of bytes
    #[arg(value_parser = number)]
    length: u64,
}

/// A number as a shell writes it.
fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

/// Hands `range` of `memory` to `look`, in order and piece by piece. Each piece but the first has before it the last
/// `overlap` bytes of the one before.
fn each_piece(
    memory: &impl FileExt,
    range: &Range,
    overlap: usize,
    mut look: impl FnMut(&[u8]),
) -> Result<()> {
    let mut bytes = Vec::with_capacity(overlap + PIECE);
    let mut done = 0;
    while done < range.length {
        let kept = bytes.len().min(overlap);
        bytes.drain(..bytes.len() - kept);
        let piece = usize::try_from((range.length - done).min(PIECE as u64))?;
        bytes.resize(kept + piece, 0);
        let at = range.base + done;
        memory
            .read_exact_at(bytes.split_at_mut(kept).1, at)
            .with_context(|| format!("{piece} bytes at {at:#x} cannot be read"))?;
        look(&bytes);
        done += piece as u64;
    }
    Ok(())
}

/// How often `head` is in `range` with `last` behind it.
fn count(memory: &impl FileExt, range: &Range, head: &str, last: char) -> Result<usize> {
    ensure!(
        !head.is_empty() && last.is_ascii(),
        "the text has a head, and one byte at its end"
    );
    let finder = Finder::new(head);
    let mut found = 0;
    each_piece(memory, range, head.len(), |bytes| {
        // What ends in a byte of this piece was not found in the one before: it was not whole there.
        found += finder
            .find_iter(bytes)
            .filter(|at| bytes.get(at + head.len()) == Some(&(last as u8)))
            .count();
    })?;
    Ok(found)
}

/// How many bytes of `range` are not zero.
fn used(memory: &impl FileExt, range: &Range) -> Result<usize> {
    let mut found = 0;
    each_piece(memory, range, 0, |bytes| {
        found += bytes.iter().filter(|byte| **byte != 0).count()
    })?;
    Ok(found)
}

fn main() -> Result<()> {
    let options = Options::parse();
    let memory = File::open("/dev/mem").context("cannot open /dev/mem")?;
    let found = match &options.command {
        Command::Count { range, head, last } => count(&memory, range, head, *last)?,
        Command::Used { range } => used(&memory, range)?,
    };
    println!("{found}");
    Ok(())
}
