// SPDX-License-Identifier: GPL-2.0

//! Typing into a console: one at a time is heard, all that it types and nothing else, whatever the
//! others write. Numbers are those of docs/vcons.md.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/cells.rs"]
mod cells;

use adeos_proto::id::{Generation, Life, VnodeId};
use adeos_proto::vcons::keyboard::{Keyboard, Refused};
use adeos_proto::vcons::typing::{Heard, Listener, Typist, WindowSize};
use adeos_proto::vcons::{self, Header, TYPED_SIZE};
use adeos_proto::window::Window;
use cells::Cells;
use proptest::prelude::*;

fn life(vnode: u32, generation: u32) -> Life {
    Life {
        vnode: VnodeId::new(vnode).unwrap(),
        generation: Generation(generation),
    }
}

/// A console with the root's decisions, a speaker, and viewers.
struct Console {
    memory: Cells,
    keyboard: Keyboard,
    listener: Listener,
}

impl Console {
    fn new() -> Self {
        let memory = Cells::new(vcons::SIZE);
        vcons::create(&memory);
        Self {
            memory,
            keyboard: Keyboard::new(),
            listener: Listener::new(),
        }
    }

    fn publish(&self) {
        let word = self.keyboard.holder().word();
        self.memory.store_release64(Header::OFFSETS.keyboard, word);
    }

    /// The viewer gets the keyboard, from whoever has it.
    fn seat(&mut self, viewer: Life) -> Typist {
        let ticket = self.keyboard.steal(viewer).unwrap();
        self.publish();
        let mut typist = Typist::new(&self.memory, viewer.vnode);
        typist.begin(&self.memory, ticket);
        typist
    }

    fn listen(&mut self) -> (Vec<u8>, Heard) {
        let mut to = vec![0; TYPED_SIZE];
        let heard = self.listener.listen(&self.memory, &mut to);
        to.truncate(heard.bytes);
        (to, heard)
    }

    fn hear(&mut self) -> Vec<u8> {
        self.listen().0
    }
}

/// VC-30: others are told who has it, and no ticket comes again, not even to who has it.
#[test]
fn one_has_the_keyboard_until_it_gives_it_back_or_loses_it() {
    let (east, west) = (life(1, 1), life(2, 1));
    let mut keyboard = Keyboard::new();
    assert_eq!(keyboard.take(east), Ok(1));
    assert_eq!(keyboard.take(east), Ok(2));
    assert_eq!(keyboard.take(west), Err(Refused::Busy(east)));
    assert_eq!(keyboard.take(life(1, 2)), Err(Refused::Busy(east)));
    assert_eq!(keyboard.steal(west), Ok(3));
    assert_eq!(keyboard.give_back(east, 2), Err(Refused::Stale));
    assert_eq!(keyboard.give_back(west, 2), Err(Refused::Stale));
    assert_eq!(keyboard.give_back(west, 3), Ok(()));
    assert_eq!(keyboard.give_back(west, 3), Err(Refused::Stale));
    assert_eq!(keyboard.take(east), Ok(5));
    assert!(!keyboard.let_go_of(|life| life != west));
    assert!(keyboard.let_go_of(|life| life != east));
    assert_eq!(keyboard.take(west), Ok(7));
}

/// VC-31: who has lost the keyboard is not heard, and what it typed before is not either, once
/// another one has it; the first bytes of that one are.
#[test]
fn only_who_has_the_keyboard_is_heard() {
    let mut console = Console::new();
    let mut east = console.seat(life(1, 1));
    assert_eq!(east.press(&console.memory, b"ls\r"), 3);
    assert_eq!(console.hear(), b"ls\r");
    east.press(&console.memory, b"rm -r /");
    let mut west = console.seat(life(2, 1));
    west.press(&console.memory, b"id\r");
    east.press(&console.memory, b"\r");
    assert_eq!(console.hear(), b"id\r");
    assert_eq!(console.hear(), b"");

    let mut again = console.seat(life(1, 1));
    again.press(&console.memory, b"w\r");
    assert_eq!(console.hear(), b"w\r", "and none of what it typed before");
}

/// VC-31: a ticket that its viewer has not taken up yet lets nothing through.
#[test]
fn nothing_is_heard_before_the_ticket_is_taken_up() {
    let mut console = Console::new();
    let mut east = console.seat(life(1, 1));
    east.press(&console.memory, b"old");
    console.keyboard.give_back(life(1, 1), 1).unwrap();
    let ticket = console.keyboard.take(life(1, 1)).unwrap();
    console.publish();
    assert_eq!(console.hear(), b"");
    east.begin(&console.memory, ticket);
    east.press(&console.memory, b"new");
    assert_eq!(console.hear(), b"new");
}

/// VC-33: signals are told once, the window's size with them, and a new ticket begins anew.
#[test]
fn signals_are_heard_once() {
    let mut console = Console::new();
    let mut east = console.seat(life(1, 1));
    let size = WindowSize {
        rows: 50,
        columns: 132,
        width: 1024,
        height: 768,
    };
    east.resize(&console.memory, size);
    (0..3).for_each(|_| east.send_break(&console.memory));
    let (_, heard) = console.listen();
    assert_eq!((heard.size, heard.is_break), (Some(size), true));
    assert!(!heard.is_hung_up);
    let (_, heard) = console.listen();
    assert_eq!((heard.size, heard.is_break), (None, false));
    east.hang_up(&console.memory);
    assert!(console.listen().1.is_hung_up);

    console.seat(life(2, 1)).resize(&console.memory, size);
    let mut east = console.seat(life(1, 1));
    let (_, heard) = console.listen();
    assert_eq!((heard.size, heard.is_break), (None, false));
    assert!(!heard.is_hung_up);
    east.send_break(&console.memory);
    assert!(console.listen().1.is_break);
}

/// VC-37 and 38: what was typed and signalled is unheard until the speaker has taken it under this ticket.
#[test]
fn who_types_learns_what_was_taken() {
    let mut console = Console::new();
    let mut east = console.seat(life(1, 1));
    assert_eq!(east.unheard(&console.memory), 0);
    east.hang_up(&console.memory);
    assert_eq!(east.unheard(&console.memory), 1);
    east.press(&console.memory, b"ab");
    east.send_break(&console.memory);
    east.send_break(&console.memory);
    assert_eq!(east.unheard(&console.memory), 5);
    let heard = console.listener.listen(&console.memory, &mut [0]);
    assert_eq!((heard.bytes, heard.is_hung_up), (1, true));
    assert_eq!(east.unheard(&console.memory), 1);
    console.hear();
    assert_eq!(east.unheard(&console.memory), 0);

    // What another one's signals were is not this one's, nor are one's own under another ticket.
    let mut west = console.seat(life(2, 1));
    (0..3).for_each(|_| west.send_break(&console.memory));
    assert_eq!(west.unheard(&console.memory), 3);
    assert!(console.listen().1.is_break);
    assert_eq!(west.unheard(&console.memory), 0);
    let mut west = console.seat(life(2, 1));
    (0..3).for_each(|_| west.send_break(&console.memory));
    assert_eq!(west.unheard(&console.memory), 3);
    // A module that is loaded anew takes what was signalled before for heard.
    assert!(console.listen().1.is_break);
    west.hang_up(&console.memory);
    console.listener = Listener::new();
    console.listen();
    assert_eq!(west.unheard(&console.memory), 0);
}

/// VC-33: to take the keyboard that one has begins anew, and is no signal.
#[test]
fn to_take_it_again_is_no_signal() {
    let mut console = Console::new();
    let mut east = console.seat(life(1, 1));
    east.hang_up(&console.memory);
    east.send_break(&console.memory);
    assert!(console.listen().1.is_hung_up);
    let ticket = console.keyboard.take(life(1, 1)).unwrap();
    console.publish();
    east.begin(&console.memory, ticket);
    east.press(&console.memory, b"id\r");
    let (text, heard) = console.listen();
    assert!(!heard.is_hung_up && !heard.is_break);
    assert_eq!(text, b"id\r");
}

/// VC-34: the speaker's next life hears what is typed to it, by who asks anew.
#[test]
fn the_next_life_of_the_speaker_begins_anew() {
    let mut console = Console::new();
    let mut east = console.seat(life(1, 1));
    east.press(&console.memory, b"to the old one");
    console.hear();
    east.press(&console.memory, b"never heard");
    assert!(console.keyboard.speaker_ended());
    console.publish();
    vcons::prepare(&console.memory);
    console.listener = Listener::new();
    east.press(&console.memory, b"nor this");
    assert_eq!(console.hear(), b"");
    let mut east = console.seat(life(1, 1));
    assert_eq!(east.press(&console.memory, b"hello"), 5);
    assert_eq!(console.hear(), b"hello");
}

/// VC-35: a speaker whose module is loaded anew goes on, and hears nothing twice.
#[test]
fn a_speaker_that_is_loaded_anew_hears_nothing_twice() {
    let mut console = Console::new();
    let mut east = console.seat(life(1, 1));
    east.send_break(&console.memory);
    east.press(&console.memory, b"halt\r");
    assert_eq!(console.hear(), b"halt\r");
    console.listener = Listener::new();
    east.press(&console.memory, b"ls\r");
    let (text, heard) = console.listen();
    assert_eq!(
        (text.as_slice(), heard.is_break),
        (b"ls\r".as_slice(), false)
    );
}

/// VC-32: an index of the typist's that makes no sense empties the ring; one of the speaker's leaves
/// no room, until a ticket is taken up.
#[test]
fn an_index_that_makes_no_sense_harms_only_whose_it_is() {
    let mut console = Console::new();
    let mut east = console.seat(life(1, 1));
    let (head, tail) = (0x2000 + 0x80 + 0x10, 0x1050 + 4);
    console.hear();
    east.press(&console.memory, b"lost");
    console.memory.store_release(head, 0x7fff_0000);
    assert_eq!(console.hear(), b"");
    assert_eq!(console.memory.load_acquire(tail), 0x7fff_0000);
    console.memory.store_release(tail, 0x1234_5678);
    assert_eq!(east.press(&console.memory, b"no room"), 0);
    let ticket = console.keyboard.take(life(1, 1)).unwrap();
    console.publish();
    east.begin(&console.memory, ticket);
    assert_eq!(console.hear(), b"");
    assert_eq!(east.press(&console.memory, b"room"), 4);
    assert_eq!(console.hear(), b"room");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// VC-31, VC-32: what one types arrives whole and in order, however it is taken.
    #[test]
    fn what_is_typed_arrives(
        steps in prop::collection::vec((any::<bool>(), 1..2 * TYPED_SIZE), 1..60)
    ) {
        let mut console = Console::new();
        let mut east = console.seat(life(1, 1));
        let (mut typed, mut heard) = (Vec::new(), Vec::new());
        for (is_typing, count) in steps {
            if is_typing {
                let text: Vec<u8> = (0..count).map(|at| (typed.len() + at) as u8).collect();
                let pressed = east.press(&console.memory, &text);
                prop_assert_eq!(pressed, count.min(TYPED_SIZE + heard.len() - typed.len()));
                typed.extend_from_slice(&text[..pressed]);
            } else {
                let mut to = vec![0; count];
                let bytes = console.listener.listen(&console.memory, &mut to).bytes;
                heard.extend_from_slice(&to[..bytes]);
            }
        }
        heard.extend(console.hear());
        prop_assert_eq!(heard, typed);
    }

    /// VC-31, VC-32: whatever other viewers write into their words, and whatever the speaker finds in
    /// those of the one that is heard, it goes on, and hears honest ones.
    #[test]
    fn words_of_others_do_not_speak_for_the_one_that_is_heard(
        lies in prop::collection::vec((3..16usize, 0..0x80usize, any::<u64>()), 0..40),
        own in prop::collection::vec((0..0x80usize, any::<u64>()), 0..10),
    ) {
        let mut console = Console::new();
        let mut east = console.seat(life(1, 1));
        for (viewer, offset, lie) in lies {
            let offset = 0x2000 + viewer * 0x80 + offset / 8 * 8;
            console.memory.store_release64(offset, lie);
            east.press(&console.memory, b"x");
            prop_assert_eq!(console.hear(), b"x");
        }
        for (offset, lie) in own {
            console.memory.store_release64(0x2080 + offset / 8 * 8, lie);
            prop_assert!(console.hear().len() <= TYPED_SIZE);
        }
        let mut west = console.seat(life(2, 1));
        west.press(&console.memory, b"honest");
        prop_assert_eq!(console.hear(), b"honest");
    }
}
