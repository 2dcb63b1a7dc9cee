// SPDX-License-Identifier: GPL-2.0

//! Runs a command at a terminal of its own, and types what a script says, as a person would.
//!
//! `pty [--timeout SECONDS] [--size ROWSxCOLUMNS] [--log FILE] COMMAND [ARGUMENT...] <SCRIPT`
//! `pty --at DEVICE [--timeout SECONDS] [--log FILE] COMMAND [ARGUMENT...] <SCRIPT`
//!
//! With `--at` the person sits at the other end of a line, which is that device; the command opens its own end.
//!
//! A line of the script is one of these; `\r \n \t \e \\` and `\xHH` stand for bytes.
//!
//! | line | |
//! |------|-|
//! | `send TEXT` | types it |
//! | `expect TEXT` | waits until the terminal shows it, after what was expected before |
//! | `quiet MS TEXT` | waits for so long, and fails if the terminal shows it meanwhile, after what was expected before |
//! | `size ROWS COLUMNS` | makes the window another size |
//! | `drain BYTES` | waits for so many bytes, and tells how many nanoseconds they took after the first 64 KiB |
//! | `bounce COUNT [CONSOLE]` | types a byte so often, and waits each time until a program has said it again, at the terminal or at another console; tells how many nanoseconds each took |
//! | `attach COUNT CONSOLE` | so often opens a console, types, waits until that is said again, and closes it |
//! | `ask r\|w CONSOLE REQUEST RECORD ANSWER` | opens a console for reading only, or for both, sends a request to it, and wants that answer: an errno, or 0. The record is numbers of 32 bits with commas between, and zeros after them; or `nowhere` |
//! | `pause MS` | lets a program come to where it waits |
//! | `close` | the terminal goes away |
//! | `wait` | waits until the command has ended |
//!
//! The status is 0 if all that was expected came. If not, standard error says what came instead.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
use rustix::termios::{tcsetwinsize, Winsize};

/// Longest piece of what came that an error shows.
const SHOWN: usize = 2000;

/// Bytes for a record of a request; there is none that is longer.
const RECORD: usize = 128;

/// Bytes that are typed before the time of others is taken.
const WARM: u32 = 16;

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pty: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut terminal = Terminal::start(&options)?;
    for (number, line) in io::stdin().lock().lines().enumerate() {
        let line = line?;
        let result = terminal.obey(&line);
        result.map_err(|error| format!("line {}: {line}: {error}", number + 1))?;
    }
    Ok(())
}

struct Options {
    timeout: Duration,
    size: (u16, u16),
    log: Option<String>,
    at: Option<String>,
    command: Vec<String>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut options = Self {
            timeout: Duration::from_secs(10),
            size: (24, 80),
            log: None,
            at: None,
            command: Vec::new(),
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} wants a value"));
            match word.as_str() {
                "--timeout" => options.timeout = Duration::from_secs(value()?.parse()?),
                "--size" => {
                    let size = value()?;
                    let (rows, columns) = size.split_once('x').ok_or("--size wants RxC")?;
                    options.size = (rows.parse()?, columns.parse()?);
                }
                "--log" => options.log = Some(value()?),
                "--at" => options.at = Some(value()?),
                _ => {
                    options.command.push(word);
                    options.command.extend(words.by_ref());
                }
            }
        }
        if options.command.is_empty() {
            return Err("there is no command; see the first lines of selftests/pty".into());
        }
        Ok(options)
    }
}

/// Makes a terminal for a command; the other end of it.
fn make((rows, columns): (u16, u16), command: &mut Command) -> Result<File, Error> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?.into_string()?;
    let master = File::from(master);
    resize(&master, rows, columns)?;
    let end = open(&name)?;
    command
        .stdin(end.try_clone()?)
        .stdout(end.try_clone()?)
        .stderr(end);
    // SAFETY: Between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        });
    }
    Ok(master)
}

/// A terminal, and the command that runs at it.
struct Terminal {
    master: Option<File>,
    child: Child,
    timeout: Duration,
    log: Option<File>,
    /// What has come and was not expected yet.
    came: Vec<u8>,
}

impl Terminal {
    fn start(options: &Options) -> Result<Self, Error> {
        let (program, arguments) = options.command.split_first().ok_or("no command")?;
        let mut command = Command::new(program);
        command.args(arguments);
        let master = match &options.at {
            Some(path) => {
                command.stdin(Stdio::null());
                open(path)?
            }
            None => make(options.size, &mut command)?,
        };
        let log = match &options.log {
            Some(path) => Some(File::create(path)?),
            None => None,
        };
        Ok(Self {
            master: Some(master),
            child: command.spawn()?,
            timeout: options.timeout,
            log,
            came: Vec::new(),
        })
    }

    fn obey(&mut self, line: &str) -> Result<(), Error> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "" | "#" => Ok(()),
            "send" => self.send(&unescape(rest)?),
            "expect" => self.expect(&unescape(rest)?),
            "quiet" => {
                let (time, text) = rest.split_once(' ').ok_or("quiet wants a time")?;
                self.quiet(Duration::from_millis(time.parse()?), &unescape(text)?)
            }
            "ask" => ask(rest),
            "size" => {
                let (rows, columns) = rest.split_once(' ').ok_or("size wants two numbers")?;
                let master = self.master.as_ref().ok_or("it is closed")?;
                resize(master, rows.parse()?, columns.parse()?)
            }
            "drain" => self.drain(rest.parse()?),
            "bounce" => self.bounce(rest),
            "attach" => {
                let (count, path) = rest.split_once(' ').ok_or("attach wants a console")?;
                attach(count.parse()?, path, self.timeout)
            }
            "pause" => {
                std::thread::sleep(Duration::from_millis(rest.parse()?));
                Ok(())
            }
            "close" => {
                self.master = None;
                Ok(())
            }
            "wait" => self.wait(),
            _ => Err("there is no such command".into()),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut master = self.master.as_ref().ok_or("it is closed")?;
        Ok(master.write_all(bytes)?)
    }

    fn expect(&mut self, wanted: &[u8]) -> Result<(), Error> {
        let end = Instant::now() + self.timeout;
        // Where it can begin; a command that says much is not looked through again and again.
        let mut start = 0;
        loop {
            let rest = self.came.get(start..).unwrap_or_default();
            let found = rest.windows(wanted.len()).position(|piece| piece == wanted);
            if let Some(at) = found {
                drop(self.came.drain(..start + at + wanted.len()));
                return Ok(());
            }
            start = self.came.len().saturating_sub(wanted.len());
            if Instant::now() >= end || !self.take(end)? {
                let from = self.came.len().saturating_sub(SHOWN);
                let came = self.came.get(from..).unwrap_or_default();
                return Err(format!("did not come, but: {}", came.escape_ascii()).into());
            }
        }
    }

    /// Fails when something comes that was not to.
    fn quiet(&mut self, time: Duration, unwanted: &[u8]) -> Result<(), Error> {
        let end = Instant::now() + time;
        while Instant::now() < end && self.take(end)? {}
        let is_there = self
            .came
            .windows(unwanted.len())
            .any(|piece| piece == unwanted);
        match is_there {
            true => Err(format!("came: {}", self.came.escape_ascii()).into()),
            false => Ok(()),
        }
    }

    /// Takes bytes for nothing but the time that they take.
    fn drain(&mut self, bytes: usize) -> Result<(), Error> {
        let mut master = self.master.as_ref().ok_or("it is closed")?;
        let mut piece = vec![0; 64 << 10];
        let mut came = 0;
        while came < piece.len() {
            came += master.read(&mut piece)?;
        }
        let began = Instant::now();
        while came < bytes {
            came += master.read(&mut piece)?;
        }
        println!("{}", began.elapsed().as_nanos());
        Ok(())
    }

    /// Types bytes that a program says again.
    fn bounce(&self, rest: &str) -> Result<(), Error> {
        let (count, console) = match rest.split_once(' ') {
            Some((count, path)) => (count, Some(open(path)?)),
            None => (rest, None),
        };
        let count: u32 = count.parse()?;
        let mut at = match &console {
            Some(console) => console,
            None => self.master.as_ref().ok_or("it is closed")?,
        };
        let mut piece = vec![0; 64 << 10];
        let mut byte = |at: &mut &File| -> Result<(), Error> {
            at.write_all(b"x")?;
            match at.read(&mut piece)? {
                1 => Ok(()),
                more => Err(format!("{more} bytes came back").into()),
            }
        };
        // What was said before does not count, nor what has to come into the caches.
        let mut before = vec![0; 64 << 10];
        while come(at, Instant::now() + Duration::from_millis(500), &mut before)? > 0 {}
        for _ in 0..WARM {
            byte(&mut at)?;
        }
        let began = Instant::now();
        for _ in 0..count {
            byte(&mut at)?;
        }
        println!("{}", began.elapsed().as_nanos() / u128::from(count));
        Ok(())
    }

    /// Takes what comes next; whether something came before the end.
    fn take(&mut self, end: Instant) -> Result<bool, Error> {
        let master = self.master.as_ref().ok_or("it is closed")?;
        let mut piece = [0; 4096];
        let count = come(master, end, &mut piece)?;
        let bytes = piece.get(..count).unwrap_or_default();
        self.came.extend(bytes);
        if let Some(log) = &mut self.log {
            log.write_all(bytes)?;
        }
        Ok(count > 0)
    }

    fn wait(&mut self) -> Result<(), Error> {
        let end = Instant::now() + self.timeout;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return match status.success() {
                    true => Ok(()),
                    false => Err(format!("the command has failed: {status}").into()),
                };
            }
            if Instant::now() >= end {
                return Err("the command does not end".into());
            }
            // What it says meanwhile must not keep it from ending.
            if self.master.is_some() {
                self.take(Instant::now() + Duration::from_millis(50))?;
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn open(path: &str) -> Result<File, Error> {
    let open = File::options().read(true).write(true).open(path);
    open.map_err(|error| format!("{path}: {error}").into())
}

/// Waits for bytes until a time; how many have come. None at the end either.
fn come(mut at: &File, end: Instant, to: &mut [u8]) -> Result<usize, Error> {
    let time = Timespec::try_from(end.saturating_duration_since(Instant::now()))?;
    if poll(&mut [PollFd::new(at, PollFlags::IN)], Some(&time))? == 0 {
        return Ok(0);
    }
    match at.read(to) {
        // Nobody has the other end open any more.
        Err(error) if error.raw_os_error() == Some(5) => Ok(0),
        result => Ok(result?),
    }
}

/// Opens a console, types, waits until that has come back, and closes it: so often.
fn attach(count: u32, path: &str, timeout: Duration) -> Result<(), Error> {
    let mut piece = vec![0; 64 << 10];
    for round in 0..count {
        let console = open(path)?;
        let text = format!("<{round}>").into_bytes();
        (&console).write_all(&text)?;
        let end = Instant::now() + timeout;
        // It comes last, after all that was said before, and perhaps in pieces.
        let mut last = Vec::new();
        while !last.ends_with(&text) {
            let came = match come(&console, end, &mut piece)? {
                0 => return Err(format!("round {round} did not come back").into()),
                came => piece.get(..came).unwrap_or_default(),
            };
            last.extend(came);
            last.drain(..last.len().saturating_sub(text.len()));
        }
    }
    Ok(())
}

/// Sends a request to a console, and looks at the answer.
fn ask(rest: &str) -> Result<(), Error> {
    let words: Vec<_> = rest.split(' ').collect();
    let [mode, path, request, record, answer] = words.as_slice() else {
        return Err("ask wants five words".into());
    };
    let file = File::options().read(true).write(*mode == "w").open(path);
    let file = file.map_err(|error| format!("{path}: {error}"))?;
    let request = u32::from_str_radix(request.trim_start_matches("0x"), 16)?;
    let mut bytes = [0; RECORD];
    let mut address = bytes.as_mut_ptr();
    match *record {
        "nowhere" => address = std::ptr::without_provenance_mut(1),
        numbers => {
            for (place, number) in bytes.chunks_exact_mut(4).zip(numbers.split(',')) {
                place.copy_from_slice(&number.parse::<u32>()?.to_le_bytes());
            }
        }
    }
    // SAFETY: There is room for every record where there is one, and nowhere the kernel writes nothing.
    let status = unsafe { libc::ioctl(file.as_raw_fd(), request.into(), address) };
    let came = match status {
        -1 => io::Error::last_os_error().raw_os_error().unwrap_or(0),
        _ => 0,
    };
    match came == answer.parse::<i32>()? {
        true => Ok(()),
        false => Err(format!("the answer is {came}").into()),
    }
}

fn resize(master: &File, rows: u16, columns: u16) -> Result<(), Error> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(master, size)?)
}

/// The bytes that a text of the script stands for.
fn unescape(text: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'e') => 0x1b,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits: Vec<_> = rest.by_ref().take(2).collect();
                u8::from_str_radix(std::str::from_utf8(&digits)?, 16)?
            }
            _ => return Err("there is no such escape".into()),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_bytes() {
        assert_eq!(unescape("a\\r\\x03\\\\").unwrap(), b"a\r\x03\\");
        assert!(unescape("\\q").is_err());
    }
}
