// SPDX-License-Identifier: GPL-2.0

use super::*;
use adeos_proto::bridge::entry::flag;
use adeos_proto::bridge::mode;
use adeos_proto::record::set_text;

fn bridge(index: u32, name: &str, vnode: Option<u32>) -> abi::Bridge {
    let mut users = [0; 16];
    users[0] = 1;
    users[2] = 5;
    abi::Bridge {
        index,
        serial: 7,
        state: state::SETTLED,
        name: set_text(name),
        scope: if vnode.is_some() { 2 } else { 1 },
        vnode: vnode.unwrap_or(0),
        owner: 2,
        owner_generation: 4,
        flags: flag::MOVABLE | flag::ORPHAN,
        mode: u32::from(mode::OWNER_READ | mode::OTHERS_READ | mode::OTHERS_WRITE),
        readers: 0b101,
        writers: 0b1100,
        mapped: 0b100,
        pinned_by: 0b1,
        base: 0x4000_0000,
        bytes: 4 << 20,
        users,
        ..Default::default()
    }
}

fn names() -> Names {
    let known = [(0, "root"), (2, "db")];
    Names(known.map(|(number, name)| (number, name.to_owned())).into())
}

#[test]
fn rights_are_shown_as_they_count() {
    let mut given = bridge(0, "wire", None);
    let report = Report::new(&given);
    // Who may not read does not write either (BR-30).
    assert_eq!((report.readers, report.writers), (vec![0, 2], vec![2]));
    assert_eq!(report.owner_may, "read");
    given.mode = u32::from(mode::OWNER_READ | mode::OWNER_WRITE | mode::OTHERS_WRITE);
    let report = Report::new(&given);
    assert_eq!((report.readers, report.writers), (vec![], vec![]));
    assert_eq!(report.owner_may, "read and write");
}

#[test]
fn a_row_names_vnodes_where_it_can() {
    let row = row(&Report::new(&bridge(3, "wire", Some(1))), &names());
    let shown = [
        "#3",
        "#1/wire",
        "settled",
        "4M",
        "db (life 4, dead)",
        "root,db",
        "db",
        "root",
    ];
    assert_eq!(row, shown);
}

#[test]
fn a_bridge_is_found_by_name_by_vnode_and_name_and_by_number() {
    let all = || {
        [
            bridge(0, "wire", None),
            bridge(4, "wire", Some(2)),
            bridge(9, "4", None),
        ]
        .map(|given| Report::new(&given))
        .into()
    };
    let index = |name| find(all(), name, &names()).map(|report| report.index).ok();
    assert_eq!(index("wire"), Some(0));
    assert_eq!(index("db/wire"), Some(4));
    assert_eq!(index("2/wire"), Some(4));
    assert_eq!(index("#4"), Some(4));
    assert_eq!(index("4"), Some(9));
    assert_eq!(index("root/wire"), None);
    assert_eq!(index("nobody/wire"), None);
    assert_eq!(index("#5"), None);
    let failure = find(all(), "x", &names()).unwrap_err();
    assert_eq!(failure.kind.status(), 3);
    assert!(failure.help.unwrap().contains("vnode bridge list"));
}

#[test]
fn refusals_are_explained() {
    let failure = |errno: Errno| explain(&errno.into());
    assert!(failure(Errno::PERM).message.contains("only the root"));
    assert_eq!(failure(Errno::NOTTY).kind.status(), 4);
    assert_eq!(failure(Errno::PROTO).kind.status(), 1);
}

#[test]
fn totals_leave_out_who_has_nothing() {
    let mut stat = abi::BridgeStat::default();
    stat.owned[3] = 2;
    stat.owned_bytes[3] = 6 << 20;
    let totals = totals(&stat);
    assert_eq!(totals.owned.len(), 1);
    assert_eq!((totals.owned[0].vnode, totals.owned[0].bytes), (3, 6 << 20));
}
