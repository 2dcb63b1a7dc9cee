// SPDX-License-Identifier: GPL-2.0

//! The callers that wait for answers: each has a place, in which it finds how its request ended.

#![deny(unsafe_code)]

use adeos_proto::dsp::{
    Cookie,
    Ended,
    Outcome, //
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

/// All places.
pub(super) struct Places(KVec<Call>);

impl Places {
    /// All free.
    pub(super) fn new() -> Result<Self> {
        let mut places = KVec::with_capacity(CALLS, GFP_KERNEL)?;
        for _ in 0..CALLS {
            places.push(Call::Free, GFP_KERNEL)?;
        }
        Ok(Self(places))
    }

    /// A free place, if there is one. It is taken by [`wait`](Self::wait).
    pub(super) fn free(&self) -> Option<usize> {
        self.0.iter().position(|call| matches!(call, Call::Free))
    }

    /// Makes a place that of a request.
    pub(super) fn wait(&mut self, place: usize, cookie: Cookie) {
        if let Some(call) = self.0.get_mut(place) {
            *call = Call::Waiting(cookie);
        }
    }

    /// Notes how a request ended; whom to wake.
    pub(super) fn end(&mut self, ended: &Ended) -> Woken {
        let is_meant =
            |call: &Call| matches!(call, Call::Waiting(cookie) if *cookie == ended.cookie);
        let Some(place) = self.0.iter().position(is_meant) else {
            return 0;
        };
        if let Some(call) = self.0.get_mut(place) {
            *call = Call::Ended(ended.outcome);
        }
        (1 as Woken).wrapping_shl(place as u32)
    }

    /// How the request of a place ended, if it has; then the place is free.
    pub(super) fn take(&mut self, place: usize) -> Option<Outcome> {
        let call = self.0.get_mut(place)?;
        let Call::Ended(outcome) = *call else {
            return None;
        };
        *call = Call::Free;
        Some(outcome)
    }

    /// Frees a place whose caller does not wait any more; the request, if it has not ended.
    pub(super) fn give_up(&mut self, place: usize) -> Option<Cookie> {
        match core::mem::replace(self.0.get_mut(place)?, Call::Free) {
            Call::Waiting(cookie) => Some(cookie),
            Call::Ended(_) | Call::Free => None,
        }
    }
}
