// SPDX-License-Identifier: GPL-2.0

//! One other vnode as an end of the protocol sees it: its life, its rings, what was counted.

use super::mailbox::{Layout, Receiver, Sender, Tag};
use crate::id::{Generation, Life, VnodeId};
use crate::window::Window;

/// What has been counted of one vnode. The numbers wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages sent to it.
    pub sent: u64,
    /// Messages that its ring had no room for.
    pub full: u64,
    /// Messages taken out of its ring, the dropped ones among them.
    pub received: u64,
    /// Dropped: from or for another life.
    pub foreign: u64,
    /// Dropped: an answer that no request waits for; late, doubled, replayed or made up.
    pub unmatched: u64,
    /// Dropped or refused: malformed, or of no known kind.
    pub malformed: u64,
    /// Dropped or refused: of another version.
    pub version: u64,
    /// Dropped or refused: for a service that is not there.
    pub service: u64,
    /// Refusals that its ring had no room for.
    pub unanswered: u64,
    /// Times that its indices made no sense.
    pub broken: u64,
}

/// The rings to and from one life; each is open once the root has given it to both ends.
#[derive(Clone, Copy, Debug)]
struct Rings {
    generation: Generation,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
}

/// Where the link to a vnode is.
#[derive(Clone, Copy, Debug)]
enum Link {
    /// It is no member.
    Absent,
    /// It is one.
    Member(Rings),
    /// It is one, but what it has written into its rings makes no sense.
    Broken(Generation),
}

/// One other vnode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    link: Link,
    pub(super) counters: Counters,
}

impl Peer {
    /// A vnode that is no member and of which nothing has been counted.
    pub(super) const ABSENT: Self = Self {
        link: Link::Absent,
        counters: Counters {
            sent: 0,
            full: 0,
            received: 0,
            foreign: 0,
            unmatched: 0,
            malformed: 0,
            version: 0,
            service: 0,
            unanswered: 0,
            broken: 0,
        },
    };

    fn generation(&self) -> Option<Generation> {
        match self.link {
            Link::Absent => None,
            Link::Member(rings) => Some(rings.generation),
            Link::Broken(generation) => Some(generation),
        }
    }

    /// The life that it is in, as the last view has it.
    pub(super) fn life(&self, vnode: VnodeId) -> Option<Life> {
        let generation = self.generation()?;
        Some(Life { vnode, generation })
    }

    /// Closes the rings unless they are for this very life; says whether something has changed.
    pub(super) fn become_life(&mut self, life: Option<Life>) -> bool {
        let generation = life.map(|life| life.generation);
        if generation == self.generation() {
            return false;
        }
        self.link = generation.map_or(Link::Absent, |generation| {
            Link::Member(Rings {
                generation,
                sender: None,
                receiver: None,
            })
        });
        true
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self.link, Link::Broken(_))
    }

    /// Stops using the rings, until the next life.
    pub(super) fn give_up(&mut self) {
        if let Link::Member(rings) = self.link {
            self.link = Link::Broken(rings.generation);
            self.counters.broken = self.counters.broken.wrapping_add(1);
        }
    }

    /// The ring to it, if that is open.
    pub(super) fn sender<W: Window>(
        &mut self,
        window: &W,
        me: Life,
        vnode: VnodeId,
    ) -> Option<&mut Sender> {
        let Link::Member(rings) = &mut self.link else {
            return None;
        };
        if rings.sender.is_none() {
            let tag = Tag::new(me.generation, rings.generation);
            rings.sender = Sender::open(window, Layout::of(me.vnode, vnode), tag);
        }
        rings.sender.as_mut()
    }

    /// The ring from it, if that is open.
    pub(super) fn receiver<W: Window>(
        &mut self,
        window: &W,
        me: Life,
        vnode: VnodeId,
    ) -> Option<&mut Receiver> {
        let Link::Member(rings) = &mut self.link else {
            return None;
        };
        if rings.receiver.is_none() {
            let tag = Tag::new(rings.generation, me.generation);
            rings.receiver = Receiver::open(window, Layout::of(vnode, me.vnode), tag);
        }
        rings.receiver.as_mut()
    }
}
