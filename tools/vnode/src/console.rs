// SPDX-License-Identifier: GPL-2.0

//! The console of a vnode: what it has said since its first printk, and what it says now; and
//! somebody who sits in front of it.
//!
//! Where `vcons` is loaded a console is `/dev/vcons/NAME` ([`node`]), to which one types as well. Where
//! it is not, or not yet, there is what `/dev/kmb` keeps of each vnode.

mod all;
pub(crate) mod allow;
mod attach;
pub(crate) mod node;
mod serve;
pub(crate) mod sharing;
mod terminal;

use std::io::{self, IsTerminal, Write};

use adeos_proto::abi;
use rustix::io::Errno;

use crate::cli::ConsoleArgs;
use crate::device::Kmb;
use crate::explain;
use crate::failure::{Failure, Kind, Result};
use crate::say;
use crate::vnode::{self, Vnode};
use node::{Node, Wish};

/// Bytes asked for at a time.
const PIECE: usize = 16 << 10;

/// Longest wait for the next byte, in ms, before a look at whether the vnode still lives.
const LISTEN_MS: u32 = 500;

/// Where a console is read from: position, buffer and timeout in ms, as `KMB_CONSOLE` takes them.
type Source<'a> = Box<dyn FnMut(u64, &mut [u8], u32) -> io::Result<abi::ConsoleRead> + 'a>;

/// A place in a console from which one reads on.
struct Reader<'a> {
    source: Source<'a>,
    vnode: u32,
    position: u64,
    lost: u64,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn of(kmb: &'a Kmb, vnode: u32) -> Self {
        let source = move |position, buffer: &mut [u8], timeout_ms| {
            kmb.console(vnode, position, buffer, timeout_ms)
        };
        Self::new(Box::new(source), vnode)
    }

    fn new(source: Source<'a>, vnode: u32) -> Self {
        Self {
            source,
            vnode,
            position: 0,
            lost: 0,
            buffer: vec![0; PIECE],
        }
    }

    /// The next bytes, `None` when there is nothing new within the time. No bytes are not the end:
    /// they come also when the writer was quicker, and then the position has moved on.
    fn read(&mut self, timeout_ms: u32) -> io::Result<Option<&[u8]>> {
        let before = self.position;
        let read = match (self.source)(before, &mut self.buffer, timeout_ms) {
            Ok(read) => read,
            Err(error) if is_silence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.position = read.position;
        self.lost = self.lost.saturating_add(read.lost);
        if read.length == 0 && read.position <= before {
            return Ok(None);
        }
        let length = usize::try_from(read.length).unwrap_or(usize::MAX);
        Ok(Some(self.buffer.get(..length).unwrap_or(&self.buffer)))
    }

    /// Bytes that were lost since the last call.
    fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// All that the console holds now.
    fn scroll_back(&mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        let number = self.vnode;
        while let Some(piece) = self.read(0).map_err(|error| unreadable(number, &error))? {
            all.extend_from_slice(piece);
        }
        Ok(all)
    }
}

/// Lines of what was said before that whoever sits down is shown.
const BEFORE: usize = 20;

/// Shows a console as the command line asks.
pub(crate) fn run(args: &ConsoleArgs) -> Result<()> {
    if let Some(terminal) = &args.on {
        return serve::run(terminal);
    }
    let Some(name) = &args.name else {
        return all::run(args.follow);
    };
    let node_name = node_name(name);
    let node_name = node_name.as_str();
    if let Some(guests) = &args.allow {
        return allow::run(node_name, guests);
    }
    let at_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let sits_down = at_terminal && !args.follow && args.lines.is_none();
    if args.terminal {
        return show_terminal(args, node_name);
    }
    if (sits_down || args.no_input || args.steal || args.hang_up) && node::exists(node_name) {
        return attach::run(&attach::Seat {
            name: node_name,
            only_looks: args.no_input,
            steals: args.steal,
            hangs_up: args.hang_up,
            lines: args.lines.unwrap_or(BEFORE),
            log: args.log.as_deref(),
        });
    }
    if args.no_input || args.steal || args.hang_up || args.log.is_some() {
        // Nothing that /dev/kmb has can do that: this says why there is no device.
        Node::open(node_name, Wish::Look)?;
    }
    show(args, name)
}

/// The name under which a console is in `/dev/vcons`, of a name or a number; names go first.
fn node_name(name: &str) -> String {
    let Some(number) = vnode::number(name).filter(|_| !node::exists(name)) else {
        return name.to_owned();
    };
    // Only the root can ask what vnodes are called; elsewhere there are consoles and no more.
    let all = Kmb::open().and_then(|kmb| Vnode::all(&kmb));
    let is_name = all.is_ok_and(|all| all.iter().any(|vnode| vnode.name() == name));
    let node = (!is_name).then(|| node::of_vnode(number)).flatten();
    node.unwrap_or_else(|| name.to_owned())
}

/// Shows what a vnode's terminal has shown.
fn show_terminal(args: &ConsoleArgs, name: &str) -> Result<()> {
    let node = Node::open(name, Wish::Look)?;
    let mut output = Output::new(args);
    let mut all = Vec::new();
    let mut is_over = loop {
        match node.read()? {
            Some(bytes) if bytes.is_empty() => break true,
            Some(bytes) => all.extend(bytes),
            None => break false,
        }
    };
    output.write(args.lines.map_or(&all, |lines| last_lines(&all, lines)))?;
    let mut known = node.status()?.lost;
    while args.follow && !is_over {
        node.wait()?;
        if let Some(bytes) = node.read()? {
            is_over = bytes.is_empty();
            output.write(&bytes)?;
        }
        let lost = node.status()?.lost;
        warn_of(lost.saturating_sub(std::mem::replace(&mut known, lost)));
    }
    Ok(())
}

/// Shows what a vnode has said, without a word to it.
fn show(args: &ConsoleArgs, name: &str) -> Result<()> {
    let kmb = Kmb::open()?;
    let number = number(&kmb, name)?;
    let mut reader = Reader::of(&kmb, number);
    let mut output = Output::new(args);

    let all = reader.scroll_back()?;
    let shown = match args.lines {
        Some(lines) => last_lines(&all, lines),
        None => {
            report_lost(&mut reader);
            &all
        }
    };
    // What `--lines` leaves out on purpose is not worth a word about what came before it.
    reader.take_lost();
    output.write(shown)?;

    if args.follow {
        follow(&kmb, &mut reader, &mut output)?;
    }
    Ok(())
}

/// The last lines of a console, made safe for a terminal.
pub(crate) fn tail(kmb: &Kmb, vnode: u32, lines: usize) -> Result<String> {
    let all = Reader::of(kmb, vnode).scroll_back()?;
    Ok(String::from_utf8_lossy(&harmless(last_lines(&all, lines))).into_owned())
}

/// Finds a console's number. One that was taken back has a console still, but only a number.
fn number(kmb: &Kmb, name: &str) -> Result<u32> {
    match Vnode::find(kmb, name) {
        Ok(vnode) => Ok(vnode.number()),
        Err(failure) if failure.kind == Kind::NoVnode => vnode::number(name).ok_or(failure),
        Err(failure) => Err(failure),
    }
}

fn follow(kmb: &Kmb, reader: &mut Reader<'_>, output: &mut Output) -> Result<()> {
    let number = reader.vnode;
    let Some(first) = Vnode::query(kmb, number)? else {
        return Ok(());
    };
    loop {
        // The state is asked for before the read: what a dying vnode says last is shown.
        let now = first.refresh(kmb)?;
        let piece = reader
            .read(LISTEN_MS)
            .map_err(|error| unreadable(number, &error))?;
        let is_silent = piece.is_none();
        output.write(piece.unwrap_or_default())?;
        report_lost(reader);
        let end = match now {
            Some(vnode) if !vnode.is_over() => continue,
            Some(vnode) => explain::ended(&vnode),
            None => "was taken back".into(),
        };
        if is_silent {
            say::progress(first.name(), &end);
            return Ok(());
        }
    }
}

fn report_lost(reader: &mut Reader<'_>) {
    warn_of(reader.take_lost());
}

fn warn_of(lost: u64) {
    if lost > 0 {
        say::warning(&format!(
            "{lost} bytes were overwritten before they could be read"
        ));
    }
}

fn unreadable(number: u32, error: &io::Error) -> Failure {
    let is_unused = Errno::from_io_error(error) == Some(Errno::NODATA);
    if is_unused || explain::is_no_vnode(error) {
        return Failure::new(Kind::NoVnode, format!("vnode {number} has no console"));
    }
    Failure::failed(format!(
        "the console of vnode {number} cannot be read: {error}"
    ))
}

fn is_silence(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AGAIN | Errno::TIMEDOUT | Errno::TIME)
    )
}

/// Where a console is shown. What a vnode says must not command the root's terminal.
struct Output {
    is_raw: bool,
}

impl Output {
    fn new(args: &ConsoleArgs) -> Self {
        Self {
            is_raw: args.raw || !io::stdout().is_terminal(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut stdout = io::stdout().lock();
        if self.is_raw {
            stdout.write_all(bytes)?;
        } else {
            stdout.write_all(&harmless(bytes))?;
        }
        Ok(stdout.flush()?)
    }
}

/// Replaces control characters by a picture of them (`^[`), but for line ends and tabs.
fn harmless(bytes: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\r' => {}
            b'\n' | b'\t' => shown.push(*byte),
            0..=0x1f | 0x7f => shown.extend([b'^', byte ^ 0x40]),
            // In UTF-8 these only follow other bytes; alone they are the C1 control characters.
            _ => shown.push(*byte),
        }
    }
    shown
}

fn last_lines(bytes: &[u8], lines: usize) -> &[u8] {
    if lines == 0 {
        return &[];
    }
    // The line end that closes the last line does not open another one.
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let ends = body
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n');
    let start = ends
        .map(|(at, _)| at.saturating_add(1))
        .nth(lines.saturating_sub(1));
    bytes.get(start.unwrap_or(0)..).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says of each read: where it ended, what it copied, what was overwritten.
    fn reader(answers: Vec<(u64, &[u8], u64)>) -> Reader<'_> {
        let mut answers = answers.into_iter();
        let mut expected = 0;
        let source = move |wanted, buffer: &mut [u8], _timeout_ms| {
            assert_eq!(wanted, expected);
            let (position, bytes, lost) = answers.next().unwrap();
            buffer[..bytes.len()].copy_from_slice(bytes);
            expected = position;
            Ok(abi::ConsoleRead {
                position,
                length: u32::try_from(bytes.len()).unwrap(),
                lost,
                ..Default::default()
            })
        };
        Reader::new(Box::new(source), 1)
    }

    #[test]
    fn a_writer_that_was_quicker_is_not_the_end() {
        let mut reader = reader(vec![
            (3, b"abc", 0),
            (9, b"", 6),
            (12, b"jkl", 0),
            (12, b"", 0),
        ]);
        assert_eq!(reader.scroll_back().unwrap(), b"abcjkl");
        assert_eq!(reader.take_lost(), 6);
    }

    #[test]
    fn a_console_that_shrinks_comes_to_an_end() {
        let mut reader = reader(vec![(3, b"abc", 0), (1, b"", 0)]);
        assert_eq!(reader.scroll_back().unwrap(), b"abc");
    }

    #[test]
    fn the_last_lines_are_whole_lines() {
        let text = b"a\nb\nc\n";
        assert_eq!(last_lines(text, 1), b"c\n");
        assert_eq!(last_lines(text, 2), b"b\nc\n");
        assert_eq!(last_lines(text, 9), text);
        assert_eq!(last_lines(text, 0), b"");
        assert_eq!(last_lines(b"a\nb", 1), b"b");
        assert_eq!(last_lines(b"", 3), b"");
    }

    #[test]
    fn a_vnode_cannot_command_the_terminal() {
        assert_eq!(harmless(b"a\x1b[2Jb\r\n\tc\x07"), b"a^[[2Jb\n\tc^G");
    }
}
