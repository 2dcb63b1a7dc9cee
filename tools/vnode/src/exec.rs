// SPDX-License-Identifier: GPL-2.0

//! Running a command in a vnode: the root's end.
//!
//! Two threads: this one takes what the agent sends, another one sends it our input. The second
//! may sleep in a read of ours for ever; the process ends without it.

pub(crate) mod agent;
pub(crate) mod frame;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::cli::ExecArgs;
use crate::device::{self, Kmb};
use crate::explain;
use crate::failure::{Failure, Result};
use crate::say;
use crate::vnode::Vnode;
use crate::watch;
use frame::{Command, Ending, Frame, FrameError, PIECE, WINDOW};

/// Exit status of everything that is not the command's doing.
const UNREACHABLE: u8 = 255;

/// How long the kernel may take to notice that a vnode whose stream ended is dead.
const NOTICE: Duration = Duration::from_secs(3);

/// Runs the command and returns its exit status.
pub(crate) fn run(args: &ExecArgs) -> ExitCode {
    match exec(args) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            say::failure(&failure);
            ExitCode::from(UNREACHABLE)
        }
    }
}

fn exec(args: &ExecArgs) -> Result<u8> {
    let kmb = Kmb::open()?;
    let vnode = Vnode::find(&kmb, &args.name)?;
    let channel = device::connect(vnode.number(), vnode.generation())?
        .map_err(|error| refused(&kmb, &vnode, &error))?;
    let command = Command {
        argv: args.command.clone(),
        env: args.env.iter().map(Into::into).collect(),
        directory: args.directory.clone().map(Into::into).unwrap_or_default(),
    };

    let input: Box<dyn Read + Send> = if args.no_stdin {
        Box::new(io::empty())
    } else {
        Box::new(io::stdin())
    };
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let end = talk(channel, command, input, &mut stdout, &mut stderr)?;
    match end {
        End::Exit(Ending::Code(code)) => Ok(u8::try_from(code & 0xff).unwrap_or(UNREACHABLE)),
        End::Exit(Ending::Signal(signal)) => {
            Ok(u8::try_from(signal.saturating_add(128) & 0xff).unwrap_or(UNREACHABLE))
        }
        End::NotRun(status, why) => {
            say::failure(&Failure::failed(format!("{}: {why}", vnode.name())));
            Ok(status)
        }
        End::Lost(why) => Err(lost(&kmb, &vnode, &why)),
    }
}

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The command has ended.
    Exit(Ending),
    /// The command could not be run: the status that tells so, and why.
    NotRun(u8, String),
    /// The stream ended or failed before either.
    Lost(String),
}

/// Has a command run at the other end of a channel, and carries its streams.
fn talk(
    channel: File,
    command: Command,
    input: Box<dyn Read + Send>,
    stdout: &mut impl Write,
    stderr: &mut impl Write,
) -> Result<End> {
    let channel = Arc::new(channel);
    if let Err(error) = Frame::Start(command).write(&mut &*channel) {
        return match error.kind() {
            io::ErrorKind::InvalidInput => Err(Failure::failed("the command line is too long")
                .help(format!("it may have {} bytes", frame::MAX_PAYLOAD))),
            _ => Ok(End::Lost(error.to_string())),
        };
    }

    let window = Arc::new(Window::new());
    let (to, room) = (Arc::clone(&channel), Arc::clone(&window));
    thread::Builder::new().spawn(move || send_input(&to, &room, input))?;

    let end = receive(&channel, &window, stdout, stderr);
    window.close();
    end
}

/// Takes what the agent sends until the command has ended.
fn receive(
    channel: &File,
    window: &Window,
    stdout: &mut impl Write,
    stderr: &mut impl Write,
) -> Result<End> {
    let mut stream = channel;
    loop {
        match Frame::read(&mut stream) {
            Ok(Some(Frame::Stdout(bytes))) => pass(stdout, &bytes)?,
            Ok(Some(Frame::Stderr(bytes))) => pass(stderr, &bytes)?,
            Ok(Some(Frame::Taken(count))) => window.give(count),
            Ok(Some(Frame::Exit(ending))) => return Ok(End::Exit(ending)),
            Ok(Some(Frame::Error(status, why))) => return Ok(End::NotRun(status, why)),
            Ok(Some(_)) => return Ok(End::Lost(FrameError::Kind.to_string())),
            Ok(None) => return Ok(End::Lost("the vnode closed the connection".into())),
            Err(error) => return Ok(End::Lost(error.to_string())),
        }
    }
}

fn pass(output: &mut impl Write, bytes: &[u8]) -> Result<()> {
    output.write_all(bytes)?;
    Ok(output.flush()?)
}

/// Sends what we are given to read, as fast as the command takes it.
fn send_input(channel: &File, window: &Window, mut input: Box<dyn Read + Send>) {
    let mut piece = [0; PIECE];
    loop {
        let count = match input.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // An input that cannot be read, a closed one for example, has nothing for the command.
            Err(_) => break,
        };
        if !window.take(u32::try_from(count).unwrap_or(u32::MAX)) {
            return;
        }
        let bytes = piece.get(..count).unwrap_or(&piece).to_vec();
        // A failure shows in the other direction as well, where it is reported.
        if Frame::Stdin(bytes).write(&mut &*channel).is_err() {
            return;
        }
    }
    let _ = Frame::StdinEof.write(&mut &*channel);
}

/// Room for input that the agent has granted; none at all once the session is over.
struct Window {
    left: Mutex<Option<u32>>,
    more: Condvar,
}

impl Window {
    fn new() -> Self {
        Self {
            left: Mutex::new(Some(WINDOW)),
            more: Condvar::new(),
        }
    }

    /// Waits until there is room for `count` bytes, and uses it; `false` when the session is over.
    fn take(&self, count: u32) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |left: &mut Option<u32>| left.is_some_and(|left| left < count);
        let left = self.more.wait_while(left, is_full);
        let mut left = left.unwrap_or_else(PoisonError::into_inner);
        *left = left.map(|left| left.saturating_sub(count));
        left.is_some()
    }

    /// Gets room back; more than there ever was is not believed.
    fn give(&self, count: u32) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.map(|left| left.saturating_add(count).min(WINDOW));
        self.more.notify_one();
    }

    /// Ends the wait of whoever wants room.
    fn close(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.more.notify_one();
    }
}

/// Says why a vnode refused the connection, from its state after the refusal.
fn refused(kmb: &Kmb, vnode: &Vnode, error: &io::Error) -> Failure {
    let now = vnode.refresh(kmb).ok().flatten();
    explain::connect(&now.unwrap_or(*vnode), error)
}

/// Says what became of a vnode whose stream ended too early.
fn lost(kmb: &Kmb, vnode: &Vnode, why: &str) -> Failure {
    let name = vnode.name();
    // The stream may end a little before the kernel has found out why.
    if let Err(failure) = watch::until_over(kmb, vnode, NOTICE) {
        return failure;
    }
    match vnode.refresh(kmb) {
        Ok(Some(now)) if now.is_over() => Failure::failed(format!(
            "the connection ended because {name} {}",
            explain::ended(&now)
        ))
        .help(format!("`vnode console {name}` shows what it said last")),
        Ok(Some(_)) => Failure::failed(format!("the connection to {name} ended early: {why}"))
            .help(format!(
                "{name} lives: `vnode console {name}` may tell what became of its agent"
            )),
        Ok(None) => Failure::failed(format!(
            "the connection ended because {name} was taken back"
        )),
        Err(failure) => failure,
    }
}
