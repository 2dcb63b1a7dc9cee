// SPDX-License-Identifier: GPL-2.0

//! Frames on the stream between `vnode exec` and `vnode agent`.
//!
//! A channel carries bytes; frames tell what they are. A frame is a kind (one byte), three zero
//! bytes, the length of the payload (`u32`, little-endian, at most [`MAX_PAYLOAD`]), and the
//! payload. Either side treats what it reads as a claim: a wrong frame ends the session.
//!
//! The root sends one `Start`, then `Stdin` and `StdinEof`; it sends no more bytes of input than
//! [`WINDOW`] and what `Taken` frames gave back, so that the agent never has to stop listening in
//! order to wait for a command that does not read. The agent sends `Stdout`, `Stderr` and
//! `Taken`, and `Exit` or `Error` at last. The root closes.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Version of the frames; it stands in `Start`.
pub(crate) const VERSION: u32 = 1;

/// Longest payload in bytes.
pub(crate) const MAX_PAYLOAD: usize = 64 << 10;

/// Most bytes of output or input that one frame is made of; smaller than a channel's ring, so
/// that a frame is under way while the next one is read.
pub(crate) const PIECE: usize = 4 << 10;

/// Bytes of input that may be under way to a command that has not taken them.
pub(crate) const WINDOW: u32 = 32 << 10;

/// Bytes of a frame's head.
const HEAD: usize = 8;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With an exit status.
    Code(u32),
    /// By a signal.
    Signal(u32),
}

/// What is to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Command {
    /// The command and its arguments, at least one.
    pub(crate) argv: Vec<OsString>,
    /// Additions to the environment, each `NAME=VALUE`.
    pub(crate) env: Vec<OsString>,
    /// Folder to run it in; empty for `/`.
    pub(crate) directory: OsString,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Root: run this.
    Start(Command),
    /// Root: input for the command.
    Stdin(Vec<u8>),
    /// Root: no more input will come.
    StdinEof,
    /// Agent: the command has taken so many bytes of input.
    Taken(u32),
    /// Agent: output of the command.
    Stdout(Vec<u8>),
    /// Agent: error output of the command.
    Stderr(Vec<u8>),
    /// Agent: the command has ended, and all of its output is sent.
    Exit(Ending),
    /// Agent: the command could not be run; the status to exit with, and why.
    Error(u8, String),
}

/// Why bytes are not a frame.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// No frame has this kind, or its three zero bytes are not zero.
    Kind,
    /// The payload is longer than [`MAX_PAYLOAD`].
    TooLong,
    /// The payload does not hold what its kind says.
    Payload,
    /// The other side has another [`VERSION`].
    Version(u32),
    /// The stream ended or failed inside a frame.
    Io(io::Error),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kind => f.write_str("a frame of an unknown kind came"),
            Self::TooLong => f.write_str("a frame came that is too long"),
            Self::Payload => f.write_str("a frame came whose content makes no sense"),
            Self::Version(version) => {
                write!(
                    f,
                    "the other side has version {version} of the stream, this one {VERSION}"
                )
            }
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl Frame {
    /// Reads the next frame; nothing when the stream ends before one begins.
    pub(crate) fn read(stream: &mut impl Read) -> Result<Option<Self>, FrameError> {
        let mut head = [0u8; HEAD];
        if !fill(stream, &mut head)? {
            return Ok(None);
        }
        let [kind, zeros @ .., l0, l1, l2, l3] = head;
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3]));
        let length = length.ok().filter(|length| *length <= MAX_PAYLOAD);
        let mut payload = vec![0; length.ok_or(FrameError::TooLong)?];
        if zeros != [0; 3] {
            return Err(FrameError::Kind);
        }
        if !payload.is_empty() && !fill(stream, &mut payload)? {
            return Err(FrameError::Io(ErrorKind::UnexpectedEof.into()));
        }
        Self::decode(kind, payload).map(Some)
    }

    /// Writes the frame with one call, so that a lock around it keeps frames whole.
    pub(crate) fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let (kind, payload) = self.encode();
        if payload.len() > MAX_PAYLOAD {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "longer than a frame can be",
            ));
        }
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEAD.saturating_add(payload.len()));
        bytes.extend([kind, 0, 0, 0]);
        bytes.extend(length.to_le_bytes());
        bytes.extend(payload);
        stream.write_all(&bytes)
    }

    fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Start(command) => (1, command.encode()),
            Self::Stdin(bytes) => (2, bytes.clone()),
            Self::StdinEof => (3, Vec::new()),
            Self::Taken(count) => (4, count.to_le_bytes().to_vec()),
            Self::Stdout(bytes) => (5, bytes.clone()),
            Self::Stderr(bytes) => (6, bytes.clone()),
            Self::Exit(Ending::Code(code)) => (7, code.to_le_bytes().to_vec()),
            Self::Exit(Ending::Signal(signal)) => (8, signal.to_le_bytes().to_vec()),
            Self::Error(status, why) => (9, [&[*status], why.as_bytes()].concat()),
        }
    }

    fn decode(kind: u8, payload: Vec<u8>) -> Result<Self, FrameError> {
        Ok(match kind {
            1 => Self::Start(Command::decode(&payload)?),
            2 => Self::Stdin(payload),
            3 if payload.is_empty() => Self::StdinEof,
            4 => Self::Taken(number(&payload)?),
            5 => Self::Stdout(payload),
            6 => Self::Stderr(payload),
            7 => Self::Exit(Ending::Code(number(&payload)?)),
            8 => Self::Exit(Ending::Signal(number(&payload)?)),
            9 => {
                let (status, why) = payload.split_first().ok_or(FrameError::Payload)?;
                Self::Error(*status, String::from_utf8_lossy(why).into_owned())
            }
            3 => return Err(FrameError::Payload),
            _ => return Err(FrameError::Kind),
        })
    }
}

impl Command {
    /// A version, two counts, then each text with its length in front.
    fn encode(&self) -> Vec<u8> {
        let count = |texts: &[OsString]| u32::try_from(texts.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::new();
        for number in [VERSION, count(&self.argv), count(&self.env)] {
            bytes.extend(number.to_le_bytes());
        }
        for text in self.argv.iter().chain(&self.env).chain([&self.directory]) {
            bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    fn decode(payload: &[u8]) -> Result<Self, FrameError> {
        let mut rest = payload;
        let version = take_number(&mut rest)?;
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let (arguments, variables) = (take_number(&mut rest)?, take_number(&mut rest)?);
        // Each text takes bytes of a bounded payload, so the counts cannot make this long.
        let argv = (0..arguments)
            .map(|_| take_text(&mut rest))
            .collect::<Result<Vec<_>, _>>()?;
        let env = (0..variables)
            .map(|_| take_text(&mut rest))
            .collect::<Result<Vec<_>, _>>()?;
        let directory = take_text(&mut rest)?;
        if argv.is_empty() || !rest.is_empty() {
            return Err(FrameError::Payload);
        }
        Ok(Self {
            argv,
            env,
            directory,
        })
    }
}

fn take_number(rest: &mut &[u8]) -> Result<u32, FrameError> {
    let (head, tail) = rest.split_first_chunk().ok_or(FrameError::Payload)?;
    *rest = tail;
    Ok(u32::from_le_bytes(*head))
}

fn take_text(rest: &mut &[u8]) -> Result<OsString, FrameError> {
    let length = usize::try_from(take_number(rest)?).map_err(|_| FrameError::Payload)?;
    let (text, tail) = rest.split_at_checked(length).ok_or(FrameError::Payload)?;
    *rest = tail;
    // A zero would end the text for the kernel, and so make it another one than was said.
    if text.contains(&0) {
        return Err(FrameError::Payload);
    }
    Ok(OsString::from_vec(text.to_vec()))
}

fn number(payload: &[u8]) -> Result<u32, FrameError> {
    payload
        .try_into()
        .map(u32::from_le_bytes)
        .map_err(|_| FrameError::Payload)
}

/// Fills a buffer; `false` when the stream ends before its first byte.
fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> Result<bool, FrameError> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(FrameError::Io(ErrorKind::UnexpectedEof.into())),
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(FrameError::Io(error)),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn texts() -> impl Strategy<Value = Vec<OsString>> {
        vec(vec(1u8.., 0..20).prop_map(OsString::from_vec), 0..5)
    }

    fn frames() -> impl Strategy<Value = Frame> {
        let command =
            (texts(), texts(), vec(1u8.., 0..20)).prop_map(|(mut argv, env, directory)| {
                argv.push("x".into());
                Frame::Start(Command {
                    argv,
                    env,
                    directory: OsString::from_vec(directory),
                })
            });
        let bytes = || vec(any::<u8>(), 0..300);
        prop_oneof![
            command,
            bytes().prop_map(Frame::Stdin),
            Just(Frame::StdinEof),
            any::<u32>().prop_map(Frame::Taken),
            bytes().prop_map(Frame::Stdout),
            bytes().prop_map(Frame::Stderr),
            any::<u32>().prop_map(|code| Frame::Exit(Ending::Code(code))),
            any::<u32>().prop_map(|signal| Frame::Exit(Ending::Signal(signal))),
            (any::<u8>(), ".{0,40}").prop_map(|(status, why)| Frame::Error(status, why)),
        ]
    }

    proptest! {
        #[test]
        fn frames_survive_the_trip(sent in vec(frames(), 0..8)) {
            let mut stream = Vec::new();
            for frame in &sent {
                frame.write(&mut stream).unwrap();
            }
            let mut rest = stream.as_slice();
            let mut received = Vec::new();
            while let Some(frame) = Frame::read(&mut rest).unwrap() {
                received.push(frame);
            }
            prop_assert_eq!(sent, received);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in vec(any::<u8>(), 0..600)) {
            let mut rest = bytes.as_slice();
            while let Ok(Some(_)) = Frame::read(&mut rest) {}
        }

        #[test]
        fn hostile_payloads_never_panic(kind in 0u8..12, payload in vec(any::<u8>(), 0..200)) {
            let _ = Frame::decode(kind, payload);
        }

        #[test]
        fn hostile_starts_never_panic(words in vec(0u32..9, 0..40)) {
            let mut payload = VERSION.to_le_bytes().to_vec();
            payload.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            let _ = Frame::decode(1, payload);
        }

        #[test]
        fn a_cut_stream_is_never_a_frame(frame in frames(), cut in any::<prop::sample::Index>()) {
            let mut stream = Vec::new();
            frame.write(&mut stream).unwrap();
            let cut = cut.index(stream.len());
            let read = Frame::read(&mut &stream[..cut]);
            let is_right = if cut == 0 { matches!(read, Ok(None)) } else { read.is_err() };
            prop_assert!(is_right);
        }
    }

    #[test]
    fn lengths_are_bounded_on_both_sides() {
        let head = [2, 0, 0, 0, 0, 0, 0xff, 0xff];
        assert!(matches!(
            Frame::read(&mut head.as_slice()),
            Err(FrameError::TooLong)
        ));
        let long = Frame::Stdin(vec![0; MAX_PAYLOAD + 1]);
        assert_eq!(
            long.write(&mut Vec::new()).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }

    #[test]
    fn another_version_is_named() {
        let mut payload = Command {
            argv: vec!["x".into()],
            ..Default::default()
        }
        .encode();
        payload[0] = 9;
        assert!(matches!(
            Frame::decode(1, payload),
            Err(FrameError::Version(9))
        ));
    }

    #[test]
    fn a_command_without_a_word_is_none() {
        assert!(matches!(
            Frame::decode(1, Command::default().encode()),
            Err(FrameError::Payload)
        ));
    }
}
