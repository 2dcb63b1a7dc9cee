// SPDX-License-Identifier: GPL-2.0

//! Commands that a test writes to a file of debugfs: a line of words, and numbers among them.

use core::str::SplitAsciiWhitespace;
use kernel::prelude::*;
use kernel::uaccess::UserSliceReader;

/// The words of a command that have not been taken.
pub(crate) struct Words<'a>(SplitAsciiWhitespace<'a>);

impl<'a> Words<'a> {
    /// Those of a line, which is read into `bytes`. EINVAL when it does not fit, or is no text.
    pub(crate) fn read(line: &mut UserSliceReader, bytes: &'a mut [u8]) -> Result<Self> {
        let text = bytes.get_mut(..line.len()).ok_or(EINVAL)?;
        line.read_slice(text)?;
        let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
        Ok(Self(text.split_ascii_whitespace()))
    }

    /// The next one. EINVAL when there is none.
    pub(crate) fn next(&mut self) -> Result<&'a str> {
        self.0.next().ok_or(EINVAL)
    }

    /// The next one is a number. EINVAL.
    pub(crate) fn number<T: TryFrom<u64>>(&mut self) -> Result<T> {
        let number = self.next()?.parse::<u64>().map_err(|_| EINVAL)?;
        T::try_from(number).map_err(|_| EINVAL)
    }
}
