// SPDX-License-Identifier: GPL-2.0

//! Every kernel's part in the membership: it takes the views in order, lets go of who is not in
//! them, tells its subscribers, and acknowledges (docs/dsp.md, section 6).
//!
//! All of it happens in the nanokernel's thread. A vnode takes the views from shared memory; the
//! root takes those that it has made, from its own. Lock: [`Core`]'s `follower`, a mutex that only
//! the nanokernel's thread takes; all others come inside it.

#![deny(unsafe_code)]

use crate::core_state::Core;
use crate::quiet::Quiet;
use adeos_proto::id::Life;
use adeos_proto::membership::observer::{
    Observer,
    Seen, //
};
use adeos_proto::membership::{
    View,
    HISTORY, //
};
use kernel::prelude::*;

/// The line about views that were missed: the word that tells of them is another kernel's.
static MISSED: Quiet = Quiet::new();

/// How far this kernel has come.
pub(crate) struct Follower {
    observer: Observer,
    /// Whether nonsense in the views has been reported.
    has_complained: bool,
}

impl Follower {
    pub(crate) const fn new(me: Life) -> Self {
        Self {
            observer: Observer::new(me),
            has_complained: false,
        }
    }

    fn next(&mut self, core: &Core) -> Seen {
        let roster = core.roster().lock();
        let Some(roster) = roster.as_ref() else {
            return self.observer.next(&core.control().membership());
        };
        let last = self.observer.last();
        let latest = roster.latest();
        if latest.number() <= last {
            return Seen::Nothing;
        }
        // Views that the history has lost are skipped, as in a vnode.
        let next = roster.recent(last.wrapping_add(1)).unwrap_or(latest);
        self.observer.take(next)
    }
}

impl Core {
    /// Takes the views that have come since the last call; whether there were any. The nanokernel's
    /// thread.
    pub(crate) fn follow_views(&self) -> bool {
        let mut follower = self.follower().lock();
        let mut has_news = false;
        for _ in 0..=HISTORY {
            match follower.next(self) {
                Seen::View(view) => {
                    self.adopt(&view);
                    follower.observer.acknowledge(&self.control().membership());
                    has_news = true;
                }
                Seen::TooSlow { missed } => {
                    if MISSED.allows().is_some() {
                        pr_warn!("{} views were missed\n", missed);
                    }
                }
                Seen::Corrupt => {
                    if !core::mem::replace(&mut follower.has_complained, true) {
                        pr_err!("the views make no sense\n");
                    }
                    break;
                }
                Seen::Nothing => break,
            }
        }
        has_news
    }

    /// Lets go of the lives that are not in a view, and tells the subscribers.
    fn adopt(&self, view: &View) {
        let me = self.own_life();
        if !view.contains(me) {
            // DS-67. What follows ends all links.
            pr_err!(
                "view {} is without this vnode: the root takes it for dead\n",
                view.number()
            );
        }
        self.endpoint().adopt(self, view);
        self.tell_subscribers(view);
    }
}
