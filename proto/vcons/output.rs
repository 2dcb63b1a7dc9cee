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

/// Bytes of a program's that are written in one go: whoever else has something to say, the kernel
/// among them, waits for as long at most.
pub const STEP: usize = 0x1000;

/// The speaker's end. It keeps its counts to itself: what others write over them changes nothing for it.
#[derive(Debug)]
pub struct Output {
    written: u64,
    reserved: u64,
    dropped: u64,
}

impl Output {
    /// Goes on where the console is. One such end at a time.
    pub fn open<W: Window>(window: &W) -> Result<Self, Corrupt> {
        let (written, reserved) = OUTPUT.counts(window)?;
        Ok(Self {
            written,
            reserved,
            dropped: dropped(window),
        })
    }

    /// Goes on at counts that were noted ([`counts`](Self::counts)), where whoever had the other end will
    /// not write any more: in a panic.
    pub const fn at(written: u64, reserved: u64) -> Self {
        Self {
            written,
            reserved,
            dropped: 0,
        }
    }

    /// Bytes written and bytes touched so far.
    pub const fn counts(&self) -> (u64, u64) {
        (self.written, self.reserved)
    }

    /// Bytes that programs can write now. `members` are the vnodes that live and may hold.
    pub fn room<W: Window>(&self, window: &W, members: Mask) -> usize {
        let floor = self.floor(window, members).unwrap_or(self.written);
        let unseen = self.written.saturating_sub(floor);
        u64::from(OUTPUT.size).saturating_sub(unseen) as usize
    }

    /// Writes what programs say, [`STEP`] bytes at most, and what overwrites nothing that somebody
    /// holds; how much that was (VC-10).
    pub fn write_program<W: Window>(&mut self, window: &W, members: Mask, bytes: &[u8]) -> usize {
        let count = self.room(window, members).min(bytes.len()).min(STEP);
        self.append(window, bytes.get(..count).unwrap_or(&[]));
        count
    }

    /// Writes what the kernel says, all of it, and counts what somebody held and has not seen
    /// (VC-11).
    pub fn write_kernel<W: Window>(&mut self, window: &W, members: Mask, bytes: &[u8]) {
        let floor = self.floor(window, members);
        self.append(window, bytes);
        let gone = self.written.saturating_sub(OUTPUT.size.into());
        let lost = floor.map_or(0, |floor| gone.saturating_sub(floor));
        if lost > 0 {
            self.dropped = self.dropped.wrapping_add(lost);
            window.store_release64(speaker(Speaker::OFFSETS.dropped), self.dropped);
        }
    }

    fn append<W: Window>(&mut self, window: &W, bytes: &[u8]) {
        self.written = OUTPUT.append(window, self.written, self.reserved, bytes);
    }

    /// From where on somebody holds; what makes no sense holds nothing (VC-12).
    fn floor<W: Window>(&self, window: &W, members: Mask) -> Option<u64> {
        each(members)
            .map(|vnode| window.load_acquire64(viewer(vnode, Viewer::OFFSETS.floor)))
            .filter(|floor| {
                let unseen = self.written.checked_sub(*floor);
                unseen.is_some_and(|unseen| unseen <= OUTPUT.size.into())
            })
            .min()
    }
}

/// Bytes that were written over before a viewer that held had seen them, in this life.
pub fn dropped<W: Window>(window: &W) -> u64 {
    window.load_acquire64(speaker(Speaker::OFFSETS.dropped))
}
