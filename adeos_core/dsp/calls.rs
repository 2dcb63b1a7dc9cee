// SPDX-License-Identifier: GPL-2.0

//! The callers that wait for answers: each has a place, in which it finds how its request ended.

#![deny(unsafe_code)]

use adeos_proto::bits;
use adeos_proto::dsp::message::Message;
use adeos_proto::dsp::{
    Cookie,
    Ended,
    Outcome,
    Payload, //
};
use kernel::prelude::*;

/// Requests of this kernel that can wait at a time. As many as bits of a [`Woken`].
pub(super) const CALLS: usize = 64;

/// Places whose callers are to be woken, as bits.
pub(super) type Woken = u64;

#[derive(Clone, Copy)]
enum Call {
    Free,
    Waiting(Cookie),
    Ended(Outcome),
}

impl Call {
    fn waits_for(&self, cookie: Cookie) -> bool {
        matches!(self, Self::Waiting(own) if *own == cookie)
    }
}

/// The bit of a place.
fn bit(place: usize) -> Woken {
    (1 as Woken).wrapping_shl(place as u32)
}

/// All places.
pub(super) struct Places {
    calls: KVec<Call>,
    /// What the answers say in full, by place.
    payloads: KVec<Payload>,
    /// Those that are not free, as bits.
    used: u64,
}

impl Places {
    /// All free.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            calls: KVec::from_elem(Call::Free, CALLS, GFP_KERNEL)?,
            payloads: KVec::from_elem(Payload::EMPTY, CALLS, GFP_KERNEL)?,
            used: 0,
        })
    }

    /// A free place, if there is one. It is taken by [`wait`](Self::wait).
    pub(super) fn free(&self) -> Option<usize> {
        let free = self.used.trailing_ones() as usize;
        (free < self.calls.len()).then_some(free)
    }

    /// Makes a place that of a request.
    pub(super) fn wait(&mut self, place: usize, cookie: Cookie) {
        if let Some(call) = self.calls.get_mut(place) {
            *call = Call::Waiting(cookie);
            self.used |= bit(place);
        }
    }

    /// Notes how a request ended, and the message that has ended it, if one has; whom to wake.
    pub(super) fn end(&mut self, ended: &Ended, message: Option<&Message>) -> Woken {
        for place in bits::each(self.used) {
            match self.calls.get_mut(place) {
                Some(call) if call.waits_for(ended.cookie) => {
                    *call = Call::Ended(ended.outcome);
                    if let (Some(payload), Some(message)) = (self.payloads.get_mut(place), message)
                    {
                        payload.take_from(message);
                    }
                    return bit(place);
                }
                _ => {}
            }
        }
        0
    }

    /// How the request of a place ended, if it has, and what a reply says in full; then the place is
    /// free.
    pub(super) fn take(&mut self, place: usize) -> Option<(Outcome, Payload)> {
        let call = self.calls.get_mut(place)?;
        let Call::Ended(outcome) = *call else {
            return None;
        };
        *call = Call::Free;
        self.used &= !bit(place);
        let payload = match outcome {
            Outcome::Reply { .. } => *self.payloads.get(place)?,
            _ => Payload::EMPTY,
        };
        Some((outcome, payload))
    }

    /// Frees a place whose caller does not wait any more; the request, if it has not ended.
    pub(super) fn give_up(&mut self, place: usize) -> Option<Cookie> {
        self.used &= !bit(place);
        match core::mem::replace(self.calls.get_mut(place)?, Call::Free) {
            Call::Waiting(cookie) => Some(cookie),
            Call::Ended(_) | Call::Free => None,
        }
    }
}
