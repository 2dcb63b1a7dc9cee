// SPDX-License-Identifier: GPL-2.0

//! The ring of messages from one vnode to another: one sender, one receiver, no lock.
//!
//! Each side keeps its own index to itself and only publishes it; the other side's is a claim,
//! checked at each use. The third word, the *tag*, is the root's: it names the two lives that the
//! ring is for at present. An end opens the ring only when the tag is its own, so that neither
//! end ever resets anything; docs/dsp.md section 4 says when the root may. Neither side waits.

use super::message::Message;
use crate::id::{Generation, VnodeId, MAX_VNODES};
use crate::window::Window;

/// Messages that a ring holds.
pub const CAPACITY: u32 = 64;

/// Offset of the tag, a `u64` that the root writes.
const TAG: usize = 0x000;
/// Offset of the sender's index. Two cache lines apart: processors fetch lines in pairs.
const HEAD: usize = 0x080;
/// Offset of the receiver's index.
const TAIL: usize = 0x100;
/// Offset of the messages; the sender writes.
const MESSAGES: usize = 0x180;
/// Bytes of a mailbox.
pub const SIZE: usize = 0x2180;
/// Bytes of all mailboxes together; the receiver's sixteen lie side by side, by sender.
pub const AREA_SIZE: usize = SIZE * MAX_VNODES * MAX_VNODES;

const _: () = assert!(MESSAGES + CAPACITY as usize * Message::SIZE == SIZE);
const _: () = assert!(MESSAGES % Message::SIZE == 0 && SIZE % 64 == 0);
const _: () = assert!(CAPACITY.is_power_of_two());

/// The peer's index makes no sense: the ring cannot be used until its next reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// Why a message was not pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// There is no room for it now.
    Full,
    /// The receiver's index makes no sense.
    Corrupt,
}

impl From<Corrupt> for PushError {
    fn from(_: Corrupt) -> Self {
        Self::Corrupt
    }
}

/// The two lives that a ring is for, as its tag names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(u64);

impl Tag {
    /// The tag of a ring that is closed. Generations count from 1, so no two lives have it.
    pub const CLOSED: Self = Self(0);

    /// The tag of a ring between these lives of its two ends.
    pub const fn new(sender: Generation, receiver: Generation) -> Self {
        Self((sender.0 as u64) << 32 | receiver.0 as u64)
    }
}

/// Where the parts of a ring lie in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Offset of the tag, a `u64`.
    pub tag: usize,
    /// Offset of the sender's index, a `u32` that runs freely.
    pub head: usize,
    /// Offset of the receiver's index, a `u32` that runs freely.
    pub tail: usize,
    /// Offset of the messages.
    pub messages: usize,
    /// How many there is room for, a power of two.
    pub capacity: u32,
}

impl Layout {
    /// The mailbox for what `sender` says to `receiver`, in the window of all mailboxes.
    pub const fn of(sender: VnodeId, receiver: VnodeId) -> Self {
        let base = (receiver.index() * MAX_VNODES + sender.index()) * SIZE;
        Self {
            tag: base + TAG,
            head: base + HEAD,
            tail: base + TAIL,
            messages: base + MESSAGES,
            capacity: CAPACITY,
        }
    }

    /// Where the message with this index lies.
    fn place(&self, index: u32) -> usize {
        let slot = (index & self.capacity.wrapping_sub(1)) as usize;
        self.messages.wrapping_add(slot.wrapping_mul(Message::SIZE))
    }

    /// Messages in the ring; more than fit is a lie of whoever wrote the other index.
    fn filled(&self, head: u32, tail: u32) -> Result<u32, Corrupt> {
        let filled = head.wrapping_sub(tail);
        if filled > self.capacity {
            return Err(Corrupt);
        }
        Ok(filled)
    }

    fn is_tagged<W: Window>(&self, window: &W, tag: Tag) -> bool {
        // Acquire: whoever sees its tag sees the indices that were set before.
        window.load_acquire64(self.tag) == tag.0
    }
}

/// Makes a ring empty and gives it to two lives. The root only, and only while no life that the
/// ring was for before can still use it (DS-24).
pub fn reset<W: Window>(window: &W, layout: &Layout, tag: Tag) {
    window.store_release64(layout.tag, Tag::CLOSED.0);
    window.store_release(layout.head, 0);
    window.store_release(layout.tail, 0);
    window.store_release64(layout.tag, tag.0);
}

/// The side that puts messages in.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    layout: Layout,
    head: u32,
}

impl Sender {
    /// Opens the ring if it is for these lives; goes on where this life has left off, which
    /// matters to a nanokernel that is loaded a second time.
    pub fn open<W: Window>(window: &W, layout: Layout, tag: Tag) -> Option<Self> {
        layout.is_tagged(window, tag).then(|| Self {
            layout,
            head: window.load_acquire(layout.head),
        })
    }

    /// Messages that can be pushed now.
    pub fn room<W: Window>(&self, window: &W) -> Result<u32, Corrupt> {
        // Acquire: the receiver has copied a message out before we overwrite it.
        let tail = window.load_acquire(self.layout.tail);
        let filled = self.layout.filled(self.head, tail)?;
        Ok(self.layout.capacity.saturating_sub(filled))
    }

    /// Puts a message in if it leaves room for `spare` more.
    pub fn push<W: Window>(
        &mut self,
        window: &W,
        message: &Message,
        spare: u32,
    ) -> Result<(), PushError> {
        if self.room(window)? <= spare {
            return Err(PushError::Full);
        }
        window.write(self.layout.place(self.head), &message.to_bytes());
        self.head = self.head.wrapping_add(1);
        // Release: the message is there before the index says so.
        window.store_release(self.layout.head, self.head);
        Ok(())
    }
}

/// The side that takes messages out.
#[derive(Clone, Copy, Debug)]
pub struct Receiver {
    layout: Layout,
    tail: u32,
}

impl Receiver {
    /// Opens the ring if it is for these lives; goes on where this life has left off.
    pub fn open<W: Window>(window: &W, layout: Layout, tag: Tag) -> Option<Self> {
        layout.is_tagged(window, tag).then(|| Self {
            layout,
            tail: window.load_acquire(layout.tail),
        })
    }

    /// Messages that can be popped now.
    pub fn available<W: Window>(&self, window: &W) -> Result<u32, Corrupt> {
        // Acquire: messages are read after the index that announces them.
        let head = window.load_acquire(self.layout.head);
        self.layout.filled(head, self.tail)
    }

    /// Takes the oldest message out, into `to`; says whether there was one.
    pub fn pop<W: Window>(&mut self, window: &W, to: &mut Message) -> Result<bool, Corrupt> {
        if self.available(window)? == 0 {
            return Ok(false);
        }
        let mut bytes = [0; Message::SIZE];
        window.read(self.layout.place(self.tail), &mut bytes);
        self.tail = self.tail.wrapping_add(1);
        // Release: the message is copied before the sender may overwrite it.
        window.store_release(self.layout.tail, self.tail);
        *to = Message::from_bytes(&bytes);
        Ok(true)
    }
}

#[cfg(test)]
mod proofs;

#[cfg(test)]
mod tests {
    use super::*;

    /// DS-20: no two mailboxes share a byte, and all lie in the area.
    #[test]
    fn mailboxes_tile_the_area() {
        let mut starts: Vec<usize> = VnodeId::all()
            .flat_map(|sender| VnodeId::all().map(move |to| Layout::of(sender, to).tag))
            .collect();
        starts.sort_unstable();
        let tiles: Vec<usize> = (0..AREA_SIZE).step_by(SIZE).collect();
        assert_eq!(starts, tiles);
    }

    /// DS-22: indices wrap at 2^32, and exactly what fits is not corrupt.
    #[test]
    fn indices_wrap_at_two_to_the_thirty_two() {
        let ring = Layout::of(VnodeId::ROOT, VnodeId::ROOT);
        assert_eq!(ring.filled(3, u32::MAX - 4), Ok(8));
        assert_eq!(ring.filled(59, u32::MAX - 4), Ok(64));
        assert_eq!(ring.filled(60, u32::MAX - 4), Err(Corrupt));
        assert_eq!(ring.place(u32::MAX), 0x180 + 63 * 128);
        assert_eq!(ring.place(0), 0x180);
    }
}
