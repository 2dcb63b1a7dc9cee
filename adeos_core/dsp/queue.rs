// SPDX-License-Identifier: GPL-2.0

//! Messages that wait for the DSP thread: first in, first out, with a bound for each sender.
//!
//! A sender whose bound is reached keeps its messages in its ring, where a full one is an error to
//! it. The bound is what an honest sender can have asked without an answer, so its requests do not
//! keep the answers behind them waiting.

#![deny(unsafe_code)]

use super::Request;
use adeos_proto::dsp::calls::MAX_PER_PEER;
use adeos_proto::id::{
    VnodeId,
    MAX_VNODES, //
};
use kernel::prelude::*;

/// Messages of one sender that can wait.
const BOUND: usize = MAX_PER_PEER as usize;

/// A message, and which registration of which handler it is for.
#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) place: u16,
    pub(super) serial: u32,
    pub(super) request: Request,
}

/// The queue.
pub(super) struct Queue {
    /// A ring; `None` where nothing waits.
    items: KVVec<Option<Item>>,
    first: usize,
    len: usize,
    /// Messages of each sender.
    counts: [usize; MAX_VNODES],
}

impl Queue {
    /// An empty queue with room for all that can wait.
    pub(super) fn new() -> Result<Self> {
        let room = BOUND * MAX_VNODES;
        let mut items = KVVec::with_capacity(room, GFP_KERNEL)?;
        for _ in 0..room {
            items.push(None, GFP_KERNEL)?;
        }
        Ok(Self {
            items,
            first: 0,
            len: 0,
            counts: [0; MAX_VNODES],
        })
    }

    /// Whether no more messages of a sender can wait now.
    pub(super) fn is_full(&self, sender: VnodeId) -> bool {
        self.counts
            .get(sender.index())
            .is_none_or(|count| *count >= BOUND)
    }

    /// Whether a sender, of which a message has just been taken out, had as many as can wait.
    pub(super) fn was_full(&self, sender: VnodeId) -> bool {
        self.counts
            .get(sender.index())
            .is_some_and(|count| count.wrapping_add(1) == BOUND)
    }

    /// Messages that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts a message in. The caller takes no more of a sender once [`is_full`](Self::is_full): what
    /// comes in spite of that is dropped, and says so by `false`.
    pub(super) fn push(&mut self, item: Item) -> bool {
        let sender = item.request.from.vnode;
        if self.is_full(sender) {
            return false;
        }
        let at = self.first.wrapping_add(self.len) % self.items.len().max(1);
        let (Some(place), Some(count)) =
            (self.items.get_mut(at), self.counts.get_mut(sender.index()))
        else {
            return false;
        };
        *place = Some(item);
        *count = count.wrapping_add(1);
        self.len = self.len.wrapping_add(1);
        true
    }

    /// Takes the oldest message out.
    pub(super) fn pop(&mut self) -> Option<Item> {
        if self.len == 0 {
            return None;
        }
        let item = self.items.get_mut(self.first)?.take()?;
        self.first = self.first.wrapping_add(1) % self.items.len().max(1);
        self.len = self.len.wrapping_sub(1);
        if let Some(count) = self.counts.get_mut(item.request.from.vnode.index()) {
            *count = count.wrapping_sub(1);
        }
        Some(item)
    }

    /// Drops the messages that do not pass; the others keep their order.
    pub(super) fn retain(&mut self, passes: impl Fn(&Request) -> bool) {
        for _ in 0..self.len {
            if let Some(item) = self.pop().filter(|item| passes(&item.request)) {
                self.push(item);
            }
        }
    }
}
