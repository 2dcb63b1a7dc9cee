// SPDX-License-Identifier: GPL-2.0

//! What goes wrong, as the person at the keyboard needs it: what, what to do, and an exit status.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Result of everything that this tool does.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Kind of a failure: it decides the exit status, which scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The operation failed.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// There is no vnode of that name or number.
    NoVnode,
    /// There is no bridge of that name or number.
    NoBridge,
    /// The kernel offers no interface for this: its modules are not loaded.
    NotSupported,
    /// It did not happen in time.
    Timeout,
    /// Whoever read our output has gone, as `| head` does: nothing to talk about.
    ReaderGone,
}

impl Kind {
    /// The exit status of the process.
    pub(crate) const fn status(self) -> u8 {
        match self {
            Self::Failed | Self::ReaderGone => 1,
            Self::Usage => 2,
            Self::NoVnode | Self::NoBridge => 3,
            Self::NotSupported => 4,
            Self::Timeout => 5,
        }
    }
}

/// A failure: one sentence that says what is wrong, and perhaps one that says what would be right.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Decides the exit status.
    pub(crate) kind: Kind,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

impl Failure {
    /// A failure of a kind.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            help: None,
        }
    }

    /// An operation that failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// Adds what to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The exit status that goes with it.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.status())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let is_reader_gone = error.kind() == io::ErrorKind::BrokenPipe;
        let kind = if is_reader_gone {
            Kind::ReaderGone
        } else {
            Kind::Failed
        };
        Self::new(kind, error.to_string())
    }
}

/// Says what was being done when an operating-system call failed.
pub(crate) trait Context<T> {
    /// Puts `what` in front of the error.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Failure::failed(format!("{}: {error}", what())))
    }
}
