// SPDX-License-Identifier: GPL-2.0

//! Whose the 64 portals of a kernel are.
//!
//! Each kernel gives out its own, to its own services; who is to raise one is told its number by
//! the service that has it. A number is free again only when no handler of its last owner can run.

use super::{forget, mask, Number};
use crate::layout::PORTALS;
use crate::window::Window;

/// Who has a portal: a service of this kernel, by a name that means something in it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(pub &'static str);

/// A portal that is somebody's; a copy that was kept too long is refused (PO-31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portal {
    /// Its number.
    pub number: Number,
    /// Counts the owners that the number had.
    pub serial: u32,
}

/// Why a call is refused. A call that is refused has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No portal is free (ENOSPC).
    Full,
    /// The portal is somebody's (EBUSY).
    Taken,
    /// The portal is not, or no longer, the one that is meant (ESTALE).
    Stale,
}

/// How far a portal is from being free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Owned(Owner),
    /// It is masked, but a handler that was claimed before may still run.
    Releasing(Owner),
}

/// Whose the 64 portals of this kernel are. Behind a lock; no interrupt needs it.
#[derive(Debug)]
pub struct Allocator {
    states: [State; PORTALS],
    serials: [u32; PORTALS],
}

impl Allocator {
    /// An allocator of which all is free.
    pub const fn new() -> Self {
        Self {
            states: [State::Free; PORTALS],
            serials: [0; PORTALS],
        }
    }

    /// Takes the lowest free portal from `first` on, and leaves it masked: the owner sets its
    /// handler up, then unmasks it. `Full`.
    pub fn allocate<L: Window>(
        &mut self,
        local: &L,
        owner: Owner,
        first: Number,
    ) -> Result<Portal, Error> {
        let number = Number::all_of(u64::MAX)
            .filter(|number| *number >= first)
            .find(|number| self.state(*number) == State::Free)
            .ok_or(Error::Full)?;
        Ok(self.give(local, number, owner))
    }

    /// Takes the portal of a well-known number, in the same way. `Taken`.
    pub fn take<L: Window>(
        &mut self,
        local: &L,
        owner: Owner,
        number: Number,
    ) -> Result<Portal, Error> {
        if self.state(number) != State::Free {
            return Err(Error::Taken);
        }
        Ok(self.give(local, number, owner))
    }

    /// First half of a release: nothing more is delivered, but what was claimed before may still
    /// run. The caller takes what has been raised so far out of the inbox ([`super::take`]), then
    /// waits until no CPU takes or runs a handler that did so before, and calls [`Self::finish`].
    /// So all that was meant for this owner is held by then, and forgotten when there is a next
    /// one. `Stale`.
    pub fn release<L: Window>(&mut self, local: &L, portal: Portal) -> Result<(), Error> {
        let State::Owned(owner) = self.current(portal)? else {
            return Err(Error::Stale);
        };
        mask(local, portal.number.bit());
        self.set(portal.number, State::Releasing(owner));
        Ok(())
    }

    /// Second half of a release: no handler of the portal runs; it is free. `Stale`.
    pub fn finish(&mut self, portal: Portal) -> Result<(), Error> {
        let State::Releasing(_) = self.current(portal)? else {
            return Err(Error::Stale);
        };
        self.set(portal.number, State::Free);
        Ok(())
    }

    /// The portals of an owner that are not being released: what is left when a service goes.
    pub fn of(&self, owner: Owner) -> impl Iterator<Item = Portal> + '_ {
        Number::all_of(u64::MAX)
            .filter(move |number| self.state(*number) == State::Owned(owner))
            .map(|number| self.portal(number))
    }

    /// Whose a portal is; nobody's once its release has begun.
    pub fn owner(&self, number: Number) -> Option<Owner> {
        match self.state(number) {
            State::Owned(owner) => Some(owner),
            State::Free | State::Releasing(_) => None,
        }
    }

    fn give<L: Window>(&mut self, local: &L, number: Number, owner: Owner) -> Portal {
        if let Some(serial) = self.serials.get_mut(number.index()) {
            *serial = serial.wrapping_add(1);
        }
        self.set(number, State::Owned(owner));
        forget(local, number);
        self.portal(number)
    }

    fn portal(&self, number: Number) -> Portal {
        let serial = self.serials.get(number.index()).copied().unwrap_or(0);
        Portal { number, serial }
    }

    fn current(&self, portal: Portal) -> Result<State, Error> {
        if self.portal(portal.number) != portal {
            return Err(Error::Stale);
        }
        Ok(self.state(portal.number))
    }

    fn state(&self, number: Number) -> State {
        let found = self.states.get(number.index());
        found.copied().unwrap_or(State::Free)
    }

    fn set(&mut self, number: Number, state: State) {
        if let Some(place) = self.states.get_mut(number.index()) {
            *place = state;
        }
    }
}

impl Default for Allocator {
    fn default() -> Self {
        Self::new()
    }
}
