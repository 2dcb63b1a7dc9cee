// SPDX-License-Identifier: GPL-2.0

//! Which vnodes the root lets be on a segment, as its administrator says it.
//!
//! A line of words, one for each segment: `storage=1.4,2.7` names life 4 of vnode 1 and life 7 of vnode 2. What is said of
//! a life is over with it (VN-72). docs/vnet.md, section 5.1.

use super::station::Lives;
use crate::bridge::Vnodes;
use crate::id::{Generation, VnodeId, MAX_VNODES};

/// What is said of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Members<'a> {
    /// Its name, which may not be one that a segment can have.
    pub segment: &'a str,
    /// The life of each vnode that may be there; none of others.
    pub lives: Lives,
}

/// A word says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What a line says of segments, in its order.
pub fn parse(line: &str) -> impl Iterator<Item = Result<Members<'_>, Malformed>> {
    line.split_ascii_whitespace()
        .map(|word| parse_word(word).ok_or(Malformed))
}

fn parse_word(word: &str) -> Option<Members<'_>> {
    let (segment, list) = word.split_once('=')?;
    let mut lives = [None; MAX_VNODES];
    // Nobody is a list as well.
    for life in list.split(',').filter(|_| !list.is_empty()) {
        let (vnode, generation) = life.split_once('.')?;
        let vnode = VnodeId::new(vnode.parse().ok()?)?;
        let generation = generation.parse().ok()?;
        *lives.get_mut(vnode.index())? = Some(Generation(generation));
    }
    Some(Members { segment, lives })
}

/// Those of some lives that are now, and the root, which may be on all segments.
pub fn living(allowed: &Lives, now: &Lives) -> Vnodes {
    VnodeId::all()
        .zip(allowed.iter().zip(now))
        .filter(|(_, (allowed, now))| allowed.is_some() && allowed == now)
        .fold(Vnodes::NONE.with(VnodeId::ROOT), |vnodes, (vnode, _)| {
            vnodes.with(vnode)
        })
}
