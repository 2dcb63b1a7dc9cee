// SPDX-License-Identifier: GPL-2.0

//! Whom a frame reaches (docs/vnet.md, section 2.3).
//!
//! On a cable all stations get all frames, and each drops what it does not listen to. Here the sender does that for them: no
//! station is disturbed by what it would drop.

use super::station::{Mac, Roster, Seen};
use crate::membership::{bit, Mask};

/// The stations that a frame to this address is for (VN-13).
pub fn targets(roster: &Roster, to: Mac) -> Mask {
    roster
        .stations()
        .filter(|(_, seen)| hears(seen, to))
        .fold(0, |mask, (vnode, _)| mask | bit(vnode))
}

/// The stations that have this address: none, if it is a group's or somebody's beyond the segment.
pub fn addressees(roster: &Roster, to: Mac) -> Mask {
    roster
        .stations()
        .filter(|(_, seen)| seen.mac == to)
        .fold(0, |mask, (vnode, _)| mask | bit(vnode))
}

fn hears(seen: &Seen, to: Mac) -> bool {
    let listens = &seen.listens;
    if listens.promiscuous || to == Mac::BROADCAST {
        return true;
    }
    if to.is_group() {
        return listens.all_multicast || listens.filter & to.filter_bit() != 0;
    }
    seen.mac == to
}
