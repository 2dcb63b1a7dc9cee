// SPDX-License-Identifier: GPL-2.0

//! `consoles [--lines N] FILE`: prints the consoles of all vnodes, or the last N lines of each.
//!
//! FILE is a copy of the control area's memory (docs/control-area.md), made from outside of the
//! machine: by its emulator, or out of a crash dump. The root of that machine may have panicked or
//! hang, for nothing is asked of it; in one that is well, `vnode console` does the same.

#![forbid(unsafe_code)]

mod dump;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use adeos_proto::id::VnodeId;

use dump::Dump;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match *words.as_slice() {
        ["--lines", lines, file] => match lines.parse() {
            Ok(lines) => print(file, lines),
            Err(_) => Err(format!("--lines wants a number, not '{lines}'")),
        },
        [file] if !file.starts_with('-') => print(file, usize::MAX),
        _ => Err("usage: consoles [--lines N] FILE".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("consoles: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what the file holds of each vnode that has ever been one.
fn print(file: &str, lines: usize) -> Result<(), String> {
    let bytes = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let dump = Dump::new(bytes).map_err(|why| format!("{file}: {why}"))?;
    let mut output = io::stdout().lock();
    for vnode in VnodeId::all().skip(1) {
        if let Some(text) = account(&dump, vnode, lines) {
            output
                .write_all(text.as_bytes())
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// A heading and the last lines of a vnode's console; nothing if it has never been started.
fn account(dump: &Dump, vnode: VnodeId, lines: usize) -> Option<String> {
    let slot = dump.slot(vnode);
    // A slot's console is made ready before its first life, and stays from then on.
    let text = match slot.console() {
        Ok(bytes) => harmless(&bytes),
        Err(_) if slot.is_untouched() => return None,
        Err(_) => "(the console's head makes no sense)\n".into(),
    };
    let number = vnode.number();
    let mut account = format!("--- console of vnode {number} {}\n", slot.describe());
    account.push_str(last_lines(&text, lines));
    if !account.ends_with('\n') {
        account.push('\n');
    }
    Some(account)
}

/// The text, with what a terminal would obey made visible.
fn harmless(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '\r' => {}
            '\n' | '\t' => shown.push(character),
            control if control.is_control() => shown.extend(control.escape_unicode()),
            other => shown.push(other),
        }
    }
    shown
}

fn last_lines(text: &str, lines: usize) -> &str {
    // The line end that closes the last line does not open another one.
    let body = text.strip_suffix('\n').unwrap_or(text);
    let before = body.rmatch_indices('\n').nth(lines.saturating_sub(1));
    let start = before.map_or(0, |(end, _)| end.saturating_add(1));
    if lines == 0 {
        return "";
    }
    text.get(start..).unwrap_or(text)
}

#[cfg(test)]
mod tests;
