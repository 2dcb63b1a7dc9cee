// SPDX-License-Identifier: GPL-2.0

//! Requests whose answer this kernel did not wait for to the end: the time was over, or the process
//! was killed. The root may have made this kernel a user by them, which nobody here knows; once the
//! registry shows that, it is taken back.

#![deny(unsafe_code)]

use super::ask::{
    self,
    Told, //
};
use super::{
    Bridges,
    Key, //
};
use crate::core_state::Core;
use crate::machine;
use adeos_proto::bridge::entry;
use adeos_proto::bridge::request::Request;
use kernel::prelude::*;

/// How long a request may still have an effect. The root finds memory for longer than anybody waits.
const LASTING_NS: u64 = 120_000_000_000;

/// A request that was given up.
pub(super) struct Regret {
    key: Key,
    until_ns: u64,
}

impl Bridges {
    /// Notes that a request for the bridge of this name was given up.
    pub(super) fn regret(&self, key: &Key) {
        let regret = Regret {
            key: *key,
            until_ns: machine::now_ns().saturating_add(LASTING_NS),
        };
        // Without room for it this life may stay a user until it ends.
        let _ = self.regrets.lock().push(regret, GFP_KERNEL);
        self.nudge();
    }

    /// Whether there is any request that was given up.
    pub(super) fn has_regrets(&self) -> bool {
        !self.regrets.lock().is_empty()
    }
}

/// Takes back what requests that were given up have brought. Process context; waits for the root.
pub(super) fn make_good(core: &Core) {
    // Whoever is opening a bridge now knows what it is about.
    let Some(_one) = core.bridges().operations.try_lock() else {
        return;
    };
    let now_ns = machine::now_ns();
    let mut regrets = core.bridges().regrets.lock();
    regrets.retain(|regret| !is_settled(core, &regret.key) && now_ns < regret.until_ns);
}

/// Whether there is nothing to be taken back any more.
fn is_settled(core: &Core, key: &Key) -> bool {
    if core.bridges().named(key).is_some() {
        return true;
    }
    let found = entry::find(&core.control().registry(), key);
    match found.filter(|entry| entry.has_user(core.own_life())) {
        Some(entry) => ask::tell(core, &Request::Close(entry.id)) != Told::NotYet,
        // It may be yet to come.
        None => false,
    }
}
