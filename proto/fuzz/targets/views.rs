// SPDX-License-Identifier: GPL-2.0

//! The membership views against hostile memory: a vnode that takes views, and the root that reads
//! acknowledgements (docs/dsp.md, section 6).

#![no_main]

use adeos_proto::id::{Generation, VnodeId};
use adeos_proto::membership::observer::{Observer, Seen};
use adeos_proto::membership::publisher::{Departure, Publisher};
use adeos_proto::membership::{bit, has, layout, Change, HISTORY};
use hostile::{at, life, vnode, Input, Memory};
use std::ops::Range;

const VIEW_SIZE: usize = 128;

const VIEWS: Range<usize> = layout::LATEST..layout::REACHED;
const ACKNOWLEDGEMENTS: Range<usize> = layout::REACHED..layout::SIZE;

/// A view is 16 words, and is read between two looks at its number; the latest number is looked
/// at once before and once after.
const MOST: usize = 20;

fn reached(number: u32) -> Range<usize> {
    at(
        layout::REACHED + number as usize * layout::REACHED_STRIDE,
        8,
    )
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    let mut memory = Memory::quiet(layout::SIZE);
    let mut publisher = Publisher::new(&memory, Generation(1));
    for _ in 0..input.below(40) {
        change(&mut publisher, &memory, &input);
    }
    if input.yes() {
        let hot = (0..HISTORY as usize).map(|view| layout::VIEWS + view * VIEW_SIZE);
        let hot = std::iter::once(layout::LATEST).chain(hot).collect();
        memory.disturb(&input, vec![VIEWS], hot);
        observe(&memory, &input);
    } else {
        let hot = (1..4).map(|number| reached(number).start).collect();
        memory.disturb(&input, vec![at(0, layout::SIZE)], hot);
        publish(&mut publisher, &memory, &input);
    }
});

/// Somebody joins or goes.
fn change(publisher: &mut Publisher, memory: &Memory<'_>, input: &Input<'_>) {
    let who = vnode(1 + input.below(3) as u32);
    let _ = match publisher.view().life(who) {
        Some(life) => publisher.remove(memory, life, Departure::Died(1)),
        None => {
            let generation = u32::from(input.byte());
            publisher.join(memory, life(who.number(), generation))
        }
    };
}

/// DS-60 to DS-63: what is taken is whole and in order, however the memory changes. DS-1: of the views,
/// who takes them writes nothing.
fn observe(memory: &Memory<'_>, input: &Input<'_>) {
    memory.role(&[VIEWS], &[reached(2)]);
    let me = life(2, u32::from(input.byte()));
    let mut observer = Observer::new(me);
    let mut members_before = false;
    while !input.is_over() {
        let last = observer.last();
        memory.accesses();
        match observer.next(memory) {
            Seen::View(view) => {
                assert!(view.number() > last);
                assert!(members_before || view.contains(me));
                members_before = true;
                let joined = match view.change() {
                    Change::Joined(life) => view.contains(life),
                    Change::Left(life) | Change::Died(life, _) => !view.contains(life),
                };
                assert!(joined && view.number() == observer.last());
                for number in VnodeId::all() {
                    assert_eq!(view.life(number).is_some(), has(view.members(), number));
                }
            }
            Seen::TooSlow { missed } => assert!(missed > 0 && observer.last() == last),
            Seen::Nothing | Seen::Corrupt => assert_eq!(observer.last(), last),
        }
        assert!(memory.accesses() <= MOST);
        if input.yes() {
            observer.acknowledge(memory);
        }
    }
}

/// DS-65: no claim counts beyond the latest view, and none goes back.
fn publish(publisher: &mut Publisher, memory: &Memory<'_>, input: &Input<'_>) {
    memory.role(&[ACKNOWLEDGEMENTS], &[VIEWS]);
    let mut known = [None; 4];
    while !input.is_over() {
        if input.byte() % 4 == 0 {
            change(publisher, memory, input);
        }
        publisher.observe(memory);
        let latest = publisher.view().number();
        for (number, before) in (0..).zip(&mut known) {
            let who = vnode(number);
            let life = publisher.view().life(who);
            let now = publisher.reached(who);
            assert!(now.is_none_or(|view| view <= latest && life.is_some()));
            if let Some((same, view)) = *before {
                assert!(life != same || now >= view);
            }
            *before = Some((life, now));
        }
        assert_eq!(publisher.liars() & !0b1111, 0);
        assert_eq!(publisher.missing(latest) & !publisher.view().members(), 0);
        assert!(has(publisher.view().members(), VnodeId::ROOT) && bit(VnodeId::ROOT) == 1);
    }
}
