// SPDX-License-Identifier: GPL-2.0

//! Figures: two things are done in turns, so that whatever else the machine does is done to both,
//! and the medians of the time that they take are remembered.

use crate::call::tsc;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Release, //
};

/// What is measured, by the name that the report has for it.
#[derive(Clone, Copy)]
pub(crate) enum Figure {
    Portal,
    PortalsBothWays,
    Request,
    CopyIn,
    CopyOut,
}

const NAMES: [&str; 5] = [
    "portal",
    "portals-both-ways",
    "request",
    "copy-in",
    "copy-out",
];

/// By figure: its median, and that of what it is compared to; 0 before they are measured.
static MEDIANS: [[Atomic<u64>; 2]; NAMES.len()] =
    [const { [const { Atomic::new(0) }; 2] }; NAMES.len()];

/// Measures a figure and what it is compared to, one after the other, so many times.
pub(crate) fn measure(
    figure: Figure,
    rounds: usize,
    mut this: impl FnMut() -> Result,
    mut that: impl FnMut() -> Result,
) -> Result {
    let mut these = KVec::with_capacity(rounds, GFP_KERNEL)?;
    let mut those = KVec::with_capacity(rounds, GFP_KERNEL)?;
    for _ in 0..rounds {
        these.push(timed(&mut this)?, GFP_KERNEL)?;
        those.push(timed(&mut that)?, GFP_KERNEL)?;
    }
    let places = MEDIANS.get(figure as usize).ok_or(EINVAL)?;
    for (place, times) in places.iter().zip([&mut these, &mut those]) {
        times.sort_unstable();
        let median = times.get(rounds / 2).ok_or(EINVAL)?;
        place.store(*median, Release);
    }
    Ok(())
}

fn timed(what: &mut impl FnMut() -> Result) -> Result<u64> {
    let start = tsc();
    what()?;
    Ok(tsc().wrapping_sub(start))
}

/// What of the report was measured so.
pub(crate) fn report(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (name, [this, that]) in NAMES.iter().zip(&MEDIANS) {
        let (this, that) = (this.load(Acquire), that.load(Acquire));
        if that != 0 {
            writeln!(f, "{} {} {}", name, this, that)?;
        }
    }
    Ok(())
}
