// SPDX-License-Identifier: GPL-2.0

//! Output: what programs write waits for viewers that hold, what the kernel says does not.
//!
//! docs/vcons.md, section 3. [`OUTPUT`] is the ring; a viewer reads it by
//! [`Layout::read`](crate::console::Layout::read).

use super::{speaker, viewer, Speaker, Viewer, OUTPUT};
use crate::console::Corrupt;
use crate::id::VnodeId;
use crate::membership::{each, Mask};
use crate::window::Window;

/// The floor of a viewer that does not hold.
const NONE: u64 = u64::MAX;

/// Holds the output from a position on, or raises the hold to it: what lies before it has been
/// copied (VC-14). The viewer. What the speaker is about to write when a hold begins, it may not
/// know of: the next read tells what was lost.
pub fn hold<W: Window>(window: &W, me: VnodeId, position: u64) {
    window.store_release64(viewer(me, Viewer::OFFSETS.floor), position);
}

/// Holds nothing any more (VC-13). The viewer; or the root, for one that has ended.
pub fn release<W: Window>(window: &W, me: VnodeId) {
    window.store_release64(viewer(me, Viewer::OFFSETS.floor), NONE);
}

/// Bytes that programs can write now. The speaker; `members` are the vnodes that live, but for
/// those that may not hold.
pub fn room<W: Window>(window: &W, members: Mask) -> Result<usize, Corrupt> {
    let written = OUTPUT.written(window)?;
    let floor = floor(window, members, written).unwrap_or(written);
    let unseen = written.saturating_sub(floor);
    Ok(u64::from(OUTPUT.size).saturating_sub(unseen) as usize)
}

/// Writes what programs say, as much of it as overwrites nothing that somebody holds; how much that
/// was (VC-10). The speaker, which writes from one place at a time.
pub fn write_program<W: Window>(window: &W, members: Mask, bytes: &[u8]) -> Result<usize, Corrupt> {
    let count = room(window, members)?.min(bytes.len());
    OUTPUT.write(window, bytes.get(..count).unwrap_or(&[]))?;
    Ok(count)
}

/// Writes what the kernel says, all of it, and counts what somebody held and has not seen (VC-11).
/// The speaker, as above.
pub fn write_kernel<W: Window>(window: &W, members: Mask, bytes: &[u8]) -> Result<(), Corrupt> {
    let written = OUTPUT.written(window)?;
    let floor = floor(window, members, written);
    OUTPUT.write(window, bytes)?;
    let end = written.saturating_add(bytes.len() as u64);
    let gone = end.saturating_sub(OUTPUT.size.into());
    let lost = floor.map_or(0, |floor| gone.saturating_sub(floor));
    if lost > 0 {
        let dropped = dropped(window).wrapping_add(lost);
        window.store_release64(speaker(Speaker::OFFSETS.dropped), dropped);
    }
    Ok(())
}

/// Bytes that were written over before a viewer that held had seen them, in this life.
pub fn dropped<W: Window>(window: &W) -> u64 {
    window.load_acquire64(speaker(Speaker::OFFSETS.dropped))
}

/// From where on somebody holds; what makes no sense holds nothing (VC-12).
fn floor<W: Window>(window: &W, members: Mask, written: u64) -> Option<u64> {
    each(members)
        .map(|vnode| window.load_acquire64(viewer(vnode, Viewer::OFFSETS.floor)))
        .filter(|floor| {
            let unseen = written.checked_sub(*floor);
            unseen.is_some_and(|unseen| unseen <= OUTPUT.size.into())
        })
        .min()
}
