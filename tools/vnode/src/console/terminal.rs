// SPDX-License-Identifier: GPL-2.0

//! The terminal that a console is shown in: raw while it is, and as it was afterwards.

use std::io;
use std::os::fd::AsFd;

use rustix::termios::{self, OptionalActions, Termios};

/// A terminal that is in raw mode until this is dropped.
pub(crate) struct Raw<T: AsFd> {
    terminal: T,
    before: Termios,
}

impl<T: AsFd> Raw<T> {
    /// Makes it raw: every key is passed on, ^C too.
    pub(crate) fn new(terminal: T) -> io::Result<Self> {
        let before = termios::tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&terminal, OptionalActions::Drain, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl<T: AsFd> Drop for Raw<T> {
    fn drop(&mut self) {
        // There is nobody to tell, and nothing else to do.
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Rows, columns, width and height in pixels of a terminal's window; `None` for what has none.
pub(crate) fn window(terminal: impl AsFd) -> Option<[u16; 4]> {
    let size = termios::tcgetwinsize(terminal).ok()?;
    Some([size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel])
}
