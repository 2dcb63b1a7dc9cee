// SPDX-License-Identifier: GPL-2.0

//! Who may be on a segment, as lines of the root's administrator say it: docs/vnet.md, VN-70 to VN-72.

use adeos_proto::bridge::Vnodes;
use adeos_proto::id::{Generation, MAX_VNODES};
use adeos_proto::vnet::members::{living, parse, Malformed};
use adeos_proto::vnet::station::Lives;
use proptest::prelude::*;

fn lives(of: &[(usize, u32)]) -> Lives {
    let life = |at| of.iter().find(|(vnode, _)| *vnode == at);
    core::array::from_fn(|at| life(at).map(|(_, life)| Generation(*life)))
}

#[test]
fn a_line_has_a_word_for_each_segment() {
    let said: Vec<_> = parse("storage=1.4,15.7 web=\n0=2.1\n").collect();
    let said: Vec<_> = said
        .into_iter()
        .map(|word| word.map(|word| (word.segment, word.lives)))
        .collect();
    assert_eq!(
        said,
        [
            Ok(("storage", lives(&[(1, 4), (15, 7)]))),
            Ok(("web", lives(&[]))),
            Ok(("0", lives(&[(2, 1)]))),
        ]
    );
    assert_eq!(parse("").count(), 0);
    for wrong in [
        "web",
        "web=1",
        "web=1.",
        "web=.1",
        "web=16.1",
        "web=1.1,",
        "web=1.-1",
        "web=1.1;2.1",
    ] {
        assert_eq!(parse(wrong).next(), Some(Err(Malformed)), "{wrong}");
    }
}

/// VN-72: a right is that of a life.
#[test]
fn what_is_said_of_a_life_is_over_with_it() {
    let allowed = lives(&[(1, 4), (2, 7)]);
    assert_eq!(
        living(&allowed, &lives(&[(0, 1), (1, 4), (2, 7), (3, 1)])),
        Vnodes(0b0111)
    );
    assert_eq!(
        living(&allowed, &lives(&[(0, 1), (1, 5), (2, 7)])),
        Vnodes(0b0101)
    );
    assert_eq!(living(&allowed, &lives(&[(0, 1)])), Vnodes(0b0001));
    // VN-70: the root may be on all.
    assert_eq!(living(&lives(&[]), &lives(&[(3, 1)])), Vnodes(0b0001));
}

proptest! {
    #[test]
    fn lines_come_back(said in prop::collection::btree_map(0..MAX_VNODES, any::<u32>(), 0..MAX_VNODES)) {
        let list: Vec<_> = said.iter().map(|(vnode, life)| format!("{vnode}.{life}")).collect();
        let line = format!("x={}", list.join(","));
        let back = parse(&line).next().expect("a word").expect("a list");
        let pairs: Vec<_> = said.into_iter().collect();
        prop_assert_eq!(back.lives, lives(&pairs));
    }

    #[test]
    fn no_line_is_too_much(line in "\\PC{0,60}") {
        let _ = parse(&line).count();
    }
}
