// SPDX-License-Identifier: GPL-2.0

//! Consoles of vnodes, shown and typed into by others: where what lies in the bridge of one.
//!
//! Paper section 7.3; docs/vcons.md is the specification. The window is the bridge. Output is one
//! ring that keeps the latest ([`output`]); each viewer types into a ring of its own, and the one
//! that has the keyboard is heard ([`typing`], [`keyboard`]). Nobody sleeps here: who waits says so
//! in a word, and whoever brings it about finds whom to wake ([`waiters`]).

pub mod escape;
pub mod keyboard;
pub mod output;
pub mod request;
pub mod typing;
pub mod waiters;

use crate::console;
use crate::id::{VnodeId, MAX_VNODES};
use crate::layout::ConsoleHeader;
use crate::record;
use crate::ring;
use crate::signature::Signature;
use crate::window::Window;

/// Says that the bridge is a console's.
pub const MAGIC: u64 = u64::from_le_bytes(*b"ADEOSVCN");
/// The local name of the bridge.
pub const NAME: &str = "vcons";
/// Version of what docs/vcons.md specifies.
pub const VERSION: u32 = 1;
/// Bytes of the bridge.
pub const SIZE: usize = 0x20_0000;

/// What a console begins with (VC-1).
pub const SIGNATURE: Signature = Signature {
    magic: MAGIC,
    version: VERSION,
    size: SIZE as u32,
};

record! {
    /// What the root says of the console, at the start of the bridge.
    pub struct Header: 0x18 {
        /// [`SIGNATURE`], as the two that follow.
        magic: u64,
        /// [`VERSION`].
        version: u32,
        /// [`SIZE`].
        size: u32,
        /// Who has the keyboard, see [`keyboard::Holder`].
        keyboard: u64,
    }
}

record! {
    /// What the speaker says beside its output.
    pub struct Speaker: 0x54 {
        /// Bytes that holding viewers had not seen when they were written over.
        dropped: u64,
        /// Whom it hears, as the header's `keyboard` had it when it began to.
        heeding: u64,
        /// By viewer, how far the speaker has taken what it has typed.
        tails: [u32; 16],
        /// Breaks, times hung up and sizes that it has taken from whom it hears, together.
        heard: u32,
    }
}

record! {
    /// What a viewer says.
    pub struct Viewer: 0x28 {
        /// Position up to which it has seen the output; all ones while it does not hold.
        floor: u64,
        /// The ticket under which it types.
        ticket: u32,
        /// Its `head` when it began to.
        start: u32,
        /// Bytes that it has typed, for ever.
        head: u32,
        /// Breaks that it has sent under this ticket.
        breaks: u32,
        /// Times that it has hung up.
        hangups: u32,
        /// Times that it has set the window's size.
        sizes: u32,
        /// Rows, columns, and width and height in pixels.
        window: [u16; 4],
    }
}

const SPEAKER: usize = 0x1000;
/// Where the speaker's other words lie, behind the header of its output.
const SPEAKER_WORDS: usize = SPEAKER + ConsoleHeader::SIZE;
const VIEWERS: usize = 0x2000;
/// Two cache lines for each viewer: processors fetch lines in pairs.
const VIEWER: usize = 0x80;
/// The word of [`waiters`].
const AWAITED: usize = 0x2800;
const TYPED: usize = 0x1_0000;
/// Bytes that a viewer can have typed and the speaker has yet to take.
pub const TYPED_SIZE: usize = 0x1000;
const OUTPUT_DATA: usize = 0x10_0000;

/// The output.
pub const OUTPUT: console::Layout = console::Layout {
    header: SPEAKER,
    data: OUTPUT_DATA,
    size: 0x10_0000,
    version: VERSION,
};

const _: () = assert!(SPEAKER_WORDS + Speaker::SIZE <= VIEWERS);
const _: () = assert!(Viewer::SIZE <= VIEWER && VIEWERS + VIEWER * MAX_VNODES == AWAITED);
const _: () = assert!(TYPED + TYPED_SIZE * MAX_VNODES <= OUTPUT_DATA);
const _: () = assert!(OUTPUT_DATA + OUTPUT.size as usize == SIZE);

/// Where a field of the speaker's lies.
const fn speaker(field: usize) -> usize {
    SPEAKER_WORDS + field
}

/// Where a field of a viewer's lies.
const fn viewer(vnode: VnodeId, field: usize) -> usize {
    VIEWERS + VIEWER * vnode.index() + field
}

/// What a viewer types.
const fn typed(vnode: VnodeId) -> ring::Layout {
    ring::Layout {
        head: viewer(vnode, Viewer::OFFSETS.head),
        tail: speaker(Speaker::OFFSETS.tails) + 4 * vnode.index(),
        data: TYPED + TYPED_SIZE * vnode.index(),
        size: TYPED_SIZE as u32,
    }
}

/// Makes a new bridge a console. The root, before anybody else has it.
pub fn create<W: Window>(window: &W) {
    for vnode in VnodeId::all() {
        output::release(window, vnode);
    }
    prepare(window);
    keyboard::Holder::NOBODY.publish(window);
    SIGNATURE.sign(window);
}

/// Makes it ready for the next life of the speaker, of which nothing runs: what it has said is kept
/// (VC-2). The root; nobody has the keyboard now (VC-34).
pub fn prepare<W: Window>(window: &W) {
    OUTPUT.format(window);
    window.store_release64(speaker(Speaker::OFFSETS.dropped), 0);
    let nobody = keyboard::Holder::NOBODY.word();
    window.store_release64(speaker(Speaker::OFFSETS.heeding), nobody);
}
