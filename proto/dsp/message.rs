// SPDX-License-Identifier: GPL-2.0

//! What one nanokernel says to another: messages of 128 bytes, and what makes one valid.
//!
//! docs/dsp.md section 3 is the specification. A message is copied out of the ring as bytes; what
//! is here turns the copy into a value or says why it is none.

use crate::record;

/// Version of the message format. It stands first, so that other versions can be refused.
pub const VERSION: u16 = 1;

/// Bytes that a message carries at most.
pub const MAX_PAYLOAD: usize = 96;

/// Kinds of messages as the wire has them; the same in all versions.
mod kind {
    pub(super) const ONE_WAY: u8 = 1;
    pub(super) const REQUEST: u8 = 2;
    pub(super) const REPLY: u8 = 3;
    pub(super) const REFUSAL: u8 = 4;
}

record! {
    /// A message as it lies in a ring.
    pub struct Message: 128 {
        /// [`VERSION`] of the sender.
        version: u16,
        /// Which service it is for or, as an answer, comes from.
        service: u16,
        /// One-way 1, request 2, reply 3, refusal 4.
        kind: u8,
        /// Zero.
        flags: u8,
        /// Bytes of the payload that count.
        length: u16,
        /// Generation of the sender.
        sender: u32,
        /// Generation of the vnode that it is for.
        receiver: u32,
        /// Which request, in words of the one who asks; zero in a one-way message.
        cookie: u64,
        /// What a reply says in short, in words of the service; why a refusal refuses; else zero.
        status: i32,
        /// Zero.
        reserved: u32,
        /// The payload, then zeros.
        payload: [u8; 96],
    }
}

const _: () = assert!(Message::OFFSETS.payload + MAX_PAYLOAD == Message::SIZE);

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Says something; nobody answers.
    OneWay,
    /// Asks; a reply or a refusal answers.
    Request,
    /// Answers a request; comes from the service.
    Reply,
    /// Answers a request that no service has seen; comes from the nanokernel.
    Refusal,
}

impl Kind {
    /// Takes the number of a kind.
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            kind::ONE_WAY => Some(Self::OneWay),
            kind::REQUEST => Some(Self::Request),
            kind::REPLY => Some(Self::Reply),
            kind::REFUSAL => Some(Self::Refusal),
            _ => None,
        }
    }

    /// The number that messages hold.
    pub const fn number(self) -> u8 {
        match self {
            Self::OneWay => kind::ONE_WAY,
            Self::Request => kind::REQUEST,
            Self::Reply => kind::REPLY,
            Self::Refusal => kind::REFUSAL,
        }
    }
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The receiver speaks another version of the format: this one.
    Version(u16),
    /// The receiver has no such service.
    Service,
    /// The receiver found the message malformed.
    Malformed,
    /// Something that this version does not know.
    Other(i32),
}

impl Refusal {
    /// The status that a refusal carries.
    pub const fn status(self) -> i32 {
        match self {
            Self::Version(_) => 1,
            Self::Service => 2,
            Self::Malformed => 3,
            Self::Other(status) => status,
        }
    }

    /// Reads a refusal, which may be of another version.
    pub const fn read(message: &Message) -> Self {
        match message.status {
            1 => Self::Version(message.version),
            2 => Self::Service,
            3 => Self::Malformed,
            other => Self::Other(other),
        }
    }
}

/// What a message carries: up to [`MAX_PAYLOAD`] bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Zeros from `length` on.
    bytes: [u8; MAX_PAYLOAD],
    length: u16,
}

impl Payload {
    /// No bytes.
    pub const EMPTY: Self = Self {
        bytes: [0; MAX_PAYLOAD],
        length: 0,
    };

    /// Takes bytes; nothing if there are too many.
    pub fn new(from: &[u8]) -> Option<Self> {
        let mut payload = Self::EMPTY;
        let room = payload.bytes.get_mut(..from.len())?;
        for (to, byte) in room.iter_mut().zip(from) {
            *to = *byte;
        }
        payload.length = from.len() as u16;
        Some(payload)
    }

    /// Becomes the payload of a message; empty if that is malformed.
    pub fn take_from(&mut self, message: &Message) {
        let new = message.checked_payload().unwrap_or(&[]);
        let before = usize::from(self.length);
        for (to, byte) in self.bytes.iter_mut().zip(new) {
            *to = *byte;
        }
        // Behind it there are zeros, whatever the message has there.
        let rest = self.bytes.get_mut(new.len()..before);
        rest.unwrap_or_default().fill(0);
        self.length = new.len() as u16;
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

impl core::fmt::Debug for Payload {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Payload({} bytes)", self.length)
    }
}

impl Message {
    /// No message: its kind is none.
    pub const NONE: Self = Self {
        version: 0,
        service: 0,
        kind: 0,
        flags: 0,
        length: 0,
        sender: 0,
        receiver: 0,
        cookie: 0,
        status: 0,
        reserved: 0,
        payload: [0; MAX_PAYLOAD],
    };

    /// A message with this payload; the other fields are for the caller to fill in.
    pub(super) fn carrying(kind: Kind, service: u16, payload: &Payload) -> Self {
        Self {
            version: VERSION,
            service,
            kind: kind.number(),
            length: payload.length,
            payload: payload.bytes,
            ..Self::NONE
        }
    }

    /// The payload, if all that this version says of a message is so. The version itself, the
    /// kind and the generations are looked at elsewhere.
    pub fn checked_payload(&self) -> Option<&[u8]> {
        let used = self.payload.get(..usize::from(self.length))?;
        (self.flags == 0).then_some(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DS-10, DS-11: the header's places, byte by byte.
    #[test]
    fn the_header_is_laid_out_as_the_page_says() {
        let at = Message::OFFSETS;
        assert_eq!((at.version, at.service, at.kind, at.flags), (0, 2, 4, 5));
        assert_eq!((at.length, at.sender, at.receiver), (6, 8, 12));
        assert_eq!((at.cookie, at.status, at.payload), (16, 24, 32));
    }

    /// DS-12, DS-13: a length beyond the end or an unknown flag makes it malformed.
    #[test]
    fn a_payload_is_never_longer_than_the_message() {
        let full = Payload::new(&[7; MAX_PAYLOAD]).unwrap();
        assert_eq!(Payload::new(&[7; MAX_PAYLOAD + 1]), None);
        let mut message = Message::carrying(Kind::OneWay, 1, &full);
        assert_eq!(message.checked_payload(), Some(full.as_slice()));
        message.length = 97;
        assert_eq!(message.checked_payload(), None);
        message.length = u16::MAX;
        assert_eq!(message.checked_payload(), None);
        message.length = 1;
        assert_eq!(message.checked_payload(), Some([7].as_slice()));
        let mut payload = full;
        payload.take_from(&message);
        assert_eq!(Some(payload), Payload::new(&[7]), "and zeros");
        message.flags = 1;
        assert_eq!(message.checked_payload(), None);
        payload.take_from(&message);
        assert_eq!(payload, Payload::EMPTY);
    }
}
