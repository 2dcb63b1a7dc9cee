// SPDX-License-Identifier: GPL-2.0

//! The sender: stores a sequence number, raises the portal that announces it, and so on.

use crate::receiver::print_all;
use crate::shared::PLACES;
use crate::{
    Test,
    Words, //
};
use adeos_proto::id::VnodeId;
use adeos_proto::portal::{
    self,
    Number, //
};
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Full, //
};

/// By place: the last sequence number that was announced.
static LAST: [Atomic<u64>; PLACES] = [const { Atomic::new(0) }; PLACES];

/// Raises `COUNT` times at least, and as long as the receiver is busy. EINTR when a signal ends it.
pub(crate) fn storm(test: &Test, words: &mut Words<'_>) -> Result {
    let to = words.vnode()?;
    let count = words.number()?;
    let mut portals = KVec::new();
    while let Ok(portal) = words.portal() {
        portals.push(portal, GFP_KERNEL)?;
    }
    if portals.is_empty() {
        return Err(EINVAL);
    }
    let mut places = portals.iter().enumerate().cycle();
    let mut raised: u64 = 0;
    while raised < count || test.shared.is_busy() {
        if let Some((place, portal)) = places.next() {
            raise(test, to, place, *portal)?;
        }
        raised = raised.wrapping_add(1);
        if raised % 256 == 0 && kernel::current!().signal_pending() {
            return Err(EINTR);
        }
    }
    Ok(())
}

/// Raises once.
pub(crate) fn raise(test: &Test, to: VnodeId, place: usize, portal: Number) -> Result {
    announce(test, place)?;
    test.core.raise(to, portal);
    Ok(())
}

/// Stores the next number of a place.
fn announce(test: &Test, place: usize) -> Result {
    let last = LAST.get(place).ok_or(EINVAL)?;
    let sequence = last.fetch_add(1, Full).wrapping_add(1);
    let own = test.core.identity().vnode;
    test.shared.set_sequence(own, place, sequence);
    Ok(())
}

/// Raises, but does not interrupt, as a sender that dies in between.
pub(crate) fn die(test: &Test, to: VnodeId, place: usize, number: Number) -> Result {
    announce(test, place)?;
    let own = test.core.identity().vnode;
    let _ = portal::raise(&test.core.control().slot(to), own, number);
    Ok(())
}

/// What of the report is the sender's.
pub(crate) fn report(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "last")?;
    print_all(f, &LAST)
}
