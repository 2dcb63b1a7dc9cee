// SPDX-License-Identifier: GPL-2.0

//! What users do about changes of their bridges: let go for a move, go on after it, mourn an owner,
//! and tell the root what did not get through at first. One thread in each kernel, and a work item
//! for each bridge.

#![deny(unsafe_code)]

use super::ask::{
    self,
    Told, //
};
use super::local::{
    self,
    Local,
    Stage,
    State, //
};
use super::{
    regret,
    view,
    Watcher, //
};
use crate::core_state::Core;
use crate::kthread::Body;
use crate::work::Queue;
use adeos_proto::bridge::entry::{
    self,
    Entry, //
};
use adeos_proto::bridge::request::Request;
use adeos_proto::bridge::Phase;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Full,
    Relaxed, //
};
use kernel::sync::Arc;

/// Time between two looks for something that is to be repeated, or an event that was lost. A kernel
/// that has no bridge open looks more rarely.
const LOOK_MS: u32 = 100;
const IDLE_MS: u32 = 1000;

/// What the follower's thread runs: it has each bridge looked at by a work item of its own, so that a
/// watcher that does not return holds up no other bridge.
pub(super) struct Follower {
    core: Arc<Core>,
    queue: Queue,
    /// Changes of the registry that have been looked at.
    seen: Atomic<u64>,
}

impl Follower {
    pub(super) fn new(core: Arc<Core>) -> Result<Self> {
        Ok(Self {
            core,
            queue: Queue::new(c"adeos_bridges")?,
            seen: Atomic::new(0),
        })
    }

    fn look_at_all(&self) {
        let mut at = 0;
        while let Some(local) = self.core.bridges().local(at) {
            // A work item cannot close: it would wait for itself. What is locked is not closing.
            let state = local.state.try_lock();
            let is_closing = state.is_some_and(|state| state.stage == Stage::Closing);
            if is_closing {
                local.close_again(&self.core);
            } else {
                self.queue.add(&local.work);
            }
            at += 1;
        }
    }
}

impl Body for Follower {
    fn round(&self) {
        let bridges = self.core.bridges();
        let has_regrets = bridges.has_regrets();
        let is_idle = bridges.local(0).is_none() && !has_regrets;
        bridges
            .news
            .wait_ms(if is_idle { IDLE_MS } else { LOOK_MS });
        let changes = entry::changes(&self.core.control().registry());
        let is_restless = bridges.restless.xchg(0, Full) != 0;
        if is_restless || changes != self.seen.load(Relaxed) {
            self.seen.store(changes, Relaxed);
            self.look_at_all();
        }
        if has_regrets {
            regret::make_good(&self.core);
        }
    }

    fn wake(&self) {
        self.core.bridges().news.raise();
    }
}

/// Looks at the bridge of this number, in its work item.
pub(super) fn look_at(number: usize) {
    let Ok(core) = Core::get() else {
        return;
    };
    let bridges = core.bridges();
    if let Some(local) = bridges.numbered(number) {
        if local.look(&core) {
            bridges.restless.store(1, Relaxed);
        }
    }
}

impl Local {
    /// Does what the bridge's entry asks for; whether it is to be looked at again soon.
    fn look(&self, core: &Core) -> bool {
        let again = match view::read(core, self.id().index) {
            Ok(Some(entry)) if entry.id == self.id() => self.act_on(core, &entry),
            // Whoever is a user has a bridge: what stands there is not what the root wrote.
            Ok(_) => self.is_frozen(),
            Err(_) => true,
        };
        again | self.say_unmapped(core)
    }

    fn is_frozen(&self) -> bool {
        matches!(self.state.lock().stage, Stage::Frozen(_))
    }

    /// Tries again to say that the last opener is gone, unless somebody is opening the bridge.
    fn close_again(&self, core: &Core) {
        match core.bridges().operations.try_lock() {
            Some(_one) if self.state.lock().stage == Stage::Closing => {
                local::finish(core, self);
            }
            _ => core.bridges().restless.store(1, Relaxed),
        }
    }

    /// Tells the root when nothing here maps the bridge any more; whether to try again.
    pub(super) fn say_unmapped(&self, core: &Core) -> bool {
        let mut state = self.state.lock();
        if !state.is_mapped || state.seats != 0 || state.stage != Stage::Usable {
            return false;
        }
        // The lock is held over the request: nobody maps it in between.
        let told = ask::tell(core, &Request::Unmap(self.id()));
        state.is_mapped = told == Told::NotYet;
        state.is_mapped
    }

    fn act_on(&self, core: &Core, entry: &Entry) -> bool {
        self.mourn(entry);
        let mut state = self.state.lock();
        match state.stage {
            Stage::Usable if is_asked(&state, entry) => {
                state.stage = Stage::LettingGo;
                state.answered = Some(entry.freeze);
                drop(state);
                self.answer(core, entry.freeze)
            }
            Stage::Frozen(freeze) if entry.phase == Phase::Settled || entry.freeze != freeze => {
                drop(state);
                self.go_on();
                // The same entry may ask for the next freeze already.
                true
            }
            Stage::Frozen(_) => true,
            _ => false,
        }
    }

    /// Tells the openers once that the owner has died.
    fn mourn(&self, entry: &Entry) {
        let dead = entry.is_orphan.then_some(entry.owner);
        let mut state = self.state.lock();
        let is_news = dead.is_some() && state.mourned != dead;
        state.mourned = dead;
        drop(state);
        if is_news {
            // Cannot fail: the closure does not.
            let _ = self.call(|watcher| {
                watcher.owner_died();
                Ok(())
            });
        }
    }

    /// Has the openers let go, and answers the freeze; whether the bridge is frozen then.
    fn answer(&self, core: &Core, freeze: u32) -> bool {
        let agreed = self.call(|watcher| watcher.let_go()).is_ok();
        let mut state = self.state.lock();
        if state.stage != Stage::LettingGo {
            // The last opener has gone meanwhile. Its close is an answer as well; if somebody has
            // opened the bridge anew before that, the question stands.
            state.answered = None;
            return true;
        }
        // BR-74: who has said yes and keeps a mapping can not let go either.
        let has_let_go = agreed && state.seats == 0;
        if has_let_go {
            state.stage = Stage::Frozen(freeze);
        }
        drop(state);

        if !has_let_go {
            // When this does not get through, the root finds out by the clock.
            let _ = ask::root(core, &Request::Refuse(self.id(), freeze));
            self.go_on();
            return false;
        }
        match ask::tell(core, &Request::Agree(self.id(), freeze)) {
            // Without an answer the root may have it, and copy: only the entry says when that is
            // over.
            Told::Done | Told::Lost | Told::NotYet => true,
            Told::Refused => {
                self.go_on();
                false
            }
        }
    }

    /// The bridge can be used again, unless its last opener has gone.
    fn go_on(&self) {
        let mut state = self.state.lock();
        if state.stage == Stage::Closing {
            return;
        }
        state.stage = Stage::Usable;
        drop(state);
        // Cannot fail: the closure does not.
        let _ = self.call(|watcher| {
            watcher.settled();
            Ok(())
        });
    }

    /// Calls all watchers, one after the other; the first error, if there is one. The caller does
    /// not hold the bridge's lock.
    fn call(&self, mut what: impl FnMut(&dyn Watcher) -> Result) -> Result {
        self.state.lock().is_calling = true;
        let mut result = Ok(());
        let mut at = 0;
        while let Some(watcher) = self.watcher(at) {
            if let Some(watcher) = watcher {
                result = result.and(what(&*watcher));
            }
            at += 1;
        }
        self.state.lock().is_calling = false;
        self.calm.notify_all();
        result
    }

    fn watcher(&self, at: usize) -> Option<Option<Arc<dyn Watcher>>> {
        let state = self.state.lock();
        state.openers.get(at).map(|opener| opener.watcher.clone())
    }
}

/// Whether a freeze waits for this kernel.
fn is_asked(state: &State, entry: &Entry) -> bool {
    let is_new = state.answered != Some(entry.freeze);
    entry.phase == Phase::Freezing && state.is_mapped && is_new
}
