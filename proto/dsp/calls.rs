// SPDX-License-Identifier: GPL-2.0

//! Requests that wait for an answer, and how each of them ends, exactly once.
//!
//! A request ends by its answer, by its time-out, by the end of the life that it went to, or by
//! its caller giving up. An answer counts only if cookie, service and life are those of a
//! request that waits; cookies are not used again, so what is late, doubled, replayed or made up
//! finds nothing.

use super::message::Refusal;
use crate::bits;
use crate::id::{Life, VnodeId};

/// Requests to one vnode that can wait at a time. As many places of each ring are kept for
/// answers, so an answer finds room.
pub const MAX_PER_PEER: u32 = 16;

/// Which request: the number that its answer repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub u64);

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service has answered.
    Reply {
        /// What it says in short, in its own words; the rest is the message's payload.
        status: i32,
    },
    /// The other nanokernel has refused the request; no service has seen it.
    Refused(Refusal),
    /// The time is over. Whether the request was carried out is not known.
    TimedOut,
    /// The life that it went to has ended. Whether it was carried out is not known.
    Gone,
    /// The rings to that vnode are broken.
    Broken,
}

/// Why requests fail before their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The life that they went to has ended.
    Gone,
    /// The rings to that vnode are broken.
    Broken,
}

/// A request that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which one.
    pub cookie: Cookie,
    /// Whom it went to.
    pub to: Life,
    /// Which service it went to.
    pub service: u16,
    /// How it ended.
    pub outcome: Outcome,
}

/// Why a request cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// A request that waits, or that has failed and is yet to be told.
#[derive(Clone, Copy, Debug)]
struct Call {
    cookie: Cookie,
    to: Life,
    service: u16,
    deadline_ns: u64,
    doom: Option<Loss>,
}

impl Call {
    fn ended(&self, outcome: Outcome) -> Ended {
        Ended {
            cookie: self.cookie,
            to: self.to,
            service: self.service,
            outcome,
        }
    }
}

/// Up to `N` requests that wait, 64 at most.
#[derive(Debug)]
pub struct Calls<const N: usize> {
    calls: [Option<Call>; N],
    /// The places that hold one, as bits: few of them do, and all that looks for one looks there.
    used: u64,
    next_cookie: u64,
}

impl<const N: usize> Calls<N> {
    const FITS: () = assert!(N <= u64::BITS as usize);

    /// No request. The first cookie is to be beyond any that an earlier load of the nanokernel
    /// has used in this life: the time-stamp counter is.
    pub const fn new(first_cookie: u64) -> Self {
        let () = Self::FITS;
        Self {
            calls: [None; N],
            used: 0,
            next_cookie: first_cookie,
        }
    }

    /// Uses cookies from this one on.
    pub(super) fn start_at(&mut self, first_cookie: u64) {
        self.next_cookie = first_cookie;
    }

    /// Requests that have not ended.
    pub fn len(&self) -> usize {
        self.used.count_ones() as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Makes a request wait until `deadline_ns`.
    pub fn begin(&mut self, to: Life, service: u16, deadline_ns: u64) -> Result<Cookie, TooMany> {
        if self.count(|call| call.to.vnode == to.vnode) >= MAX_PER_PEER {
            return Err(TooMany);
        }
        let free = self.used.trailing_ones();
        let place = self.calls.get_mut(free as usize).ok_or(TooMany)?;
        self.used |= 1u64.wrapping_shl(free);
        let cookie = Cookie(self.next_cookie);
        self.next_cookie = self.next_cookie.wrapping_add(1);
        *place = Some(Call {
            cookie,
            to,
            service,
            deadline_ns,
            doom: None,
        });
        Ok(cookie)
    }

    /// Ends a request by an answer of `from`; nothing if none waits for it.
    pub fn answer(
        &mut self,
        from: Life,
        cookie: Cookie,
        service: u16,
        outcome: Outcome,
    ) -> Option<Ended> {
        let is_meant = |call: &Call| {
            call.cookie == cookie
                && call.to == from
                && call.service == service
                && call.doom.is_none()
        };
        self.take(is_meant).map(|call| call.ended(outcome))
    }

    /// Gives a request up: it ends without a word. Says whether it was still there.
    pub fn cancel(&mut self, cookie: Cookie) -> bool {
        self.take(|call| call.cookie == cookie).is_some()
    }

    /// Makes all requests that wait for this vnode, in whatever life, fail;
    /// [`next_ended`](Self::next_ended) tells of each.
    pub fn doom(&mut self, vnode: VnodeId, why: Loss) {
        for place in bits::each(self.used) {
            match self.calls.get_mut(place) {
                Some(Some(call)) if call.to.vnode == vnode && call.doom.is_none() => {
                    call.doom = Some(why);
                }
                _ => {}
            }
        }
    }

    /// The next request that has failed or run out of time, in no particular order. To be called
    /// until there is none, at most as often as requests wait.
    pub fn next_ended(&mut self, now_ns: u64) -> Option<Ended> {
        let call = self.take(|call| call.doom.is_some() || call.deadline_ns <= now_ns)?;
        Some(call.ended(match call.doom {
            Some(Loss::Gone) => Outcome::Gone,
            Some(Loss::Broken) => Outcome::Broken,
            None => Outcome::TimedOut,
        }))
    }

    /// When to call [`next_ended`](Self::next_ended) next at the latest: 0 if it has something to
    /// tell now, nothing if no request waits.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let when = |call: &Call| match call.doom {
            Some(_) => 0,
            None => call.deadline_ns,
        };
        self.waiting().map(when).min()
    }

    fn count(&self, is_meant: impl Fn(&Call) -> bool) -> u32 {
        let mut count = 0u32;
        for call in self.waiting() {
            count = count.wrapping_add(u32::from(is_meant(call)));
        }
        count
    }

    fn waiting(&self) -> impl Iterator<Item = &Call> {
        bits::each(self.used).filter_map(|place| self.calls.get(place)?.as_ref())
    }

    fn take(&mut self, is_meant: impl Fn(&Call) -> bool) -> Option<Call> {
        for index in bits::each(self.used) {
            let place = self.calls.get_mut(index)?;
            if place.as_ref().is_some_and(&is_meant) {
                self.used &= !1u64.wrapping_shl(index as u32);
                return place.take();
            }
        }
        None
    }
}

const _: () = assert!(MAX_PER_PEER < super::mailbox::CAPACITY);
