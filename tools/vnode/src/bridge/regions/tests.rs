// SPDX-License-Identifier: GPL-2.0

//! What is to be done about a region, by what is there.

use bridge::Vnodes;
use proptest::prelude::*;

use super::*;

/// Four vnodes, not in the order of their names.
fn names() -> Names {
    let known = [(0, "root"), (1, "web"), (2, "db"), (5, "mail")];
    Names(known.map(|(number, name)| (number, name.to_owned())).into())
}

fn wanted(readers: &str, writers: &str) -> Settings {
    let list = |text| Some(Listed::parse(text).unwrap());
    let (readers, writers) = Listed::who(None, list(readers), list(writers));
    Settings {
        name: "queue".into(),
        size_bytes: 4 << 20,
        mode: 0o660,
        user: 1000,
        group: 2000,
        readers,
        writers,
    }
}

/// One that is as it is wanted.
fn stat(readers: u16, writers: u16) -> Stat {
    Stat {
        name: "queue".into(),
        bytes: 4 << 20,
        user: 1000,
        group: 2000,
        mode: 0o660,
        owner: (0, 1),
        is_orphan: false,
        readers: Vnodes(readers),
        writers: Vnodes(writers),
        notices: 0,
        deaths: 0,
        moves: 0,
        vnode: 0,
        users: [0; 16],
    }
}

/// The step for one that is not there.
pub(crate) fn to_make(name: &str, size_bytes: u64) -> Step {
    let settings = Settings {
        name: name.into(),
        size_bytes,
        ..wanted("all", "all")
    };
    Step::compare(&settings, None, &names())
}

/// The step for one that is there with half of the bytes.
pub(crate) fn of_another_size() -> Step {
    let there = Stat {
        bytes: 2 << 20,
        ..stat(u16::MAX, u16::MAX)
    };
    Step::compare(&wanted("all", "all"), Some(&there), &names())
}

fn compare(settings: &Settings, there: &Stat) -> Step {
    Step::compare(settings, Some(there), &names())
}

#[test]
fn what_is_missing_is_made() {
    let step = Step::compare(&wanted("db", "web"), None, &names());
    assert_eq!((step.action, step.takes()), (Action::Make, 4 << 20));
    assert_eq!(
        step.to_string(),
        "make     region queue: 4M, mode 0660, user 1000, group 2000, readers db,web, writers web"
    );
    assert_eq!(step.conflict(), None);
}

#[test]
fn what_is_as_it_should_be_is_kept() {
    for (readers, writers, there) in [
        ("all", "all", stat(u16::MAX, u16::MAX)),
        ("none", "none", stat(0, 0)),
        ("db", "web", stat(0b110, 0b10)),
        ("all", "mail,root", stat(u16::MAX, 0b10_0001)),
    ] {
        let step = compare(&wanted(readers, writers), &there);
        assert_eq!((step.action, step.takes()), (Action::Keep, 0), "{step}");
        assert_eq!(
            step.to_string(),
            "keep     region queue: it is as it should be"
        );
    }
}

#[test]
fn other_rights_are_said_anew() {
    let there = Stat {
        mode: 0o600,
        user: 0,
        ..stat(0b1010, 0)
    };
    let step = compare(&wanted("db,web", "none"), &there);
    assert_eq!((step.action, step.takes()), (Action::Change, 0));
    assert_eq!(
        step.differences,
        [
            "its mode is 0600, wanted is 0660",
            "its user is 0, wanted is 1000",
            "its list of readers is #3,web, wanted is db,web"
        ]
    );
    assert!(step.to_string().starts_with("change   region queue: 4M, "));
    assert_eq!(step.conflict(), None);
}

#[test]
fn a_vnode_that_is_to_come_has_no_rights_yet() {
    let step = compare(&wanted("none", "db,late"), &stat(0b100, 0b100));
    assert_eq!(step.action, Action::Change);
    // A number that somebody else has is not its own, whatever it is called.
    let step = compare(&wanted("none", "3"), &stat(0b1000, 0b1000));
    assert_eq!(step.action, Action::Change);
}

#[test]
fn another_size_is_a_conflict_that_names_both() {
    let step = of_another_size();
    assert_eq!((step.action, step.takes()), (Action::Refuse, 0));
    let conflict = step.conflict().unwrap();
    assert!(conflict.contains("the region queue is there"), "{conflict}");
    assert!(conflict.contains("its size is 2M, wanted is 4M"));
    assert!(conflict.contains("`vnode bridge remove queue`"));
    assert!(step.to_string().starts_with("refuse   region queue: 4M, "));
}

#[test]
fn programs_get_an_object_with_fixed_names() {
    let json = serde_json::to_value(of_another_size()).unwrap();
    let expected = serde_json::json!({
        "action": "refuse",
        "differences": ["its size is 2M, wanted is 4M"],
        "settings": {
            "name": "queue", "size_bytes": 4 << 20, "mode": "0660", "user": 1000, "group": 2000,
            "readers": "all", "writers": "all",
        },
    });
    assert_eq!(json, expected);
}

#[test]
fn a_file_without_regions_wants_no_module() {
    assert!(Regions::default().plan(&[]).unwrap().is_empty());
}

/// Sets of vnodes that have names.
fn any_set() -> impl Strategy<Value = Vnodes> {
    any::<u16>().prop_map(|bits| Vnodes(bits & 0b10_0111))
}

proptest! {
    /// What was said as it is wanted is not said again, and what differs in one bit is.
    #[test]
    fn what_was_said_is_not_said_again(
        mode: u16, user: u32, group: u32, readers in any_set(), writers in any_set(), bit in 0..16u32,
    ) {
        let names = names();
        let list = |set| Some(Listed::of(set, |number| names.of(number)));
        let (readers, writers) = Listed::who(None, list(readers), list(writers));
        let settings = Settings {
            mode: u32::from(mode) & 0o666,
            user,
            group,
            readers,
            writers,
            ..wanted("all", "all")
        };
        let rights = Rights::new(&settings, &names).unwrap();
        let there = rights.stat(stat(0, 0));
        prop_assert_eq!(compare(&settings, &there).action, Action::Keep);
        for other in [
            Stat { user: user ^ 1 << bit, ..there.clone() },
            Stat { group: group ^ 1 << bit, ..there.clone() },
            Stat { mode: there.mode ^ 0o200, ..there.clone() },
            Stat { readers: Vnodes(there.readers.0 ^ 1 << bit), ..there.clone() },
            Stat { writers: Vnodes(there.writers.0 ^ 1 << bit), ..there.clone() },
        ] {
            let step = compare(&settings, &other);
            prop_assert_eq!((step.action, step.differences.len()), (Action::Change, 1));
        }
    }
}
