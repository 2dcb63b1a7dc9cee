// SPDX-License-Identifier: GPL-2.0

//! The words of the bridge by which the kernels that measure understand each other, a cache line
//! each. What is copied lies behind them.

use crate::Bench;
use adeos_proto::id::VnodeId;
use adeos_proto::window::Window;

/// A word, all of which are `u64`.
#[derive(Clone, Copy)]
pub(crate) enum Word {
    /// Number of a round trip, written before the portal is raised.
    Asked,
    /// The same, written by the handler.
    Answered,
    /// The portal of the asker that is raised in return.
    Return,
    /// Counts the times that senders were let go.
    Gone,
    /// By vnode: what `Gone` will be when it may send.
    Ready(VnodeId),
    /// By vnode: its portals that answer, and that are raised in return.
    AnswerPortal(VnodeId),
    ReturnPortal(VnodeId),
}

/// Where what is copied begins.
pub(crate) const COPIED: usize = 0x1_0000;

const LINE: usize = 64;

impl Word {
    fn offset(self) -> usize {
        let line = match self {
            Self::Asked => 0,
            Self::Answered => 1,
            Self::Return => 2,
            Self::Gone => 3,
            Self::Ready(vnode) => vnode.index() + 0x10,
            Self::AnswerPortal(vnode) => vnode.index() + 0x20,
            Self::ReturnPortal(vnode) => vnode.index() + 0x30,
        };
        line * LINE
    }
}

impl Bench {
    pub(crate) fn word(&self, word: Word) -> u64 {
        self.mapped.load_acquire64(word.offset())
    }

    pub(crate) fn set_word(&self, word: Word, value: u64) {
        self.mapped.store_release64(word.offset(), value);
    }
}
