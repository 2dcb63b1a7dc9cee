// SPDX-License-Identifier: GPL-2.0

//! What borrows a region, for as long as C has a handle of it.

use std::io;
use std::sync::Arc;

use bridge::{Memory, Region};

use crate::region::{Handle, Opened};

/// Something that was made of a region, and keeps it open.
///
/// # Invariants
///
/// What `value` borrows is in `opened`, and nothing that it lends is used longer than this.
pub(crate) struct Kept<T> {
    // It is dropped before what it borrows.
    value: T,
    opened: Arc<Opened>,
}

impl<T> Kept<T> {
    /// Makes something of a region, all of which is mapped.
    ///
    /// # Safety
    ///
    /// What `make` is given goes nowhere but into what it returns.
    pub(crate) unsafe fn new(
        region: &Handle,
        make: impl FnOnce(&'static Region, &'static Memory) -> io::Result<T>,
    ) -> io::Result<Self> {
        let opened = region.0.clone();
        // SAFETY: What is in an `Arc` stays where it is while there is one, here until after `value` is dropped; and by this function's
        // conditions nothing else has the reference.
        let borrowed: &'static Opened = unsafe { &*Arc::as_ptr(&opened) };
        let value = make(&borrowed.region, borrowed.memory()?)?;
        // INVARIANT: By this function's conditions.
        Ok(Self { value, opened })
    }

    pub(crate) fn value(&self) -> &T {
        &self.value
    }

    pub(crate) fn opened(&self) -> &Opened {
        &self.opened
    }
}
