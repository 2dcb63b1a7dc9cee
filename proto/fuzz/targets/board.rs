// SPDX-License-Identifier: GPL-2.0

//! The board of regions, over which somebody scribbles between any two accesses (docs/bridge-shm.md, section 5).
//!
//! Whatever stands there, a call takes a known number of accesses to its own words, and what a vnode is told are regions
//! that there can be. One region's words, and what one vnode is told of it, are spared: of these nothing is lost or made up.

#![no_main]

use adeos_proto::bridge::{Vnodes, BRIDGES};
use adeos_proto::id::{VnodeId, MAX_VNODES};
use adeos_proto::shm::board::{
    announce, notices, notify, take, tell, Class, Matter, CLASSES, SIGNATURE, SIZE,
};
use adeos_proto::shm::Region;
use hostile::{at, vnode, Input, Memory};
use std::collections::BTreeMap;
use std::ops::Range;

/// The region and the vnode that are spared. The word of news that they share with others has 64 regions.
const SPARED: u16 = 255;
const HONEST: u32 = 2;

/// A telling: two looks at who sleeps, and two bits for each vnode.
const TELLING: usize = 2 + 2 * MAX_VNODES;
/// A notice that others count as well: a look, 64 tries, and a store; and then it is told.
const NOTIFYING: usize = 66 + TELLING;
/// Each word of news is looked at, and taken, and so are the classes of each region.
const TAKING: usize = 2 * BRIDGES / 64 + BRIDGES;

fn row(region: u16) -> Range<usize> {
    at(0x1_0000 + 0x400 * usize::from(region), 0x400)
}

fn news(number: usize) -> Range<usize> {
    at(0x6_0000 + 0x20 * number, 0x20)
}

fn woken(number: usize) -> Range<usize> {
    at(0x8_0000 + 0x800 * number, 0x800)
}

fn all_news() -> Range<usize> {
    news(0).start..news(MAX_VNODES).start
}

fn all_woken() -> Range<usize> {
    woken(0).start..woken(MAX_VNODES).start
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    let mut board = Memory::quiet(SIZE);
    let hot = [0, 1, 64].map(|region| row(region).start);
    let hot = hot.iter().flat_map(|row| [*row, row + 8, row + 0x200]);
    let told = [0, 1, HONEST as usize, 15].map(|number| [news(number).start, woken(number).start]);
    let hot: Vec<_> = hot.chain(told.into_iter().flatten()).collect();
    for place in &hot {
        if input.yes() {
            board.fill(*place, &input.array::<8>());
        }
    }
    if input.yes() {
        board.fill(news(HONEST as usize).start, &[0xff; 0x18]);
    }

    let (their_news, their_woken) = (news(HONEST as usize), woken(HONEST as usize));
    let reach = vec![
        0..row(SPARED).start,
        row(SPARED).end..their_news.end - 8,
        their_news.end..their_woken.end - 8,
        their_woken.end..SIZE,
    ];
    board.disturb(&input, reach, hot);
    let mut world = World {
        board: &board,
        notices: 0,
        asleep: BTreeMap::new(),
        told: None,
    };
    while !input.is_over() {
        world.step(&input);
    }
    // SH-41: what was told last is not lost either.
    world.take(vnode(HONEST));
    assert_eq!(world.told, None);
});

struct World<'a> {
    board: &'a Memory<'a>,
    /// Notices of the spared region.
    notices: u64,
    /// Who sleeps for it, by the number of the class; nothing for notices.
    asleep: BTreeMap<Option<usize>, Vnodes>,
    /// What the honest vnode was told of it and has not taken: classes of words.
    told: Option<u64>,
}

/// The matter as a key.
fn key(matter: Matter) -> Option<usize> {
    match matter {
        Matter::Notices => None,
        Matter::Word(class) => Some(class.number()),
    }
}

impl World<'_> {
    fn step(&mut self, input: &Input<'_>) {
        let region = match input.byte() % 4 {
            0 => Region::new(SPARED),
            1 => Region::new(input.u16() % 80),
            _ => Region::new(input.u16() % 300),
        };
        // There are as many regions as bridges.
        let Some(region) = region else {
            return;
        };
        assert!(region.index() < BRIDGES);
        let matter = match input.byte() % 4 {
            0 => Matter::Notices,
            _ => Matter::Word(Class::of(input.u64())),
        };
        let who = vnode(u32::from(input.byte() % 16));
        match input.byte() % 6 {
            0 => self.notify(region, input.yes()),
            1 => self.announce(region, matter, who),
            2 => self.tell(region, matter),
            3 => self.take(who),
            4 => self.look(region),
            _ => self.check(input.yes()),
        }
    }

    /// Only a region's row may be touched, and what vnodes are told.
    fn confine(&self, region: Region) {
        let row = row(region.index() as u16);
        self.board.role(&[], &[row, all_news(), all_woken()]);
        self.board.accesses();
    }

    /// Others may count notices as well, without a pause.
    fn notify(&mut self, region: Region, is_busy: bool) {
        self.confine(region);
        let is_spared = region.index() == usize::from(SPARED);
        let counted = row(region.index() as u16).start;
        self.board
            .unsettle((is_busy && !is_spared).then_some(counted));
        let vnodes = notify(self.board, region);
        self.board.unsettle(None);
        assert!(self.board.accesses() <= NOTIFYING);
        if is_spared {
            self.notices += 1;
            self.check_told(Matter::Notices, vnodes);
            self.look(region);
        }
    }

    fn announce(&mut self, region: Region, matter: Matter, who: VnodeId) {
        self.confine(region);
        announce(self.board, region, matter, who);
        assert_eq!(self.board.accesses(), 1);
        if region.index() == usize::from(SPARED) {
            let asleep = self.asleep.entry(key(matter)).or_default();
            *asleep = asleep.with(who);
        }
    }

    fn tell(&mut self, region: Region, matter: Matter) {
        self.confine(region);
        let vnodes = tell(self.board, region, matter);
        assert!(self.board.accesses() <= TELLING);
        if region.index() == usize::from(SPARED) {
            self.check_told(matter, vnodes);
        }
    }

    /// SH-41: those that sleep are told, once, and nobody else is.
    fn check_told(&mut self, matter: Matter, vnodes: Vnodes) {
        let asleep = self.asleep.remove(&key(matter)).unwrap_or_default();
        assert_eq!(vnodes, asleep);
        if asleep.has(vnode(HONEST)) {
            let classes = key(matter).map_or(0, |class| 1 << class);
            self.told = Some(self.told.unwrap_or(0) | classes);
        }
    }

    /// What a vnode takes are regions that there can be, each once.
    fn take(&mut self, who: VnodeId) {
        let owns = [news(who.index()), woken(who.index())];
        self.board.role(&[], &owns);
        self.board.accesses();
        let mut last = None;
        let mut spared = None;
        for told in take(self.board, who) {
            let place = told.region.index();
            assert!(place < BRIDGES && last.is_none_or(|last| last < place));
            last = Some(place);
            if place == usize::from(SPARED) {
                spared = Some(told.classes);
            }
        }
        assert!(self.board.accesses() <= TAKING);
        if who == vnode(HONEST) {
            assert_eq!(spared, self.told.take());
        }
    }

    fn look(&self, region: Region) {
        self.confine(region);
        let seen = notices(self.board, region);
        assert_eq!(self.board.accesses(), 1);
        if region.index() == usize::from(SPARED) {
            assert_eq!(seen, self.notices);
        }
        assert!(Class::of(seen).number() < CLASSES);
    }

    /// Who opens the board looks at what it begins with, and the root writes that anew.
    fn check(&self, is_root: bool) {
        self.board.role(&[], &[at(0, 16)]);
        self.board.accesses();
        if is_root {
            SIGNATURE.sign(self.board);
        }
        let _ = SIGNATURE.check(self.board);
        assert!(self.board.accesses() <= 6);
    }
}
