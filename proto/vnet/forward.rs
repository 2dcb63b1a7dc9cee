// SPDX-License-Identifier: GPL-2.0

//! Whom a frame reaches (docs/vnet.md, section 2.3).
//!
//! On a cable all stations get all frames, and each drops what it does not listen to. Here the sender does that for them: no
//! station is disturbed by what it would drop.

use super::station::{Mac, Roster, Seen};
use crate::membership::{bit, Mask};

/// Whom a frame reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// The stations that it is for (VN-13).
    pub heard: Mask,
    /// Those among them that have its address: none, if that is a group's or somebody's beyond the segment.
    pub meant: Mask,
}

/// Whom a frame to this address reaches.
pub fn audience(roster: &Roster, to: Mac) -> Audience {
    let mut audience = Audience::default();
    for (vnode, seen) in roster.stations() {
        if hears(seen, to) {
            audience.heard |= bit(vnode);
        }
        if seen.mac == to {
            audience.meant |= bit(vnode);
        }
    }
    audience
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
