// SPDX-License-Identifier: GPL-2.0

//! What follows from calls of the table outside it: entries to publish, users to tell, memory to
//! take back.
//!
//! After each call, or several, its user calls [`Table::publish`], then [`Table::next_event`] and
//! [`Table::reclaim`] until nothing comes. Until a change is published, neither of the two says
//! anything about it: nobody is told what the registry does not show, and no memory is taken
//! back that it still shows.

use super::entry;
use super::slot::Stage;
use super::table::Table;
use super::{Id, Phase, Vnodes};
use crate::id::{PhysRange, VnodeId};
use crate::window::Window;

/// Somebody is to look at an entry: a freeze, its end, or the owner's death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whom to tell.
    pub to: VnodeId,
    /// Which bridge.
    pub id: Id,
}

impl<const N: usize> Table<N> {
    /// Publishes every change that is not yet. With interrupts off: readers give up soon.
    pub fn publish<W: Window>(&mut self, window: &W) {
        let before = self.changes;
        for (index, slot) in (0u16..).zip(&mut self.slots) {
            if slot.is_dirty {
                slot.sequence = entry::write(window, index, &slot.record(index), slot.sequence);
                slot.is_dirty = false;
                self.changes = self.changes.wrapping_add(1);
            }
        }
        if self.changes != before {
            window.store_release64(entry::CHANGES, self.changes);
        }
    }

    /// Has the next [`publish`](Self::publish) publish all entries anew: others may have written over
    /// them (BR-51).
    pub fn mend(&mut self) {
        for slot in &mut self.slots {
            slot.is_dirty = true;
        }
    }

    /// The next one of these users to tell that a published change concerns it. Several changes
    /// are one event.
    pub fn next_event(&mut self, users: Vnodes) -> Option<Event> {
        (0u16..).zip(&mut self.slots).find_map(|(index, slot)| {
            let told = slot.notify.among(users);
            let to = told.first().filter(|_| !slot.is_dirty)?;
            slot.notify = slot.notify.without(to);
            let serial = slot.serial;
            let id = Id { index, serial };
            Some(Event { to, id })
        })
    }

    /// An event could not be told: it comes out again, unless its user has gone.
    pub fn untold(&mut self, event: Event) {
        if let Ok(slot) = self.live(event.id) {
            slot.notify_again(event.to);
        }
    }

    /// The next range to scrub and give back to the pool. Each comes out once.
    pub fn reclaim(&mut self) -> Option<PhysRange> {
        let slots = self.slots.iter_mut().filter(|slot| !slot.is_dirty);
        for slot in slots {
            let Some(bridge) = slot.bridge.as_mut() else {
                continue;
            };
            if let Some(left) = bridge.left.take() {
                return Some(left);
            }
            // While it is frozen the mover may be copying from it.
            if bridge.stage == Stage::Doomed && bridge.phase != Phase::Frozen {
                let range = bridge.range;
                slot.bridge = None;
                self.counters.destroyed = self.counters.destroyed.wrapping_add(1);
                return range;
            }
        }
        None
    }
}
