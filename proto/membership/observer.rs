// SPDX-License-Identifier: GPL-2.0

//! A vnode's side of the membership: it takes the views in order and acknowledges them.
//!
//! An observer sees every view from the first that it finds itself a member of, or learns that it
//! was too slow and goes on with the latest. No call loops.

use super::{layout, load, reached_at, View};
use crate::id::Life;
use crate::window::Window;

/// What the next look at the views has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No new view; or, before the first, none with this life as a member.
    Nothing,
    /// The next view.
    View(View),
    /// Views have been written over before they were seen; the next look brings a later one.
    TooSlow {
        /// How many will be missing in between, as things are.
        missed: u64,
    },
    /// What stands there is no view, or the numbers have gone back. Nothing has changed.
    Corrupt,
}

/// Takes the views for one life of a vnode.
#[derive(Debug)]
pub struct Observer {
    me: Life,
    /// Number of the last view that was seen; 0 before the first.
    seen: u64,
    /// Number of the next view; 0 before the first.
    next: u64,
}

impl Observer {
    /// An observer that has seen nothing.
    pub const fn new(me: Life) -> Self {
        Self {
            me,
            seen: 0,
            next: 0,
        }
    }

    /// Whose it is.
    pub const fn life(&self) -> Life {
        self.me
    }

    /// Number of the last view that was seen; 0 before the first.
    pub const fn last(&self) -> u64 {
        self.seen
    }

    /// Takes the next view. A view of which this life is no member any more is the last that
    /// concerns it: the root takes it for dead.
    pub fn next<W: Window>(&mut self, window: &W) -> Seen {
        // Acquire: a view is complete before its number is published.
        let latest = window.load_acquire64(layout::LATEST);
        if self.next == 0 {
            return self.first(window, latest);
        }
        if latest < self.next {
            let has_gone_back = latest < self.next.saturating_sub(1);
            return if has_gone_back {
                Seen::Corrupt
            } else {
                Seen::Nothing
            };
        }
        match load(window, self.next) {
            Ok(record) => match View::from_record(&record, self.next) {
                Some(view) => self.take(view),
                None => Seen::Corrupt,
            },
            // It has been written over, or is being: the history is no longer.
            Err(_) => self.skip(window),
        }
    }

    /// Says that this life has reached the last view it has seen. To be called once it has let go
    /// of all that belongs to lives that are not in it.
    pub fn acknowledge<W: Window>(&self, window: &W) {
        if self.seen != 0 {
            // Release: what was let go of was so before.
            window.store_release64(reached_at(self.me.vnode), self.seen);
        }
    }

    fn first<W: Window>(&mut self, window: &W, latest: u64) -> Seen {
        if latest == 0 {
            return Seen::Nothing;
        }
        match load(window, latest) {
            Ok(record) => match View::from_record(&record, latest) {
                Some(view) if view.contains(self.me) => self.take(view),
                Some(_) => Seen::Nothing,
                None => Seen::Corrupt,
            },
            // The root is quick; there is something later to look at.
            Err(_) => Seen::Nothing,
        }
    }

    /// Takes a view that has come otherwise than through shared memory: the root hands its own
    /// kernel those that it makes, in order. It so believes nothing that others can overwrite.
    pub fn take(&mut self, view: View) -> Seen {
        self.seen = view.number();
        self.next = self.seen.saturating_add(1);
        Seen::View(view)
    }

    /// Goes on with the latest view. It is later than the one that is missing: before the root
    /// writes over a view it has published those in between.
    fn skip<W: Window>(&mut self, window: &W) -> Seen {
        let latest = window.load_acquire64(layout::LATEST);
        let missed = latest.saturating_sub(self.next);
        if missed == 0 {
            return Seen::Corrupt;
        }
        self.next = latest;
        Seen::TooSlow { missed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Generation, VnodeId};

    /// DS-62: a view that was handed over counts as seen, like one that was read.
    #[test]
    fn a_view_that_is_handed_over_is_the_last_one_seen() {
        let me = Life {
            vnode: VnodeId::ROOT,
            generation: Generation(1),
        };
        let mut observer = Observer::new(me);
        let before = View::before(me);
        assert_eq!((before.number(), before.members()), (0, 0));
        let view = View {
            number: 7,
            ..before
        };
        assert_eq!(observer.take(view), Seen::View(view));
        assert_eq!((observer.last(), observer.next), (7, 8));
    }
}
