// SPDX-License-Identifier: GPL-2.0

//! What a command says and how it ends: the thread of a session that carries both to the root.
//!
//! The command counts as ended when its own process has; all that this process wrote is in the
//! pipes by then and is carried. Others that it left behind may hold the pipes open for ever, and
//! are not waited for.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, PoisonError};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{pidfd_open, Pid, PidfdFlags};

use super::Link;
use crate::exec::frame::{Ending, Frame, PIECE};

/// How long processes that a command has left behind may keep its output open without a word.
const GRACE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 300_000_000,
};

/// Status that goes with an end that cannot be told.
const UNKNOWN: u8 = 126;

/// The output of a command, and its end.
pub(super) struct Output {
    /// Becomes readable at the command's end.
    end: OwnedFd,
    stdout: Option<File>,
    stderr: Option<File>,
}

impl Output {
    /// Takes the output of a command that was just started.
    pub(super) fn take(child: &mut Child) -> io::Result<Self> {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let stdout = child.stdout.take().ok_or_else(closed)?;
        let stderr = child.stderr.take().ok_or_else(closed)?;
        Ok(Self {
            end: pidfd_open(Pid::from_child(child), PidfdFlags::empty())?,
            stdout: Some(File::from(OwnedFd::from(stdout))),
            stderr: Some(File::from(OwnedFd::from(stderr))),
        })
    }

    /// Carries all output to the root, waits for the command's end and tells it.
    pub(super) fn run(mut self, link: &Link, mut child: Child, is_reaped: &Mutex<bool>) {
        let carried = self.carry(link);
        // Without a reader the command is killed by the listener, or sees its pipes closed.
        drop((self.stdout.take(), self.stderr.take()));
        wait_for(&self.end);

        let mut is_reaped = is_reaped.lock().unwrap_or_else(PoisonError::into_inner);
        let status = child.wait();
        *is_reaped = true;
        drop(is_reaped);

        if carried.is_ok() {
            let frame = match status {
                Ok(status) => Frame::Exit(ending(status)),
                Err(error) => Frame::Error(UNKNOWN, error.to_string()),
            };
            // The root may have gone; then nobody asks.
            let _ = link.send(&frame);
        }
    }

    /// Carries output until the command has ended and nothing more comes.
    fn carry(&mut self, link: &Link) -> io::Result<()> {
        let mut has_ended = false;
        while !has_ended || self.stdout.is_some() || self.stderr.is_some() {
            let Some(ready) = self.poll(has_ended.then_some(&GRACE))? else {
                return Ok(());
            };
            if ready.stdout {
                pass(&mut self.stdout, link, Frame::Stdout)?;
            }
            if ready.stderr {
                pass(&mut self.stderr, link, Frame::Stderr)?;
            }
            has_ended |= ready.end;
        }
        Ok(())
    }

    /// Waits until something can be done. A grace is for a command that has ended: nothing comes
    /// back when those whom it left its output have been silent for so long.
    fn poll(&self, grace: Option<&Timespec>) -> io::Result<Option<Ready>> {
        let streams = [self.stdout.as_ref(), self.stderr.as_ref()];
        let mut fds: Vec<_> = streams
            .iter()
            .flatten()
            .map(|file| PollFd::new(*file, PollFlags::IN))
            .collect();
        if grace.is_none() {
            fds.push(PollFd::new(&self.end, PollFlags::IN));
        }
        let count = match poll(&mut fds, grace) {
            Err(Errno::INTR) => return Ok(Some(Ready::default())),
            count => count?,
        };
        if count == 0 {
            return Ok(None);
        }

        let mut events = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut next = |is_there: bool| is_there && events.next().unwrap_or(false);
        Ok(Some(Ready {
            stdout: next(self.stdout.is_some()),
            stderr: next(self.stderr.is_some()),
            end: next(grace.is_none()),
        }))
    }
}

/// What can be done without waiting.
#[derive(Default)]
struct Ready {
    stdout: bool,
    stderr: bool,
    end: bool,
}

/// Carries one piece of a stream; a stream at its end is closed.
fn pass(stream: &mut Option<File>, link: &Link, frame: fn(Vec<u8>) -> Frame) -> io::Result<()> {
    let Some(file) = stream else { return Ok(()) };
    let mut piece = vec![0; PIECE];
    match file.read(&mut piece) {
        Ok(0) => *stream = None,
        Ok(count) => {
            piece.truncate(count);
            link.send(&frame(piece))?;
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Waits until a command has ended. It stays unreaped.
fn wait_for(end: &OwnedFd) {
    let mut fds = [PollFd::new(end, PollFlags::IN)];
    while let Err(Errno::INTR) = poll(&mut fds, None) {}
}

fn ending(status: ExitStatus) -> Ending {
    let number = |value: i32| u32::try_from(value).unwrap_or(u32::MAX);
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Code(number(code)),
        (None, Some(signal)) => Ending::Signal(number(signal)),
        (None, None) => Ending::Code(u32::MAX),
    }
}
