// SPDX-License-Identifier: GPL-2.0

//! Sitting in front of a vnode's console: what it says is shown, what is typed goes there, and `~` at
//! the beginning of a line is for us (docs/vcons.md, section 6).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use adeos_proto::abi::console::flag;
use adeos_proto::vcons::escape::{Command, Escape, Typed, ESCAPE};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGTERM, SIGWINCH};

use super::last_lines;
use super::node::{self, is_later, Node, Wish};
use super::terminal::{self, Raw};
use crate::failure::{Context, Result};
use crate::say;

/// Bytes that are passed on in one go.
const PIECE: usize = 16 << 10;

/// How somebody sits in front of a console.
pub(crate) struct Seat<'a> {
    /// Whose console it is.
    pub(crate) name: &'a str,
    /// Whether nothing is typed.
    pub(crate) only_looks: bool,
    /// Whether to take the keyboard from whoever has it.
    pub(crate) steals: bool,
    /// Whether who leaves a console hangs up there.
    pub(crate) hangs_up: bool,
    /// How many lines of what was said before are shown.
    pub(crate) lines: usize,
    /// A file that gets all that is shown as well.
    pub(crate) log: Option<&'a Path>,
}

/// Why one console is not shown any more.
enum End {
    /// The person leaves.
    Left,
    /// The person goes on to the next one.
    Next,
    /// The vnode has ended.
    Over,
    /// Our terminal has gone.
    HungUp,
}

/// Sits there until the person leaves, or the vnode ends.
pub(crate) fn run(seat: &Seat<'_>) -> Result<()> {
    let mut log = match seat.log {
        Some(path) => Some(
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .context(|| path.display().to_string())?,
        ),
        None => None,
    };
    let _raw = match seat.only_looks {
        true => None,
        false => Some(Raw::new(io::stdin()).context(|| "standard input".into())?),
    };
    let signals = Signals::new()?;
    let mut name = seat.name.to_owned();
    let mut steals = seat.steals;
    loop {
        let wish = match seat.only_looks {
            true => Wish::Look,
            false => Wish::Use,
        };
        let session = Session {
            node: Node::open(&name, wish)?,
            name: &name,
            types: !seat.only_looks,
            hangs_up: seat.hangs_up,
            signals: &signals,
            log: log.as_mut(),
            waiting: Vec::new(),
            has_told: false,
            is_gone: false,
        };
        match session.run(steals, seat.lines)? {
            End::Left | End::HungUp => return Ok(()),
            End::Over => {
                tell(&name, "has ended");
                return Ok(());
            }
            End::Next => {
                name = after(&name);
                steals = false;
            }
        }
    }
}

/// The console that comes after one, in the order of the names.
fn after(name: &str) -> String {
    let names = node::names();
    let next = names.iter().find(|other| other.as_str() > name);
    next.or(names.first())
        .cloned()
        .unwrap_or_else(|| name.to_owned())
}

/// A word of ours in the middle of what a console shows.
fn tell(name: &str, what: &str) {
    say::err(&format!("\r\n[{name}: {what}]\r\n"));
}

/// Signals, as bytes that can be waited for.
struct Signals {
    resized: UnixStream,
    ended: UnixStream,
}

impl Signals {
    fn new() -> Result<Self> {
        let open = |signals: &[i32]| -> io::Result<UnixStream> {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            for signal in signals {
                signal_hook::low_level::pipe::register(*signal, theirs.try_clone()?)?;
            }
            Ok(ours)
        };
        Ok(Self {
            resized: open(&[SIGWINCH]).context(|| "signals".into())?,
            ended: open(&[SIGHUP, SIGTERM]).context(|| "signals".into())?,
        })
    }
}

/// Takes what has come of a kind of signal.
fn drain(mut stream: &UnixStream) {
    let mut bytes = [0; 64];
    while stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
}

/// One console in front of one person.
struct Session<'a> {
    node: Node,
    name: &'a str,
    types: bool,
    hangs_up: bool,
    signals: &'a Signals,
    log: Option<&'a mut File>,
    /// What was typed and has not gone yet.
    waiting: Vec<u8>,
    /// Whether the person knows that somebody else types.
    has_told: bool,
    /// Whether nothing can be shown any more: the terminal has gone, and its signal is on its way.
    is_gone: bool,
}

impl Session<'_> {
    fn run(mut self, steals: bool, lines: usize) -> Result<End> {
        if !self.show_before(lines)? {
            return Ok(End::Over);
        }
        if self.types {
            self.begin(steals)?;
        }
        let stdin = io::stdin();
        let mut escape = Escape::new();
        loop {
            let stdin_wanted = match self.types && self.waiting.is_empty() {
                true => PollFlags::IN,
                false => PollFlags::empty(),
            };
            let console_wanted = match self.waiting.is_empty() {
                true => PollFlags::IN,
                false => PollFlags::IN | PollFlags::OUT,
            };
            let mut fds = [
                PollFd::new(self.node.file(), console_wanted),
                PollFd::new(&self.signals.resized, PollFlags::IN),
                PollFd::new(&self.signals.ended, PollFlags::IN),
                PollFd::new(&stdin, stdin_wanted),
            ];
            let count = if self.types { fds.len() } else { 3 };
            match poll(fds.get_mut(..count).unwrap_or_default(), None) {
                Err(Errno::INTR) => continue,
                result => result.map_err(io::Error::from)?,
            };
            let [console, resized, ended, typed] = fds.map(|fd| fd.revents());
            if console.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
                && !self.show()?
            {
                return Ok(End::Over);
            }
            if self.is_gone {
                return Ok(self.end(End::HungUp));
            }
            if console.contains(PollFlags::OUT) {
                self.send()?;
            }
            if !resized.is_empty() {
                drain(&self.signals.resized);
                self.resize();
            }
            if !ended.is_empty() {
                return Ok(self.end(End::HungUp));
            }
            if !typed.is_empty() {
                if let Some(end) = self.type_on(&mut escape)? {
                    return Ok(end);
                }
            }
        }
    }

    /// Takes the keyboard, or says who has it.
    fn begin(&mut self, steals: bool) -> Result<()> {
        match self.node.take(steals) {
            Ok(()) => {
                tell(self.name, "~. leaves, ~? tells more");
                self.resize();
                Ok(())
            }
            Err(error) => self.refused(&error),
        }
    }

    /// Says why nothing can be typed; once, until it can.
    fn refused(&mut self, error: &io::Error) -> Result<()> {
        self.waiting.clear();
        if std::mem::replace(&mut self.has_told, true) {
            return Ok(());
        }
        let why = match Errno::from_io_error(error) {
            Some(Errno::BUSY) => format!("{} types here; ~t takes the keyboard", self.holder()?),
            Some(Errno::NOTCONN) => "it does not run, and is only shown".into(),
            Some(Errno::ACCESS) => "only shown: this vnode may not type here".into(),
            _ => format!("nothing can be typed: {error}"),
        };
        tell(self.name, &why);
        Ok(())
    }

    fn holder(&self) -> Result<String> {
        let holder = self.node.status()?.holder;
        Ok(match holder {
            u32::MAX => "somebody".into(),
            0 => "the root".into(),
            number => format!("vnode {number}"),
        })
    }

    /// Shows the last lines of what was said before; whether there may be more.
    fn show_before(&mut self, lines: usize) -> Result<bool> {
        let mut all = Vec::new();
        let is_over = loop {
            match self.node.read()? {
                Some(bytes) if bytes.is_empty() => break true,
                Some(bytes) => all.extend(bytes),
                None => break false,
            }
        };
        self.put(last_lines(&all, lines))?;
        Ok(!is_over)
    }

    /// Shows what there is; whether there may be more.
    fn show(&mut self) -> Result<bool> {
        match self.node.read()? {
            Some(bytes) if bytes.is_empty() => Ok(false),
            Some(bytes) => self.put(&bytes).map(|()| true),
            None => Ok(true),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        // The log first: what somebody has seen can be found there.
        if let Some(log) = &mut self.log {
            log.write_all(bytes).context(|| "the log".into())?;
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => self.is_gone = true,
            result => result?,
        }
        Ok(())
    }

    /// Takes what was typed; `Some` when that was to leave.
    fn type_on(&mut self, escape: &mut Escape) -> Result<Option<End>> {
        let mut piece = [0; PIECE];
        let count = match io::stdin().lock().read(&mut piece) {
            // The terminal has gone.
            Ok(0) => return Ok(Some(self.end(End::HungUp))),
            Ok(count) => count,
            Err(error) if is_later(&error) => return Ok(None),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => {
                return Ok(Some(self.end(End::HungUp)));
            }
            Err(error) => return Err(error).context(|| "standard input".into()),
        };
        for byte in piece.get(..count).unwrap_or_default() {
            match escape.on(*byte) {
                Typed::Byte(byte) => self.waiting.push(byte),
                Typed::Escaped(byte) => self.waiting.extend([ESCAPE, byte]),
                Typed::Held => {}
                Typed::Command(command) => {
                    self.send()?;
                    if let Some(end) = self.obey(command)? {
                        return Ok(Some(end));
                    }
                }
            }
        }
        self.send()?;
        Ok(None)
    }

    /// Ends it. The vnode's programs may have to know that nobody sits there any more.
    fn end(&self, end: End) -> End {
        if self.hangs_up || matches!(end, End::HungUp) {
            // Unless somebody else types there.
            let _ = self.node.hang_up();
        }
        end
    }

    fn obey(&mut self, command: Command) -> Result<Option<End>> {
        match command {
            Command::Leave => return Ok(Some(self.end(End::Left))),
            Command::Next => return Ok(Some(self.end(End::Next))),
            Command::Break => {
                if let Err(error) = self.node.send_break() {
                    self.has_told = false;
                    self.refused(&error)?;
                }
            }
            Command::Take => {
                self.has_told = false;
                self.begin(true)?;
            }
            Command::List => self.list(),
            Command::Help => help(self.name),
        }
        Ok(None)
    }

    fn list(&self) {
        for name in node::names() {
            let what = match Node::open(&name, Wish::Look).and_then(|node| node.status()) {
                Ok(status) if status.flags & flag::ALIVE == 0 => "has ended".to_owned(),
                Ok(status) if status.holder == u32::MAX => "nobody types".to_owned(),
                Ok(status) if status.holder == 0 => "the root types".to_owned(),
                Ok(status) => format!("vnode {} types", status.holder),
                Err(failure) => failure.to_string(),
            };
            tell(&name, &what);
        }
    }

    /// Sends what waits, as far as there is room.
    fn send(&mut self) -> Result<()> {
        while !self.waiting.is_empty() {
            match self.node.file().write(&self.waiting) {
                Ok(count) => {
                    self.has_told = false;
                    drop(self.waiting.drain(..count));
                }
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return self.refused(&error),
            }
        }
        Ok(())
    }

    fn resize(&self) {
        if let Some(window) = terminal::window(io::stdout()) {
            // Whoever does not type does not say how large the window is either.
            let _ = self.node.resize(window);
        }
    }
}

fn help(name: &str) {
    tell(
        name,
        "at the beginning of a line: ~. leaves, ~n goes on to the next console, ~l lists them, \
         ~t takes the keyboard, ~b sends a break, ~~ types one ~",
    );
}
