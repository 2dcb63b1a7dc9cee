// SPDX-License-Identifier: GPL-2.0

//! The vnode's end of `vnode exec`: takes connections from the root and runs a command for each.
//!
//! Whoever can open `/dev/kmb` in the root owns this vnode anyway, so there is no log-in. A
//! session has three threads: one listens to the root, one writes the command's input, one
//! carries its output and tells its end. None of them can keep the listener from hearing that
//! the root has gone, at which the command and all of its process group are killed.

mod output;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::process::{kill_process_group, Pid, Signal};

use super::frame::{self, Frame, FrameError, WINDOW};
use crate::device;
use crate::failure::{Failure, Result};
use crate::say;
use output::Output;

/// Where commands are looked for when the agent was started without a PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Pause after a connection that could not be accepted, lest a lasting fault burn a CPU.
const PAUSE: Duration = Duration::from_secs(1);

/// Status of a command that was found but cannot be run, as shells have it.
const NOT_EXECUTABLE: u8 = 126;
/// Status of a command that was not found.
const NOT_FOUND: u8 = 127;

/// Serves the root until the vnode ends.
pub(crate) fn run() -> Result<()> {
    loop {
        let accepted = match device::accept()? {
            Ok(channel) => thread::Builder::new()
                .name("session".into())
                .spawn(|| serve(channel)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(Failure::failed(
                    "the agent runs in vnodes, and this is the root",
                ));
            }
            Err(error) => Err(error),
        };
        if let Err(error) = accepted {
            say::failure(&Failure::failed(format!(
                "no connection can be taken: {error}"
            )));
            thread::sleep(PAUSE);
        }
    }
}

/// The way to the root; frames of several threads stay whole.
struct Link {
    channel: File,
    sending: Mutex<()>,
}

impl Link {
    fn send(&self, frame: &Frame) -> io::Result<()> {
        let _one_at_a_time = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        frame.write(&mut &self.channel)
    }

    fn receive(&self) -> std::result::Result<Option<Frame>, FrameError> {
        Frame::read(&mut &self.channel)
    }
}

/// One session, from its first frame to the root's closing.
pub(super) fn serve(channel: File) {
    let link = Arc::new(Link {
        channel,
        sending: Mutex::new(()),
    });
    let command = match link.receive() {
        Ok(Some(Frame::Start(command))) => command,
        Ok(None) => return,
        Ok(Some(_)) => return refuse(&link, NOT_EXECUTABLE, &FrameError::Kind.to_string()),
        Err(error) => return refuse(&link, NOT_EXECUTABLE, &error.to_string()),
    };
    let session = match start(&command, &link) {
        Ok(session) => session,
        Err((status, why)) => return refuse(&link, status, &why),
    };

    let heard = listen(&link, &session);
    if let Err(error) = heard {
        say::failure(&Failure::failed(format!(
            "a session is broken off: {error}"
        )));
    }
    session.end();
}

/// Says why nothing runs, and stays until the root has heard it.
fn refuse(link: &Link, status: u8, why: &str) {
    if link.send(&Frame::Error(status, why.to_owned())).is_ok() {
        while let Ok(Some(_)) = link.receive() {}
    }
}

/// A command that runs, as its listener knows it.
struct Session {
    group: Pid,
    is_reaped: Arc<Mutex<bool>>,
    input: Sender<Input>,
    under_way: Arc<AtomicU32>,
}

/// What the root sends to a command.
enum Input {
    Bytes(Vec<u8>),
    Eof,
}

impl Session {
    /// Kills what is left once the root has gone. A command is reaped under the same lock, so
    /// its number is not yet another's.
    fn end(self) {
        let is_reaped = self
            .is_reaped
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !*is_reaped {
            // It may have ended by itself this very moment.
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }
}

/// Starts a command with a process group of its own and pipes for its three streams.
fn start(wanted: &frame::Command, link: &Arc<Link>) -> std::result::Result<Session, (u8, String)> {
    let mut child = spawn(wanted)?;
    let (input, output) = match streams(&mut child) {
        Ok(streams) => streams,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err((NOT_EXECUTABLE, error.to_string()));
        }
    };

    let (sender, receiver) = mpsc::channel();
    let session = Session {
        group: Pid::from_child(&child),
        is_reaped: Arc::default(),
        input: sender,
        under_way: Arc::default(),
    };
    let (way, under_way) = (Arc::downgrade(link), Arc::clone(&session.under_way));
    let (link, is_reaped) = (Arc::clone(link), Arc::clone(&session.is_reaped));
    let threads = thread::Builder::new()
        .name("input".into())
        .spawn(move || write_input(&way, &under_way, input, &receiver))
        .and_then(|_| {
            let name = thread::Builder::new().name("output".into());
            name.spawn(move || output.run(&link, child, &is_reaped))
        });
    if let Err(error) = threads {
        session.end();
        return Err((NOT_EXECUTABLE, error.to_string()));
    }
    Ok(session)
}

fn spawn(wanted: &frame::Command) -> std::result::Result<Child, (u8, String)> {
    let Some((program, arguments)) = wanted.argv.split_first() else {
        return Err((NOT_EXECUTABLE, "no command".into()));
    };
    let directory = match Path::new(&wanted.directory) {
        none if none.as_os_str().is_empty() => Path::new("/"),
        directory => directory,
    };
    // The same error as that of a missing command, were it left to the start.
    if !directory.is_dir() {
        let why = format!("{}: no such folder", directory.display());
        return Err((NOT_EXECUTABLE, why));
    }

    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    command.process_group(0).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if std::env::var_os("PATH").is_none() {
        command.env("PATH", PATH);
    }
    command.envs(wanted.env.iter().filter_map(|text| variable(text)));
    command.spawn().map_err(|error| {
        let program = program.to_string_lossy();
        match error.kind() {
            io::ErrorKind::NotFound => (NOT_FOUND, format!("{program}: command not found")),
            _ => (NOT_EXECUTABLE, format!("{program}: {error}")),
        }
    })
}

/// Takes `NAME=VALUE` apart; the value may hold further equals signs.
fn variable(text: &OsStr) -> Option<(&OsStr, &OsStr)> {
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    let (name, value) = bytes.split_at_checked(at)?;
    let name = Some(name).filter(|name| !name.is_empty())?;
    Some((OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..)?)))
}

fn streams(child: &mut Child) -> io::Result<(ChildStdin, Output)> {
    let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
    Ok((child.stdin.take().ok_or_else(closed)?, Output::take(child)?))
}

/// Hears what the root says until it closes.
fn listen(link: &Link, session: &Session) -> std::result::Result<(), FrameError> {
    loop {
        let input = match link.receive()? {
            None => return Ok(()),
            Some(Frame::Stdin(bytes)) => {
                let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let before = session.under_way.fetch_add(count, Ordering::Relaxed);
                if before.saturating_add(count) > WINDOW {
                    return Err(FrameError::TooLong);
                }
                Input::Bytes(bytes)
            }
            Some(Frame::StdinEof) => Input::Eof,
            Some(_) => return Err(FrameError::Kind),
        };
        // A command that has ended takes no input any more; the root will hear of its end.
        let _ = session.input.send(input);
    }
}

/// Writes input to a command and tells the root how much is taken. What a command no longer
/// wants is taken all the same: the root's source must not wait for it.
///
/// A process that a command left behind may hold its input open without reading, for ever. Such
/// a thread stays asleep, and so must not keep the channel open: it has a weak hold of it.
fn write_input(
    link: &Weak<Link>,
    under_way: &AtomicU32,
    stdin: ChildStdin,
    input: &Receiver<Input>,
) {
    let mut stdin = Some(stdin);
    while let Ok(Input::Bytes(bytes)) = input.recv() {
        if stdin
            .as_mut()
            .is_some_and(|stdin| stdin.write_all(&bytes).is_err())
        {
            stdin = None;
        }
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        under_way.fetch_sub(count, Ordering::Relaxed);
        let Some(link) = link.upgrade() else { return };
        if link.send(&Frame::Taken(count)).is_err() {
            return;
        }
    }
}
