// SPDX-License-Identifier: GPL-2.0

//! Who waits at a console is woken, under every interleaving and every reordering that C11 allows, by
//! loom.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test --test vcons_loom`. Numbers are those of docs/vcons.md.

#![cfg(loom)]

use adeos_proto::id::VnodeId;
use adeos_proto::membership::bit;
use adeos_proto::vcons::keyboard::Holder;
use adeos_proto::vcons::typing::{Listener, Typist};
use adeos_proto::vcons::waiters::{announce, take, Concerned, Waiter};
use adeos_proto::window::Window;
use loom::sync::atomic::{fence, AtomicU32, AtomicU64, AtomicU8, Ordering};
use loom::sync::Arc;

const KEYBOARD: usize = 0x10;
const BROUGHT: usize = 0x1010;
const HEEDING: usize = 0x1048;
const AWAITED: usize = 0x2800;
const WIDE: [usize; 5] = [KEYBOARD, BROUGHT, HEEDING, AWAITED, WINDOW];
/// Of viewer 1: ticket, start, head, breaks, hangups and sizes, the window's size, and the speaker's
/// tail of what it types and what it has heard.
const NARROW: [usize; 8] = [
    0x2088, 0x208c, 0x2090, 0x2094, 0x2098, 0x209c, 0x1054, 0x1090,
];
const WINDOW: usize = 0x20a0;
/// The first bytes of what it types.
const TYPED: usize = 0x1_1000;

/// The words that the tests use.
struct Shared {
    wide: [AtomicU64; 5],
    narrow: [AtomicU32; 8],
    typed: [AtomicU8; 4],
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            wide: std::array::from_fn(|_| AtomicU64::new(0)),
            narrow: std::array::from_fn(|_| AtomicU32::new(0)),
            typed: std::array::from_fn(|_| AtomicU8::new(0)),
        })
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        let index = WIDE.iter().position(|it| *it == offset);
        &self.wide[index.expect("a word that the tests use")]
    }

    fn number(&self, offset: usize) -> &AtomicU32 {
        let index = NARROW.iter().position(|it| *it == offset);
        &self.narrow[index.expect("a number that the tests use")]
    }
}

impl Window for Shared {
    fn size(&self) -> usize {
        0x20_0000
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        self.number(offset).load(Ordering::Acquire)
    }

    fn store_release(&self, offset: usize, value: u32) {
        self.number(offset).store(value, Ordering::Release);
    }

    fn load_acquire64(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Acquire)
    }

    fn store_release64(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Release);
    }

    fn raise(&self, _: usize, _: u32) {
        unreachable!("nothing is raised")
    }

    fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
        let before = self.word(offset).fetch_or(bits, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        before
    }

    fn swap64(&self, _: usize, _: u64) -> u64 {
        unreachable!("others may have set bits")
    }

    fn compare_exchange64(&self, offset: usize, current: u64, new: u64) -> Result<u64, u64> {
        self.word(offset)
            .compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        for (to, cell) in to.iter_mut().zip(&self.typed[offset - TYPED..]) {
            *to = cell.load(Ordering::Relaxed);
        }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        for (byte, cell) in from.iter().zip(&self.typed[offset - TYPED..]) {
            cell.store(*byte, Ordering::Relaxed);
        }
    }

    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}

fn vnode(number: u32) -> VnodeId {
    VnodeId::new(number).unwrap()
}

/// Says that one waits, and looks again: whether it may sleep.
fn waits(shared: &Shared, who: Waiter) -> bool {
    announce(shared, who);
    shared.load_acquire64(BROUGHT) == 0
}

/// VC-20, VC-21: two viewers wait for output, and each that sleeps is woken; no other is.
#[test]
fn no_viewer_sleeps_through_output() {
    loom::model(|| {
        let shared = Shared::new();
        let sleepers: Vec<_> = [1, 2]
            .map(|number| {
                let far = shared.clone();
                loom::thread::spawn(move || waits(&far, Waiter::ForOutput(vnode(number))))
            })
            .into_iter()
            .collect();
        let far = shared.clone();
        let speaker = loom::thread::spawn(move || {
            far.store_release64(BROUGHT, 1);
            take(&*far, Concerned::Viewers)
        });
        let slept: Vec<bool> = sleepers.into_iter().map(|it| it.join().unwrap()).collect();
        let (woken, speaker_too) = speaker.join().unwrap();
        for (sleeps, number) in slept.into_iter().zip([1, 2]) {
            assert!(!sleeps || woken & bit(vnode(number)) != 0);
        }
        assert!(!speaker_too && woken & !(bit(vnode(1)) | bit(vnode(2))) == 0);
    });
}

/// VC-21: who takes the bits of some leaves those of others.
#[test]
fn who_waits_for_something_else_goes_on_waiting() {
    loom::model(|| {
        let shared = Shared::new();
        announce(&*shared, Waiter::ForRoom(vnode(3)));
        let far = shared.clone();
        let speaker = loom::thread::spawn(move || waits(&far, Waiter::ForTyping));
        shared.store_release64(BROUGHT, 1);
        let (woken, speaker_is) = take(&*shared, Concerned::Listener);
        let sleeps = speaker.join().unwrap();
        assert!(woken == 0 && (!sleeps || speaker_is));
        let typist = take(&*shared, Concerned::Typist(vnode(3)));
        assert_eq!(typist, (bit(vnode(3)), false));
        assert_eq!(take(&*shared, Concerned::Typist(vnode(3))), (0, false));
    });
}

/// VC-31 to VC-33: a viewer takes the keyboard again, while the speaker is about what it typed before.
/// Nothing is heard twice, no signal of before counts, and what is typed now is heard.
#[test]
fn a_keyboard_that_is_taken_again_is_heard_once() {
    let holder = |ticket| Holder {
        viewer: Some(vnode(1)),
        ticket,
    };
    loom::model(move || {
        let shared = Shared::new();
        let (mut typist, mut listener) = (Typist::new(&*shared, vnode(1)), Listener::new());
        shared.store_release64(KEYBOARD, holder(1).word());
        typist.begin(&*shared, 1);
        typist.hang_up(&*shared);
        assert!(listener.listen(&*shared, &mut []).is_hung_up);
        typist.press(&*shared, b"o");

        let far = shared.clone();
        let viewer = loom::thread::spawn(move || {
            // The root's decision, of which the viewer knows by the answer.
            far.store_release64(KEYBOARD, holder(2).word());
            typist.begin(&*far, 2);
            typist.press(&*far, b"n");
        });
        let mut text = Vec::new();
        let mut hear = |listener: &mut Listener| {
            let mut to = [0; 2];
            let heard = listener.listen(&*shared, &mut to);
            text.extend_from_slice(&to[..heard.bytes]);
            assert!(!heard.is_hung_up && !heard.is_break);
        };
        hear(&mut listener);
        viewer.join().unwrap();
        hear(&mut listener);
        hear(&mut listener);
        assert!(text == b"n" || text == b"on", "{text:?}");
    });
}

/// VC-37 and 38: a viewer that gives the keyboard back when it finds all of it taken was heard, whatever
/// the speaker is about meanwhile.
#[test]
fn who_leaves_when_all_is_taken_was_heard() {
    let holder = Holder {
        viewer: Some(vnode(1)),
        ticket: 1,
    };
    loom::model(move || {
        let shared = Shared::new();
        let (mut typist, mut listener) = (Typist::new(&*shared, vnode(1)), Listener::new());
        shared.store_release64(KEYBOARD, holder.word());
        typist.begin(&*shared, 1);

        let far = shared.clone();
        let viewer = loom::thread::spawn(move || {
            typist.press(&*far, b"o");
            typist.hang_up(&*far);
            let is_taken = typist.unheard(&*far) == 0;
            far.store_release64(KEYBOARD, Holder::NOBODY.word());
            is_taken
        });
        let (mut text, mut is_hung_up) = (Vec::new(), false);
        for _ in 0..2 {
            let mut to = [0; 2];
            let heard = listener.listen(&*shared, &mut to);
            text.extend_from_slice(&to[..heard.bytes]);
            is_hung_up |= heard.is_hung_up;
        }
        if viewer.join().unwrap() {
            assert_eq!((text.as_slice(), is_hung_up), (b"o".as_slice(), true));
        }
    });
}
