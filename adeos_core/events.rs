// SPDX-License-Identifier: GPL-2.0

//! Subscriptions to what happens to vnodes: a function that is called for each new view of the
//! membership (paper section 3, "fault containment").
//!
//! Lock: [`Core`]'s `subscribers`, a mutex that is held while the functions run.

#![deny(unsafe_code)]

use crate::core_state::Core;
use adeos_proto::membership::View;
use kernel::prelude::*;
use kernel::sync::Arc;

/// What is called for each new view. It runs in the nanokernel's thread: process context, it may
/// sleep. It must not wait for another vnode, nor subscribe or drop a subscription: this kernel
/// acknowledges the view only when it has returned.
pub type Listener = fn(&Core, &View);

/// A subscription; its function is not called any more once this is dropped.
///
/// The function sees the views in order, each before this kernel acknowledges it, and after the
/// links to lives that are not in it have ended: no message of theirs comes any more. Who
/// subscribes gets the next view; [`Core::view`], called after that, tells what is so far. A kernel
/// that was too slow for the history skips views, so a subscriber compares lives instead of
/// relying on each change.
///
/// # Examples
///
/// ```ignore
/// fn changed(_core: &Core, view: &View) {
///     if let Change::Died(life, _) = view.change() {
///         let_go_of(life);
///     }
/// }
///
/// let subscription = Subscription::new(changed)?;
/// ```
pub struct Subscription {
    core: Arc<Core>,
    number: u64,
}

impl Subscription {
    /// Subscribes. Process context; sleeps. ENODEV without a nanokernel, ENOMEM.
    pub fn new(listener: Listener) -> Result<Self> {
        let core = Core::get()?;
        let number = core.subscribers().lock().add(listener)?;
        Ok(Self { core, number })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Taking the lock waits for a call that runs.
        self.core.subscribers().lock().remove(self.number);
    }
}

/// All subscriptions of this kernel.
pub(crate) struct Subscribers {
    listeners: KVec<(u64, Listener)>,
    next: u64,
}

impl Subscribers {
    pub(crate) const fn new() -> Self {
        Self {
            listeners: KVec::new(),
            next: 0,
        }
    }

    fn add(&mut self, listener: Listener) -> Result<u64> {
        let number = self.next;
        self.listeners.push((number, listener), GFP_KERNEL)?;
        self.next = self.next.wrapping_add(1);
        Ok(number)
    }

    fn remove(&mut self, number: u64) {
        self.listeners.retain(|(other, _)| *other != number);
    }
}

impl Core {
    pub(crate) fn tell_subscribers(&self, view: &View) {
        for (_, listener) in &self.subscribers().lock().listeners {
            listener(self, view);
        }
    }
}
