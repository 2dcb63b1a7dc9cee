// SPDX-License-Identifier: GPL-2.0

//! What kernels ask of the root about consoles, as messages of the DSP carry it (docs/vcons.md,
//! sections 2.1 and 5).
//!
//! Who asks is told by the mailbox. The answer's status is 0 or a negative error number.

use super::keyboard::Holder;
use crate::id::VnodeId;
use crate::record;

/// Number of the service.
pub const SERVICE: u16 = 0x0100;
/// Version of the records.
pub const VERSION: u16 = 1;

record! {
    /// A request.
    pub struct RequestRecord: 16 {
        /// [`VERSION`].
        version: u16,
        /// One of [`operation`].
        operation: u16,
        /// Whose console it is about.
        vnode: u32,
        /// The ticket that is given back; 0 elsewhere.
        ticket: u32,
        /// Zero.
        reserved: u32,
    }
}

record! {
    /// What an answer says beside its status.
    pub struct AnswerRecord: 16 {
        /// Who has the keyboard now, as the header of a console has it.
        keyboard: u64,
        /// How often this life has attached its console, this time included.
        attached: u32,
        /// Zero.
        reserved: u32,
    }
}

/// Values of [`RequestRecord::operation`].
pub mod operation {
    /// The asker begins to speak on its own console.
    pub const ATTACH: u16 = 1;
    /// It does so no more.
    pub const DETACH: u16 = 2;
    /// Take the keyboard if nobody has it.
    pub const TAKE: u16 = 3;
    /// Take it from whoever has it.
    pub const STEAL: u16 = 4;
    /// Give it back.
    pub const GIVE_BACK: u16 = 5;
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The asker begins to speak on its own console, which is made unless it is there.
    Attach,
    /// It does so no more; what it has said stays.
    Detach,
    /// The keyboard of this vnode's console, if nobody has it.
    Take(VnodeId),
    /// The same, from whoever has it.
    Steal(VnodeId),
    /// The keyboard is given back that was got under this ticket.
    GiveBack(VnodeId, u32),
}

impl Request {
    /// Its record.
    pub fn to_record(self) -> RequestRecord {
        let (operation, vnode, ticket) = match self {
            Self::Attach => (operation::ATTACH, VnodeId::ROOT, 0),
            Self::Detach => (operation::DETACH, VnodeId::ROOT, 0),
            Self::Take(vnode) => (operation::TAKE, vnode, 0),
            Self::Steal(vnode) => (operation::STEAL, vnode, 0),
            Self::GiveBack(vnode, ticket) => (operation::GIVE_BACK, vnode, ticket),
        };
        RequestRecord {
            version: VERSION,
            operation,
            vnode: vnode.number(),
            ticket,
            reserved: 0,
        }
    }

    /// Reads a message's payload; nothing in words of another version, or that make no sense.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let record = RequestRecord::from_bytes(payload.first_chunk()?);
        if payload.len() != RequestRecord::SIZE || record.version != VERSION {
            return None;
        }
        let vnode = VnodeId::new(record.vnode)?;
        let request = match record.operation {
            operation::ATTACH => Self::Attach,
            operation::DETACH => Self::Detach,
            operation::TAKE => Self::Take(vnode),
            operation::STEAL => Self::Steal(vnode),
            operation::GIVE_BACK => Self::GiveBack(vnode, record.ticket),
            _ => return None,
        };
        (request.to_record() == record).then_some(request)
    }
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who has the keyboard now.
    pub keyboard: Holder,
    /// How often this life has attached its console, this time included.
    pub attached: u32,
}

impl Answer {
    /// Its record.
    pub fn to_record(self) -> AnswerRecord {
        AnswerRecord {
            keyboard: self.keyboard.word(),
            attached: self.attached,
            reserved: 0,
        }
    }

    /// Reads an answer's payload.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let record = AnswerRecord::from_bytes(payload.first_chunk()?);
        Some(Self {
            keyboard: Holder::from_word(record.keyboard),
            attached: record.attached,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is read is what would be written; everything else is refused.
        #[test]
        fn no_two_payloads_say_the_same(
            version in 0u16..3, operation in 0u16..8, vnode in 0u32..20, ticket in 0u32..2,
            reserved in 0u32..2,
        ) {
            let record = RequestRecord { version, operation, vnode, ticket, reserved };
            if let Some(request) = Request::parse(&record.to_bytes()) {
                prop_assert_eq!(request.to_record(), record);
            }
        }

        #[test]
        fn answers_come_through(viewer in 0u32..16, ticket: u32, attached: u32) {
            let keyboard = Holder { viewer: VnodeId::new(viewer), ticket };
            let answer = Answer { keyboard, attached };
            prop_assert_eq!(Answer::parse(&answer.to_record().to_bytes()), Some(answer));
        }
    }

    #[test]
    fn requests_come_through() {
        let vnode = VnodeId::new(3).unwrap();
        for request in [
            Request::Attach,
            Request::Detach,
            Request::Take(vnode),
            Request::Steal(vnode),
            Request::GiveBack(vnode, 7),
        ] {
            let bytes = request.to_record().to_bytes();
            assert_eq!(Request::parse(&bytes), Some(request));
            assert_eq!(Request::parse(&bytes[..15]), None);
            assert_eq!(Request::parse(&[&bytes[..], &[0]].concat()), None);
        }
    }
}
