// SPDX-License-Identifier: GPL-2.0

//! What the tool prints: results on stdout, everything about them on stderr.
//!
//! Colours are for terminals; anstream takes them out elsewhere, and where NO_COLOR is set.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::failure::{Failure, Kind, Result};

/// Style of what went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Style of what may be wrong.
pub(crate) const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
/// Style of what went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Style of what points to a place.
pub(crate) const POINTER: Style = AnsiColor::Blue.on_default().bold();
/// Style of headings.
pub(crate) const HEADING: Style = Style::new().bold();

/// Prints to stdout.
pub(crate) fn out(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Prints a value as JSON, for programs.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::failed(error.to_string()))?;
    out(&(text + "\n"))
}

/// Tells what is happening to a vnode.
pub(crate) fn progress(name: &str, what: &str) {
    err(&format!("{HEADING}{name}{HEADING:#}: {what}\n"));
}

/// Tells of something that may be wrong, but stops nothing.
pub(crate) fn warning(what: &str) {
    err(&format!("{DOUBTFUL}warning{DOUBTFUL:#}: {what}\n"));
}

/// Tells of a failure, and of what to do about it.
pub(crate) fn failure(failure: &Failure) {
    if failure.kind == Kind::ReaderGone {
        return;
    }
    err(&format!("{BAD}error{BAD:#}: {failure}\n"));
    if let Some(help) = &failure.help {
        err(&format!("{POINTER}help{POINTER:#}: {help}\n"));
    }
}

/// Prints to stderr. When that fails there is nobody left to tell.
pub(crate) fn err(text: &str) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}
