// SPDX-License-Identifier: GPL-2.0

//! Typing: the viewer that has the keyboard, and the speaker that hears it (docs/vcons.md, section 5).

use super::keyboard::Holder;
use super::{speaker, typed, viewer, Speaker, Viewer, TYPED_SIZE};
use crate::id::VnodeId;
use crate::ring::{Consumer, Producer};
use crate::window::Window;

/// The size of the window in which a console is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines of text.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
    /// Pixels across; 0 where it has none.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
}

impl WindowSize {
    const fn word(self) -> u64 {
        (self.height as u64) << 48
            | (self.width as u64) << 32
            | (self.columns as u64) << 16
            | self.rows as u64
    }

    const fn from_word(word: u64) -> Self {
        Self {
            rows: word as u16,
            columns: (word >> 16) as u16,
            width: (word >> 32) as u16,
            height: (word >> 48) as u16,
        }
    }
}

/// Counters of a viewer, and what each counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Break,
    HangUp,
    Resize,
}

impl Signal {
    const fn offset(self) -> usize {
        match self {
            Self::Break => Viewer::OFFSETS.breaks,
            Self::HangUp => Viewer::OFFSETS.hangups,
            Self::Resize => Viewer::OFFSETS.sizes,
        }
    }
}

/// What each signal's counter says.
#[derive(Clone, Copy, Debug, Default)]
struct Counts([u32; 3]);

impl Counts {
    fn of(&mut self, signal: Signal) -> &mut u32 {
        let [breaks, hangups, sizes] = &mut self.0;
        match signal {
            Signal::Break => breaks,
            Signal::HangUp => hangups,
            Signal::Resize => sizes,
        }
    }

    /// All of them together.
    fn sum(&self) -> u32 {
        self.0.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }
}

/// A viewer that types.
#[derive(Debug)]
pub struct Typist {
    me: VnodeId,
    producer: Producer,
    ticket: u32,
    counts: Counts,
}

impl Typist {
    /// One that has no ticket yet. It goes on where this viewer has left off, if it has typed before.
    pub fn new<W: Window>(window: &W, me: VnodeId) -> Self {
        let head = window.load_acquire(typed(me).head);
        Self {
            me,
            producer: Producer::at(typed(me), head),
            ticket: 0,
            counts: Counts::default(),
        }
    }

    /// Begins to type under a ticket, which the root has published: what this viewer has typed before
    /// is not heard any more. The speaker may be about it still; what it finds changed by this it
    /// throws away, since it then finds the keyboard changed as well.
    pub fn begin<W: Window>(&mut self, window: &W, ticket: u32) {
        for signal in [Signal::Break, Signal::HangUp, Signal::Resize] {
            window.store_release(viewer(self.me, signal.offset()), 0);
        }
        self.counts = Counts::default();
        self.ticket = ticket;
        let start = self.producer.publish(window);
        window.store_release(viewer(self.me, Viewer::OFFSETS.start), start);
        window.store_release(viewer(self.me, Viewer::OFFSETS.ticket), ticket);
    }

    /// Types as many of the bytes as there is room for; how many. There is none where the speaker's
    /// index makes no sense, until it takes a ticket up (VC-32).
    pub fn press<W: Window>(&mut self, window: &W, bytes: &[u8]) -> usize {
        self.producer.push(window, bytes).unwrap_or(0)
    }

    /// Bytes that can be typed now; none where the speaker's index makes no sense.
    pub fn room<W: Window>(&self, window: &W) -> usize {
        self.producer.room(window).unwrap_or(0)
    }

    /// Bytes and signals that the speaker has yet to take; all bytes that there can be where its index
    /// makes no sense. What it has taken it acts on, whoever gets the keyboard then (VC-38).
    pub fn unheard<W: Window>(&self, window: &W) -> usize {
        let bytes = TYPED_SIZE.saturating_sub(self.room(window));
        bytes.saturating_add(self.unheard_signals(window) as usize)
    }

    fn unheard_signals<W: Window>(&self, window: &W) -> u32 {
        let me = Holder {
            viewer: Some(self.me),
            ticket: self.ticket,
        };
        // It counts from 0 under each ticket, and begins to before it says whom it hears.
        let heard = match window.load_acquire64(speaker(Speaker::OFFSETS.heeding)) == me.word() {
            true => window.load_acquire(speaker(Speaker::OFFSETS.heard)),
            false => 0,
        };
        self.counts.sum().wrapping_sub(heard)
    }

    /// Sends a break.
    pub fn send_break<W: Window>(&mut self, window: &W) {
        self.count(window, Signal::Break);
    }

    /// Hangs up.
    pub fn hang_up<W: Window>(&mut self, window: &W) {
        self.count(window, Signal::HangUp);
    }

    /// Sets the size of the window.
    pub fn resize<W: Window>(&mut self, window: &W, size: WindowSize) {
        window.store_release64(viewer(self.me, Viewer::OFFSETS.window), size.word());
        self.count(window, Signal::Resize);
    }

    fn count<W: Window>(&mut self, window: &W, signal: Signal) {
        let count = self.counts.of(signal);
        *count = count.wrapping_add(1);
        window.store_release(viewer(self.me, signal.offset()), *count);
    }
}

/// What the speaker has heard since it last listened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Bytes that were typed.
    pub bytes: usize,
    /// Whose they are, for who waits for room.
    pub from: Option<VnodeId>,
    /// Whether there was a break.
    pub is_break: bool,
    /// Whether the viewer has hung up.
    pub is_hung_up: bool,
    /// The new size of the window, if it was set.
    pub size: Option<WindowSize>,
}

impl Heard {
    /// Whether there was nothing to hear.
    pub fn is_nothing(&self) -> bool {
        self.bytes == 0 && !self.is_break && !self.is_hung_up && self.size.is_none()
    }
}

/// One whom the speaker hears.
#[derive(Debug)]
struct Heeded {
    viewer: VnodeId,
    consumer: Consumer,
    counts: Counts,
}

/// The speaker.
#[derive(Debug)]
pub struct Listener {
    holder: Holder,
    heeded: Option<Heeded>,
}

impl Listener {
    /// One that has heard nobody yet.
    pub const fn new() -> Self {
        Self {
            holder: Holder::NOBODY,
            heeded: None,
        }
    }

    /// Hears what the one with the keyboard does; what it types is put into `to` (VC-31). What the
    /// keyboard has changed hands over meanwhile is not heard. Whoever calls this acts on what it is
    /// told: for the viewer it is done (VC-38).
    pub fn listen<W: Window>(&mut self, window: &W, to: &mut [u8]) -> Heard {
        let holder = Holder::read(window);
        if holder != self.holder {
            self.holder = holder;
            self.heeded = None;
        }
        let Some(vnode) = holder.viewer.filter(|it| is_under(window, *it, holder)) else {
            return Heard::default();
        };
        let heeded = self
            .heeded
            .get_or_insert_with(|| Heeded::begin(window, vnode, holder));
        let heard = heeded.listen(window, to);
        if Holder::read(window) != holder {
            return Heard::default();
        }
        if !heard.is_nothing() {
            heeded.take(window, heard.bytes);
        }
        heard
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a viewer types under the ticket that the root has given it.
fn is_under<W: Window>(window: &W, vnode: VnodeId, holder: Holder) -> bool {
    window.load_acquire(viewer(vnode, Viewer::OFFSETS.ticket)) == holder.ticket
}

impl Heeded {
    /// Begins where the viewer has begun; or, if this vnode has heard it before, goes on there: its
    /// module was loaded anew.
    fn begin<W: Window>(window: &W, vnode: VnodeId, holder: Holder) -> Self {
        let heeding = speaker(Speaker::OFFSETS.heeding);
        let mut heeded = Self {
            viewer: vnode,
            consumer: Consumer::at(typed(vnode), window.load_acquire(typed(vnode).tail)),
            counts: Counts::default(),
        };
        if window.load_acquire64(heeding) == holder.word() {
            for signal in [Signal::Break, Signal::HangUp, Signal::Resize] {
                heeded.has_moved(window, signal);
            }
            heeded.take(window, 0);
        } else {
            heeded.go_to(window, viewer(vnode, Viewer::OFFSETS.start));
            window.store_release(speaker(Speaker::OFFSETS.heard), 0);
            window.store_release64(heeding, holder.word());
        }
        heeded
    }

    /// Takes nothing of what lies before an index of the viewer's.
    fn go_to<W: Window>(&mut self, window: &W, index: usize) {
        let index = window.load_acquire(index);
        window.store_release(typed(self.viewer).tail, index);
        self.consumer = Consumer::at(typed(self.viewer), index);
    }

    fn listen<W: Window>(&mut self, window: &W, to: &mut [u8]) -> Heard {
        let bytes = self.consumer.peek(window, to).unwrap_or_else(|_| {
            self.go_to(window, typed(self.viewer).head);
            0
        });
        let is_resized = self.has_moved(window, Signal::Resize);
        let size = window.load_acquire64(viewer(self.viewer, Viewer::OFFSETS.window));
        Heard {
            bytes,
            from: Some(self.viewer),
            is_break: self.has_moved(window, Signal::Break),
            is_hung_up: self.has_moved(window, Signal::HangUp),
            size: is_resized.then_some(WindowSize::from_word(size)),
        }
    }

    /// Tells the viewer that so many bytes, and the signals that were seen, are acted on.
    fn take<W: Window>(&mut self, window: &W, bytes: usize) {
        self.consumer.commit(window, bytes);
        window.store_release(speaker(Speaker::OFFSETS.heard), self.counts.sum());
    }

    /// Whether a counter has moved, once for each time that it is seen to have (VC-33).
    fn has_moved<W: Window>(&mut self, window: &W, signal: Signal) -> bool {
        let now = window.load_acquire(viewer(self.viewer, signal.offset()));
        core::mem::replace(self.counts.of(signal), now) != now
    }
}
