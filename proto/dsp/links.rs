// SPDX-License-Identifier: GPL-2.0

//! The root's part in the mailboxes: it gives each ring to the present lives of its two ends.
//!
//! A ring is reset once per pair of lives, and never while a life that it was for before may
//! still use it: each end has let go of the other's last life, and says so by acknowledging a
//! view without it. What the root has done is its own memory, not the tags that others can
//! write.

use super::mailbox::{reset, Layout, Tag};
use crate::id::{VnodeId, MAX_VNODES};
use crate::membership::publisher::Publisher;
use crate::membership::{bit, Mask};
use crate::window::Window;

/// What the root knows of all rings. The root only.
#[derive(Debug)]
pub struct Links {
    /// The tag that each ring was last given, by receiver and sender.
    given: [[Tag; MAX_VNODES]; MAX_VNODES],
}

impl Links {
    /// No ring has been given to anybody; the shared memory is all zeros.
    pub const fn new() -> Self {
        Self {
            given: [[Tag::CLOSED; MAX_VNODES]; MAX_VNODES],
        }
    }

    /// Opens every ring that is to be opened and can be, and returns the vnodes that have got one:
    /// they are to be told. To be called after each view and each
    /// [`observe`](Publisher::observe).
    pub fn open_ready<W: Window>(&mut self, window: &W, publisher: &Publisher) -> Mask {
        let mut opened = 0;
        for (receiver, row) in VnodeId::all().zip(self.given.iter_mut()) {
            for (sender, given) in VnodeId::all().zip(row.iter_mut()) {
                match wanted(publisher, sender, receiver) {
                    Some(tag) if tag != *given => {
                        *given = tag;
                        opened |= bit(sender) | bit(receiver);
                        reset(window, &Layout::of(sender, receiver), tag);
                    }
                    _ => {}
                }
            }
        }
        opened
    }

    /// Whether both rings between two vnodes are open for their present lives.
    pub fn are_open(&self, publisher: &Publisher, a: VnodeId, b: VnodeId) -> bool {
        let is_open = |sender: VnodeId, receiver: VnodeId| {
            let given = self.given.get(receiver.index());
            let given = given.and_then(|row| row.get(sender.index())).copied();
            let wanted = tag(publisher, sender, receiver);
            wanted.is_some() && given == wanted
        };
        is_open(a, b) && is_open(b, a)
    }
}

impl Default for Links {
    fn default() -> Self {
        Self::new()
    }
}

/// The tag of a ring between the present lives of its ends.
fn tag(publisher: &Publisher, sender: VnodeId, receiver: VnodeId) -> Option<Tag> {
    if sender == receiver {
        return None;
    }
    let from = publisher.view().life(sender)?;
    let to = publisher.view().life(receiver)?;
    Some(Tag::new(from.generation, to.generation))
}

/// That tag, once nobody uses the ring under another one (DS-24).
fn wanted(publisher: &Publisher, sender: VnodeId, receiver: VnodeId) -> Option<Tag> {
    let is_free = publisher.has_let_go(sender, receiver) && publisher.has_let_go(receiver, sender);
    tag(publisher, sender, receiver).filter(|_| is_free)
}
