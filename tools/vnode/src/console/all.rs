// SPDX-License-Identifier: GPL-2.0

//! All consoles at once, each line with the name of its vnode in front: for logs.

use std::io;
use std::time::Duration;

use adeos_proto::abi::console::flag;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::harmless;
use super::node::{self, Node, Wish};
use crate::failure::{Failure, Kind, Result};
use crate::say::{self, HEADING};

/// How often to look for consoles that have come.
const LOOK: Duration = Duration::from_secs(1);

/// Longest line that is waited for.
const LINE: usize = 4 << 10;

/// A console, and the line that it is in the middle of.
struct Source {
    name: String,
    node: Node,
    line: Vec<u8>,
    is_over: bool,
}

/// Shows them for ever; or, unless it is to follow, what they hold now.
pub(crate) fn run(follow: bool) -> Result<()> {
    let mut sources: Vec<Source> = Vec::new();
    loop {
        for name in node::names() {
            if !sources.iter().any(|source| source.name == name) {
                sources.push(Source::open(name)?);
            }
        }
        if sources.is_empty() && !follow {
            return Err(
                Failure::new(Kind::NotSupported, "there are no consoles here")
                    .help("load the module: insmod vcons.ko, in the root first"),
            );
        }
        let mut said = false;
        for source in &mut sources {
            said |= source.show()?;
        }
        if !follow && !said {
            return sources.iter_mut().try_for_each(Source::end_line);
        }
        if !said {
            wait(&sources)?;
        }
    }
}

fn wait(sources: &[Source]) -> Result<()> {
    let mut fds: Vec<_> = sources
        .iter()
        .filter(|source| !source.is_over)
        .map(|source| PollFd::new(source.node.file(), PollFlags::IN))
        .collect();
    let time = Timespec::try_from(LOOK).map_err(|error| Failure::failed(error.to_string()))?;
    match poll(&mut fds, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

impl Source {
    fn open(name: String) -> Result<Self> {
        Ok(Self {
            node: Node::open(&name, Wish::Look)?,
            name,
            line: Vec::new(),
            is_over: false,
        })
    }

    /// Shows the lines that are there; whether there were bytes.
    fn show(&mut self) -> Result<bool> {
        if self.is_over && !self.is_alive() {
            return Ok(false);
        }
        self.is_over = false;
        let Some(bytes) = self.node.read()? else {
            return Ok(false);
        };
        if bytes.is_empty() {
            self.is_over = true;
            self.end_line()?;
            return Ok(false);
        }
        for byte in bytes {
            if byte == b'\n' || self.line.len() >= LINE {
                self.put_line()?;
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        Ok(true)
    }

    /// Shows the line that one is in the middle of, if there is one.
    fn end_line(&mut self) -> Result<()> {
        if self.line.is_empty() {
            return Ok(());
        }
        self.put_line()
    }

    fn put_line(&mut self) -> Result<()> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&harmless(&line)).into_owned();
        say::out(&format!("{HEADING}{}|{HEADING:#} {text}\n", self.name))
    }

    /// Whether its vnode runs.
    fn is_alive(&self) -> bool {
        let status = self.node.status();
        status.is_ok_and(|status| status.flags & flag::ALIVE != 0)
    }
}
