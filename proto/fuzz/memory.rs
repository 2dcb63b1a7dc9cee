// SPDX-License-Identifier: GPL-2.0

//! Shared memory with a peer that stores into it between any two accesses.

use crate::{at, Input};
use adeos_proto::window::Window;
use std::cell::{Cell, RefCell};
use std::ops::Range;

/// Numbers at which comparisons change their minds.
const BOUNDARIES: [u64; 16] = [
    0,
    1,
    63,
    64,
    65,
    u16::MAX as u64,
    0x7fff_ffff,
    0x8000_0000,
    u32::MAX as u64 - 1,
    u32::MAX as u64,
    1 << 32,
    1 << 48,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// A store of a peer that knows what the reader expects.
pub type Forger = fn(&Memory<'_>, &Input<'_>);

/// Shared memory, and a peer as the input has it.
pub struct Memory<'a> {
    bytes: RefCell<Vec<u8>>,
    peer: Option<&'a Input<'a>>,
    /// Where the peer stores.
    reach: Vec<Range<usize>>,
    /// Places there that matter most; half of its stores go to one of them.
    hot: Vec<usize>,
    forger: Option<Forger>,
    /// A number that is another one at each access.
    restless: Cell<Option<usize>>,
    /// Where this side may load, and where it may load and store.
    sees: RefCell<Vec<Range<usize>>>,
    owns: RefCell<Vec<Range<usize>>>,
    /// Accesses until the peer stores again.
    delay: Cell<usize>,
    accesses: Cell<usize>,
}

impl<'a> Memory<'a> {
    /// Zeros that nobody else writes, and of which all may be stored to.
    pub fn quiet(size: usize) -> Self {
        Self::holding(vec![0; size])
    }

    /// The same with these bytes.
    pub fn holding(bytes: Vec<u8>) -> Self {
        let size = bytes.len();
        Self {
            bytes: RefCell::new(bytes),
            peer: None,
            reach: Vec::new(),
            hot: Vec::new(),
            forger: None,
            restless: Cell::new(None),
            sees: RefCell::new(Vec::new()),
            owns: RefCell::new(vec![at(0, size)]),
            delay: Cell::new(0),
            accesses: Cell::new(0),
        }
    }

    /// From now on a peer stores to `reach`, and most of all to the numbers at `hot`.
    pub fn disturb(&mut self, peer: &'a Input<'a>, reach: Vec<Range<usize>>, hot: Vec<usize>) {
        self.peer = Some(peer);
        self.reach = reach;
        self.hot = hot;
    }

    /// The peer also stores as this says, which goes to its own places only.
    pub fn forge_by(&mut self, forger: Forger) {
        self.forger = Some(forger);
    }

    /// From now on the number at this offset is another one at each access: somebody counts it up without a pause.
    pub fn unsettle(&self, offset: Option<usize>) {
        self.restless.set(offset);
    }

    /// From now on this side stores to what it `owns` only, and loads from what it `sees` as well.
    pub fn role(&self, sees: &[Range<usize>], owns: &[Range<usize>]) {
        *self.sees.borrow_mut() = sees.to_vec();
        *self.owns.borrow_mut() = owns.to_vec();
    }

    /// Accesses since the last call of this.
    pub fn accesses(&self) -> usize {
        self.accesses.take()
    }

    /// Copies bytes in, whoever may write them.
    pub fn fill(&self, offset: usize, from: &[u8]) {
        let mut bytes = self.bytes.borrow_mut();
        let room = bytes.get_mut(offset..).unwrap_or(&mut []);
        for (to, byte) in room.iter_mut().zip(from) {
            *to = *byte;
        }
    }

    /// A copy of the bytes, without an access.
    pub fn copy(&self, place: Range<usize>) -> Vec<u8> {
        let bytes = self.bytes.borrow();
        bytes.get(place).unwrap_or(&[]).to_vec()
    }

    /// An access begins: the peer's moment.
    fn touch(&self, offset: usize, len: usize) {
        assert!(
            len == 0 || lies_in(&self.owns, offset, len) || lies_in(&self.sees, offset, len),
            "an access of {len} bytes at {offset:#x} goes to what is not for this side"
        );
        self.accesses.set(self.accesses.get() + 1);
        if let Some(offset) = self.restless.get() {
            let counted = u64::from_le_bytes(self.word(offset)).wrapping_add(1);
            self.fill(offset, &counted.to_le_bytes());
        }
        let Some(peer) = self.peer.filter(|peer| !peer.is_over()) else {
            return;
        };
        if self.delay.get() > 0 {
            self.delay.set(self.delay.get() - 1);
            return;
        }
        self.scribble(peer);
        // Mostly soon again, now and then much later.
        let delay = usize::from(peer.byte());
        self.delay.set(if delay < 0xc0 {
            delay % 16
        } else {
            (delay - 0xbf) * 16
        });
    }

    fn touch_number<const N: usize>(&self, offset: usize) {
        assert!(offset % N == 0, "{offset:#x} is not aligned to {N} bytes");
        self.touch(offset, N);
    }

    fn check_store(&self, offset: usize, len: usize) {
        assert!(
            len == 0 || lies_in(&self.owns, offset, len),
            "a store of {len} bytes at {offset:#x} goes to what others write"
        );
    }

    /// One store of the peer's: any number, one near a boundary or near what is there, what
    /// stood elsewhere, or a part of a number.
    fn scribble(&self, peer: &Input<'_>) {
        let how = peer.byte();
        if let (0x78..=0x7f, Some(forger)) = (how, self.forger) {
            return forger(self, peer);
        }
        let part = usize::from(how >> 3 & 15);
        let place = self.target(peer, how & 0x80 != 0);
        let word = u64::from_le_bytes(self.word(place.start));
        match how & 7 {
            0 => self.overwrite(place, &peer.array::<8>()),
            1 => self.overwrite(place, &pick(&BOUNDARIES, peer.byte()).to_le_bytes()),
            2 => self.overwrite(
                place,
                &(pick(&BOUNDARIES, peer.byte()) as u32).to_le_bytes(),
            ),
            3 => {
                let near = (word as u32).wrapping_add_signed(i32::from(peer.byte() as i8));
                self.overwrite(place, &near.to_le_bytes());
            }
            4 => {
                let near = word.wrapping_add_signed(i64::from(peer.byte() as i8));
                self.overwrite(place, &near.to_le_bytes());
            }
            5 => self.overwrite(place, &self.word::<8>(self.target(peer, false).start)),
            6 => self.overwrite(place.start + part % 8..place.end, &[peer.byte()]),
            _ => self.overwrite(place, peer.take(part * 8)),
        }
    }

    fn overwrite(&self, place: Range<usize>, from: &[u8]) {
        self.fill(place.start, from.get(..place.len()).unwrap_or(from));
    }

    /// A number of the peer's choice, and what follows it, where it can reach.
    fn target(&self, peer: &Input<'_>, is_hot: bool) -> Range<usize> {
        let words = |place: &Range<usize>| place.len() / 8;
        let all = self.reach.iter().map(words).sum::<usize>();
        let start = if is_hot && !self.hot.is_empty() {
            let choice = peer.below(self.hot.len());
            self.hot.get(choice).copied().unwrap_or(0)
        } else {
            let mut word = peer.below(all.min(1 << 16));
            let place = self.reach.iter().find(|place| {
                let is_here = word < words(place);
                word -= if is_here { 0 } else { words(place) };
                is_here
            });
            place.map_or(0, |place| place.start + word * 8)
        };
        let place = self.reach.iter().find(|place| place.contains(&start));
        start..place.map_or(start, |place| place.end)
    }

    fn word<const N: usize>(&self, offset: usize) -> [u8; N] {
        let bytes = self.bytes.borrow();
        let found = bytes.get(offset..).and_then(|rest| rest.first_chunk::<N>());
        found.copied().unwrap_or([0; N])
    }

    fn exchange(&self, offset: usize, change: impl FnOnce(u64) -> u64) -> u64 {
        self.touch_number::<8>(offset);
        self.check_store(offset, 8);
        let before = u64::from_le_bytes(self.word(offset));
        self.fill(offset, &change(before).to_le_bytes());
        before
    }
}

fn lies_in(places: &RefCell<Vec<Range<usize>>>, offset: usize, len: usize) -> bool {
    let places = places.borrow();
    let mut places = places.iter();
    places.any(|place| place.start <= offset && offset + len <= place.end)
}

fn pick<T: Copy + Default>(among: &[T], choice: u8) -> T {
    let at = usize::from(choice).checked_rem(among.len()).unwrap_or(0);
    among.get(at).copied().unwrap_or_default()
}

impl Window for Memory<'_> {
    fn size(&self) -> usize {
        self.bytes.borrow().len()
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        self.touch_number::<4>(offset);
        u32::from_le_bytes(self.word(offset))
    }

    fn store_release(&self, offset: usize, value: u32) {
        self.touch_number::<4>(offset);
        self.check_store(offset, 4);
        self.fill(offset, &value.to_le_bytes());
    }

    fn load_acquire64(&self, offset: usize) -> u64 {
        self.touch_number::<8>(offset);
        u64::from_le_bytes(self.word(offset))
    }

    fn store_release64(&self, offset: usize, value: u64) {
        self.exchange(offset, |_| value);
    }

    fn raise(&self, offset: usize, value: u32) {
        self.touch_number::<4>(offset);
        self.check_store(offset, 4);
        let before = u32::from_le_bytes(self.word(offset));
        self.fill(offset, &before.max(value).to_le_bytes());
    }

    fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
        self.exchange(offset, |before| before | bits)
    }

    fn swap64(&self, offset: usize, value: u64) -> u64 {
        self.exchange(offset, |_| value)
    }

    fn compare_exchange64(&self, offset: usize, current: u64, new: u64) -> Result<u64, u64> {
        let swap = |before| if before == current { new } else { before };
        let before = self.exchange(offset, swap);
        if before == current {
            Ok(before)
        } else {
            Err(before)
        }
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        self.touch(offset, to.len());
        let bytes = self.bytes.borrow();
        for (to, from) in to.iter_mut().zip(bytes.iter().skip(offset)) {
            *to = *from;
        }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        self.touch(offset, from.len());
        self.check_store(offset, from.len());
        self.fill(offset, from);
    }

    fn full_barrier(&self) {}
}
